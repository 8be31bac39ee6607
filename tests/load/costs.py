"""What processes cost: CPU seconds and memory of a process and all that it started."""

from contextlib import suppress

import psutil

MEBIBYTE = 1024 * 1024


class Processes:
    """A server: its first process and its descendants, those that ended meanwhile included in the CPU time."""

    def __init__(self, pid: int) -> None:
        self.first = psutil.Process(pid)

    def cpu(self) -> float:
        """CPU seconds so far."""
        total = 0.0
        for process in self._all():
            with suppress(psutil.Error):
                times = process.cpu_times()
                total += times.user + times.system + times.children_user + times.children_system
        return total

    def memory(self) -> float:
        """MiB of proportional set size: shared pages are counted once, not once for each process."""
        total = 0
        for process in self._all():
            with suppress(psutil.Error):
                total += process.memory_full_info().pss
        return total / MEBIBYTE

    def _all(self) -> list[psutil.Process]:
        return [self.first, *self.first.children(recursive=True)]
