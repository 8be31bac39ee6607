"""Mails to customers: which there are, when they are still true, and how one leaves.

A mail is queued as a row with its cause, and leaves later, outside every transaction (`send_due`). Whether a notice
is still true is looked at once more just before. A token is made for the mail that brings it: its digest is
committed first, marked unsent, and it is revoked if that mail does not leave. The text of each kind is in
`templates/mail/`.
"""

from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.core.mail import EmailMultiAlternatives
from django.db import transaction
from django.template.loader import render_to_string
from django.utils import timezone

from billing import links, outbox, quota
from billing.models import Mail, State
from licenses import lifecycle
from licenses.decisions import REMEDIES, Decision, decide
from licenses.models import AuditEvent, Ending, License, LicenseToken, Plan

Kind = Mail.Kind
BY = "mail"
# Events come in bursts: a notice waits for the last word.
NOTICE_DELAY = timedelta(minutes=1)

SUBJECTS = {
    Kind.TOKEN: "Your Remind license",
    Kind.PLAN_CHANGED: "Your Remind plan is now {plan}",
    Kind.STOPPED: "Your Remind license has stopped",
    Kind.EXPIRING: "Your Remind license ends soon",
    Kind.MERGED: "Your two Remind subscriptions became one",
    Kind.QUOTA_80: "80% of this month's suggestions are used",
    Kind.QUOTA_100: "This month's suggestions are used up",
    Kind.CONFIRM_FREE: "Confirm your free Remind license",
}


class Obsolete(Exception):
    """What the mail says is no longer so."""


def queue(
    kind: Mail.Kind,
    license: License | None,
    *,
    to: str = "",
    once: str | None = None,
    delay: timedelta = timedelta(0),
    **words: Any,
) -> None:
    """Have a mail sent when this transaction is committed.

    Args:
        to: the address; the license's owner where left out.
        once: a name under which only one mail is ever sent (or tried again, where it was canceled).
        words: what the template says, no secrets.
    """
    if license is not None and not license.sends_notices and kind != Kind.TOKEN:
        return
    mail = Mail(kind=kind, license=license, to=to, once=once, words=words, due_at=timezone.now() + delay)
    Mail.objects.bulk_create([mail], ignore_conflicts=True)
    if once is not None:
        Mail.objects.filter(once=once, state=State.CANCELED).update(state=State.WAITING, due_at=mail.due_at, note="")
    outbox.wake()


def queue_token(license: License, *, once: str | None = None) -> None:
    """Have a new token made and mailed to the owner."""
    queue(Kind.TOKEN, license, once=once)


@transaction.atomic
def mail_token(license: License, *, by: str, reason: str, label: str = "") -> None:
    """Have a further token made and mailed to the owner, by a person's wish.

    Args:
        label: whose or which machine's it is, for people.
    """
    queue(Kind.TOKEN, license, label=label)
    about = "mail: a new token" + (f" ({label})" if label else "")
    lifecycle.record(AuditEvent.Action.MAIL_QUEUED, license=license, by=by, reason=reason, about=about)


@transaction.atomic
def resend_token(license: License, *, by: str, reason: str) -> None:
    """Mail a new token in place of any that has not left: those mails are canceled, their tokens revoked."""
    for token in license.tokens.filter(is_unsent=True, revoked_at=None):
        lifecycle.revoke(token, by=by, reason=reason)
    Mail.objects.filter(license=license, kind=Kind.TOKEN, state__in=[State.WAITING, State.FLAGGED]).update(
        state=State.CANCELED, note="sent anew", done_at=timezone.now()
    )
    mail_token(license, by=by, reason=reason)


@transaction.atomic
def send_token_again(mail: Mail, license: License, *, by: str, reason: str) -> None:
    """Mail a new token in place of the one that this mail brought, or was to bring; other mails are left alone."""
    if mail.token is not None and mail.token.is_unsent and mail.token.revoked_at is None:
        lifecycle.revoke(mail.token, by=by, reason=reason)
    Mail.objects.filter(pk=mail.pk, state__in=[State.WAITING, State.FLAGGED]).update(
        state=State.CANCELED, note="sent anew", done_at=timezone.now()
    )
    mail_token(license, by=by, reason=reason, label=mail.words.get("label", ""))


def queue_plan_changed(license: License, before: Plan) -> None:
    queue(Kind.PLAN_CHANGED, license, delay=NOTICE_DELAY, before=before.name, plan=license.plan.slug)


def queue_stopped(license: License) -> None:
    """Tell the owner that payments ended the license, once for each end."""
    if license.paid_until is not None:
        once = f"stopped:{license.pk}:{license.paid_until:%Y%m%d%H%M}"
        queue(Kind.STOPPED, license, delay=NOTICE_DELAY, once=once)


def queue_merged(license: License, *, ended_plan: Plan, ends_at: datetime | None, key: str) -> None:
    """Tell the owner that a lesser subscription is not renewed, since a better one was bought beside it."""
    ends = f"{ends_at:%d %B %Y}" if ends_at else ""
    queue(Kind.MERGED, license, once=f"merged:{key}", ended_plan=ended_plan.name, ends=ends)


def cancel(mail: Mail, *, note: str) -> bool:
    """Keep a mail that has not left from leaving; False where it is too late, or is leaving just now."""
    return outbox.call_off(mail, State.CANCELED, note)


def send_due() -> int:
    """Send what is due; says how many mails were tried."""
    return outbox.do_due(Mail.objects.select_related("license__plan", "token"), send)


def send(mail: Mail) -> None:
    """Send one mail.

    Raises:
        Exception: whatever the mail server had to say; the mail is tried again.
    """
    try:
        context = _context(mail)
    except Obsolete as reason:
        outbox.close(mail, State.CANCELED, str(reason))
        return
    secret = _mint(mail, mail.license) if mail.kind == Kind.TOKEN and mail.license else ""
    try:
        message = _message(mail, {**context, "token": secret})
        message.send()
    except Exception as error:  # noqa: BLE001  # of any mail backend
        _revoke(mail, "the mail did not leave")
        raise MailNotSent(type(error).__name__) from None  # a server's own words may repeat the mail's
    with transaction.atomic():
        if mail.token is not None:
            LicenseToken.objects.filter(pk=mail.token.pk).update(is_unsent=False)
        Mail.objects.filter(pk=mail.pk).update(sent_to=message.to[0])
        outbox.close(mail)


class MailNotSent(outbox.Outage):
    """The mail server was not reached, or refused; the message says how."""


def _message(mail: Mail, context: dict[str, Any]) -> EmailMultiAlternatives:
    subject = SUBJECTS[Kind(mail.kind)].format(**context)
    to = mail.to or (mail.license.email if mail.license else "")
    text = render_to_string(f"mail/{mail.kind}.txt", context)
    message = EmailMultiAlternatives(subject, text, to=[to], headers={"Auto-Submitted": "auto-generated"})
    message.attach_alternative(render_to_string(f"mail/{mail.kind}.html", context), "text/html")
    return message


def _context(mail: Mail) -> dict[str, Any]:
    """What the template says.

    Raises:
        Obsolete: it is no longer so.
    """
    context = {**mail.words, "site": settings.SITE_URL, "support": settings.SUPPORT_EMAIL}
    if mail.license is None:
        return {**context, "confirm": links.confirm_url(mail.to)}
    license = mail.license
    state = quota.state_of(license)
    _check_still_true(mail, license, state)
    ending = Ending(license.paid_ending or Ending.NOT_RENEWED)
    return {
        **context,
        "license": license,
        "plan": license.plan.name,
        "ends_at": license.ends_at,
        "quota": state,
        "reason": ending.label,
        "remedy": REMEDIES[ending],
        "upgrade": links.upgrade_url(license),
        "renew": links.buy_url(license.plan, license),
    }


def why_obsolete(mail: Mail) -> str:
    """Why a mail would not leave, since it is no longer so; empty where it would."""
    try:
        if mail.license is not None:
            _check_still_true(mail, mail.license, quota.state_of(mail.license))
    except Obsolete as obsolete:
        return str(obsolete)
    return ""


def _check_still_true(mail: Mail, license: License, state: quota.QuotaState) -> None:
    decision = decide(license, timezone.now())
    match mail.kind:
        case Kind.TOKEN if decision is not Decision.ACTIVE:
            raise Obsolete(f"The license may not act now: {decision}.")
        case Kind.PLAN_CHANGED if license.plan.slug != mail.words.get("plan") or decision is not Decision.ACTIVE:
            raise Obsolete("The plan has changed once more, or the license may not act.")
        case Kind.STOPPED if decision is Decision.ACTIVE:
            raise Obsolete("The license may act again.")
        case Kind.EXPIRING if decision is not Decision.ACTIVE or license.ends_at is None:
            raise Obsolete("The license does not end soon.")
        case Kind.QUOTA_80 | Kind.QUOTA_100 if state.used < state.total * 4 // 5:
            raise Obsolete("There is more quota now.")


@transaction.atomic
def _mint(mail: Mail, license: License) -> str:
    """A new token for this mail, in place of one that an earlier, interrupted try had made."""
    _revoke(mail, "the mail is sent anew")
    label = mail.words.get("label") or "mailed"
    token, secret = lifecycle.add_token(license, by=BY, reason="mailed to the owner", label=label, is_unsent=True)
    Mail.objects.filter(pk=mail.pk).update(token=token)
    mail.token = token
    return secret


def _revoke(mail: Mail, reason: str) -> None:
    token = mail.token
    if token is not None and token.is_unsent and token.revoked_at is None:
        lifecycle.revoke(token, by=BY, reason=reason)
        token.refresh_from_db()
