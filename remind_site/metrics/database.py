"""What is read at each scrape: from the database, the cache and the clock.

With the database down a scrape says so, within seconds, and leaves out what it would have read there.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import timedelta

import structlog
from django.conf import settings
from django.db import Error, connection
from django.db.models import Count, Max
from django.utils import timezone
from django_q.models import Failure, OrmQ, Task
from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily

from billing import metrics as billing
from licenses import limits
from remind_site import health
from remind_site.backups import metrics as backups
from remind_site.models import LogIn

TIME_FOR_ALL = 5.0  # seconds after which no further part is begun; Prometheus waits for 10

logger = structlog.get_logger(__name__)


def at_scrape() -> Iterator[Metric]:
    """All that is no process's own count."""
    yield _named("remind_build_info", "The version that answered.", "version", {settings.VERSION: 1})
    yield GaugeMetricFamily("remind_time_seconds", "This machine's clock.", value=time.time())
    yield GaugeMetricFamily("remind_cache_up", "Whether the shared cache answers.", value=limits.shared_cache_answers())
    began = time.monotonic()
    try:
        server = list(_server())
    except Error as error:
        logger.warning("metrics_without_database", error=type(error).__name__)
        server = []
    yield GaugeMetricFamily("remind_database_up", "Whether this process was answered.", value=bool(server))
    yield from server
    if server:
        yield from _parts(began)


def queue() -> Iterator[Metric]:
    """Tasks that wait, and the worker's last sign of life. Few rows: what is done is pruned by the queue itself."""
    now = timezone.now()
    claimed = OrmQ.objects.filter(lock__gt=now).count()
    yield _named(
        "remind_tasks",
        "Tasks in the queue, by state.",
        "state",
        {"waiting": OrmQ.objects.count() - claimed, "claimed": claimed},
    )
    failed = Failure.objects.filter(started__gte=now - timedelta(days=1)).count()
    yield GaugeMetricFamily("remind_tasks_failed_24h", "Tasks that failed in the last 24 hours.", value=failed)
    last = Task.objects.order_by().aggregate(last=Max("stopped"))["last"]
    yield GaugeMetricFamily(
        "remind_worker_last_seen_timestamp_seconds",
        "When the worker last ended a task, of which there is one each minute; 0: never.",
        value=last.timestamp() if last else 0,
    )


def console() -> Iterator[Metric]:
    """Log-ins of the last hour, and tries."""
    recent = LogIn.objects.filter(at__gte=timezone.now() - timedelta(hours=1)).order_by()
    counts = dict(recent.values_list("what").annotate(count=Count("pk")))
    yield _named(
        "remind_console_log_ins_1h",
        "Log-ins to the console in the last hour, and tries, by what they were.",
        "what",
        {what: counts.get(what, 0) for what in LogIn.What.values},
    )


def readiness() -> Iterator[Metric]:
    """What readiness looks at beside database and cache."""
    yield _named(
        "remind_ready",
        "Whether all migrations are applied, and the configured model has a price.",
        "check",
        {"migrations": health.migrations() == health.OK, "prices": health.prices_known() == health.OK},
    )


# Who reads figures from the database at a scrape: by name, a function that yields metrics and may raise
# django.db.Error.
PARTS: dict[str, Callable[[], Iterable[Metric]]] = {
    "billing": billing.from_database,
    "queue": queue,
    "console": console,
    "readiness": readiness,
    "backups": backups.from_database,
}


def _parts(began: float) -> Iterator[Metric]:
    worked = {}
    for name, part in PARTS.items():
        found = _read(name, part) if time.monotonic() - began < TIME_FOR_ALL else None
        worked[name] = found is not None
        yield from found or ()
    yield _named("remind_scrape_part_up", "Whether these figures could be read in time.", "part", worked)


def _read(name: str, part: Callable[[], Iterable[Metric]]) -> list[Metric] | None:
    try:
        return list(part())
    except Error as error:
        logger.warning("metrics_part_failed", part=name, error=type(error).__name__)
        return None


def _server() -> Iterator[Metric]:
    """What the database says about itself; raises Error where it does not answer."""
    with connection.cursor() as cursor:
        if connection.vendor != "postgresql":
            cursor.execute("SELECT 1")
            return (yield GaugeMetricFamily("remind_database_clock_offset_seconds", "The same machine.", value=0))
        asked = time.time()
        cursor.execute("SELECT extract(epoch FROM clock_timestamp())")
        offset = float(cursor.fetchone()[0]) - (asked + time.time()) / 2
        cursor.execute(
            "SELECT count(*), current_setting('max_connections')::int"
            " - current_setting('superuser_reserved_connections')::int, pg_database_size(current_database())"
            " FROM pg_stat_activity WHERE backend_type = 'client backend'"
        )
        connected, allowed, size = cursor.fetchone()
    yield GaugeMetricFamily(
        "remind_database_clock_offset_seconds", "The database's clock, less this machine's.", value=offset
    )
    yield GaugeMetricFamily("remind_database_connections", "Connections to the server, anybody's.", value=connected)
    yield GaugeMetricFamily("remind_database_connections_limit", "How many it takes.", value=allowed)
    yield GaugeMetricFamily("remind_database_size_bytes", "The size of our database.", value=size)


def _named(name: str, documentation: str, label: str, values: Mapping[str, float]) -> Metric:
    metric = GaugeMetricFamily(name, documentation, labels=[label])
    for key, value in values.items():
        metric.add_metric([key], value)
    return metric
