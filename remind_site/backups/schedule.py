"""What the worker starts every night. Each runs in a process of its own: a large backup takes longer than a task may,
and the worker has mails to send meanwhile.
"""

import subprocess
import sys

from django.conf import settings
from django.db import connection

from remind_site.environment import BASE_DIR


def backup() -> None:
    """Begin `manage.py backup`."""
    _start("backup")


def verify() -> None:
    """Begin `manage.py verify_backup`, unless that is done elsewhere."""
    if settings.BACKUP_VERIFY:
        _start("verify_backup")


def _start(command: str) -> None:
    if connection.vendor == "postgresql":  # SQLite is for trying out
        subprocess.Popen([sys.executable, "manage.py", command], cwd=BASE_DIR, start_new_session=True)  # noqa: S603
