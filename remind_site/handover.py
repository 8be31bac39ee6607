"""A reload without a gap: the web processes before it serve on until one that replaces them does.

gunicorn starts the new ones and tells those before to stop in the same moment, but a process takes seconds to start, on
a busy machine half a minute. So the master and all its workers share a byte for each reload, made before the first of
them is forked: it is 1 while nobody who was started since that reload serves. Nothing is read to be written, and a
worker only writes what all of its reload would write; so it does not matter who comes late, or is killed.
"""

import mmap

_SIZE = mmap.PAGESIZE  # far more reloads than can happen while one worker starts; then bytes are used again
_awaited = mmap.mmap(-1, _SIZE)
_reloads = 0  # the master counts; a worker keeps the number that it was forked with


def begin() -> None:
    """A reload begins (gunicorn's `on_reload`): all workers so far are to be replaced."""
    global _reloads  # noqa: PLW0603  # what a fork hands on
    before = _place()
    _reloads += 1
    _awaited[_place()] = 1
    _awaited[before] = 0  # only now, so that at no moment nobody is waited for


def call_off() -> None:
    """The whole service stops: nobody waits for anybody."""
    _awaited[_place()] = 0


def serves() -> None:
    """This worker has loaded the application, and takes requests from now on."""
    _awaited[_place()] = 0


def is_awaited() -> bool:
    """Whether those before the last reload are to serve on, as nobody who replaces them serves yet."""
    return any(_awaited[:])


def _place() -> int:
    return _reloads % _SIZE
