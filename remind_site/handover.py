"""A reload without a gap: the web processes before it serve on until one that replaces them does.

gunicorn starts the new ones and tells those before to stop in the same moment, but a process takes seconds to start, on
a busy machine half a minute. So the master and all its workers share two numbers, made before the first of them is
forked. Workers are numbered in the order in which they are started ("age").
"""

import mmap
import struct
from typing import Any

_SERVING, _REPLACED = 0, 8  # the youngest worker that has begun to serve; the youngest that is to be replaced
_shared = mmap.mmap(-1, 16)


def begin(arbiter: Any) -> None:
    """A reload begins (gunicorn's `on_reload`): all workers so far are to be replaced."""
    _write(_REPLACED, arbiter.worker_age)


def call_off() -> None:
    """The whole service stops: nobody waits for anybody."""
    _write(_REPLACED, 0)


def serves(age: int) -> None:
    """A worker has loaded the application, and takes requests from now on."""
    _write(_SERVING, max(age, _read(_SERVING)))


def is_awaited(age: int) -> bool:
    """Whether a worker that was told to stop is to be replaced, and nobody who replaces it serves yet."""
    return max(age, _read(_SERVING)) <= _read(_REPLACED)


def _read(place: int) -> int:
    number: int = struct.unpack_from("Q", _shared, place)[0]
    return number


def _write(place: int, number: int) -> None:
    struct.pack_into("Q", _shared, place, number)
