"""`/metrics`: who may read it, what it says about the database's state, and what that costs. Counts are in
tests/faults/test_metrics.py, on several processes.
"""

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django_q.models import OrmQ, Task
from prometheus_client.mmap_dict import MmapedDict, mmap_key
from prometheus_client.multiprocess import MultiProcessCollector

from billing import quota
from billing.models import DailySpend, Errand, Mail, UsageRecord, WebhookEvent
from billing.rollups import refresh
from licenses import lifecycle
from licenses.metrics import exact
from remind_site.metrics import process_files
from remind_site.models import LogIn
from tests.figures import METRICS_TOKEN, SHOWN, Figures


@pytest.fixture
def figures(client, settings, db):
    """`figures()`: what the page says now."""
    settings.METRICS_TOKEN = METRICS_TOKEN

    def figures():
        answer = client.get("/metrics", headers=SHOWN)
        assert answer.status_code == 200
        assert answer["Content-Type"].startswith("text/plain; version=0.0.4")
        return Figures(answer.content.decode())

    return figures


def test_it_is_closed_where_no_token_is_set(client, settings):
    settings.METRICS_TOKEN = ""
    for shown in ({}, {"Authorization": "Bearer "}, {"Authorization": "Bearer None"}, SHOWN):
        answer = client.get("/metrics", headers=shown)
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    "shown",
    [
        "",
        "Bearer",
        "Bearer ",
        "Bearer wrong",
        METRICS_TOKEN,
        f"Basic {METRICS_TOKEN}",
        f"Bearer {METRICS_TOKEN}x",
        f"Bearer {METRICS_TOKEN[:-1]}",
        "Bearer \u00fcml\u00e4ut",
    ],
)
def test_it_asks_for_its_token(client, settings, shown):
    settings.METRICS_TOKEN = METRICS_TOKEN
    answer = client.get("/metrics", headers={"Authorization": shown} if shown else {})
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    assert METRICS_TOKEN not in answer.content.decode()


def test_its_token_is_not_taken_from_the_address(client, settings):
    settings.METRICS_TOKEN = METRICS_TOKEN
    assert client.get(f"/metrics?token={METRICS_TOKEN}").status_code == 403


def test_it_may_be_asked_by_a_machines_address_without_tls_and_often(client, settings, figures):
    settings.SECURE_SSL_REDIRECT = True
    settings.RATE_LIMIT_REQUESTS = 2
    for _ in range(4):
        assert client.get("/metrics/", headers={**SHOWN, "Host": "10.1.2.3:8000"}).status_code == 200
    assert client.post("/metrics", headers=SHOWN).json()["code"] == "method_not_allowed"


def test_routes_go_by_their_names(client, figures):
    for path in (
        "/no/such/page",
        "/api/v1/other",
        "/admin/login/",
        "/admin/billing/mail/",
        "/static/remind/console.css",
    ):
        client.get(path).close()
    routes = figures().by("remind_requests_total", "route")
    assert {"unknown", "console", "static"} <= set(routes)
    assert not [route for route in routes if "/" in route or ":" in route]


def test_what_waits_and_what_failed(figures, license):
    now = timezone.now()
    hour, minute = timedelta(hours=1), timedelta(minutes=1)
    before = WebhookEvent(event_id="evt_1", event_type="a", body="{}", state="waiting", due_at=now - minute)
    tried = WebhookEvent(event_id="evt_2", event_type="a", body="{}", state="waiting", due_at=now + hour, note="Oops")
    done = WebhookEvent(event_id="evt_3", event_type="a", body="{}", state="done")
    old = WebhookEvent(event_id="evt_4", event_type="a", body="{}", state="ignored")
    WebhookEvent.objects.bulk_create([before, tried, done, old])
    WebhookEvent.objects.filter(event_id="evt_1").update(created_at=now - hour)
    WebhookEvent.objects.filter(event_id="evt_4").update(created_at=now - 25 * hour)
    Mail.objects.create(kind="token", license=license, state="flagged")
    Errand.objects.create(kind="fetch_customer", subject="ctm_1", state="flagged")
    OrmQ.objects.create(key="remind", payload="x", lock=now - minute)
    OrmQ.objects.create(key="remind", payload="x", lock=now + minute)
    Task.objects.create(id="a" * 32, name="t", func="f", started=now - hour, stopped=now - minute, success=False)
    LogIn.objects.create(what="failed", username="jo")

    found = figures()

    events = found.by("remind_outbox_items", "state", kind="webhook_event")
    assert events == {"waiting": 1, "retrying": 1}
    assert found.by("remind_outbox_items", "kind", state="flagged") == {"mail": 1, "errand": 1}
    assert found.value("remind_outbox_oldest_seconds", kind="webhook_event") == pytest.approx(3600, abs=60)
    assert found.value("remind_outbox_overdue_seconds", kind="webhook_event") == pytest.approx(60, abs=50)
    assert found.value("remind_outbox_oldest_seconds", kind="mail") == 0
    assert found.by("remind_webhook_events_24h", "state") == {"waiting": 2, "done": 1}
    assert found.by("remind_tasks", "state") == {"waiting": 1, "claimed": 1}
    assert found.value("remind_tasks_failed_24h") == 1
    last_seen = found.value("remind_worker_last_seen_timestamp_seconds")
    assert last_seen == pytest.approx((now - minute).timestamp(), abs=1)
    assert found.by("remind_console_log_ins_1h", "what") == {"failed": 1}


def test_quota_money_and_the_days_budget(figures, license, settings):
    token, _ = lifecycle.add_token(license, by="test")
    for _ in range(3):
        quota.reserve(license, token, model="local", request_id="r")
    lost = UsageRecord.objects.first()
    UsageRecord.objects.filter(pk=lost.pk).update(created_at=timezone.now() - timedelta(seconds=61))
    DailySpend.objects.create(day=timezone.now().date(), slot=1, cost_usd="1.25")
    nothing_set = figures()
    assert nothing_set.value("remind_ai_budget_limit_usd") == float("inf")

    settings.AI_DAILY_BUDGET_USD = 5
    quota.release_abandoned(license)
    refresh()
    found = figures()

    assert (nothing_set.value("remind_reservations_open"), nothing_set.value("remind_reservations_abandoned")) == (3, 1)
    assert (found.value("remind_reservations_open"), found.value("remind_reservations_abandoned")) == (2, 0)
    assert found.value("remind_ai_budget_used_usd") == 1.25
    assert found.value("remind_ai_budget_limit_usd") == 5
    assert found.by("remind_today_entries", "outcome") == {"abandoned": 1}
    assert found.value("remind_rollups_timestamp_seconds") > 0


def test_what_the_database_and_the_clock_say(figures, settings):
    found = figures()
    assert found.value("remind_database_up") == 1
    assert 1 <= found.value("remind_database_connections") <= found.value("remind_database_connections_limit")
    assert found.value("remind_database_size_bytes") > 1_000_000
    assert abs(found.value("remind_database_clock_offset_seconds")) < 1
    assert found.value("remind_time_seconds") == pytest.approx(timezone.now().timestamp(), abs=5)
    assert found.value("remind_build_info", version=settings.VERSION) == 1
    assert found.by("remind_ready", "check") == {"migrations": 1, "prices": 1}
    parts = [sample for sample in found.samples if sample.name == "remind_scrape_part_up"]
    assert all(part.value == 1 for part in parts)
    assert found.value("remind_cache_up") == 1
    settings.REDIS_URL = "redis://127.0.0.1:1"
    assert figures().value("remind_cache_up") == 0


def test_a_scrape_costs_the_same_however_long_the_history_is(figures):
    figures()
    with CaptureQueriesContext(connection) as asked:
        figures()
    assert len(asked) <= 25
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")  # else small tables are always read whole
        for query in asked.captured_queries:
            if not query["sql"].startswith("SELECT"):
                continue
            cursor.execute(f"EXPLAIN {query['sql']}")
            plan = "\n".join(row[0] for row in cursor.fetchall())
            for table in ("usagerecord", "webhookevent", "mail", "errand", "dailyspend"):
                assert f"Seq Scan on billing_{table}" not in plan, query["sql"]
            assert "Seq Scan on remind_site_login" not in plan, query["sql"]


def test_a_sum_does_not_depend_on_the_order_of_the_processes():
    seconds = [0.1, 0.2, 0.3, 1e-5, 19.7, 0.7] * 500
    counted = [exact(value) for value in seconds]
    assert sum(counted) == sum(sorted(counted)) == sum(reversed(counted))
    assert sum(counted) == pytest.approx(sum(seconds))
    assert sum(seconds) != sum(sorted(seconds)), "as it would without"


def test_no_count_is_moved_while_a_scrape_reads(tmp_path, monkeypatch):
    monkeypatch.setenv(process_files.VARIABLE, str(tmp_path))
    monkeypatch.setattr(process_files, "MERGE_WITHIN", 0.05)
    own = MmapedDict(str(tmp_path / "counter_999999.db"))
    own.write_value(mmap_key("remind_things", "remind_things_total", ["kind"], ["a"], "Things."), 7.0, 0.0)
    own.close()

    def total():
        with process_files.reading() as files:
            return [sample.value for metric in MultiProcessCollector.merge(files) for sample in metric.samples]

    with process_files.reading() as files:
        process_files.retire(999999)  # gives up, and raises nothing
        assert files == [str(tmp_path / "counter_999999.db")]
        assert not list(tmp_path.glob("*dead*"))
    assert total() == [7.0]
    process_files.retire(999999)
    assert {path.name for path in tmp_path.glob("*.db")} == {"counter_dead.db", "histogram_dead.db"}
    assert total() == [7.0]
