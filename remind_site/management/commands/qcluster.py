"""The worker: django-q2's own command, which finishes its task before it stops, whoever is told to."""

import signal
from typing import Any

from django_q.management.commands import qcluster


class Command(qcluster.Command):  # type: ignore[misc]  # django-q2 has no types
    """Some hosts (and systemd, by default) send SIGTERM to every process, not to the first alone.

    django-q2's first process then tells the others to finish, but these would have died of the signal meanwhile. They
    are forked with it blocked, so that only the first one gets it. (What django-q2 itself ends with that signal is a
    task that outlasts its time; that is raised out of the task before.)
    """

    def handle(self, *args: Any, **options: Any) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        try:
            super().handle(*args, **options)
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
