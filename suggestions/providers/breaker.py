"""A circuit breaker: a provider that keeps failing rests, so that it does not cost every request its timeout.

    closed      every call goes through; FAILURES failures in a row open it
    open        no call goes through for REST seconds
    half-open   one call at a time goes through, with less time; if it does not fail, the breaker closes

Only what says that the provider is in trouble counts as a failure: timeouts, connection errors, 429 and 5xx. Calls
that began before the breaker opened and end while it is open say nothing about the provider as it is now.
Each process has its own.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from suggestions import metrics
from suggestions.providers.base import ProviderError, ProviderTimeout, ProviderUnavailable

FAILURES = 5
REST = 5.0  # seconds
TRIAL_TIMEOUT = 8.0  # seconds; with REST it bounds how long a healed provider goes unnoticed
TROUBLE = (ProviderTimeout, ProviderUnavailable)

logger = structlog.get_logger(__name__)


class BreakerOpen(ProviderError):
    """The provider was not asked: it rests."""

    outcome = "breaker_open"


class Breaker:
    """See the module. Safe to use from many threads; no lock is held while the provider works."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._failures = 0
        self._open_until: float | None = None
        self._trial = False

    @contextmanager
    def call(self, timeout: float) -> Iterator[float]:
        """Let one call through, with the seconds it may take, and learn from how it ends.

        Raises:
            BreakerOpen: the provider rests.
        """
        trial = self._admit()
        failed = True
        try:
            yield min(timeout, TRIAL_TIMEOUT) if trial else timeout
            failed = False
        except ProviderError as error:
            failed = isinstance(error, TROUBLE)
            raise
        finally:
            self._learn(failed, trial)

    def _admit(self) -> bool:
        """Whether the call that goes through is a trial."""
        with self._lock:
            if self._open_until is None:
                return False
            if self._trial or time.monotonic() < self._open_until:
                raise BreakerOpen("the provider rests after failures")
            self._trial = True
            return True

    def _learn(self, failed: bool, trial: bool) -> None:
        with self._lock:
            was_open = self._open_until is not None
            if was_open and not trial:
                return
            if trial:
                self._trial = False
            if not failed:
                self._failures, self._open_until = 0, None
            else:
                self._failures += 1
                if self._failures >= FAILURES:
                    self._open_until = time.monotonic() + REST
            is_open = self._open_until is not None
        if is_open != was_open:
            metrics.breaker_turned(is_open)
            logger.warning("breaker_opened" if is_open else "breaker_closed")
