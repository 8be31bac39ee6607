"""Everything that is done to a license, each in one transaction with its line in the audit trail.

The console and the commands act through these functions. Each takes `by` (who) and `reason`
(why), both for people. What a license may do at a moment is decided in `licenses.decisions`.
"""

from datetime import datetime, timedelta
from typing import Any

from django.core.validators import validate_email
from django.db import transaction
from django.utils import timezone

from licenses import tokens
from licenses.models import AuditEvent, License, LicenseToken, Plan

ROTATION_GRACE = timedelta(days=1)
Action = AuditEvent.Action


class NotPossible(Exception):
    """The change makes no sense for this license as it is now; the message says why, for people."""


@transaction.atomic
def issue(
    email: str,
    plan: Plan,
    *,
    by: str,
    reason: str = "",
    quota: int | None = None,
    rate: int | None = None,
    starts_at: datetime | None = None,
    expires_at: datetime | None = None,
    notes: str = "",
    sends_notices: bool = True,
) -> License:
    """A new license, as yet without a token.

    Args:
        quota: suggestions per month, None for the plan's.
        rate: requests per minute, None for the plan's.
        starts_at, expires_at: aware; from now and for ever where left out.

    Raises:
        ValidationError: the email is no email address.
    """
    validate_email(email)
    license = License.objects.create(
        email=email.lower(),
        plan=plan,
        quota_override=quota,
        rate_override=rate,
        starts_at=starts_at or timezone.now(),
        expires_at=expires_at,
        notes=notes,
        sends_notices=sends_notices,
    )
    _record(license, Action.ISSUED, by, reason, {"plan": [None, plan.slug], "expires_at": [None, expires_at]})
    return license


@transaction.atomic
def add_token(
    license: License,
    *,
    by: str,
    reason: str = "",
    label: str = "",
    expires_at: datetime | None = None,
    is_unsent: bool = False,
) -> tuple[LicenseToken, str]:
    """A further token, and the only time it is seen whole: `(record, token)`.

    Args:
        is_unsent: it is made for a mail, and worth nothing should that not leave.
    """
    token, secret = _mint(license, label, expires_at, is_unsent)
    _record(license, Action.TOKEN_ISSUED, by, reason, token=token)
    return token, secret


@transaction.atomic
def rotate(
    token: LicenseToken, *, by: str, reason: str = "", grace: timedelta = ROTATION_GRACE
) -> tuple[LicenseToken, str]:
    """A new token in place of this one, which goes on for `grace`: `(new record, new token)`.

    Raises:
        NotPossible: the token is no longer usable, so there is nothing to replace.
    """
    old = _expire(token, grace)
    new, secret = _mint(old.license, old.label)
    _record(old.license, Action.TOKEN_ROTATED, by, reason, {"replaces": [old.prefix, new.prefix]}, token=new)
    return new, secret


@transaction.atomic
def phase_out(token: LicenseToken, *, by: str, reason: str = "", grace: timedelta = ROTATION_GRACE) -> None:
    """Let a token go on for `grace` only: the half of a rotation whose new token comes by mail.

    Raises:
        NotPossible: the token is no longer usable, so there is nothing to replace.
    """
    old = _expire(token, grace)
    _record(old.license, Action.TOKEN_ROTATED, by, reason, {"replaces": [old.prefix, "(by mail)"]}, token=old)


@transaction.atomic
def revoke(token: LicenseToken, *, by: str, reason: str = "") -> None:
    """End a token at once.

    Raises:
        NotPossible: it was revoked before.
    """
    revoked = LicenseToken.objects.filter(pk=token.pk, revoked_at=None).update(revoked_at=timezone.now())
    if not revoked:
        raise NotPossible("This token was revoked before.")
    _record(token.license, Action.TOKEN_REVOKED, by, reason, token=token)


@transaction.atomic
def suspend(license: License, *, by: str, reason: str) -> None:
    """Stop a license until it is reinstated.

    Raises:
        NotPossible: it is suspended already.
    """
    suspended = License.objects.filter(pk=license.pk, suspended_at=None).update(
        suspended_at=timezone.now(), suspended_by=by, suspension_reason=reason
    )
    if not suspended:
        raise NotPossible("This license is suspended already.")
    _record(license, Action.SUSPENDED, by, reason)


@transaction.atomic
def reinstate(license: License, *, by: str, reason: str = "") -> None:
    """Lift a suspension.

    Raises:
        NotPossible: the license is not suspended.
    """
    reinstated = License.objects.filter(pk=license.pk, suspended_at__isnull=False).update(
        suspended_at=None, suspended_by="", suspension_reason=""
    )
    if not reinstated:
        raise NotPossible("This license is not suspended.")
    _record(license, Action.REINSTATED, by, reason)


@transaction.atomic
def extend(license: License, expires_at: datetime | None, *, by: str, reason: str = "") -> None:
    """Set the end of a license: later, sooner, or None for never."""
    locked = hold(license)
    before, locked.expires_at = locked.expires_at, expires_at
    locked.save(update_fields=["expires_at"])
    _record(locked, Action.EXTENDED, by, reason, {"expires_at": [before, expires_at]})


@transaction.atomic
def change_plan(license: License, plan: Plan, *, by: str, reason: str = "") -> None:
    """Put a license on another plan at once: the month's quota becomes the new plan's, what was used stays used.

    On a paid license the choice stands, whatever plan is paid for later, until `follow_paid_plan`.

    Raises:
        NotPossible: it is on that plan already.
    """
    locked = hold(license)
    if locked.plan == plan:
        raise NotPossible(f"This license is on {plan.name} already.")
    before, locked.plan = locked.plan, plan
    was_kept, locked.plan_is_kept = locked.plan_is_kept, locked.paid_plan_id is not None
    locked.save(update_fields=["plan", "plan_is_kept"])
    changes: dict[str, list[Any]] = {"plan": [before.slug, plan.slug]}
    changes["plan_is_kept"] = [was_kept, locked.plan_is_kept]
    _record(locked, Action.PLAN_CHANGED, by, reason, changes)


@transaction.atomic
def follow_paid_plan(license: License, *, by: str, reason: str = "") -> None:
    """Let the plan follow payments again, after staff had chosen one.

    Raises:
        NotPossible: nothing is paid for, or it follows already.
    """
    locked = hold(license)
    if locked.paid_plan is None or not locked.plan_is_kept:
        raise NotPossible("The plan of this license was not chosen against what is paid for.")
    before, locked.plan, locked.plan_is_kept = locked.plan, locked.paid_plan, False
    locked.save(update_fields=["plan", "plan_is_kept"])
    changes: dict[str, list[Any]] = {"plan": [before.slug, locked.plan.slug], "plan_is_kept": [True, False]}
    _record(locked, Action.PLAN_CHANGED, by, reason, changes)


@transaction.atomic
def change_email(license: License, email: str, *, by: str, reason: str = "") -> None:
    """Give a license to another address of its owner.

    Raises:
        ValidationError: the email is no email address.
    """
    validate_email(email)
    locked = hold(license)
    before, locked.email = locked.email, email.lower()
    locked.save(update_fields=["email"])
    _record(locked, Action.EMAIL_CHANGED, by, reason, {"email": [before, locked.email]})


@transaction.atomic
def set_payments(
    license: License, *, plan: Plan | None, until: datetime | None, ending: str, by: str, reason: str = ""
) -> License:
    """Write what payments say, and nothing that people decided; the license as it then is.

    Args:
        plan: what is paid for; None: the license needs no payments (any more), and keeps its plan.
        until: aware, grace included.
        ending: why it ends then, an `Ending`.
    """
    locked = hold(license)
    before = _paid(locked)
    plan_before = locked.plan.slug
    locked.paid_plan, locked.paid_until, locked.paid_ending = plan, until, ending
    if plan is not None and not locked.plan_is_kept:
        locked.plan = plan
    after = {**_paid(locked), "plan": locked.plan.slug}
    changes = {
        name: [value, after[name]] for name, value in {**before, "plan": plan_before}.items() if value != after[name]
    }
    if not changes:
        return locked
    locked.save(update_fields=["paid_plan", "paid_until", "paid_ending", "plan"])
    _record(locked, Action.PAYMENTS_CHANGED, by, reason, changes)
    return locked


def _paid(license: License) -> dict[str, Any]:
    """What payments say of a license, for the audit trail."""
    return {
        "paid_plan": license.paid_plan.slug if license.paid_plan else None,
        "paid_until": license.paid_until and str(license.paid_until),
        "ending": license.paid_ending,
    }


@transaction.atomic
def change_limits(license: License, *, quota: int | None, rate: int | None, by: str, reason: str = "") -> None:
    """Override quota (suggestions per month) and rate (requests per minute); None goes back to the plan's."""
    locked = hold(license)
    changes = {"quota": [locked.quota_override, quota], "rate": [locked.rate_override, rate]}
    locked.quota_override, locked.rate_override = quota, rate
    locked.save(update_fields=["quota_override", "rate_override"])
    _record(locked, Action.LIMITS_CHANGED, by, reason, changes)


@transaction.atomic
def change_notes(license: License, notes: str, *, sends_notices: bool, by: str, reason: str = "") -> None:
    """Write what staff keep in mind about a license, and whether its owner gets notices."""
    locked = hold(license)
    before = {"notes": locked.notes, "sends_notices": locked.sends_notices}
    after = {"notes": notes, "sends_notices": sends_notices}
    locked.notes, locked.sends_notices = notes, sends_notices
    locked.save(update_fields=["notes", "sends_notices"])
    changes = {name: [value, after[name]] for name, value in before.items() if value != after[name]}
    _record(locked, Action.NOTES_CHANGED, by, reason, changes)


def record(
    action: AuditEvent.Action,
    *,
    license: License | None,
    by: str,
    reason: str,
    about: str = "",
    changes: dict[str, list[Any]] | None = None,
) -> None:
    """The audit line of something that is done elsewhere (bonus units, mails, events); inside its transaction."""
    _record(license, action, by, reason, changes, about=about)


def hold(license: License) -> License:
    """The license as it is now, for the rest of the transaction: nobody else changes it meanwhile.

    Its key is not locked, so that requests go on: a ledger entry that names the license waits for no one here. If it
    did, whoever holds the license and wants its counter would meet a request that holds the counter (a deadlock).
    """
    rows = License.objects.select_for_update(of=("self",), no_key=True).select_related("plan", "paid_plan")
    return rows.get(pk=license.pk)


def _expire(token: LicenseToken, grace: timedelta) -> LicenseToken:
    old = LicenseToken.objects.select_for_update(of=("self",)).select_related("license__plan").get(pk=token.pk)
    now = timezone.now()
    if not old.is_usable(now):
        raise NotPossible("This token is revoked or already replaced; issue a new one instead.")
    old.expires_at = min(filter(None, [old.expires_at, now + grace]))
    old.save(update_fields=["expires_at"])
    return old


def _mint(
    license: License, label: str, expires_at: datetime | None = None, is_unsent: bool = False
) -> tuple[LicenseToken, str]:
    secret = tokens.mint(license.plan.slug)
    token = LicenseToken.objects.create(
        license=license,
        digest=tokens.digest(secret),
        prefix=tokens.visible_prefix(secret),
        label=label,
        expires_at=expires_at,
        is_unsent=is_unsent,
    )
    return token, secret


def _record(
    license: License | None,
    action: AuditEvent.Action,
    by: str,
    reason: str,
    changes: dict[str, list[Any]] | None = None,
    token: LicenseToken | None = None,
    about: str = "",
) -> None:
    readable = {
        field: [value.isoformat() if isinstance(value, datetime) else value for value in values]
        for field, values in (changes or {}).items()
    }
    AuditEvent.objects.create(
        license=license, token=token, by=by, action=action, reason=reason, changes=readable, about=about[:200]
    )
