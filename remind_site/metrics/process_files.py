"""The folder in which web processes share their counts, for gunicorn's hooks and the page that adds them up.

prometheus_client gives each process files of its own in the folder that PROMETHEUS_MULTIPROC_DIR names, and adds them
up at a scrape. Here: a new folder for each master, and one file for all processes that are dead, so that reloads
neither lose counts nor leave files behind. prometheus_client is imported only inside functions: it must not be before
the folder is there.
"""

import contextlib
import fcntl
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
PREFIX = "remind-metrics-"
MEMORY = Path("/dev/shm")  # noqa: S108  # nosec  # no disk that could be full or slow; each folder in it is its owner's alone
YOUNG = 60.0  # seconds; a folder may be this old before its master has locked it
MERGE_WITHIN = 1.0  # seconds that the master waits for scrapes to end

_opened = False

logger = logging.getLogger(__name__)


def open_folder() -> None:
    """Make a new folder for this master and what it starts, the first time that it asks; clear away abandoned ones."""
    global _opened  # noqa: PLW0603  # gunicorn reads its configuration anew at each reload
    if _opened:
        return
    _opened = True
    parent = MEMORY if os.access(MEMORY, os.W_OK) else Path(tempfile.gettempdir())
    for folder in parent.glob(f"{PREFIX}*"):
        _remove_abandoned(folder)
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
    # Held, never closed, by the master and all that it forks: says that the folder is in use, to cleaners of /tmp too.
    fcntl.flock(os.open(folder, os.O_RDONLY), fcntl.LOCK_SH)
    os.environ[VARIABLE] = str(folder)


def close_folder() -> None:
    """Remove the folder, when the master ends."""
    shutil.rmtree(os.environ[VARIABLE], ignore_errors=True)


def keep_folder() -> None:
    """Before a process is started: make the folder anew if somebody deleted it, for without it none could start."""
    with contextlib.suppress(OSError):
        _folder().mkdir(mode=0o700, exist_ok=True)


def retire(pid: int) -> None:
    """Keep what a dead process has counted, together with that of all others; what it said of itself is void.

    Never raises: gunicorn's master would end.
    """
    try:
        from prometheus_client.multiprocess import mark_process_dead

        mark_process_dead(pid)
        with _locked(fcntl.LOCK_EX, MERGE_WITHIN):
            for kind in ("counter", "histogram"):
                _bury(kind, pid)
    except Exception:
        logger.exception("the counts of process %s stay in files of their own", pid)


@contextlib.contextmanager
def reading() -> Iterator[list[str]]:
    """The files to add up; none of them is merged into another meanwhile, or it would count twice."""
    with _locked(fcntl.LOCK_SH):
        yield [str(path) for path in _folder().glob("*.db") if path.stat().st_size]


def _folder() -> Path:
    return Path(os.environ[VARIABLE])


def _bury(kind: str, pid: int) -> None:
    from prometheus_client.mmap_dict import MmapedDict, mmap_key
    from prometheus_client.multiprocess import MultiProcessCollector

    own, dead, draft = (_folder() / f"{kind}_{name}" for name in (f"{pid}.db", "dead.db", "dead.draft"))
    files = [str(path) for path in (dead, own) if path.exists() and path.stat().st_size]
    draft.unlink(missing_ok=True)
    total = MmapedDict(str(draft))
    for metric in MultiProcessCollector.merge(files, accumulate=False):
        for sample in metric.samples:
            labels, values = list(sample.labels), list(sample.labels.values())
            total.write_value(
                mmap_key(metric.name, sample.name, labels, values, metric.documentation), sample.value, 0.0
            )
    total.close()
    draft.replace(dead)
    own.unlink(missing_ok=True)


@contextlib.contextmanager
def _locked(how: int, within: float | None = None) -> Iterator[None]:
    """Hold the folder's lock; raises BlockingIOError where it can't be had within so many seconds."""
    handle = os.open(_folder() / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        if within is None:
            fcntl.flock(handle, how)
        else:
            _lock_within(handle, how, within)
        yield
    finally:
        os.close(handle)


def _lock_within(handle: int, how: int, seconds: float) -> None:
    ends = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(handle, how | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > ends:
                raise
            time.sleep(0.01)
        else:
            return


def _remove_abandoned(folder: Path) -> None:
    """Remove a folder of ours that nobody holds any more."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            found = os.fstat(handle)
            if found.st_uid == os.getuid() and time.time() - found.st_mtime > YOUNG:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
        finally:
            os.close(handle)
