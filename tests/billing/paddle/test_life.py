"""What becomes of a license as its subscription lives: the table of `billing.entitlements`, through the webhook."""

from datetime import UTC, datetime, timedelta

import pytest

from billing import housekeeping, links, quota
from billing.models import Adjustment, Errand, Mail, Payment, Subscription, WebhookEvent
from licenses import lifecycle
from licenses.decisions import decide
from licenses.models import License, Plan
from tests.billing.paddle.outcome import license_of
from tests.paddle import Life, event, paddle_id, stamp

NOW = datetime.now(UTC).replace(microsecond=0)
STAFF = {"by": "staff:jo", "reason": "asked for"}


def days_ago(days):
    return NOW - timedelta(days=days)


@pytest.fixture
def start(prices, deliver):
    """`start(days)`: a paid life on Pro that began so many days ago, with a period of 30 days."""

    def start(days=2, plan="pro", **more):
        life = Life(prices[plan], began=days_ago(days), **more)
        deliver(life.customer(), life.created(), life.completed())
        return life

    return start


def status(life):
    license = license_of(life)
    return decide(license, datetime.now(UTC)), license.paid_ending, license.plan.slug


def test_an_active_subscription_allows_until_its_end_and_the_grace(start):
    assert status(start(2)) == ("active", "not_renewed", "pro")
    assert status(start(32)) == ("active", "not_renewed", "pro")
    assert status(start(33.1)) == ("license_expired", "not_renewed", "pro")
    life = start(2)
    assert license_of(life).paid_until == life.at(days=33)


def test_the_grace_is_a_setting(start, settings):
    settings.PADDLE_GRACE_DAYS = 0
    assert status(start(30.1))[0] == "license_expired"


def test_trialing_is_as_good_as_active(prices, deliver):
    life = Life(prices["indie"])
    deliver(life.customer(), life.created(status="trialing"), life.became("trialing"))
    assert status(life) == ("active", "not_renewed", "indie")


def test_a_yearly_price_holds_for_the_year(prices, deliver):
    life = Life(prices["pro_year"], began=days_ago(360))
    life.period = (life.began, life.at(days=365))
    deliver(life.customer(), life.created(), life.completed(15000))
    assert status(life)[0] == "active"


def test_a_renewal_moves_the_end(start, deliver):
    life = start(31)
    life.period = (life.at(days=30), life.at(days=60))
    deliver(life.updated(at=life.at(days=30)))
    assert license_of(life).paid_until == life.at(days=63)


def failed_renewal(life):
    """What Paddle sends: updated (still active), updated (past due), past_due; the period has moved already."""
    life.period = (life.at(days=30), life.at(days=60))
    return [
        life.updated(at=life.at(days=30)),
        life.updated("past_due", at=life.at(days=30, seconds=2)),
        life.became("past_due", at=life.at(days=30, seconds=3)),
    ]


def test_a_failed_renewal_is_given_the_grace_and_then_suspends(start, deliver, post):
    within, after = start(32), start(33.1)
    for life in (within, after):
        deliver(*failed_renewal(life))
    assert status(within) == ("active", "past_due", "pro")
    assert status(after) == ("license_suspended", "past_due", "pro")
    token = lifecycle.add_token(license_of(after), by="test")[1]
    refusal = post(bearer=token)
    assert (refusal.status_code, refusal.json()["code"]) == (401, "license_suspended")
    assert "last payment failed" in refusal.json()["detail"]


def test_reminders_of_a_failed_payment_do_not_extend_the_grace(start, deliver):
    life = start(40)
    deliver(*failed_renewal(life))
    deliver(*[life.updated("past_due", at=life.at(days=day)) for day in range(31, 40)])
    assert license_of(life).paid_until == life.at(days=33, seconds=2)


def test_a_late_payment_brings_it_back(start, deliver):
    life = start(40)
    deliver(*failed_renewal(life))
    assert status(life)[0] == "license_suspended"
    deliver(life.updated("active", at=life.at(days=39)))
    assert status(life) == ("active", "not_renewed", "pro")


def test_a_late_payment_counts_for_the_period_when_it_is_canceled_later(start, deliver):
    life = start(40)
    deliver(*failed_renewal(life), life.updated("active", at=life.at(days=31)), life.canceled(at=life.at(days=32)))
    assert license_of(life).paid_until == life.at(days=60)


def test_a_failed_upgrade_in_the_middle_of_a_paid_period_leaves_that_period(start, deliver):
    life = start(10)
    deliver(life.became("past_due", at=life.at(days=2)))
    assert license_of(life).paid_until == life.at(days=30)


def test_canceled_after_a_failed_renewal_gets_nothing_for_the_unpaid_period(start, deliver):
    life = start(45)
    deliver(*failed_renewal(life), life.canceled(at=life.at(days=44)))
    assert status(life) == ("license_expired", "canceled", "pro")
    assert license_of(life).paid_until == life.at(days=30)


def test_canceled_stays_until_what_is_paid_for_ends(start, deliver):
    life, over = start(10), start(31)
    for one in (life, over):
        deliver(one.canceled(at=one.at(days=9)))
    assert status(life) == ("active", "canceled", "pro")
    assert license_of(life).paid_until == life.at(days=30)
    assert status(over)[0] == "license_expired"


def test_a_scheduled_cancellation_is_shown_and_so_is_its_withdrawal(start, deliver):
    life = start(10)
    change = {"action": "cancel", "effective_at": stamp(life.at(days=30)), "resume_at": None}
    deliver(life.updated(at=life.at(days=5), scheduled_change=change))
    row = Subscription.objects.get()
    assert (row.scheduled_action, row.scheduled_at) == ("cancel", life.at(days=30))
    deliver(life.updated(at=life.at(days=6)))
    row.refresh_from_db()
    assert (row.scheduled_action, row.scheduled_at) == ("", None)


def test_paused_suspends_and_resuming_brings_back(start, deliver):
    life = start(10)
    deliver(life.became("paused", at=life.at(days=9), current_billing_period=None))
    assert status(life) == ("license_suspended", "paused", "pro")
    deliver(event("subscription.resumed", life.subscription(), life.at(days=9, hours=1)))
    assert status(life)[0] == "active"


def test_an_instant_shared_by_two_events_does_not_undo_the_later_state(start, deliver):
    life = start(10)
    at = life.at(days=9)
    deliver(life.became("paused", at=at), life.updated(at=at))
    assert status(life)[1] == "paused"


def test_a_higher_price_is_a_higher_quota_at_once_and_what_was_used_stays_used(start, deliver, prices, post):
    life = start()
    license = license_of(life)
    token = lifecycle.add_token(license, by="test")[1]
    assert post(bearer=token).json()["quota_remaining"] == 999
    life.price = prices["team"]
    deliver(life.updated())
    assert status(life)[2] == "team"
    state = quota.state_of(license_of(life))
    assert (state.used, state.total) == (1, 5000)
    assert post(bearer=token).json()["quota_remaining"] == 4998


@pytest.mark.parametrize(
    ("adjustments", "expected"),
    [
        ([("refund", "approved", 1500, None)], "refunded"),
        ([("refund", "approved", 1500, "full")], "refunded"),
        ([("refund", "approved", 1000, "partial"), ("refund", "approved", 500, "partial")], "refunded"),
        ([("chargeback", "approved", 1500, None)], "charged_back"),
        ([("refund", "pending_approval", 1500, "full")], None),
        ([("refund", "rejected", 1500, "full")], None),
        ([("refund", "approved", 500, "partial")], None),
        ([("credit", "approved", 1500, "full")], None),
        ([("chargeback_warning", "approved", 1500, None)], None),
        ([("chargeback", "approved", 1500, None), ("chargeback_reverse", "approved", 1500, None)], None),
        ([("chargeback_warning_reverse", "approved", 1500, None)], None),
        ([("clawback", "approved", 1500, None)], None),
    ],
)
def test_money_that_goes_back(adjustments, expected, start, deliver):
    life = start()
    deliver(*[life.adjusted(action, state, amount, kind) for action, state, amount, kind in adjustments])
    assert status(life) == (
        ("license_suspended", expected, "pro") if expected else ("active", "not_renewed", "pro")
    )  # fmt: skip
    assert Adjustment.objects.count() == len(adjustments)


def test_a_pending_refund_counts_once_approved_and_not_once_reversed(start, deliver):
    life = start()
    number = paddle_id("adj")
    states = []
    for hour, state in enumerate(["pending_approval", "approved", "reversed"]):
        deliver(life.adjusted("refund", state, id=number, at=life.at(hours=5 + hour)))
        states.append(status(life)[0])
    assert states == ["active", "license_suspended", "active"]


def test_a_refund_says_so_to_the_client_and_in_a_mail(start, deliver, post, mailbox):
    life = start()
    token = lifecycle.add_token(license_of(life), by="test")[1]
    deliver(life.adjusted("refund"))
    assert "refunded" in post(bearer=token).json()["detail"]
    Mail.objects.update(due_at=NOW)
    housekeeping.run()
    assert len(mailbox.to(life.email, "stopped")) == 1


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2)])
def test_a_refund_that_is_heard_of_before_the_payment(order, prices, deliver):
    life = Life(prices["pro"])
    heard = [life.created(), life.completed(), life.adjusted("refund")]
    deliver(life.customer(), *[heard[index] for index in order])
    assert status(life) == ("license_suspended", "refunded", "pro")


def test_the_refund_of_an_older_period_changes_nothing(start, deliver):
    life = start(31)
    first = life.transaction_id
    life.period, life.transaction_id = (life.at(days=30), life.at(days=60)), paddle_id("txn")
    deliver(life.updated(at=life.at(days=30)), life.completed())
    life.transaction_id = first
    deliver(life.adjusted("refund"))
    assert status(life)[0] == "active"


@pytest.mark.parametrize("action", ["clawback", "chargeback_warning"])
def test_an_adjustment_that_a_person_should_see_is_flagged(action, start, deliver):
    deliver(start().adjusted(action))
    (flagged,) = WebhookEvent.objects.filter(state="flagged")
    assert action in flagged.note


def test_the_quantity_is_seen_by_a_person(prices, deliver):
    life = Life(prices["pro"])
    deliver(life.customer(), life.created(items=[{"price": {"id": life.price}, "quantity": 3}]))
    assert status(life)[0] == "active"
    assert "3 times" in WebhookEvent.objects.get(state="flagged").note


def test_what_people_decided_is_not_overwritten(start, deliver, prices):
    life = start()
    license = license_of(life)
    lifecycle.change_limits(license, quota=77, rate=5, **STAFF)
    lifecycle.extend(license, NOW + timedelta(days=90), **STAFF)
    lifecycle.suspend(license, **STAFF)
    license.refresh_from_db()
    life.price = prices["team"]
    deliver(life.updated(), life.became("past_due"), life.updated(at=life.at(hours=5)), life.canceled())
    after = license_of(life)
    assert (after.quota_override, after.rate_override, after.expires_at) == (77, 5, license.expires_at)
    assert (after.suspended_at, after.suspended_by) == (license.suspended_at, "staff:jo")
    lifecycle.reinstate(after, **STAFF)
    assert status(life)[0] == "active"


def test_an_extension_by_staff_outlasts_a_failed_payment_but_not_a_refund(start, deliver):
    life = start(45)
    deliver(*failed_renewal(life))
    assert status(life)[0] == "license_suspended"
    lifecycle.extend(license_of(life), NOW + timedelta(days=5), **STAFF)
    assert status(life)[0] == "active"
    deliver(life.adjusted("refund"))
    assert status(life) == ("license_suspended", "refunded", "pro")


def test_a_plan_chosen_by_staff_stays_until_it_is_let_go(start, deliver, prices):
    life = start()
    lifecycle.change_plan(license_of(life), Plan.objects.get(slug="team"), **STAFF)
    deliver(life.updated())
    assert status(life)[2] == "team"
    lifecycle.follow_paid_plan(license_of(life), **STAFF)
    assert status(life)[2] == "pro"


def second(life, prices, plan="team", **more):
    """Another subscription of the same customer, begun today."""
    return Life(prices[plan], began=days_ago(1), customer=life.customer_id, email=life.email, **more)


def test_an_upgrade_by_a_second_subscription(start, deliver, prices, paddle, mailbox):
    life = start(10)
    paddle.add(life)
    better = second(life, prices)
    deliver(better.created(), better.completed(5000))
    assert (license_of(better), status(life)[2]) == (license_of(life), "team")
    housekeeping.run()
    (asked,) = paddle.asked("POST", f"/subscriptions/{life.subscription_id}/cancel")
    assert asked == {"effective_from": "next_billing_period"}
    lower = Subscription.objects.get(paddle_id=life.subscription_id)
    assert (lower.scheduled_action, lower.superseded_by.paddle_id) == ("cancel", better.subscription_id)
    assert len(mailbox.to(life.email, "one")) == 1
    assert License.objects.count() == 1
    # The customer takes the cancellation back: that is theirs to decide.
    deliver(better.updated(), life.updated(at=datetime.now(UTC) + timedelta(minutes=1)), better.updated())
    assert Subscription.objects.get(pk=lower.pk).scheduled_action == ""
    housekeeping.run()
    assert len(paddle.asked("POST", "/subscriptions")) == 1
    assert len(mailbox.to(life.email, "one")) == 1


@pytest.mark.parametrize("fault", ["too_many", "failing", "reset"])
def test_the_lower_subscription_is_cancelled_in_the_end(fault, start, deliver, prices, paddle):
    life = start(10)
    paddle.add(life)
    paddle.mode = fault
    deliver(second(life, prices).created())
    housekeeping.run()
    assert Errand.objects.get().state == "waiting"
    paddle.heal()
    Errand.objects.update(due_at=NOW)
    housekeeping.run()
    assert Subscription.objects.get(paddle_id=life.subscription_id).scheduled_action == "cancel"


def test_a_lower_subscription_bought_beside_a_better_one_is_the_one_to_go(start, deliver, prices, paddle):
    life = start(10, "team")
    lower = second(life, prices, "indie")
    paddle.add(lower)
    deliver(lower.created())
    housekeeping.run()
    assert status(life)[2] == "team"
    assert len(paddle.asked("POST", f"/subscriptions/{lower.subscription_id}/cancel")) == 1


def test_when_the_better_one_is_refunded_the_other_counts_again_and_a_person_is_told(start, deliver, prices, paddle):
    life = start(10)
    paddle.add(life)
    better = second(life, prices)
    deliver(better.created(), better.completed(5000), better.adjusted("refund", amount=5000))
    assert status(life) == ("active", "not_renewed", "pro")
    assert "see whether it should go on" in WebhookEvent.objects.get(state="flagged").note


def test_when_the_better_one_ends_by_itself_the_other_counts_again(start, deliver, prices):
    life = start(1)
    better = second(life, prices)
    better.period = (days_ago(20), NOW + timedelta(days=1))
    deliver(better.created(), better.canceled(at=NOW - timedelta(hours=1)))
    assert status(life)[2] == "team"
    Subscription.objects.filter(paddle_id=better.subscription_id).update(
        entitled_until=NOW, period_ends_at=NOW - timedelta(seconds=1)
    )
    housekeeping.run()
    assert status(life) == ("active", "not_renewed", "pro")


def test_an_end_that_no_event_announces_is_told(start, mailbox, deliver):
    life = start(10)
    License.objects.update(paid_until=NOW - timedelta(minutes=1))
    Subscription.objects.update(
        entitled_until=NOW - timedelta(minutes=1), period_ends_at=NOW - timedelta(days=3, minutes=1)
    )
    housekeeping.run()
    Mail.objects.update(due_at=NOW)
    housekeeping.run()
    assert len(mailbox.to(life.email, "stopped")) == 1
    housekeeping.run()
    assert len(mailbox.to(life.email, "stopped")) == 1


def test_a_purchase_for_a_license_that_we_signed(deliver, prices, license, token, mailbox):
    life = Life(prices["team"])
    link = {"license": links.license_reference(license)}
    deliver(life.created(custom_data=link))
    assert license_of(life) == license
    assert status(life)[2] == "team"
    housekeeping.run()
    assert not mailbox.to(license.email, "Your Remind license")


@pytest.mark.parametrize("custom", [{"license": 1}, {"license": "1"}, {"license": "MQ:1abc:forged"}, {}, None, "x"])
def test_a_license_number_that_we_did_not_sign_counts_for_nothing(custom, deliver, prices, license):
    life = Life(prices["team"])
    deliver(life.customer(), life.created(custom_data=custom))
    assert license_of(life) != license
    license.refresh_from_db()
    assert license.plan.slug == "pro"


def test_an_email_alone_links_nothing(deliver, prices, license):
    life = Life(prices["team"], email=license.email)
    deliver(life.customer(), life.created())
    assert license_of(life) != license


def test_a_new_address_of_the_customer_is_followed_unless_staff_chose_one(start, deliver):
    life, kept = start(), start()
    lifecycle.change_email(license_of(kept), "boss@example.com", **STAFF)
    for one in (life, kept):
        changed = one.customer("customer.updated", email="New@example.com")
        deliver({**changed, "occurred_at": stamp(one.at(hours=1))})
    assert license_of(life).email == "new@example.com"
    assert license_of(kept).email == "boss@example.com"


def test_payments_are_kept_in_the_smallest_unit(start, deliver):
    life = start()
    (payment,) = Payment.objects.all()
    assert (payment.status, payment.amount, payment.currency) == ("completed", 1500, "USD")
    assert payment.subscription.paddle_id == life.subscription_id


def test_a_payment_without_a_subscription_yet(deliver, prices):
    life = Life(prices["pro"])
    paid = event(
        "transaction.paid", {**life.completed()["data"], "subscription_id": None, "status": "paid"}, life.began
    )
    deliver(paid)
    assert Payment.objects.get().subscription is None
    deliver(life.completed())
    assert Payment.objects.get().subscription.paddle_id == life.subscription_id


def test_the_audit_trail_tells_the_life(start, deliver, prices):
    life = start()
    life.price = prices["team"]
    deliver(life.updated(), life.canceled())
    trail = [(line.by, line.action, line.reason) for line in license_of(life).audit_events.order_by("id")]
    assert [line[1] for line in trail] == ["issued", *["payments_changed"] * 3]
    assert trail[2] == ("paddle", "payments_changed", "subscription.updated")


def test_a_change_to_a_price_that_we_do_not_know_leaves_what_was_bought_before(start, deliver):
    life = start()
    life.price = "pri_of_the_future"
    deliver(life.updated())
    assert status(life) == ("active", "not_renewed", "pro")
    assert "pri_of_the_future" in WebhookEvent.objects.get(state="flagged").note


def test_a_status_from_the_future_gives_no_license(deliver, prices):
    life = Life(prices["pro"])
    deliver(life.customer(), life.created(status="frozen"), life.completed())
    assert not License.objects.exists()
    assert "frozen" in WebhookEvent.objects.get(state="flagged").note


def test_a_period_without_end_is_no_crash(deliver, prices):
    life = Life(prices["pro"])
    life.period = (life.began, datetime(9999, 12, 31, tzinfo=UTC))
    deliver(life.customer(), life.created())
    assert WebhookEvent.objects.filter(state="done").count() == 2
    assert status(life)[0] == "active"
