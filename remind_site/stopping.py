"""The master's part in a graceful stop: no new connection comes to be that nobody would answer.

Between a worker's last look at the queue of the listening socket and its closing it, the system may complete another
connection, and would then break it off. So before the workers are told to stop, the listening sockets get a filter
that ignores attempts to connect. A client tries again after a second by itself, and then finds the next service or is
told that there is none. What workers do is in `remind_site.worker`.
"""

import ctypes
import logging
import socket
import struct
import sys
from typing import Any

from remind_site import handover

SO_ATTACH_FILTER = 26  # of Linux; Python has no name for it
# A classic BPF program over the TCP header: is this a SYN without an ACK? Then 0 bytes of it are kept, else all.
IGNORE_SYN = [
    (0x30, 0, 0, 13),  # load the byte with the flags
    (0x54, 0, 0, 0x12),  # keep SYN and ACK
    (0x15, 0, 1, 0x02),  # only SYN?
    (0x06, 0, 0, 0),
    (0x06, 0, 0, 0xFFFFFFFF),
]

logger = logging.getLogger(__name__)


def let_nobody_in_first(arbiter: Any) -> None:
    """Make gunicorn's master turn new connections away before it stops its workers."""
    stop = arbiter.stop

    def stop_quietly(graceful: bool = True) -> None:
        handover.call_off()
        inherited = arbiter.systemd or arbiter.master_pid or arbiter.reexec_pid
        if not inherited:  # else others go on with these sockets, and connections wait there for them
            for listener in arbiter.LISTENERS:
                turn_away(listener)
        stop(graceful)

    arbiter.stop = stop_quietly


def turn_away(listener: Any) -> None:
    """Ignore attempts to connect from now on. Where the system can't, a stop may break off a connection just made."""
    if listener.FAMILY == socket.AF_UNIX or sys.platform != "linux":  # a unix socket's name is taken away first
        return
    program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in IGNORE_SYN))
    address = struct.pack("HL", len(IGNORE_SYN), ctypes.addressof(program))
    try:
        listener.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, address)
    except OSError:
        logger.warning("new connections can't be turned away before the stop")
