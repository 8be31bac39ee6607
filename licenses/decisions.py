"""The decision 'may this license act', made in one place for the API, the console and the logs alike."""

from datetime import UTC, datetime, time, timedelta
from enum import StrEnum

from django.db.models import Case, CharField, F, Q, QuerySet, Value, When
from django.db.models.functions import Coalesce, Greatest

from licenses import errors
from licenses.models import TAKEN_BACK, Ending, License, LicenseToken


class Decision(StrEnum):
    """What was decided, as a stable code; the refusals' codes are those of the HTTP contract."""

    ACTIVE = "active"
    SUSPENDED = "license_suspended"
    NOT_STARTED = "license_not_started"
    EXPIRED = "license_expired"
    TOKEN_REVOKED = "token_revoked"  # noqa: S105  # nosec  # a code, no secret
    PLAN_INACTIVE = "plan_inactive"


REFUSALS: dict[Decision, type[errors.Refusal]] = {
    Decision.SUSPENDED: errors.LicenseSuspended,
    Decision.NOT_STARTED: errors.LicenseNotStarted,
    Decision.EXPIRED: errors.LicenseExpired,
    Decision.TOKEN_REVOKED: errors.TokenRevoked,
    Decision.PLAN_INACTIVE: errors.PlanInactive,
}


# Where payments end a license, these are spoken of as an expiry; the others can be put right, and suspend it.
EXPIRIES = frozenset({"", Ending.CANCELED, Ending.NOT_RENEWED})
# What the owner can do about it.
REMEDIES = {
    Ending.NOT_RENEWED: "Please look whether your subscription is still paid for, or buy a plan again.",
    Ending.CANCELED: "To go on, buy a plan again.",
    Ending.PAST_DUE: "Please update your payment method; Paddle's mails have the link.",
    Ending.PAUSED: "Please resume the subscription to go on; Paddle's mails have the link.",
    Ending.REFUNDED: "If this is not what you expected, please contact support.",
    Ending.CHARGED_BACK: "If this is not what you expected, please contact support.",
}


def decide(license: License, now: datetime, token: LicenseToken | None = None) -> Decision:
    """Whether the license may act at `now` (aware), with this token where one was used.

    Where several reasons apply, the first of: suspended, not started, expired, token revoked, plan inactive.
    """
    if license.suspended_at is not None:
        return Decision.SUSPENDED
    if license.starts_at > now:
        return Decision.NOT_STARTED
    ends_at = license.ends_at
    if ends_at is not None and ends_at <= now:
        return Decision.EXPIRED if license.paid_ending in EXPIRIES else Decision.SUSPENDED
    if token is not None and not token.is_usable(now):
        return Decision.TOKEN_REVOKED
    if not license.plan.is_active:
        return Decision.PLAN_INACTIVE
    return Decision.ACTIVE


def with_decision(licenses: "QuerySet[License]", now: datetime) -> "QuerySet[License]":
    """The same decision for many licenses at once, by the database: `.decision`, tokens apart, and `ends` to filter by.

    For lists and counts; a test holds it against `decide`.
    """
    later = Greatest(Coalesce("paid_until", "expires_at"), Coalesce("expires_at", "paid_until"))
    ends = Case(
        When(paid_plan=None, then=F("expires_at")),
        When(paid_ending__in=TAKEN_BACK, then=F("paid_until")),
        default=Coalesce(later, "created_at"),
    )
    decision = Case(
        When(suspended_at__isnull=False, then=Value(Decision.SUSPENDED)),
        When(starts_at__gt=now, then=Value(Decision.NOT_STARTED)),
        When(Q(ends__lte=now, paid_ending__in=EXPIRIES), then=Value(Decision.EXPIRED)),
        When(ends__lte=now, then=Value(Decision.SUSPENDED)),
        When(plan__is_active=False, then=Value(Decision.PLAN_INACTIVE)),
        default=Value(Decision.ACTIVE),
        output_field=CharField(),
    )
    return licenses.alias(ends=ends).annotate(decision=decision)


def ends_by(moment: datetime) -> Q:
    """Of licenses `with_decision`: those that may act now and end by then, unless a renewal is what ends them."""
    renews = Q(paid_plan__isnull=False, paid_ending=Ending.NOT_RENEWED)
    return Q(decision=Decision.ACTIVE, ends__lte=moment) & ~renews


def require_active(license: License, now: datetime, token: LicenseToken) -> None:
    """Raises the Refusal that stands for the decision, unless the license may act."""
    decision = decide(license, now, token)
    if decision is not Decision.ACTIVE:
        raise REFUSALS[decision](detail_of(license, decision))


def in_words(license: License, now: datetime) -> str:
    """Why the license may act or not, as support says it to a customer; from the same decision as the API's."""
    decision = decide(license, now)
    match decision:
        case Decision.ACTIVE:
            return f"May act until {end_in_words(license.ends_at)}." if license.ends_at else "May act; it has no end."
        case Decision.SUSPENDED if license.suspended_at is not None:
            return (
                f"Suspended by {license.suspended_by} on {license.suspended_at:%d %b %Y, %H:%M} UTC: "
                f"{license.suspension_reason or 'no reason given'}."
            )
        case Decision.SUSPENDED:
            return detail_of(license, decision) or ""
        case Decision.NOT_STARTED:
            return f"Starts on {license.starts_at:%d %b %Y, %H:%M} UTC."
        case Decision.EXPIRED if license.paid_ending:
            ending = Ending(license.paid_ending)
            return f"Ended on {license.ends_at:%d %b %Y, %H:%M} UTC: {ending.label}. {REMEDIES[ending]}"
        case Decision.EXPIRED:
            return f"Ended on {license.ends_at:%d %b %Y, %H:%M} UTC."
        case _:
            return f"Its plan, {license.plan.name}, is inactive."


def end_in_words(ends_at: datetime) -> str:
    """When something ends: as its last day where it ends with one, as it was chosen, else to the minute."""
    if ends_at.astimezone(UTC).time() == time():
        return f"the end of {ends_at - timedelta(days=1):%-d %b %Y} (UTC)"
    return f"{ends_at:%-d %b %Y, %H:%M} UTC"


def detail_of(license: License, decision: Decision) -> str | None:
    """The sentence for a customer about a license that payments ended; None where the code's own will do."""
    if decision is Decision.SUSPENDED and license.suspended_at is None:
        ending = Ending(license.paid_ending)
        return f"This license is suspended: {ending.label}. {REMEDIES[ending]}"
    return None
