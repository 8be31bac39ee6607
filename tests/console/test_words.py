"""What the console says, as people say it: names of lists, ends, and what a line of the audit trail changed."""

import re
from datetime import UTC, datetime

import pytest

from licenses import lifecycle
from licenses.models import AuditEvent, Plan
from tests.billing.paddle.outcome import license_of
from tests.paddle import Life

pytestmark = pytest.mark.django_db
WHO = {"by": "staff:anna", "reason": "ticket 7"}


def test_a_list_is_called_what_the_sidebar_calls_it(staff):
    home = staff.get("/admin/").text
    for path, name in (
        ("billing/usagerecord", "Ledger"),
        ("billing/dailyusage", "Daily usage"),
        ("auth/user", "Staff"),
    ):
        assert name in home
        assert staff.get(f"/admin/{path}/").context["title"] == name


def test_a_license_ends_on_the_same_day_in_the_list_and_on_its_page(staff, license):
    lifecycle.extend(license, datetime(2031, 3, 1, tzinfo=UTC), **WHO)
    for path in ("", f"{license.pk}/change/"):
        assert "the end of 28 Feb 2031 (UTC)" in staff.get(f"/admin/licenses/license/{path}").text, path


def told(staff, license):
    page = staff.get(f"/admin/licenses/license/{license.pk}/change/").text
    timeline = page.partition('class="timeline"')[2].partition("</ol>")[0]
    return re.findall(r'<p class="faint">(.*?)</p>', timeline)


def test_the_trail_speaks_of_what_support_knows(staff, license):
    lifecycle.extend(license, datetime(2031, 3, 1, tzinfo=UTC), **WHO)
    lifecycle.extend(license, None, **WHO)
    lifecycle.change_limits(license, quota=5000, rate=license.rate_override, **WHO)
    lifecycle.change_notes(license, "a friend", sends_notices=False, **WHO)
    assert told(staff, license)[:5] == [
        "notes: – → a friend",
        "notices by mail: yes → no",
        "quota: the plan&#x27;s → 5,000",
        "end: the end of 28 Feb 2031 (UTC) → never",
        "end: never → the end of 28 Feb 2031 (UTC)",
    ]
    event = AuditEvent.objects.get(action="limits_changed")
    assert "quota: the plan&#x27;s → 5,000" in staff.get(f"/admin/licenses/auditevent/{event.pk}/change/").text


def test_one_is_no_plural(staff, license, act):
    page = act(staff, "change-limits", license, quota="1", rate="1")
    assert "has 1 suggestion a month and 1 request a minute; before" in page.text
    assert "1 request a minute" in staff.get(f"/admin/act/suspend/{license.pk}/").text


def test_the_trail_tells_what_is_paid_from_what_staff_chose(staff, deliver, prices):
    life = Life(prices["pro"])
    deliver(life.customer(), life.created(), life.completed())
    paid = license_of(life)
    lifecycle.change_plan(paid, Plan.objects.get(slug="team"), **WHO)
    lifecycle.follow_paid_plan(paid, **WHO)
    lines = told(staff, paid)
    assert lines[:4] == [
        "plan: team → pro", "plan chosen by staff: yes → no", "plan: pro → team", "plan chosen by staff: no → yes",
    ]  # fmt: skip
    assert "paid plan: – → pro" in lines


@pytest.mark.parametrize("text", ["9999-12-31T23:59:59-05:00", "True", "2031-03-01T00:00:00+00:00"])
def test_notes_stand_in_the_trail_as_they_were_written(staff, license, text):
    lifecycle.change_notes(license, text, sends_notices=license.sends_notices, **WHO)
    assert told(staff, license)[0] == f"notes: – → {text}"
