"""Prices at Paddle in the console, and the pages of what was sold."""

import pytest

from billing import housekeeping, mails
from billing.models import PlanPrice, WebhookEvent
from licenses import lifecycle
from licenses.models import License, Plan
from tests.billing.paddle.outcome import license_of
from tests.console.conftest import seen_in
from tests.paddle import Life

pytestmark = pytest.mark.django_db


@pytest.fixture
def staff(admin_client):
    return admin_client


def test_a_price_that_was_unknown_is_added_and_the_buyer_gets_the_license(staff, deliver, mailbox, db):
    life = Life("pri_new")
    deliver(life.customer(), life.created(), life.completed())
    assert not License.objects.exists()
    plan = Plan.objects.get(slug="pro")
    data = {"price_id": "pri_new", "plan": plan.pk, "interval": "month", "is_offered": "on", "reason": "x"}
    page = staff.post("/admin/billing/planprice/add/", data, follow=True)
    assert "1 event for pri_new: processed at once, for the plan Pro, a month" in page.text
    assert not PlanPrice.objects.filter(price_id="pri_new").exists()
    page = staff.post("/admin/billing/planprice/add/", {**data, "is_sure": "on"}, follow=True)
    assert "1 event that waited for this price" in page.text
    housekeeping.run()
    assert license_of(life).plan == plan
    assert not WebhookEvent.objects.exclude(state="done").exists()
    assert len(mailbox.to(life.email)) == 1


def test_what_a_price_buys_is_said_once(staff, prices):
    price = PlanPrice.objects.get(price_id="pri_pro_month")
    path = f"/admin/billing/planprice/{price.pk}/change/"
    staff.post(path, {**seen_in(staff.get(path)), "price_id": "pri_x", "plan": 1, "reason": "x"})
    price.refresh_from_db()
    assert (price.price_id, price.plan.slug, price.is_offered) == ("pri_pro_month", "pro", False)


def test_a_mail_keeps_the_address_that_it_left_for(staff, license, mailbox):
    before = license.email
    mails.queue_token(license)
    housekeeping.run()
    lifecycle.change_email(license, "new@example.com", by="x")
    assert before in staff.get("/admin/billing/mail/").text
    assert f"to {before}" in staff.get(f"/admin/licenses/license/{license.pk}/change/").text


@pytest.mark.parametrize(
    "model", ["planprice", "customer", "subscription", "payment", "adjustment", "webhookevent", "mail", "errand"]
)
def test_pages_open_and_nothing_can_be_added_or_deleted_by_hand(model, staff, deliver, prices, paddle, license):
    life = Life(prices["pro"])
    deliver(life.customer(), life.created(), life.completed(), life.adjusted("credit"))
    deliver(Life(prices["pro"]).created())
    mails.queue_token(license)
    page = staff.get(f"/admin/billing/{model}/", {"q": "x"})
    assert page.status_code == 200
    row = staff.get(f"/admin/billing/{model}/").context["cl"].queryset.first()
    assert row is not None
    assert staff.get(f"/admin/billing/{model}/{row.pk}/change/").status_code == 200
    assert staff.post(f"/admin/billing/{model}/{row.pk}/delete/", {"post": "yes"}).status_code == 403
    if model != "planprice":
        assert staff.get(f"/admin/billing/{model}/add/").status_code == 403
