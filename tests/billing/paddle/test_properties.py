"""Whatever sequence of events arrives, in whatever order: no license acts against the facts of its subscription."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from billing.models import Payment, Subscription
from licenses.decisions import Decision, decide
from tests.billing.paddle.outcome import FACTS, taken_back
from tests.paddle import Life, event, paddle_id, stamp

NOW = datetime.now(UTC).replace(microsecond=0)
GRACE = timedelta(days=3)
STATUSES = ["trialing", "active", "past_due", "paused", "canceled", "frozen"]
PRICES = ["pri_pro_month", "pri_team_month", "pri_unknown"]

days = st.integers(-70, 0)
periods = st.one_of(st.none(), st.integers(-70, 40))
changes = st.one_of(st.none(), st.sampled_from(["cancel", "pause"]))
about_subscription = st.tuples(
    st.just("subscription"), days, st.sampled_from(STATUSES), st.sampled_from(PRICES), periods, changes
)
about_payment = st.tuples(st.just("payment"), days, st.sampled_from(["paid", "completed", "past_due"]), periods)
about_money_back = st.tuples(
    st.just("back"),
    days,
    st.sampled_from(["refund", "chargeback", "chargeback_reverse", "credit", "clawback"]),
    st.sampled_from(["pending_approval", "approved", "rejected", "reversed"]),
    st.sampled_from([300, 1500]),
)
histories = st.lists(st.one_of(about_subscription, about_payment, about_money_back), min_size=1, max_size=8)


def at(day):
    return NOW + timedelta(days=day)


def events_of(life, history):
    for number, (kind, day, *rest) in enumerate(history):
        if kind == "subscription":
            status, price, ends, change = rest
            period = ends and {"starts_at": stamp(at(ends - 30)), "ends_at": stamp(at(ends))}
            scheduled = change and {"action": change, "effective_at": stamp(at(10)), "resume_at": None}
            data = life.subscription(
                status,
                items=[{"price": {"id": price}, "quantity": 1}],
                current_billing_period=period,
                scheduled_change=scheduled,
            )
            yield event("subscription.updated", data, at(day))
        elif kind == "payment":
            status, ends = rest
            period = ends and {"starts_at": stamp(at(ends - 30)), "ends_at": stamp(at(ends))}
            yield event("transaction.completed", life.completed(status=status, billing_period=period)["data"], at(day))
        else:
            action, status, amount = rest
            yield life.adjusted(action, status, amount, at=at(day) + timedelta(seconds=number))


def facts_allow(row):
    """What must at least be so for a license to act; written apart from the code that it checks."""
    if not {*row.price_ids, *row.former_price_ids} & {"pri_pro_month", "pri_team_month"}:
        return False
    paid = list(row.payments.filter(status="completed"))
    for payment in row.payments.all():
        back = payment.adjustments.filter(status="approved")
        counts = {action: back.filter(action=action).count() for action in ("chargeback", "chargeback_reverse")}
        refunded = sum(one.amount for one in back.filter(action="refund"))
        charged_back = counts["chargeback"] > counts["chargeback_reverse"]
        if charged_back or (payment.amount and refunded >= payment.amount):
            return False  # the only payment of these lives
    ends = [one for one in [row.period_ends_at, *[payment.period_ends_at for payment in paid]] if one]
    match row.status:
        case "active" | "trialing":
            return (row.period_ends_at or row.status_since) + GRACE > NOW
        case "past_due":
            return row.status_since + GRACE > NOW or any(end > NOW for end in ends) or row.unpaid_from > NOW
        case "canceled":
            return any(end > NOW for end in ends) or row.status_since >= NOW
    return False


def facts(row):
    return Subscription.objects.filter(pk=row.pk).values(*FACTS).get()


@pytest.mark.usefixtures("prices")
@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True
)
@given(history=histories, data=st.data())
@taken_back()
def test_no_license_acts_against_the_facts(deliver, history, data):
    life = Life("pri_pro_month")
    events = list(events_of(life, history))
    deliver(life.customer(), *data.draw(st.permutations(events)))
    row = Subscription.objects.filter(paddle_id=life.subscription_id).select_related("license__plan").first()
    if row is None or row.license is None:
        return
    if decide(row.license, NOW) is Decision.ACTIVE:
        assert facts_allow(row), (facts(row), list(Payment.objects.values()))
    was = facts(row), row.license.paid_until, row.license.paid_ending, row.license.plan
    deliver(*data.draw(st.permutations(events)), *events)
    row.refresh_from_db()
    row.license.refresh_from_db()
    assert (facts(row), row.license.paid_until, row.license.paid_ending, row.license.plan) == was


@pytest.mark.usefixtures("prices")
@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True
)
@given(history=histories, data=st.data())
@taken_back()
def test_the_order_of_arrival_makes_no_difference(deliver, history, data):
    ends = []
    for _ in range(2):
        life = Life("pri_pro_month")
        life.transaction_id = paddle_id("txn")
        events = list(events_of(life, history))
        deliver(*data.draw(st.permutations([life.customer(), *events])))
        row = Subscription.objects.filter(paddle_id=life.subscription_id).select_related("license").first()
        license = row and row.license
        paid = license and (license.paid_until, license.paid_ending, license.plan_id, license.paid_plan_id)
        ends.append((row and facts(row), paid))
    assert ends[0] == ends[1]
