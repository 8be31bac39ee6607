"""What a web process says about itself every few seconds, since another one may be asked: its pool and its threads."""

import threading
import time

from django.conf import settings
from django.db import connections
from prometheus_client import Counter, Gauge

from licenses.metrics import exact

EVERY = 5.0  # seconds

THREADS = Gauge("remind_web_threads", "Threads that can take a request.", multiprocess_mode="livesum")
PROCESSES = Gauge("remind_web_processes", "Web processes that live.", multiprocess_mode="livesum")
STARTS = Counter("remind_web_process_starts_total", "Web processes that were started.")
POOL = Gauge(
    "remind_pool_connections",
    "Database connections of a process: max that it may have, size that it has, available of these.",
    ["state"],
    multiprocess_mode="liveall",
)
POOL_WAITING = Gauge(
    "remind_pool_requests_waiting", "Requests that wait for a connection now.", multiprocess_mode="liveall"
)
POOL_REQUESTS = Counter("remind_pool_requests_total", "Connections asked for.")
POOL_QUEUED = Counter("remind_pool_requests_queued_total", "Of these, those that had to wait.")
POOL_FAILED = Counter("remind_pool_requests_failed_total", "Of these, those that got none.")
POOL_WAIT = Counter("remind_pool_wait_seconds_total", "Time spent waiting for a connection.")
POOL_LOST = Counter("remind_pool_connections_lost_total", "Connections that were found broken.")

_sampling = threading.Lock()


def start() -> None:
    """Begin, in a process that serves."""
    STARTS.inc()
    PROCESSES.set(1)
    THREADS.set(settings.WEB_THREADS)
    threading.Thread(target=_run, daemon=True, name="metrics").start()


def sample() -> None:
    """Look once."""
    pool = getattr(connections["default"], "pool", None)
    if pool is None:
        return
    with _sampling:  # what is popped is counted once
        stats = pool.pop_stats()
        POOL.labels("max").set(stats["pool_max"])
        POOL.labels("size").set(stats["pool_size"])
        POOL.labels("available").set(stats["pool_available"])
        POOL_WAITING.set(stats.get("requests_waiting", 0))
        POOL_REQUESTS.inc(stats.get("requests_num", 0))
        POOL_QUEUED.inc(stats.get("requests_queued", 0))
        POOL_FAILED.inc(stats.get("requests_errors", 0))
        POOL_WAIT.inc(exact(stats.get("requests_wait_ms", 0) / 1000))
        POOL_LOST.inc(stats.get("connections_lost", 0))


def _run() -> None:
    while True:
        sample()
        time.sleep(EVERY)
