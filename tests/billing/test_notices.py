"""Notices that no event calls for: the month's quota, and a license that is about to end."""

from datetime import UTC, datetime, timedelta

import pytest

from billing import housekeeping, quota
from billing.models import Mail, MonthlyUsage
from billing.months import month_of
from licenses import lifecycle
from licenses.models import Plan
from tests.mailbox import text_of
from tests.paddle import Life, stamp

pytestmark = pytest.mark.django_db
STAFF = {"by": "staff:jo", "reason": "ticket 7"}
NOW = datetime.now(UTC)


def used(license, units, month=None):
    month = month or month_of(NOW)
    MonthlyUsage.objects.update_or_create(license=license, month=month, defaults={"used": units})
    housekeeping.run()


def kinds(license):
    return list(Mail.objects.filter(license=license).order_by("pk").values_list("kind", flat=True))


def test_80_and_100_percent_once_each(license, mailbox):
    told = []
    for units in (799, 800, 801, 999, 1000, 1000):
        used(license, units)
        told.append(kinds(license))
    assert told == [[], *[["quota_80"]] * 3, *[["quota_80", "quota_100"]] * 2]
    eighty, hundred = mailbox.to(license.email)
    assert "800 of 1000 on the plan Pro" in text_of(eighty)
    assert "/api/v1/checkout/team?license=" in text_of(hundred)


def test_both_at_once_is_one_mail(license, mailbox):
    used(license, 1000)
    assert kinds(license) == ["quota_100"]
    used(license, 1000)
    assert kinds(license) == ["quota_100"]


def test_each_month_anew(license, mailbox):
    used(license, 800, (month_of(NOW) - timedelta(days=1)).replace(day=1))
    assert kinds(license) == []
    used(license, 800)
    assert kinds(license) == ["quota_80"]


def test_overrides_and_bonus_units_count_in_the_total(license, mailbox):
    lifecycle.change_limits(license, quota=10, rate=None, **STAFF)
    quota.grant_bonus(license, 10, month=month_of(NOW), **STAFF)
    used(license, 15)
    assert kinds(license) == []
    used(license, 16)
    assert kinds(license) == ["quota_80"]


def test_the_free_plans_five(license, mailbox):
    lifecycle.change_plan(license, Plan.objects.get(slug="free"), **STAFF)
    used(license, 3)
    assert kinds(license) == []
    used(license, 4)
    assert kinds(license) == ["quota_80"]
    used(license, 5)
    assert kinds(license) == ["quota_80", "quota_100"]


def test_no_quota_at_all_is_not_told(license, mailbox):
    lifecycle.change_limits(license, quota=0, rate=None, **STAFF)
    used(license, 0)
    assert kinds(license) == []


def test_an_expiry_by_staff_is_told_a_week_before(license, mailbox):
    lifecycle.extend(license, NOW + timedelta(days=7, hours=2), **STAFF)
    housekeeping.run()
    assert kinds(license) == []
    end = NOW + timedelta(days=6)
    lifecycle.extend(license, end, **STAFF)
    for _ in range(2):
        housekeeping.run()
    assert kinds(license) == ["expiring"]
    (mail,) = mailbox.mails
    assert f"ends on {end:%d %B %Y}" in text_of(mail)
    lifecycle.extend(license, NOW + timedelta(days=5), **STAFF)
    housekeeping.run()
    assert kinds(license) == ["expiring", "expiring"]


def test_an_end_that_is_over_or_suspended_is_not_told(license, mailbox):
    lifecycle.extend(license, NOW - timedelta(minutes=1), **STAFF)
    housekeeping.run()
    lifecycle.extend(license, NOW + timedelta(days=1), **STAFF)
    lifecycle.suspend(license, **STAFF)
    housekeeping.run()
    assert kinds(license) == []


@pytest.fixture
def ending_soon(prices, deliver):
    """A paid license whose period ends in five days."""
    life = Life(prices["pro"], began=NOW - timedelta(days=25))
    deliver(life.customer(), life.created(), life.completed())
    return life


def expiring(life):
    housekeeping.run()
    return Mail.objects.filter(kind="expiring", license__customer__paddle_id=life.customer_id).count()


def test_a_renewal_is_not_announced_as_an_end(ending_soon, mailbox):
    assert expiring(ending_soon) == 0


def test_a_scheduled_cancellation_is_told(ending_soon, deliver, mailbox):
    change = {"action": "cancel", "effective_at": stamp(ending_soon.period[1]), "resume_at": None}
    deliver(ending_soon.updated(scheduled_change=change))
    assert expiring(ending_soon) == expiring(ending_soon) == 1
    (mail,) = mailbox.to(ending_soon.email, "ends soon")
    assert f"ends on {ending_soon.period[1]:%d %B %Y}" in text_of(mail)


def test_a_cancellation_that_was_withdrawn_is_not(ending_soon, deliver, mailbox):
    change = {"action": "cancel", "effective_at": stamp(ending_soon.period[1]), "resume_at": None}
    deliver(ending_soon.updated(scheduled_change=change), ending_soon.updated(at=ending_soon.at(days=2)))
    assert expiring(ending_soon) == 0


def test_a_canceled_subscription_that_runs_out_is_told(ending_soon, deliver, mailbox):
    deliver(ending_soon.canceled())
    assert expiring(ending_soon) == 1
