"""What is counted about suggestions and the provider. Labels are outcomes: no license, no text, no model's words."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import structlog
from prometheus_client import Counter, Gauge, Histogram

from billing.models import Outcome
from licenses.metrics import exact

CHARGED, DEGRADED, REPLAYED = "charged", "degraded", "replayed"

SUGGESTIONS = Counter(
    "remind_suggestions_total",
    "Suggestions given: charged, degraded (free, by the built-in fallback) or replayed; with the outcome behind it.",
    ["result", "outcome"],
)
PROVIDER_CALL = Histogram(
    "remind_provider_call_duration_seconds",
    "Calls to the provider, by outcome.",
    ["outcome"],
    buckets=(0.1, 0.25, 0.5, 0.75, 1, 1.5, 2, 3, 5, 8, 12, 16, 20),
)
PROVIDER_CALLS_OPEN = Gauge(
    "remind_provider_calls_in_progress", "Calls that are with the provider now.", multiprocess_mode="livesum"
)
BREAKERS_OPEN = Gauge(
    "remind_breakers_open",
    "Web processes whose breaker is open; it closes with the first trial that does not fail.",
    multiprocess_mode="livesum",
)
BREAKER_OPENED = Counter("remind_breaker_opened_total", "Times that a process's breaker opened.")

ASKED = (
    Outcome.PROVIDER_TIMEOUT, Outcome.PROVIDER_UNAVAILABLE, Outcome.PROVIDER_MISCONFIGURED, Outcome.PROVIDER_INVALID,
    Outcome.ANSWER_INVALID, Outcome.PROVIDER_REFUSED,
)  # fmt: skip
NOT_ASKED = (
    Outcome.BREAKER_OPEN, Outcome.BUDGET_SPENT, Outcome.MISFIRES_SPENT, Outcome.PRICE_MISSING, Outcome.TOO_LATE,
)  # fmt: skip

# A counter that begins at its first event hides that event from rate().
SUGGESTIONS.labels(CHARGED, Outcome.ANSWERED.value)
SUGGESTIONS.labels(REPLAYED, Outcome.ANSWERED.value)
for _outcome in (*ASKED, *NOT_ASKED, Outcome.ABANDONED):
    SUGGESTIONS.labels(DEGRADED, _outcome.value)
for _outcome in (Outcome.ANSWERED, *ASKED):
    PROVIDER_CALL.labels(_outcome.value)


def count(result: str, outcome: str = Outcome.ANSWERED.value) -> None:
    """Count one suggestion that is about to be given."""
    SUGGESTIONS.labels(result, str(outcome)).inc()


@contextmanager
def provider_call() -> Iterator[None]:
    """Time one call to the provider, and tell the request's own figures and log line how long it took."""
    outcome, started = str(Outcome.ANSWERED.value), time.monotonic()
    PROVIDER_CALLS_OPEN.inc()
    try:
        yield
    except Exception as error:  # of the kinds in `suggestions.providers.base`, each of which has an outcome
        outcome = str(getattr(error, "outcome", Outcome.PROVIDER_INVALID.value))
        raise
    finally:
        took = time.monotonic() - started
        PROVIDER_CALLS_OPEN.dec()
        PROVIDER_CALL.labels(outcome).observe(exact(took))
        structlog.contextvars.bind_contextvars(provider_seconds=round(took, 4))


def breaker_turned(is_open: bool) -> None:
    """Note that this process's breaker opened or closed."""
    BREAKERS_OPEN.set(int(is_open))
    if is_open:
        BREAKER_OPENED.inc()
