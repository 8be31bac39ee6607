"""Figures of several processes: exact, and never falling, whatever becomes of a process."""

import contextlib
import itertools
import os
import shutil
import signal
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import psutil
import pytest

from tests.figures import METRICS_TOKEN, scrape
from tests.servers import start_postgres, stop_postgres
from tests.service import Database, codes, run_command, wait_until

RELOADED = 60.0  # seconds; the old workers answer what was sent to them before they end


@pytest.fixture
def service(start):
    return start(METRICS_TOKEN=METRICS_TOKEN)


def workers(service):
    return psutil.Process(service.process.pid).children()


def folder(service):
    """Where the processes count, as their open files tell."""
    mapped = (region.path for region in workers(service)[0].memory_maps())
    return Path(next(path for path in mapped if "/counter_" in path)).parent


def reload(service):
    before = {worker.pid for worker in workers(service)}
    service.process.send_signal(signal.SIGHUP)
    wait_until(
        lambda: not before & {worker.pid for worker in workers(service)},
        timeout=RELOADED,
        what="the old workers to end",
    )
    wait_until(lambda: len(workers(service)) == 2, what="new workers")


def told(answers):
    """What clients were told, as the figures put it."""
    return Counter(codes(answers))


def counted(figures):
    given = figures.by("remind_suggestions_total", "result")
    refused = figures.by("remind_refusals_total", "code")
    return Counter({"ok": given.get("charged", 0), "degraded": given.get("degraded", 0), **refused})


def test_counts_are_what_clients_were_told_across_kills_and_reloads(service, provider):
    tokens = [service.issue(), service.issue(quota=7), service.issue(rate="5/m"), "remind_pro_" + "b" * 40]
    seen = Counter()

    def load():
        turns = itertools.cycle(tokens)
        with ThreadPoolExecutor(24) as pool:
            answers = list(pool.map(lambda _: service.suggest(next(turns)), range(120)))
        seen.update(told(answers))

    load()
    assert counted(scrape(service)) == seen
    assert {"ok", "quota_exhausted", "rate_limited", "token_invalid"} <= set(seen)

    killed = workers(service)[0]
    killed.kill()
    wait_until(lambda: killed.pid not in {worker.pid for worker in workers(service)} and len(workers(service)) == 2)
    assert counted(scrape(service)) == seen, "a killed process takes no count with it"
    provider.mode = "failing"
    load()
    reload(service)
    reload(service)
    load()

    figures = scrape(service)
    assert counted(figures) == seen
    assert seen["degraded"] > 0
    assert figures.value("remind_quota_units_total", step="settled") == seen["ok"]
    assert figures.value("remind_quota_units_total", step="released") == seen["degraded"]
    assert figures.value("remind_charged_cents_total") == service.database.value(
        "SELECT sum(charge_cents) FROM billing_usagerecord"
    )
    assert figures.value("remind_provider_cost_usd_total") == pytest.approx(
        float(service.database.value("SELECT sum(provider_cost_usd) FROM billing_usagerecord"))
    )
    assert figures.value("remind_provider_call_duration_seconds_count") == provider.calls
    by_status = figures.by("remind_requests_total", "status", route="suggest-reminder")
    assert sum(by_status.values()) == sum(seen.values()) == 360
    assert by_status["200"] == seen["ok"] + seen["degraded"] == figures.value("remind_request_added_seconds_count")
    assert figures.value("remind_request_duration_seconds_count", route="suggest-reminder") == 360
    assert figures.by("remind_limit_hits_total", "limit") == {"license": seen["rate_limited"]}
    assert figures.value("remind_web_process_starts_total") == 2 + 1 + 2 * 2
    assert figures.value("remind_web_threads") == 200, "of the living only"
    assert len({sample.labels["pid"] for sample in figures.samples if "pid" in sample.labels}) == 2
    assert len(list(folder(service).glob("*.db"))) <= 2 * 4 + 2, "the dead leave one file of each kind"
    assert not [secret for secret in (*tokens, "@example.com", "call mum") if secret in figures.text]


def test_no_count_ever_falls(service):
    token, stop = service.issue(), threading.Event()

    def ask():
        while not stop.is_set():
            with contextlib.suppress(httpx2.TransportError):  # the killed process had it
                service.suggest(token)

    with ThreadPoolExecutor(6) as pool:
        watching = [pool.submit(falls, service, stop) for _ in range(2)]
        asking = [pool.submit(ask) for _ in range(4)]
        try:
            workers(service)[0].kill()
            reload(service)
            workers(service)[0].kill()
        finally:
            stop.set()
        for call in asking:
            call.result()
    assert [watch.result() for watch in watching] == [[], []]
    assert scrape(service).value("remind_suggestions_total", result="charged") > 0


def falls(service, stop):
    """The counters that were lower in one scrape than in the one before, until `stop` is set."""
    fallen, before = [], {}
    while not stop.is_set():
        with contextlib.suppress(httpx2.TransportError):
            now = scrape(service).counters
            fallen += [key for key, value in before.items() if now.get(key, 0) < value]
            before = now
    assert before
    return fallen


def test_a_deleted_folder_stops_nothing(service):
    token = service.issue()
    shutil.rmtree(folder(service))
    reload(service)
    assert codes([service.suggest(token)]) == {"ok": 1}
    assert scrape(service).value("remind_suggestions_total", result="charged") == 1


def test_the_folder_goes_with_its_master_and_a_killed_ones_with_the_next(service):
    own = folder(service)
    assert own.stat().st_mode & 0o077 == 0
    service.kill()
    assert own.exists()
    long_ago = time.time() - 3600
    os.utime(own, (long_ago, long_ago))
    service.start()
    assert not own.exists()
    scrape(service)
    own = folder(service)
    service.stop()
    assert not own.exists()


def test_with_the_database_gone_the_processes_figures_are_still_there(start, provider):
    server = start_postgres()
    database = Database(server.get_uri("postgres"))
    run_command("migrate", "--verbosity", "0", env={"DATABASE_URL": database.url})
    service = start(database, METRICS_TOKEN=METRICS_TOKEN)
    token = service.issue()
    assert codes([service.suggest(token)]) == {"ok": 1}
    assert scrape(service).value("remind_database_up") == 1

    stop_postgres(server)
    began = time.monotonic()
    figures = scrape(service)

    assert time.monotonic() - began < 9, "Prometheus waits for 10 seconds"
    assert figures.value("remind_database_up") == 0
    assert figures.value("remind_suggestions_total", result="charged") == 1
    assert "remind_outbox_items" not in figures.text
    assert codes([service.suggest(token)]) == {"database_unavailable": 1}
    found = scrape(service)
    assert sum(found.by("remind_database_errors_total", "kind").values()) == 1
    assert found.value("remind_refusals_total", code="database_unavailable") == 1
