"""What a subscription entitles to, from the facts about it: one pure function, and the table it follows.

    status            active until                                    and then
    active, trialing  the period's end and the grace                  expired: no renewal was seen
    past_due          the grace after it became so, or the end of     suspended: the last payment failed
                      what is paid for, where that is later
    paused            it became so                                    suspended: the subscription is paused
    canceled          the end of what is paid for                     expired: the subscription was cancelled
    any, with its payment refunded in full or charged back            suspended: at once, with that reason
    any other, or with no price that we know                          nothing

Facts come from `billing.paddle`; what follows for a license is done in `billing.sales`. Time is not asked for here:
whether `until` is over is seen when the license is asked.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from billing.models import Adjustment, Payment, Subscription
from licenses.models import Ending, Plan

Status = Subscription.Status
FAR = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Entitlement:
    """A plan until a moment (aware), and why it ends then."""

    plan: Plan
    until: datetime
    ending: Ending


def entitlement(
    facts: Subscription, plan: Plan | None, payments: Sequence[Payment], grace: timedelta
) -> Entitlement | None:
    """What the facts of a subscription entitle to; None where nothing.

    Args:
        plan: the plan of the subscription's price, None where we know no such price.
        payments: those of the subscription, with their adjustments.
        grace: for how long a renewal may be late.
    """
    if plan is None or not facts.status or facts.status_since is None:
        return None
    taken_back = _taken_back(payments)
    if taken_back is not None:
        return Entitlement(plan, *taken_back)
    since = facts.status_since
    paid_end = _paid_end(facts, payments, since)
    match facts.status:
        case Status.ACTIVE | Status.TRIALING:
            return Entitlement(plan, (facts.period_ends_at or since) + grace, Ending.NOT_RENEWED)
        case Status.PAST_DUE:
            return Entitlement(plan, max(since + grace, paid_end), Ending.PAST_DUE)
        case Status.PAUSED:
            return Entitlement(plan, since, Ending.PAUSED)
        case Status.CANCELED:
            return Entitlement(plan, paid_end, Ending.CANCELED)
    return None


def _paid_end(facts: Subscription, payments: Sequence[Payment], since: datetime) -> datetime:
    """The end of what is paid for. Once past due, the period spoken of is the unpaid one: it counts only if paid."""
    spoken_of = facts.unpaid_from or facts.period_ends_at or since
    paid = [payment.period_ends_at for payment in payments if _is_paid(payment) and payment.period_ends_at]
    return max([spoken_of, *paid]) if facts.unpaid_from else spoken_of


def _taken_back(payments: Sequence[Payment]) -> tuple[datetime, Ending] | None:
    """Since when and why the money for the newest paid period is gone; None where it is not.

    An older period's refund changes nothing, once a later period is paid for. A payment of no known period counts as
    the newest.
    """
    gone = [(payment, lost) for payment in payments if (lost := _lost(payment))]
    kept = [payment.period_ends_at for payment in payments if _is_paid(payment) and not _lost(payment)]
    kept_until = max(filter(None, kept), default=None)
    newest = [lost for payment, lost in gone if kept_until is None or (payment.period_ends_at or FAR) >= kept_until]
    return min(newest, default=None)


def _is_paid(payment: Payment) -> bool:
    return payment.status == Payment.COMPLETED and payment.amount > 0


def _lost(payment: Payment) -> tuple[datetime, Ending] | None:
    """Since when, and why, a payment's money is gone."""
    approved = [one for one in payment.adjustments.all() if one.status == Adjustment.APPROVED and one.approved_at]
    charged_back = [one for one in approved if one.action == Adjustment.CHARGEBACK]
    reversals = [one for one in approved if one.action == Adjustment.CHARGEBACK_REVERSE]
    if len(charged_back) > len(reversals):
        return _latest(charged_back), Ending.CHARGED_BACK
    refunds = [one for one in approved if one.action == Adjustment.REFUND]
    refunded = sum(refund.amount for refund in refunds)
    if any(refund.is_full for refund in refunds) or (payment.amount and refunded >= payment.amount):
        return _latest(refunds), Ending.REFUNDED
    return None


def _latest(adjustments: Sequence[Adjustment]) -> datetime:
    return max(one.approved_at for one in adjustments if one.approved_at)
