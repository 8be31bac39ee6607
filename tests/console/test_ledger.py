"""The ledger's list: filters, totals of what is filtered, and the CSV of it."""

import csv
import io
from datetime import UTC, datetime, timedelta

import pytest

from billing import export
from billing.export import neutral
from billing.models import Payment, UsageRecord
from licenses.models import License, Plan
from tests.factories import LicenseFactory
from tests.paddle import Life

pytestmark = pytest.mark.django_db
LEDGER = "/admin/billing/usagerecord/"


def entries(license, count, **fields):
    now = datetime.now(UTC)
    rows = [
        UsageRecord(
            license=license, plan=license.plan, month=now.date().replace(day=1), state="settled", outcome="answered",
            request_id=f"r{number}", model="gpt-5-nano", charge_cents=2, input_tokens=10, created_at=now, closed_at=now,
        )
        for number in range(count)
    ]  # fmt: skip
    for row in rows:
        for name, value in fields.items():
            setattr(row, name, value)
    return UsageRecord.objects.bulk_create(rows)


def totals(staff, **query):
    return staff.get(LEDGER, query).context["cl"].paginator.totals


def rows_of(staff, **query):
    answer = staff.get(f"{LEDGER}export/", query)
    assert answer["Content-Type"].startswith("text/csv")
    text = b"".join(answer.streaming_content).decode()
    return list(csv.DictReader(io.StringIO(text)))


def test_totals_and_export_follow_the_filters(staff, license):
    other = LicenseFactory(plan=Plan.objects.get(slug="team"))
    entries(license, 3)
    entries(other, 2, model="local", charge_cents=1)
    entries(other, 1, state="released", outcome="provider_timeout", charge_cents=0, request_id="odd")
    now = datetime.now(UTC)
    old = now - timedelta(days=40)
    entries(license, 1, created_at=old)
    for query, expected in [
        ({}, (6, 8)),  # the last days; all of them where something is asked for
        ({"created_at_from": "2000-01-01"}, (7, 10)),
        ({"created_at_to": now.date().isoformat()}, (7, 10)),
        ({"license__id__exact": license.pk}, (4, 8)),
        ({"license__id__exact": "x"}, (0, 0)),
        ({"plan__id__exact": other.plan_id}, (3, 2)),
        ({"model": "local"}, (2, 2)),
        ({"outcome__exact": "provider_timeout"}, (1, 0)),
        ({"created_at_to": old.date().isoformat()}, (1, 2)),
        ({"created_at_from": (old + timedelta(days=1)).date().isoformat()}, (6, 8)),
        ({"q": "odd"}, (1, 0)),
        ({"created_at_from": "nonsense"}, (0, 0)),
    ]:
        found = totals(staff, **query)
        assert (found["entries"], found["charged_cents"]) == expected, query
        exported = rows_of(staff, **query)
        assert (len(exported), sum(int(row["charge_cents"]) for row in exported)) == expected, query


def test_an_export_pages_by_key_and_holds_one_page(staff, license, monkeypatch, django_assert_num_queries):
    monkeypatch.setattr(export, "PAGE", 10)
    entries(license, 25)
    answer = staff.get(f"{LEDGER}export/")
    with django_assert_num_queries(4):  # three pages, and one to see that there is no further
        lines = b"".join(answer.streaming_content).decode().splitlines()
    numbers = [int(line.split(",")[0]) for line in lines[1:]]
    assert numbers == sorted(numbers, reverse=True)
    assert len(set(numbers)) == 25


@pytest.mark.parametrize(
    ("cell", "safe"),
    [("=1+1", "'=1+1"), ("+49", "'+49"), ("-2", "'-2"), ("@a", "'@a"), ("\t=1", "'\t=1"), ("a=1", "a=1"),
     (-2, -2), (None, "")],
)  # fmt: skip
def test_no_cell_is_a_formula(cell, safe):
    assert neutral(cell) == safe


def test_what_a_customer_typed_is_no_formula_in_the_export(staff, license):
    License.objects.filter(pk=license.pk).update(email="=cmd|x@example.com")
    entries(license, 1, charge_cents=2)
    (row,) = rows_of(staff)
    assert row["email"] == "'=cmd|x@example.com"
    assert row["charge_cents"] == "2"


def test_a_correction_stands_in_the_list_and_counts(staff, act, license):
    (entry,) = entries(license, 1)
    UsageRecord.objects.get(pk=entry.pk)
    from billing.models import MonthlyUsage

    MonthlyUsage.objects.create(license=license, month=entry.month, used=1, charged_cents=2)
    act(staff, "correct-charge", entry, cents="2")
    assert totals(staff)["charged_cents"] == 0
    assert "a charge taken back by staff" in staff.get(LEDGER).text


@pytest.mark.parametrize(
    "query",
    [
        {"created_at_from": "x"}, {"created_at_from": "99999-01-01"}, {"created_at_to": "0001-01-01"},
        {"p": "999999"}, {"p": "x"}, {"o": "99.-3"},
        {"license__id__exact": "9" * 40}, {"license__id__exact": "\x00"}, {"plan__id__exact": "x"}, {"nope": "1"},
        {"created_at__year": "0"}, {"created_at__year": "99999"}, {"plan__id__exact": "9" * 30}, {"_to_field": "x"},
        {"model": "\x00"}, {"q": "\x00"}, {"all": ""}, {"outcome__exact": "\x00"}, {"_facets": "True"}, {"e": "1"},
    ],
)  # fmt: skip
@pytest.mark.parametrize("path", [LEDGER, f"{LEDGER}export/"])
def test_nonsense_in_the_address_is_no_error(staff, license, query, path):
    entries(license, 1)
    answer = staff.get(path, query, follow=True)
    assert answer.status_code in {200, 400, 404}


@pytest.mark.parametrize(
    "query",
    [
        {"status": "x"}, {"status": "\x00"}, {"ends": "7"}, {"ends": "x"}, {"quota": "80"}, {"quota": "x"},
        {"q": "9" * 40}, {"q": "\x00"}, {"created_at_from": "x"}, {"plan__id__exact": "x"}, {"o": "4.5.6"},
    ],
)  # fmt: skip
def test_nor_in_the_list_of_licenses(staff, license, query):
    assert staff.get("/admin/licenses/license/", query, follow=True).status_code in {200, 400, 404}


def test_what_would_read_the_whole_ledger_is_not_offered(staff, license, monkeypatch):
    from billing import admin

    monkeypatch.setattr(admin, "MOST_PAGES", 1)
    entries(license, 60)
    page = staff.get(LEDGER, {"_facets": "True", "o": "5"})
    assert "counts" not in page.text  # to show them at each filter
    numbers = [row.pk for row in page.context["cl"].result_list]
    assert numbers == sorted(numbers, reverse=True)  # not by the charge
    assert "the newest 1 pages" in page.text
    assert totals(staff)["entries"] == 60
    assert staff.get(LEDGER, {"p": "2"}, follow=True).context["cl"].page_num == 1
    assert len(rows_of(staff)) == 60


def test_a_day_that_can_not_be_read_is_said_so(staff, license):
    assert "A day in the filter can&#x27;t be read" in staff.get(LEDGER, {"created_at_from": "nonsense"}).text


def test_moments_are_in_utc_and_amounts_in_dollars(staff, license, deliver, prices, paddle):
    (entry,) = entries(license, 1)
    assert f"{entry.created_at:%-d %b %Y, %H:%M} UTC" in staff.get(LEDGER).text
    life = Life(prices["pro"])
    deliver(life.customer(), life.created(), life.completed())
    amount = Payment.objects.get().amount
    assert f"${amount / 100:,.2f}" in staff.get("/admin/billing/payment/").text


def test_the_trail_is_searched_by_what_the_term_looks_like(staff, act, license):
    act(staff, "suspend", license, reason="chargeback of June")
    LicenseFactory()
    for term in (str(license.pk), license.email, "chargeback", "staff:anna"):
        found = staff.get("/admin/licenses/auditevent/", {"q": term}).context["cl"].queryset
        assert "suspended" in found.values_list("action", flat=True), term
        assert set(found.values_list("license", flat=True)) == {license.pk}, term


def test_the_history_of_an_entry_opens(staff, license):
    (entry,) = entries(license, 1)
    assert staff.get(f"{LEDGER}{entry.pk}/history/").status_code == 200


def test_lists_cost_a_bounded_number_of_queries(staff, license, django_assert_max_num_queries):
    entries(license, 60)
    for _ in range(60):
        LicenseFactory()
    for path in (LEDGER, "/admin/licenses/license/", "/admin/licenses/auditevent/", "/admin/billing/mail/"):
        with django_assert_max_num_queries(14):
            assert staff.get(path).status_code == 200
