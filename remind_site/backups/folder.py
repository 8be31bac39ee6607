"""The temporary folder of a run, which the next run removes where this one is killed: it may hold all data.

Whoever uses one holds a lock on it, so that runs for other databases on this machine are left alone.
"""

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from remind_site.backups.errors import BackupProblem

YOUNG = 60.0  # seconds; a folder may be this old before its run has locked it


@contextmanager
def temporary(prefix: str) -> Iterator[Path]:
    """A new folder, removed in the end; those of killed runs go first.

    Args:
        prefix: of its name, and of theirs.

    Raises:
        BackupProblem: it can't be made.
    """
    try:
        for leftover in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
            _remove_abandoned(leftover)
        made = tempfile.TemporaryDirectory(prefix=prefix)
    except OSError as error:
        raise BackupProblem(f"No temporary folder can be made: {error.strerror or error}.") from None
    with made as name:
        handle = os.open(name, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_SH)
            yield Path(name)
        finally:
            os.close(handle)


def _remove_abandoned(folder: Path) -> None:
    """Remove a folder of ours that nobody holds any more."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            found = os.fstat(handle)
            if found.st_uid == os.getuid() and time.time() - found.st_mtime > YOUNG:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
        finally:
            os.close(handle)
