"""What was sold and what waits to be done, in the console."""

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission

from billing import housekeeping, mails
from billing.models import Errand, Mail, PlanPrice, WebhookEvent
from licenses import lifecycle
from licenses.models import License, Plan
from tests.billing.paddle.outcome import license_of
from tests.paddle import Life

pytestmark = pytest.mark.django_db


@pytest.fixture
def staff(admin_client):
    return admin_client


@pytest.fixture
def reader(client):
    """One who may look at everything and change nothing."""
    user = get_user_model().objects.create_user("reader", password="a-long-password", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__startswith="view_"))
    client.force_login(user)
    return client


def act(staff, model, action, *rows, reason=""):
    app = "licenses" if model == "license" else "billing"
    data = {"action": action, "_selected_action": [row.pk for row in rows], "reason": reason}
    return staff.post(f"/admin/{app}/{model}/", data, follow=True)


def test_a_price_that_was_unknown_is_added_and_the_buyer_gets_the_license(staff, deliver, mailbox, db):
    life = Life("pri_new")
    deliver(life.customer(), life.created(), life.completed())
    assert not License.objects.exists()
    plan = Plan.objects.get(slug="pro")
    data = {"price_id": "pri_new", "plan": plan.pk, "interval": "month", "is_offered": "on"}
    page = staff.post("/admin/billing/planprice/add/", data, follow=True)
    assert "1 events that waited for this price" in page.text
    housekeeping.run()
    assert license_of(life).plan == plan
    assert not WebhookEvent.objects.exclude(state="done").exists()
    assert len(mailbox.to(life.email)) == 1


def test_what_a_price_buys_is_said_once(staff, prices):
    price = PlanPrice.objects.get(price_id="pri_pro_month")
    staff.post(f"/admin/billing/planprice/{price.pk}/change/", {"price_id": "pri_x", "plan": 1})
    price.refresh_from_db()
    assert (price.price_id, price.plan.slug, price.is_offered) == ("pri_pro_month", "pro", False)


def test_two_offered_prices_for_one_plan_and_interval_are_refused_in_words(staff, prices):
    data = {"price_id": "pri_2", "plan": Plan.objects.get(slug="pro").pk, "interval": "month", "is_offered": "on"}
    assert "Another price is offered for this plan" in staff.post("/admin/billing/planprice/add/", data).text


@pytest.fixture
def failed(deliver, prices, monkeypatch):
    """An event that failed, and works by now."""
    from billing.paddle import events

    life = Life(prices["pro"])
    with monkeypatch.context() as patch:
        patch.setitem(events.HANDLERS, "subscription", lambda *_: 1 / 0)
        deliver(life.customer(), life.created())
    WebhookEvent.objects.filter(state="waiting").update(state="flagged")
    return WebhookEvent.objects.get(state="flagged")


def test_a_failed_event_is_tried_again(staff, failed):
    page = staff.get(f"/admin/billing/webhookevent/{failed.pk}/change/")
    assert "ZeroDivisionError" in page.text
    assert "&quot;event_type&quot;: &quot;subscription.created&quot;" in page.text
    assert "1 will be tried again" in act(staff, "webhookevent", "try_again", failed).text
    housekeeping.run()
    failed.refresh_from_db()
    assert failed.state == "done"
    assert License.objects.count() == 1


def test_a_person_has_seen_to_it(staff, failed):
    assert "1 of 1 were waiting" in act(staff, "webhookevent", "seen_to", failed).text
    failed.refresh_from_db()
    assert (failed.state, failed.note.endswith("Seen to by staff:admin.")) == ("done", True)
    assert "0 of 1" in act(staff, "webhookevent", "seen_to", failed).text


def test_mails_are_canceled_and_sent_again(staff, license, mailbox):
    mails.queue_token(license)
    mail = Mail.objects.get()
    assert "1 of 1 were canceled" in act(staff, "mail", "cancel", mail).text
    assert "0 of 1 were canceled" in act(staff, "mail", "cancel", mail).text
    housekeeping.run()
    assert not mailbox.mails
    act(staff, "mail", "send_again", mail, reason="ticket 7")
    housekeeping.run()
    assert len(mailbox.to(license.email)) == 1


def test_a_new_token_is_mailed_from_the_list_of_licenses(staff, license, mailbox):
    assert "Give a reason" in act(staff, "license", "mail_token", license).text
    assert "1 mails with a new token" in act(staff, "license", "mail_token", license, reason="ticket 7").text
    housekeeping.run()
    assert len(mailbox.to(license.email)) == 1


def test_an_errand_is_tried_again(staff, deliver, prices, paddle):
    life = Life(prices["pro"])
    deliver(life.created())
    housekeeping.run()
    errand = Errand.objects.get()
    assert errand.state == "flagged"
    paddle.add(life)
    act(staff, "errand", "try_again", errand)
    housekeeping.run()
    assert License.objects.get().email == life.email


def test_a_plan_follows_payments_again(staff, deliver, prices):
    life = Life(prices["pro"])
    deliver(life.customer(), life.created())
    lifecycle.change_plan(license_of(life), Plan.objects.get(slug="team"), by="staff:jo")
    act(staff, "license", "follow_paid_plan", license_of(life), reason="ticket 7")
    assert license_of(life).plan.slug == "pro"


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


def test_readers_act_on_nothing(reader, failed, license, mailbox):
    mails.queue_token(license)
    before = failed.state
    for model, action, row in [
        ("webhookevent", "try_again", failed),
        ("webhookevent", "seen_to", failed),
        ("mail", "cancel", Mail.objects.first()),
        ("license", "mail_token", license),
    ]:
        assert reader.get(f"/admin/{'licenses' if model == 'license' else 'billing'}/{model}/").status_code == 200
        act(reader, model, action, row, reason="x")
    failed.refresh_from_db()
    assert failed.state == before
    assert set(Mail.objects.values_list("state", flat=True)) == {"waiting"}
