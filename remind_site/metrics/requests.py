"""What is counted about every request. Routes go by their names, never by a path, so that no client can add one."""

from typing import cast

import structlog
from django.conf import settings
from django.http import HttpRequest
from prometheus_client import Counter, Gauge, Histogram

from licenses.errors import Refusal
from licenses.metrics import exact
from licenses.requests import ServiceRequest

CONSOLE, STATIC, UNKNOWN = "console", "static", "unknown"
SUGGESTIONS = ("suggest-reminder", "ai")

REQUESTS = Counter("remind_requests_total", "Requests answered, by route and status.", ["route", "status"])
DURATION = Histogram(
    "remind_request_duration_seconds",
    "From the moment a thread takes a request to its answer.",
    ["route"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 3, 5, 10, 15, 20, 25),
)
ADDED = Histogram(
    "remind_request_added_seconds",
    "What we add to a suggestion: its request's duration less the time that the provider took.",
    buckets=(0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.25, 0.5, 1, 2.5, 5),
)
IN_PROGRESS = Gauge("remind_requests_in_progress", "Requests that have a thread now.", multiprocess_mode="livesum")
REFUSALS = Counter("remind_refusals_total", "Requests refused, by the code that the client was told.", ["code"])
DATABASE_ERRORS = Counter(
    "remind_database_errors_total", "Requests that failed because of the database, by kind.", ["kind"]
)
# By SQLSTATE, PostgreSQL's documentation, appendix A.
KINDS = {
    "53100": "disk_full",
    "53300": "too_many_connections",
    "57014": "statement_timeout",
    "55P03": "lock_timeout",
    "25006": "read_only",
}
POOL_TIMEOUT, OTHER = "pool_timeout", "other"


def preset() -> None:
    """Make what alerts look at begin at 0: a counter that begins at its first event hides that event from rate()."""
    for code in sorted(_codes(Refusal)):
        REFUSALS.labels(code)
    for kind in (*KINDS.values(), POOL_TIMEOUT, OTHER):
        DATABASE_ERRORS.labels(kind)


def count(plain: HttpRequest, status: int, seconds: float) -> None:
    """Count a request that is about to be answered.

    Args:
        seconds: since it began.
    """
    route, bound = route_of(plain), structlog.contextvars.get_contextvars()
    REQUESTS.labels(route, str(status)).inc()
    DURATION.labels(route).observe(exact(seconds))
    if route in SUGGESTIONS and status == 200:
        ADDED.observe(exact(max(0.0, seconds - bound.get("provider_seconds", 0.0))))
    if status >= 400 and "outcome" in bound:
        REFUSALS.labels(bound["outcome"]).inc()


def count_malformed(code: str) -> None:
    """Count what was refused before it became a request."""
    REFUSALS.labels(code).inc()


def count_database_error(error: Exception) -> None:
    """Count a request's failure by what the database, or the pool, said."""
    cause = error.__cause__
    timed_out = type(cause).__name__ == "PoolTimeout"
    kind = POOL_TIMEOUT if timed_out else KINDS.get(getattr(cause, "sqlstate", None) or "", OTHER)
    DATABASE_ERRORS.labels(kind).inc()


def route_of(request: HttpRequest) -> str:
    """The name of a request's route: one of the few that there are."""
    match = cast(ServiceRequest, request).resolver_match
    if match is not None:
        return CONSOLE if match.app_names else match.url_name or UNKNOWN
    return STATIC if request.path.startswith(settings.STATIC_URL) else UNKNOWN


def _codes(refusal: type[Refusal]) -> set[str]:
    return {refusal.code}.union(*(_codes(kind) for kind in refusal.__subclasses__()))
