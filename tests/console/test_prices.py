"""A price at Paddle that was entered for the wrong plan is put right, and what was bought by it follows."""

import pytest

from billing import housekeeping
from billing.models import Mail, PlanPrice
from licenses import lifecycle
from licenses.models import AuditEvent, Plan
from tests.billing.paddle.outcome import license_of
from tests.console.conftest import seen_in
from tests.paddle import Life

pytestmark = pytest.mark.django_db


def test_a_price_of_the_wrong_plan_is_put_right_and_licenses_follow(staff, act, deliver, prices, mailbox):
    kept, life = Life(prices["pro"]), Life(prices["pro"])
    for one in (kept, life):
        deliver(one.customer(), one.created(), one.completed())
    housekeeping.run()
    lifecycle.change_plan(license_of(kept), Plan.objects.get(slug="free"), by="staff:x")
    price = PlanPrice.objects.get(price_id=prices["pro"])
    path = f"/admin/act/correct-price/{price.pk}/"
    assert path in staff.get(f"/admin/billing/planprice/{price.pk}/change/").text
    assert "Bought by this price so far: 2 licenses." in staff.get(path).text
    same = {"plan": price.plan_id, "interval": price.interval}
    assert "it buys that already" in act(staff, "correct-price", price, **same).text

    team = Plan.objects.get(slug="team")
    page = act(staff, "correct-price", price, plan=team.pk, interval="month")

    assert "Pro a month → Team a month. 2 licenses bought by it" in page.text
    assert "no longer offered, since another price is for that" in page.text
    assert (license_of(life).plan, license_of(life).paid_plan) == (team, team)
    assert (license_of(kept).plan.slug, license_of(kept).paid_plan) == ("free", team)
    assert PlanPrice.objects.get(plan=team, interval="month", is_offered=True).price_id == prices["team"]
    event = AuditEvent.objects.get(action="catalog_changed")
    assert (event.reason, event.changes["plan"]) == ("ticket 7", ["pro", "team"])
    assert Mail.objects.filter(kind="plan_changed", license=license_of(life)).exists()


def test_the_second_who_corrects_a_price_is_told_and_undoes_nothing(staff, as_role, act, prices):
    price = PlanPrice.objects.get(price_id=prices["pro"])
    pro, team = price.plan, Plan.objects.get(slug="team")
    billing, path = as_role("Billing"), f"/admin/act/correct-price/{price.pk}/"
    shown = seen_in(billing.get(path))
    assert "→ Pro a year" in act(staff, "correct-price", price, plan=pro.pk, interval="year").text
    page = billing.post(path, {**shown, "plan": team.pk, "interval": "month", "reason": "x"}, follow=True)
    assert "plan or price changed by staff:anna" in page.text
    price.refresh_from_db()
    assert (price.plan, price.interval) == (pro, "year")
