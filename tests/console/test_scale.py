"""A business of some years in the console: a page makes a bounded number of queries, and none reads the whole ledger.

Here with a tenth of what is promised, so that it is quick. `make bench-console` runs the same with 100,000 licenses and
1,000,000 entries, and says how many milliseconds each page takes; no test asserts these.
"""

import os
import sys
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.contrib import admin
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from billing import rollups
from billing.admin import MOST_PAGES
from billing.models import (
    Adjustment,
    BonusGrant,
    Customer,
    DailyRefusals,
    Errand,
    Mail,
    MonthlyUsage,
    Payment,
    Subscription,
    UsageRecord,
    WebhookEvent,
)
from licenses import lifecycle
from licenses.models import AuditEvent, License, LicenseToken, Plan
from remind_site.models import LogIn
from tests.load.filling import copy, drop_indexes

pytestmark = pytest.mark.django_db
TODAY = datetime.now(UTC).date()
FULL = bool(os.environ.get("CONSOLE_FULL_SIZE"))
LICENSES, ENTRIES = (100_000, 1_000_000) if FULL else (10_000, 100_000)
MOST_QUERIES = {"home": 60, "customer": 25, "find": 30}  # of a list: MOST_OF_A_LIST
MOST_OF_A_LIST = 14
LEDGER_SHARE = 8  # a page reads no more of the ledger than one part in so many
PASSES = 5  # and so many rows of each other table as if it had read it so often
WHEN = "now() - interval '24 months' * (1 - n::float / {count})"
NTH = "first_license + (n * 7919) % {licenses}"

# What differs in each copy of the one row that there is; `n` is its number.
COPIES = {
    License: (LICENSES, {
        "email": "'owner' || n || '@example.com'", "plan_id": "(ARRAY[{plans}])[1 + n % 3]",
        "created_at": WHEN, "suspended_at": "CASE WHEN n % 50 = 0 THEN now() END",
        "expires_at": "CASE WHEN n % 10 = 0 THEN now() + (n % 60 - 20) * interval '1 day' END",
    }),
    LicenseToken: (LICENSES, {
        "license_id": "first_license + n - 1", "digest": "md5(n::text)", "created_at": WHEN,
        "prefix": "'remind_pro_' || substr(md5(n::text), 1, 8)",
    }),
    AuditEvent: (2 * LICENSES, {"license_id": NTH, "at": WHEN, "token_id": "NULL"}),
    MonthlyUsage: (LICENSES, {"license_id": "first_license + n - 1", "used": "n % 1100"}),
    BonusGrant: (LICENSES // 10, {"license_id": NTH}),
    DailyRefusals: (LICENSES, {
        "license_number": "first_license + n - 1", "day": f"({WHEN})::date",
    }),
    Customer: (LICENSES // 2, {
        "license_id": "first_license + n - 1", "paddle_id": "'ctm_' || n", "email": "'owner' || n || '@example.com'",
    }),
    Subscription: (LICENSES // 2, {
        "license_id": "first_license + n - 1", "paddle_id": "'sub_' || n", "customer_id": "first_customer + n - 1",
    }),
    Payment: (LICENSES, {
        "paddle_id": "'txn_' || n", "customer_id": "first_customer + n / 2", "completed_at": WHEN,
        "subscription_id": "first_subscription + n / 2",
    }),
    Adjustment: (LICENSES // 20, {
        "paddle_id": "'adj_' || n", "payment_id": "first_payment + n - 1", "approved_at": WHEN,
    }),
    WebhookEvent: (2 * LICENSES, {
        "event_id": "'evt_' || n", "subject": "'sub_' || n % 50000", "created_at": WHEN, "occurred_at": WHEN,
        "state": "CASE WHEN n % 20000 = 0 THEN 'flagged' ELSE 'done' END",
    }),
    Mail: (LICENSES, {"license_id": NTH, "created_at": WHEN, "state": "'done'"}),
    Errand: (LICENSES // 10, {"subject": "'ctm_' || n", "state": "'done'", "created_at": WHEN}),
    LogIn: (LICENSES // 10, {"at": WHEN}),
    UsageRecord: (ENTRIES, {
        "license_id": NTH, "request_id": "md5(n::text)", "created_at": WHEN, "closed_at": WHEN,
        "month": f"date_trunc('month', ({WHEN}) at time zone 'utc')::date",
        "state": "CASE WHEN n % 20 = 0 THEN 'released' ELSE 'settled' END",
        "outcome": "CASE WHEN n % 20 = 0 THEN 'provider_timeout' ELSE 'answered' END",
        "plan_id": "(ARRAY[{plans}])[1 + n % 3]", "charge_cents": "CASE WHEN n % 20 > 0 THEN 1 ELSE 0 END",
        "model": "CASE WHEN n % 100 = 0 THEN 'local' ELSE 'gpt-5-nano' END",
    }),
}  # fmt: skip


@pytest.fixture
def business(staff):
    """All that; a license that has used much."""
    with transaction.atomic():
        yield _business()
        transaction.set_rollback(True)
    with connection.cursor() as cursor:  # what it counted stays counted, and other tests' plans would go by that
        cursor.execute("ANALYZE")


def _business():
    license = _one_of_each()
    connection.check_constraints()  # those of the rows so far, so that indexes can be dropped
    db = connection.connection
    db.execute("SET session_replication_role = replica")  # no check of foreign keys, row by row; undone with the test
    known = {"licenses": LICENSES, "plans": ", ".join(str(pk) for pk in Plan.objects.values_list("pk", flat=True)[:3])}
    indexes = drop_indexes(db, UsageRecord._meta.db_table)
    for model, (count, changes) in COPIES.items():
        table = model._meta.db_table
        copy(db, table, count, {name: _with(text, {**known, "count": count}) for name, text in changes.items()})
        known[f"first_{model._meta.model_name}"] = model.objects.order_by("-pk")[count - 1].pk
    for index in indexes:
        db.execute(index)
    db.execute("SET session_replication_role = origin")
    db.execute("ANALYZE")
    rollups.rebuild(first=TODAY - timedelta(days=400))
    return license


def _with(text, known):
    for name, value in known.items():
        text = text.replace(f"{{{name}}}", str(value)) if "first_" not in name else text.replace(name, str(value))
    return text


def _one_of_each():
    now = datetime.now(UTC)
    license = lifecycle.issue("first@example.com", Plan.objects.get(slug="pro"), by="x", reason="y", quota=1000)
    token, _ = lifecycle.add_token(license, by="x")
    month = TODAY.replace(day=1)
    MonthlyUsage.objects.create(license=license, month=month, used=900)
    BonusGrant.objects.create(license=license, month=month, units=5, by="x", reason="y")
    DailyRefusals.objects.create(day=TODAY, code="rate_limited", license_number=license.pk, count=3)
    customer = Customer.objects.create(paddle_id="ctm_0", email=license.email, license=license)
    subscription = Subscription.objects.create(
        paddle_id="sub_0", customer=customer, license=license, status="active", plan=license.plan
    )
    payment = Payment.objects.create(
        paddle_id="txn_0", customer=customer, subscription=subscription, status="completed", amount=1200,
        currency="USD", completed_at=now,
    )  # fmt: skip
    Adjustment.objects.create(
        paddle_id="adj_0", payment=payment, action="refund", status="approved", amount=100, currency="USD",
        approved_at=now,
    )  # fmt: skip
    WebhookEvent.objects.create(event_id="evt_0", event_type="subscription.updated", subject="sub_0", body="{}")
    Mail.objects.create(kind="plan_changed", license=license, token=token)
    Errand.objects.create(kind="fetch_customer", subject="ctm_0")
    LogIn.objects.create(what="logged_in", username="anna", address="10.0.0.1")
    UsageRecord.objects.create(
        license=license, plan=license.plan, month=month, state="settled", outcome="answered", request_id="0" * 32,
        model="gpt-5-nano", charge_cents=1, input_tokens=300, output_tokens=60, provider_cost_usd="0.000039",
        created_at=now - timedelta(days=800), closed_at=now - timedelta(days=800),
    )  # fmt: skip
    return license


def pages(staff, license):
    """(name, how to get it): home, customer, find; every list: as it is, far on, with each filter, with a search."""
    yield "home", lambda: staff.get("/admin/")
    yield "customer", lambda: staff.get(f"/admin/licenses/license/{license.pk}/change/")
    for term in ("owner77@", str(license.pk), "remind_pro_ab", "txn_77", "evt_77", "ab" * 16):
        yield f"find {term[:12]}", lambda term=term: staff.post("/admin/find/", {"term": term}, follow=True)
    for model, model_admin in admin.site._registry.items():
        path = f"/admin/{model._meta.app_label}/{model._meta.model_name}/"
        for query in queries_of(model, model_admin):
            words = " ".join(f"{name}={value}" for name, value in query.items())
            yield (
                f"list {model._meta.model_name} {words}".strip(),
                lambda path=path, query=query: staff.get(path, query),
            )


def queries_of(model, model_admin):
    yield {}
    rows = model._default_manager.count()
    if rows > 2 * model_admin.list_per_page:
        last = rows // model_admin.list_per_page
        yield {"p": last if model is not UsageRecord else MOST_PAGES if FULL else last // 25}  # of the last days only
    yield from FILTERS.get(model, [])
    if model_admin.search_fields:
        yield {"q": SEARCHES.get(model, "first@example.com")}


PRO = {"plan__id__exact": 2}
DAYS = {"created_at_from": (TODAY - timedelta(days=60)).isoformat(), "created_at_to": TODAY.isoformat()}
FILTERS = {
    License: [
        {"status": "license_suspended"}, {"status": "active"}, {"ends": "14"}, {"quota": "80"}, PRO, DAYS, {"o": "5"},
        {"o": "4"}, {"o": "-6"}, {"q": "owner7"}, {"q": "remind_pro_ab"}, {"q": "77"},
    ],
    UsageRecord: [
        {"license__id__exact": "77"}, PRO, {"model": "local"}, {"model": "gpt-5-nano"},
        {"outcome__exact": "provider_timeout"}, {"outcome__exact": "budget_spent"}, {"outcome__exact": "answered"},
        {"state__exact": "released"}, {"state__exact": "reserved"}, DAYS, {"o": "1"}, {**DAYS, **PRO},
    ],
    LicenseToken: [{"license__id__exact": "77"}, DAYS],
    AuditEvent: [
        {"license__id__exact": "77"}, {"action__exact": "extended"},
        {"at_from": TODAY.isoformat(), "at_to": TODAY.isoformat()}, {"q": "staff:anna"}, {"q": "77"},
    ],
    MonthlyUsage: [{"license__id__exact": "77"}, {"month_from": TODAY.isoformat()}],
    DailyRefusals: [{"day_from": TODAY.isoformat()}],
    Subscription: [{"license__id__exact": "77"}, {"status__exact": "canceled"}, PRO, {"q": "sub_77"}],
    Payment: [{"completed_at_from": TODAY.isoformat()}, {"q": "txn_77"}],
    Adjustment: [{"approved_at_from": TODAY.isoformat()}],
    WebhookEvent: [{"state__exact": "flagged"}, DAYS, {"q": "evt_77"}],
    Mail: [{"license__id__exact": "77"}, {"kind__exact": "token"}, {"state__exact": "flagged"}, DAYS],
    Errand: [{"state__exact": "flagged"}],
    LogIn: [{"what__exact": "failed"}, {"at_from": TODAY.isoformat()}],
}  # fmt: skip
SEARCHES = {UsageRecord: "ab" * 16}


def test_pages_of_a_large_business(staff, business):
    wrong, told = [], []
    for name, get in pages(staff, business):
        with CaptureQueriesContext(connection) as asked:
            begun = time.perf_counter()
            answer = get()
            took = (time.perf_counter() - begun) * 1000
        assert answer.status_code == 200, name
        read = Counter()
        for query in asked.captured_queries:
            if query["sql"].startswith("SELECT"):
                read += rows_read(query["sql"])
        most = MOST_QUERIES.get(name.split()[0], MOST_OF_A_LIST)
        if len(asked) > most:
            wrong.append(f"{name}: {len(asked)} queries, {most} at most")
        for table, count in read.items():
            is_ledger = table == UsageRecord._meta.db_table
            allowed = ENTRIES // LEDGER_SHARE if is_ledger else PASSES * max(1000, count_in(table))
            if count > allowed:
                wrong.append(f"{name}: {count:,} rows of {table} read, {allowed:,} at most")
        told.append(f"{took:7.0f} ms {len(asked):3} queries {sum(read.values()):10,} rows read  {name}")
    if FULL:
        sys.stdout.write("\n".join(["", *told, *exports(staff), ""]))
    assert not wrong, "\n".join(wrong)


def count_in(table):
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM {table}")
        return cursor.fetchone()[0]


def rows_read(sql):
    """How many rows of each table a statement looks at, by PostgreSQL's own account of carrying it out."""
    with connection.cursor() as cursor:
        cursor.execute("EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) " + sql.replace("%", "%%"), [])
        ((plan,),) = cursor.fetchone()
    found, nodes = Counter(), [plan["Plan"]]
    while nodes:
        node = nodes.pop()
        nodes += node.get("Plans", [])
        if table := node.get("Relation Name"):
            rows = (
                node["Actual Rows"]
                + node.get("Rows Removed by Filter", 0)
                + node.get("Rows Removed by Index Recheck", 0)
            )
            found[table] += round(rows * node["Actual Loops"])
    return found


def exports(staff):
    """How soon an export begins, how long all of it takes, and what this process grows by meanwhile."""
    for query in ({}, {"license__id__exact": "77"}, {"created_at_from": "2000-01-01"}):
        begun, before = time.perf_counter(), resident()
        lines = staff.get("/admin/billing/usagerecord/export/", query).streaming_content
        next(lines), next(lines)
        started = time.perf_counter() - begun
        count = 2 + sum(1 for _ in lines)
        took = time.perf_counter() - begun
        growth = f"{resident() - before:+.0f} MiB"
        yield f"{started * 1000:7.0f} ms to begin, {took:.1f} s for {count:,} lines, {growth}  CSV {query}"


def resident():
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024
