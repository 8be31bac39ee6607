"""What an operator looks at first: each thing that the service depends on, whether it is well, and which page to read.

The figures are those that monitoring reads (`remind_site.metrics.database`); here they are judged. Nothing is changed.
The pages are those of `docs/runbooks`.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import httpx2
from django.conf import settings
from django.db import Error as DatabaseError
from django.db import connection, transaction
from django.utils import timezone

from billing.figures import recent_outcomes
from billing.models import Outcome, UsageRecord
from billing.quota import RESERVATION_TTL

Figures = dict[tuple[str, ...], float]

WEB_ANSWERS_WITHIN = 3.0  # seconds
CLOCK_OFF = 2.0  # seconds; a clock that is kept by a service is off by milliseconds
CONNECTIONS_FULL = 0.9  # of what the server takes
STANDS_STILL = 180.0  # seconds; the worker has something to do each minute
OVERDUE = 300.0  # seconds for which something that waits may be late
SWEPT_UP = timedelta(minutes=3)  # that an abandoned reservation may be left; each minute there is a sweep
NOT_ANSWERED = 0.2  # of the last suggestions, as in the alert
BACKUP_DUE = 26 * 3600.0  # seconds; one a day, and how long it takes

# A megabyte of what nobody else sees, where our tables are: more than a disk that is called full has left.
TRY_TO_WRITE = """
    SET LOCAL temp_tablespaces = '';
    CREATE TEMPORARY TABLE remind_status_tries_to_write ON COMMIT DROP AS
        SELECT repeat('x', 1000) AS filling FROM generate_series(1, 1000)
"""
WAIT_FOR_LOCKS = """
    SELECT pid, pg_blocking_pids(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event_type = 'Lock'
        AND clock_timestamp() - query_start > interval '1 second'
"""
# By SQLSTATE, PostgreSQL's documentation, appendix A: a full disk, no connection left, a lock that another one holds.
PAGES_BY_STATE = {"53100": "database-full", "53300": "connections-exhausted", "55P03": "connections-exhausted"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    what: str
    is_well: bool
    words: str
    page: str = ""


def look() -> Iterator[Finding]:
    """Everything that can be looked at from here, what matters most first."""
    from remind_site.metrics import database  # counts in memory of its own; only where it is asked for

    yield _web()
    figures = {
        (sample.name, *sample.labels.values()): sample.value
        for metric in database.at_scrape()
        for sample in metric.samples
    }
    if figures["remind_database_up",]:
        yield from _database(figures)
        yield from _writes()
        for part, judge in JUDGES.items():
            if figures["remind_scrape_part_up", part]:
                yield from judge(figures)
            else:
                yield Finding(part, False, "its figures could not be read, or not in time", "database-down")
        yield _provider()
    else:
        yield _no_database()
    yield _cache(figures)


def _web() -> Finding:
    url = f"{settings.SITE_URL}/health"
    try:
        answer = httpx2.get(url, timeout=WEB_ANSWERS_WITHIN)
    except httpx2.HTTPError as error:
        return Finding("web", False, f"{url} does not answer ({type(error).__name__})", "service-down")
    return Finding("web", answer.status_code == 200, f"{url} answers {answer.status_code}", "service-down")


def _no_database() -> Finding:
    """What it says of itself; one that takes no more connections is not down."""
    try:
        connection.ensure_connection()
    except DatabaseError as error:
        said = _said(error)
        page = "connections-exhausted" if "too many" in said or "slots" in said else "database-down"
        return Finding("database", False, said, "database-full" if "No space left" in said else page)
    return Finding("database", False, "answered too late: nothing else was read", "database-down")


def _database(figures: Figures) -> Iterator[Finding]:
    size = figures.get(("remind_database_size_bytes",), 0) / 1e9
    yield Finding("database", True, f"answers; {size:.1f} GB")
    allowed = figures.get(("remind_database_connections_limit",))
    if allowed:
        used = figures["remind_database_connections",]
        words = f"{used:.0f} of {allowed:.0f} in use"
        yield Finding("connections", used < allowed * CONNECTIONS_FULL, words, "connections-exhausted")
    offset = figures["remind_database_clock_offset_seconds",]
    words = f"this machine's and the database's differ by {abs(offset):.1f} s"
    yield Finding("clock", abs(offset) < CLOCK_OFF, words, "clock-wrong")


def _writes() -> Iterator[Finding]:
    """What customers need and reading does not show: a write, which is taken back, and that nobody holds others up."""
    if connection.vendor != "postgresql":
        return
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(WAIT_FOR_LOCKS)
            waiting = cursor.fetchall()
            cursor.execute(TRY_TO_WRITE)
            transaction.set_rollback(True)
    except DatabaseError as error:
        page = PAGES_BY_STATE.get(getattr(error.__cause__, "sqlstate", None) or "", "database-down")
        yield Finding("writes", False, f"refused: {_said(error)}", page)
        return
    yield Finding("writes", True, "taken")
    blocking = ", ".join(str(pid) for pid in sorted({pid for _, pids in waiting for pid in pids}))
    words = f"{len(waiting)} wait for a lock" + (f", held up by pid {blocking}" if blocking else "")
    yield Finding("locks", not waiting, words, "connections-exhausted")


def _said(error: DatabaseError) -> str:
    return str(error).strip().split("\n")[0]


def _readiness(figures: Figures) -> Iterator[Finding]:
    migrated, priced = figures["remind_ready", "migrations"], figures["remind_ready", "prices"]
    yield Finding("migrations", bool(migrated), "applied" if migrated else "pending: manage.py migrate", "bad-deploy")
    words = "known for the configured model" if priced else "none for the configured model: add one in the console"
    yield Finding("price", bool(priced), words, "provider")


def _queue(figures: Figures) -> Iterator[Finding]:
    if _has_worker():
        yield _age("worker", "last sign of life", figures, ("remind_worker_last_seen_timestamp_seconds",))
    else:
        yield Finding("worker", True, "none: without DATABASE_URL its work is done at once")
    waiting, failed = figures["remind_tasks", "waiting"], figures["remind_tasks_failed_24h",]
    yield Finding("tasks", not failed, f"{waiting:.0f} wait, {failed:.0f} failed in 24 hours", "worker-stopped")


def _billing(figures: Figures) -> Iterator[Finding]:
    yield _reservations(figures)
    pages = {"webhook_event": "paddle-events", "mail": "worker-stopped", "errand": "paddle-events"}
    for kind, page in pages.items():
        waits = sum(figures["remind_outbox_items", kind, state] for state in ("waiting", "retrying"))
        flagged = figures["remind_outbox_items", kind, "flagged"]
        late = figures["remind_outbox_overdue_seconds", kind]
        words = f"{waits:.0f} wait, {flagged:.0f} need a person" + (f"; late by {_span(late)}" if late > 60 else "")
        yield Finding(f"{kind.replace('_', ' ')}s", not flagged and late < OVERDUE, words, page)
    if _has_worker():
        yield _age("figures", "summed up", figures, ("remind_rollups_timestamp_seconds",))
    limit, used = figures["remind_ai_budget_limit_usd",], figures["remind_ai_budget_used_usd",]
    of_what = "no limit is set" if limit == float("inf") else f"of {limit:.2f}"
    yield Finding("AI budget", used < limit, f"{used:.2f} US dollars today, {of_what}", "provider")


def _reservations(figures: Figures) -> Finding:
    """Some are abandoned for a minute whenever a process was killed; what stays is what nobody sweeps up."""
    words = (
        f"{figures['remind_reservations_open',]:.0f} open, {figures['remind_reservations_abandoned',]:.0f} abandoned"
    )
    left = UsageRecord.objects.filter(
        state=UsageRecord.State.RESERVED, created_at__lt=timezone.now() - RESERVATION_TTL - SWEPT_UP
    )
    return Finding("reservations", not left.exists(), words, "worker-stopped")


def _backups(figures: Figures) -> Iterator[Finding]:
    if not _has_worker():
        return
    for kind, what in (("backup", "backup"), ("verify", "restoring it")):
        name, page = "remind_backup_last_success_timestamp_seconds", "backup-failed"
        found = _age(what, "last success", figures, (name, kind), BACKUP_DUE, page)
        if found.is_well and not figures["remind_backup_last_run_ok", kind]:
            found = Finding(what, False, f"failed the last time; {found.words}", page)
        yield found


# What is read in one part is judged in one part, so that what could not be read is never called well.
JUDGES: dict[str, Callable[[Figures], Iterator[Finding]]] = {
    "readiness": _readiness,
    "queue": _queue,
    "billing": _billing,
    "backups": _backups,
}


def _has_worker() -> bool:
    return not settings.Q_CLUSTER["sync"]


def _provider() -> Finding:
    minutes = 2
    try:
        outcomes = recent_outcomes(minutes)
        if not outcomes:
            outcomes = recent_outcomes(minutes := 15)
    except DatabaseError as error:
        return Finding(
            "provider", False, f"the last outcomes could not be read ({type(error).__name__})", "database-down"
        )
    answered = outcomes.pop(Outcome.ANSWERED, 0)
    troubles = ", ".join(f"{Outcome(name).label}: {count}" for name, count in outcomes.items())
    words = f"{answered} answered in {minutes} minutes{f'; {troubles}' if troubles else ''}"
    failed = sum(outcomes.values())
    return Finding("provider", failed <= NOT_ANSWERED * (answered + failed), words, "provider")


def _cache(figures: Figures) -> Finding:
    if not settings.REDIS_URL:
        return Finding("cache", True, "none configured: one process counts for itself")
    is_up = bool(figures["remind_cache_up",])
    return Finding("cache", is_up, "answers" if is_up else "does not answer: each process counts alone", "cache-down")


def _age(
    what: str,
    words: str,
    figures: Figures,
    name: tuple[str, ...],
    most: float = STANDS_STILL,
    page: str = "worker-stopped",
) -> Finding:
    moment = figures.get(name, 0)
    if not moment:
        return Finding(what, False, f"{words}: never", page)
    age = max(0.0, time.time() - moment)
    at = datetime.fromtimestamp(moment, UTC)
    return Finding(what, age < most, f"{words} {_span(age)} ago ({at:%Y-%m-%d %H:%M:%S} UTC)", page)


def _span(seconds: float) -> str:
    for unit, size in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} seconds"
