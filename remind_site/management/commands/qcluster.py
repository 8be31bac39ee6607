"""The worker: django-q2's own command, which finishes its task before it stops, whoever is told to."""

import ctypes
import os
import signal
import sys
from typing import Any

from django_q.management.commands import qcluster

PR_SET_PDEATHSIG = 1  # of Linux; Python has no name for it


class Command(qcluster.Command):  # type: ignore[misc]  # django-q2 has no types
    """Some hosts (and systemd, by default) send SIGTERM to every process, not to the first alone.

    django-q2's first process then tells the others to finish, but these would have died of the signal meanwhile. They
    are forked with it blocked, so that only the first one gets it. (What django-q2 itself ends with that signal is a
    task that outlasts its time; that is raised out of the task before.)

    And where the first one is killed, the others would wait for its word for ever: the system kills them with it, as a
    host does that ends all of a service. What they were at is done again.
    """

    def handle(self, *args: Any, **options: Any) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        _let_no_child_outlive_its_parent()
        try:
            super().handle(*args, **options)
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})


def _let_no_child_outlive_its_parent() -> None:
    """For all that this process forks from now on, and what that forks. Linux only; elsewhere they stay."""
    if sys.platform != "linux":
        return
    prctl = ctypes.CDLL(None).prctl
    os.register_at_fork(after_in_child=lambda: prctl(PR_SET_PDEATHSIG, signal.SIGKILL))
