"""Everything that staff can do to customers, the books and what waits, as data: on what, who may, what the form asks
for, and which function of `licenses` or `billing` does it. `acting` shows the forms and carries it out; every action
asks for a reason. Plans, prices and staff are changed on their own pages.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, TypedDict

from django import forms
from django.contrib.auth import SESSION_KEY
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.db import IntegrityError, transaction
from django.db.models import Model
from django.http import HttpRequest
from django.utils import timezone
from django_otp.plugins.otp_static.models import StaticDevice
from django_otp.plugins.otp_totp.models import TOTPDevice
from unfold import widgets

from billing import mails, money, outbox, quota, sales
from billing.models import Errand, Mail, ModelPrice, PlanPrice, State, UsageRecord, WebhookEvent
from billing.models.outbox import ToDo
from billing.months import month_of, start_of_next
from licenses import lifecycle, tokens
from licenses.admin import counted, name_of
from licenses.decisions import Decision, decide, in_words
from licenses.lifecycle import NotPossible
from licenses.models import MOST, TAKEN_BACK, AuditEvent, Ending, License, LicenseToken, Plan

SHOW, MAIL = "show", "mail"
LAST_YEAR = 2199  # whatever is later is a slip of the keyboard, or means that it never ends


@dataclass(frozen=True)
class Done:
    """What happened, in a sentence; with the token to be shown once, where one was made."""

    message: str
    license: License | None = None
    token: LicenseToken | None = None
    secret: str = field(default="", repr=False)
    warning: str = ""  # said beside the token


class Unsure(NotPossible):
    """What was asked for is seldom meant: it is done once a box of the form is ticked.

    Attributes:
        box: the name of that field.
    """

    def __init__(self, message: str, box: str) -> None:
        super().__init__(message)
        self.box = box


# --- What the forms ask for


class ReasonForm(forms.Form):
    """Asks why; what else is asked for comes before it."""

    reason = forms.CharField(
        max_length=500,
        widget=widgets.UnfoldAdminTextInputWidget,
        help_text="For the audit trail: a ticket, or a sentence.",
    )

    def __init__(self, *args: Any, subject: Any = None, **kwargs: Any) -> None:
        self.subject = subject
        kwargs["initial"] = (
            {**self.now(), **kwargs.get("initial", {})} if subject is not None else kwargs.get("initial")
        )
        super().__init__(*args, **kwargs)
        self.order_fields([name for name in self.fields if name != "reason"])
        next(iter(self.fields.values())).widget.attrs["autofocus"] = True

    def clean(self) -> dict[str, Any]:
        """No token is kept, wherever it was pasted."""
        values: dict[str, Any] = super().clean() or self.cleaned_data
        for name, value in list(values.items()):
            if isinstance(value, str) and tokens.shorten(value) != value:
                self.add_error(name, "This holds a token, and what is written here is kept. Leave the token out.")
        return values

    def now(self) -> dict[str, Any]:
        """What the fields hold before anything is changed."""
        return {}


def _deliver() -> forms.ChoiceField:
    return forms.ChoiceField(
        label="The token",
        choices=[(SHOW, "Show it to me, once"), (MAIL, "Mail it to the owner; I don't see it")],
        initial=SHOW,
        widget=widgets.UnfoldAdminRadioSelectWidget,
    )


def _label() -> forms.CharField:
    return forms.CharField(
        max_length=60,
        required=False,
        widget=widgets.UnfoldAdminTextInputWidget,
        help_text="Whose or which machine's, for example 'build server'.",
    )


def _plan() -> "forms.ModelChoiceField[Plan]":
    return forms.ModelChoiceField(Plan.objects.filter(is_active=True), widget=widgets.UnfoldAdminSelectWidget)


def _number(label: str, help_text: str, least: int = 0, required: bool = False) -> forms.IntegerField:
    return forms.IntegerField(
        label=label,
        min_value=least,
        max_value=MOST,
        required=required,
        widget=widgets.UnfoldAdminIntegerFieldWidget,
        help_text=help_text,
    )


class LastDayField(forms.DateField):
    """A day through whose end (UTC) something holds; empty for ever."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(
            **{
                "required": False,
                "widget": forms.DateInput(attrs={"type": "date", "class": " ".join(widgets.INPUT_CLASSES)}),
                "help_text": "It ends when this day is over, in UTC. Empty: never.",
                **kwargs,
            }
        )

    def clean(self, value: Any) -> Any:
        day: date | None = super().clean(value)
        if day is None:
            return None
        if day < timezone.now().date():
            raise forms.ValidationError("Choose today or a day after it; to stop a license at once, suspend it.")
        if day.year > LAST_YEAR:
            raise forms.ValidationError(f"Choose a day before {LAST_YEAR + 1}.")
        return datetime.combine(day + timedelta(days=1), time(), UTC)


def _last_day(ends_at: datetime | None) -> date | None:
    return (ends_at - timedelta(microseconds=1)).astimezone(UTC).date() if ends_at else None


class IssueForm(ReasonForm):
    email = forms.EmailField(label="Owner's email", max_length=254, widget=widgets.UnfoldAdminEmailInputWidget)
    plan = _plan()
    last_day = LastDayField()
    quota = _number("Quota", "Suggestions per month. Empty: the plan's.")
    rate = _number("Rate", "Requests per minute. Empty: the plan's.", least=1)
    notes = forms.CharField(
        required=False, max_length=5000, widget=widgets.UnfoldAdminTextareaWidget(attrs={"rows": 3})
    )
    sends_notices = forms.BooleanField(
        label="Mail the owner about plan, payments and quota",
        required=False,
        initial=True,
        widget=widgets.UnfoldBooleanWidget,
    )
    deliver = _deliver()
    is_further = forms.BooleanField(
        label="Issue a further license, should this address have one",
        required=False,
        widget=widgets.UnfoldBooleanWidget,
    )

    def clean(self) -> dict[str, Any]:
        values = super().clean()
        known = License.objects.filter(email=str(values.get("email", "")).lower()).first()
        if known and not values.get("is_further"):
            self.add_error("email", _has_one(known))
        return values


def _has_one(known: License) -> str:
    return f"This address has license {known.pk} already. If you mean a further one, tick the box below."


class TokenForm(ReasonForm):
    label = _label()
    deliver = _deliver()


class RotateForm(ReasonForm):
    deliver = _deliver()


class PlanForm(ReasonForm):
    plan = _plan()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.subject is not None:
            self.fields["plan"].help_text = "Their plan now stands above."


class ExtendForm(ReasonForm):
    last_day = LastDayField(label="Last day", help_text="It ends when this day is over, in UTC.")
    never_ends = forms.BooleanField(
        label="It never ends, whatever day stands above", required=False, widget=widgets.UnfoldBooleanWidget
    )
    is_sooner = forms.BooleanField(
        label="This is earlier than now: end it sooner", required=False, widget=widgets.UnfoldBooleanWidget
    )

    def now(self) -> dict[str, Any]:
        return {"last_day": _last_day(self.subject.expires_at)}

    def clean(self) -> dict[str, Any]:
        values = super().clean()
        if values.get("never_ends"):
            values["last_day"] = None
            self.errors.pop("last_day", None)
        elif not values.get("last_day") and "last_day" not in self.errors:
            self.add_error("last_day", "Choose a day, or tick that it never ends.")
        return values


class LimitsForm(ReasonForm):
    quota = _number("Quota", "Suggestions per month. Empty: the plan's.")
    rate = _number("Rate", "Requests per minute. Empty: the plan's.", least=1)

    def now(self) -> dict[str, Any]:
        return {"quota": self.subject.quota_override, "rate": self.subject.rate_override}


class BonusForm(ReasonForm):
    units = forms.IntegerField(
        min_value=1,
        max_value=1_000_000,
        widget=widgets.UnfoldAdminIntegerFieldWidget,
        help_text="Suggestions on top of the month's quota. They can't be taken back.",
    )
    month = forms.TypedChoiceField(coerce=date.fromisoformat, widget=widgets.UnfoldAdminSelectWidget)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        this = month_of(timezone.now())
        months = [this, start_of_next(this).date()]
        self.fields["month"].choices = [(month.isoformat(), f"{month:%B %Y}") for month in months]  # type: ignore[attr-defined]


class EmailForm(ReasonForm):
    email = forms.EmailField(label="Owner's email", max_length=254, widget=widgets.UnfoldAdminEmailInputWidget)

    def now(self) -> dict[str, Any]:
        return {"email": self.subject.email}


class NotesForm(ReasonForm):
    notes = forms.CharField(
        required=False, max_length=5000, widget=widgets.UnfoldAdminTextareaWidget(attrs={"rows": 8})
    )
    sends_notices = forms.BooleanField(
        label="Mail the owner about plan, payments and quota", required=False, widget=widgets.UnfoldBooleanWidget
    )

    def now(self) -> dict[str, Any]:
        return {"notes": self.subject.notes, "sends_notices": self.subject.sends_notices}


class PriceForm(ReasonForm):
    plan = forms.ModelChoiceField(Plan.objects.all(), widget=widgets.UnfoldAdminSelectWidget)
    interval = forms.ChoiceField(choices=PlanPrice.Interval.choices, widget=widgets.UnfoldAdminSelectWidget)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        licenses = len(_licenses_by(self.subject))
        self.fields[
            "plan"
        ].help_text = (
            f"Bought by this price so far: {counted(licenses, 'license')}. Their plan becomes this one at once."
        )

    def now(self) -> dict[str, Any]:
        return {"plan": self.subject.plan, "interval": self.subject.interval}


def _licenses_by(price: PlanPrice) -> list[License]:
    licenses = {one.license.pk: one.license for one in sales.bought_by(price) if one.license}
    return list(licenses.values())


class CorrectForm(ReasonForm):
    cents = _number("US cents to take back", "", required=True)
    gives_back_unit = forms.BooleanField(
        label="Give the unit back to that month's quota", required=False, widget=widgets.UnfoldBooleanWidget
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["cents"].help_text = f"This entry charged {counted(self.subject.charge_cents, 'cent')}."

    def now(self) -> dict[str, Any]:
        return {"cents": self.subject.charge_cents, "gives_back_unit": True}

    def clean_cents(self) -> int:
        cents: int = self.cleaned_data["cents"]
        if cents > self.subject.charge_cents:
            raise forms.ValidationError(
                f"The entry charged {counted(self.subject.charge_cents, 'cent')}; more can't be taken back."
            )
        return cents


# --- What is done. Each takes the row, the form's values and {"by", "reason"}, and may raise NotPossible.

Values = dict[str, Any]


class Who(TypedDict):
    """Who does it and why, as `licenses.lifecycle` wants it."""

    by: str
    reason: str


def _issue(_: None, values: Values, who: Who) -> Done:
    Plan.objects.select_for_update(no_key=True).order_by("pk").first()  # two for one address take turns, on any plans
    known = License.objects.filter(email=values["email"].lower()).first()
    if known and not values["is_further"]:
        raise NotPossible(_has_one(known))
    license = lifecycle.issue(
        values["email"],
        values["plan"],
        quota=values["quota"],
        rate=values["rate"],
        expires_at=values["last_day"],
        notes=values["notes"],
        sends_notices=values["sends_notices"],
        **who,
    )
    done = _add_token(license, {**values, "label": ""}, who)
    return replace(done, message=f"{license} is issued. {done.message}")


def _add_token(license: License, values: Values, who: Who) -> Done:
    if values["deliver"] == MAIL:
        _refuse_unless_active(license)
        mails.mail_token(license, label=values["label"], **who)
        return Done(f"A token is on its way to {license.email}.", license)
    token, secret = lifecycle.add_token(license, label=values["label"], **who)
    return Done(f"Token {token} is issued.", license, token, secret, _refused_now(license))


def _refused_now(license: License) -> str:
    """What to say beside a token that opens nothing now; empty where it does."""
    now = timezone.now()
    decision = decide(license, now)
    if decision is Decision.ACTIVE:
        return ""
    return f"This token is refused now, with '{decision}'. {in_words(license, now)}"


def _refuse_unless_active(license: License) -> None:
    decision = decide(license, timezone.now())
    if decision is not Decision.ACTIVE:  # such a mail would be canceled in silence
        raise NotPossible(
            f"A token is mailed only where it opens something; this license is refused, with '{decision}'."
        )


def _rotate(token: LicenseToken, values: Values, who: Who) -> Done:
    goes_on = f"{token} goes on for a day."
    if values["deliver"] == MAIL:
        _refuse_unless_active(token.license)
        lifecycle.phase_out(token, **who)
        mails.mail_token(token.license, label=token.label, **who)
        return Done(f"A new token is on its way to {token.license.email}. {goes_on}", token.license)
    new, secret = lifecycle.rotate(token, **who)
    return Done(f"Token {new} is issued. {goes_on}", token.license, new, secret, _refused_now(token.license))


def _revoke(token: LicenseToken, values: Values, who: Who) -> Done:
    lifecycle.revoke(token, **who)
    return Done(f"Token {token} is revoked: its next call is refused with 'token_revoked'.", token.license)


def _suspend(license: License, values: Values, who: Who) -> Done:
    lifecycle.suspend(license, **who)
    return Done(f"{license} is suspended: its next call is refused with 'license_suspended'.")


def _reinstate(license: License, values: Values, who: Who) -> Done:
    lifecycle.reinstate(license, **who)
    license.refresh_from_db()
    decision = decide(license, timezone.now())
    still = "It may act again." if decision is Decision.ACTIVE else f"It is still refused, with '{decision}'."
    return Done(f"{license} is reinstated. {still}")


def _change_plan(license: License, values: Values, who: Who) -> Done:
    lifecycle.change_plan(license, values["plan"], **who)
    license.refresh_from_db()
    kept = " It stays so, whatever plan is paid for." if license.plan_is_kept else ""
    override = f" {overrides(license)}" if overrides(license) else ""
    quota = counted(license.monthly_quota, "suggestion")
    return Done(f"{license} is on {license.plan} now: {quota} a month.{kept}{override}")


def overrides(license: License) -> str:
    """What holds for a license whatever its plan says, and where that is changed; empty where nothing does."""
    both = ((license.quota_override, "suggestion", "a month"), (license.rate_override, "request", "a minute"))
    holding = " and ".join(f"{counted(number, unit)} {per}" for number, unit, per in both if number is not None)
    return (
        f"The override of {holding} holds, whatever the plan: 'Override quota and rate' removes it." if holding else ""
    )


def _follow_paid_plan(license: License, values: Values, who: Who) -> Done:
    lifecycle.follow_paid_plan(license, **who)
    license.refresh_from_db()
    return Done(f"{license} follows payments again; it is on {license.plan}.")


def _extend(license: License, values: Values, who: Who) -> Done:
    wanted, before = values["last_day"], license.ends_at
    if license.expires_at == wanted:
        raise _unchanged(f"its end is set to {_end(wanted, license)} already")
    license.expires_at = wanted
    after = license.ends_at
    if _is_sooner(after, before) and not values["is_sooner"]:
        raise Unsure(
            f"It would end sooner than now: {_end(before)} → {_end(after)}. Tick 'end it sooner' if that is meant.",
            "is_sooner",
        )
    lifecycle.extend(license, wanted, **who)
    license.refresh_from_db()
    says = f"its last day is {_end(after)} (UTC)" if after else "it never ends"
    return Done(f"{license}: {says}. Changed: {_end(before)} → {_end(after)}.{_what_counts(license)}")


def _is_sooner(one: datetime | None, other: datetime | None) -> bool:
    """Of two ends, where None is never."""
    return one is not None and (other is None or one < other)


def _end(ends_at: datetime | None, license: License | None = None) -> str:
    """An end in short; of what staff set on a paid license, None is no extension."""
    if ends_at is None:
        return "no extension" if license is not None and license.paid_plan_id else "never"
    return f"{_last_day(ends_at):%-d %b %Y}"


def _what_counts(license: License) -> str:
    """Why a paid license ends on another day than the one that was set; empty where it does not."""
    if license.paid_plan_id is None or license.ends_at == license.expires_at:
        return ""
    paid = f" What is paid for counts, until {_end(license.paid_until)}"
    if license.paid_ending in TAKEN_BACK:
        return f"{paid}: {Ending(license.paid_ending).label}, and no extension helps against that."
    if license.expires_at is None:
        return f"{paid}: a paid license has no end but that, or a later one that is set here."
    return f"{paid}: it is later than {_end(license.expires_at)}, which is kept for when it is not."


def _unchanged(what: str) -> NotPossible:
    return NotPossible(f"Nothing was changed: {what}.")


def _change_limits(license: License, values: Values, who: Who) -> Done:
    before = f"{license.monthly_quota:,} and {license.rate_limit:,}"
    if (license.quota_override, license.rate_override) == (values["quota"], values["rate"]):
        raise _unchanged("quota and rate are so already")
    lifecycle.change_limits(license, quota=values["quota"], rate=values["rate"], **who)
    license.refresh_from_db()
    quota, rate = counted(license.monthly_quota, "suggestion"), counted(license.rate_limit, "request")
    return Done(f"{license} has {quota} a month and {rate} a minute; before: {before}.")


def _grant_bonus(license: License, values: Values, who: Who) -> Done:
    grant = quota.grant_bonus(license, values["units"], month=values["month"], **who)
    return Done(f"{license} has {counted(grant.units, 'more suggestion')} in {grant.month:%B %Y}.")


def _change_email(license: License, values: Values, who: Who) -> Done:
    before = license.email
    if before == values["email"].lower():
        raise _unchanged(f"it belongs to {before} already")
    lifecycle.change_email(license, values["email"], **who)
    license.refresh_from_db()
    others = License.objects.filter(email=license.email).exclude(pk=license.pk).values_list("pk", flat=True)
    also = f" So does license {', '.join(map(str, others[:5]))}." if others else ""
    return Done(f"License {license.pk} belongs to {license.email} now.{also} Before: {before}.")


def _change_notes(license: License, values: Values, who: Who) -> Done:
    if (license.notes, license.sends_notices) == (values["notes"], values["sends_notices"]):
        raise _unchanged("the notes are so already")
    lifecycle.change_notes(license, values["notes"], sends_notices=values["sends_notices"], **who)
    return Done(f"The notes on {license} are kept.")


def _mail_token(license: License, values: Values, who: Who) -> Done:
    _refuse_unless_active(license)
    mails.resend_token(license, **who)
    return Done(f"A mail with a new token will leave for {license.email} within a minute.")


def _send_again(mail: Mail, values: Values, who: Who) -> Done:
    if mail.kind == Mail.Kind.TOKEN and mail.license:
        _refuse_unless_active(mail.license)
        mails.send_token_again(mail, mail.license, **who)
        return Done(f"A mail with a new token will leave for {mail.license.email} within a minute.")
    if obsolete := mails.why_obsolete(mail):
        raise NotPossible(f"It would say what is no longer so: {obsolete}")
    outbox.try_again(mail)
    _note(AuditEvent.Action.MAIL_QUEUED, mail, mail.license, who)
    return Done(f"'{mail}' will leave within a minute.")


def _cancel_mail(mail: Mail, values: Values, who: Who) -> Done:
    if not mails.cancel(mail, note=f"Canceled by {who['by']}: {who['reason']}"):
        raise NotPossible("This mail has left, is leaving just now, or ended before.")
    _note(AuditEvent.Action.MAIL_CANCELED, mail, mail.license, who)
    return Done(f"'{mail}' is canceled.")


def _try_again(row: ToDo, values: Values, who: Who) -> Done:
    if isinstance(row, Errand) and not _is_not_done(row):
        raise NotPossible(_why_not_again(row))
    try:
        with transaction.atomic():
            outbox.try_again(row)
    except IntegrityError:  # of errands, one of a kind waits at a time
        raise NotPossible("The same waits to be done already.") from None
    _note(AuditEvent.Action.TRIED_AGAIN, row, None, who)
    return Done(f"'{row}' will be tried again within a minute.")


def _see_to(row: ToDo, values: Values, who: Who) -> Done:
    ends_as = State.CANCELED if isinstance(row, Mail) else State.DONE  # a mail that is done is one that was sent
    if not outbox.see_to(row, ends_as, note=f"Seen to by {who['by']}: {who['reason']}"):
        raise NotPossible("This no longer waits for a person.")
    _note(AuditEvent.Action.SEEN_TO, row, getattr(row, "license", None), who)
    return Done(f"'{row}' is closed.")


def _correct(entry: UsageRecord, values: Values, who: Who) -> Done:
    correction = quota.correct(entry, cents=values["cents"], gives_back_unit=values["gives_back_unit"], **who)
    unit = " and the unit given back" if correction.units else ""
    amount = money.dollars(values["cents"])
    return Done(f"{amount} of entry {entry.pk} taken back{unit}, by entry {correction.pk}.")


def _correct_price(price: PlanPrice, values: Values, who: Who) -> Done:
    before = f"{price.plan} a {price.interval}"
    changes = {"plan": [price.plan.slug, values["plan"].slug], "interval": [price.interval, values["interval"]]}
    if all(old == new for old, new in changes.values()):
        raise _unchanged("it buys that already")
    was_offered = price.is_offered
    notes = sales.correct_price(price, values["plan"], values["interval"], because=f"{price.price_id} corrected")
    changes["is_offered"] = [was_offered, price.is_offered]
    about = f"{price._meta.verbose_name} {price.pk}: {price}, corrected"
    lifecycle.record(AuditEvent.Action.CATALOG_CHANGED, license=None, about=about, changes=changes, **who)
    followed = counted(len(_licenses_by(price)), "license")
    off = " It is no longer offered, since another price is for that." if was_offered and not price.is_offered else ""
    told = f"{price.price_id}: {before} → {price.plan} a {price.interval}. {followed} bought by it: brought in line."
    return Done(" ".join([told + off, *notes]))


def _withdraw_price(price: ModelPrice, values: Values, who: Who) -> Done:
    about = f"model price {price.pk}: {price}"
    if price.valid_from <= timezone.now():
        raise NotPossible("This price holds already. Enter a new one instead.")
    lifecycle.record(AuditEvent.Action.CATALOG_CHANGED, license=None, about=f"{about}, withdrawn", **who)
    price.delete()
    return Done(f"The price of {price} is withdrawn.")


def _reset_second_factor(user: User, values: Values, who: Who) -> Done:
    for devices in (TOTPDevice, StaticDevice):
        devices.objects.filter(user=user).delete()
    for session in Session.objects.filter(expire_date__gt=timezone.now()):
        if session.get_decoded().get(SESSION_KEY) == str(user.pk):
            session.delete()
    lifecycle.record(AuditEvent.Action.SECOND_FACTOR_RESET, license=None, about=f"{name_of(user)}{user}", **who)
    return Done(f"{user} has no second factor any more, and enrols a new one at the next log-in.")


def _note(action: AuditEvent.Action, row: ToDo, license: License | None, who: Who) -> None:
    lifecycle.record(action, license=license, about=f"{row._meta.verbose_name} {row.pk}: {row}", **who)


# --- When it makes sense to offer it


def _always(row: Any) -> bool:
    return True


def _plan_is_kept(license: License) -> bool:
    return license.plan_is_kept


def _is_suspended(license: License) -> bool:
    return license.suspended_at is not None


def _is_not_suspended(license: License) -> bool:
    return license.suspended_at is None


def _waits(row: ToDo) -> bool:
    return row.state == State.WAITING


def _flagged(row: ToDo) -> bool:
    return row.state == State.FLAGGED


def _is_not_done(row: ToDo) -> bool:
    return row.state != State.DONE


def _usable(token: LicenseToken) -> bool:
    return token.is_usable(timezone.now())


def _holds_not_yet(price: ModelPrice) -> bool:
    return price.valid_from > timezone.now()


def _can_be_corrected(entry: UsageRecord) -> bool:
    is_charge = entry.state == UsageRecord.State.SETTLED and entry.corrects_id is None
    return is_charge and not hasattr(entry, "correction")


# --- Why it is not possible, and what next


def _why_no_plan_to_follow(license: License) -> str:
    return "Its plan was not chosen by staff against what is paid for, so there is nothing to undo."


def _why_not_suspend(license: License) -> str:
    return f"{in_words(license, timezone.now())} 'Reinstate' lifts that."


def _why_not_reinstate(license: License) -> str:
    return f"It is not suspended by staff. {in_words(license, timezone.now())}"


def _ended_token(token: LicenseToken) -> str:
    return f"It {end_of(token)}. 'Issue a token' makes a new one."


def end_of(token: LicenseToken) -> str:
    """How and when a token ended, or is to end; empty where it goes on."""
    if token.revoked_at is not None:
        return f"was revoked {_moment(token.revoked_at)}"
    if token.expires_at is None:
        return ""
    if token.expires_at <= timezone.now():
        return f"was replaced, and ended {_moment(token.expires_at)}"
    return f"is replaced, and goes on until {_moment(token.expires_at)}"


def _moment(at: datetime) -> str:
    return f"{at:%-d %b %Y, %H:%M} UTC"


def _why_not_wait(row: ToDo) -> str:
    return f"It no longer waits: it is '{row.get_state_display()}'{_note_of(row)}"


def _why_not_again(row: ToDo) -> str:
    return f"It is done{_note_of(row)} What it asked of Paddle may no longer be wanted."


def _why_not_close(row: ToDo) -> str:
    return f"It does not need a person: it is '{row.get_state_display()}'{_note_of(row)}"


def _note_of(row: ToDo) -> str:
    return f" ({row.note})." if row.note else "."


def _why_no_correction(entry: UsageRecord) -> str:
    if hasattr(entry, "correction"):
        return f"It was taken back by entry {entry.correction.pk}; that is possible once."
    if entry.corrects_id is not None:
        return f"It is itself what took entry {entry.corrects_id} back."
    if entry.state == UsageRecord.State.RESERVED:
        return "It is under way, and nothing is charged yet. Try again in a minute."
    return "It was free, so there is nothing to take back."


def _why_no_withdrawal(price: ModelPrice) -> str:
    return "It holds already, and entries may have been charged by it. Enter a new one instead."


def _no_reason(row: Any) -> str:
    return ""


@dataclass(frozen=True)
class Action:
    """One thing that can be done.

    Attributes:
        on: the rows it is done to; None where it makes one.
        permission: what a member of staff needs.
        hint: what will happen, said above the form.
        fits: whether it makes sense for a row as it is.
        why_not: where it does not, why and what next.
        in_bulk: offered for several rows of a list at once.
    """

    slug: str
    label: str
    on: type[Model] | None
    permission: str
    form: type[ReasonForm]
    do: Callable[[Any, Values, Who], Done]
    hint: str
    fits: Callable[[Any], bool] = _always
    why_not: Callable[[Any], str] = _no_reason
    in_bulk: bool = False
    danger: bool = False


SUPERUSERS = "nobody.but_superusers"  # a permission that can be given to nobody
CHANGE, ADD_TOKEN, CHANGE_TOKEN = "licenses.change_license", "licenses.add_licensetoken", "licenses.change_licensetoken"

ACTIONS = [
    Action(
        "issue-license", "Issue a license", None, "licenses.add_license", IssueForm, _issue,
        "Makes a license that needs no payments, with its first token.",
    ),
    Action(
        "issue-token", "Issue a token", License, ADD_TOKEN, TokenForm, _add_token,
        "A further token; those there are go on.",
    ),
    Action(
        "mail-token", "Mail a new token", License, ADD_TOKEN, ReasonForm, _mail_token,
        "Mails the owner a further token. Mails with a token that have not left yet are canceled for it; for one token "
        "more, with a label, use 'Issue a token'.",
        in_bulk=True,
    ),
    Action(
        "grant-bonus", "Grant bonus units", License, "billing.add_bonusgrant", BonusForm, _grant_bonus,
        "Adds suggestions to one month; felt by the next call.", in_bulk=True,
    ),
    Action(
        "change-limits", "Override quota and rate", License, CHANGE, LimitsForm, _change_limits,
        "Holds for this license, whatever its plan says; felt by the next call.",
    ),
    Action(
        "change-plan", "Change the plan", License, CHANGE, PlanForm, _change_plan,
        "At once: the month's quota becomes the new plan's, what was used stays used. On a paid license the choice "
        "stands until you let the plan follow payments again. Nothing is billed or refunded by it.",
        in_bulk=True,
    ),
    Action(
        "follow-paid-plan", "Let the plan follow payments again", License, CHANGE, ReasonForm, _follow_paid_plan,
        "The plan that is paid for holds again.", fits=_plan_is_kept, why_not=_why_no_plan_to_follow, in_bulk=True,
    ),
    Action(
        "extend", "Change the end", License, CHANGE, ExtendForm, _extend,
        "On a paid license this is an extension: it holds where it is later than what is paid for, unless the money "
        "was taken back.",
        in_bulk=True,
    ),
    Action(
        "suspend", "Suspend", License, CHANGE, ReasonForm, _suspend,
        "Every call is refused until the license is reinstated. The customer is not mailed; payments go on.",
        fits=_is_not_suspended, why_not=_why_not_suspend, in_bulk=True, danger=True,
    ),
    Action(
        "reinstate", "Reinstate", License, CHANGE, ReasonForm, _reinstate,
        "Lifts the suspension.", fits=_is_suspended, why_not=_why_not_reinstate, in_bulk=True,
    ),
    Action(
        "change-email", "Change the owner's email", License, CHANGE, EmailForm, _change_email,
        "Mails go there from now on. Make sure who is asking: whoever reads that mailbox can have new tokens.",
    ),
    Action("change-notes", "Edit notes", License, CHANGE, NotesForm, _change_notes, "Seen by staff only."),
    Action(
        "rotate-token", "Rotate", LicenseToken, CHANGE_TOKEN, RotateForm, _rotate,
        "A new token in its place; the old one goes on for a day, whether a mail with the new one arrives or not.",
        fits=_usable, why_not=_ended_token,
    ),
    Action(
        "revoke-token", "Revoke", LicenseToken, CHANGE_TOKEN, ReasonForm, _revoke,
        "Ends it at once and for good: whatever uses it stops working.",
        fits=lambda token: token.revoked_at is None, why_not=_ended_token, in_bulk=True, danger=True,
    ),
    Action(
        "send-mail-again", "Send again", Mail, "billing.change_mail", ReasonForm, _send_again,
        "Sends it once more, within a minute. A token mail brings a new token.", in_bulk=True,
    ),
    Action(
        "cancel-mail", "Cancel", Mail, "billing.change_mail", ReasonForm, _cancel_mail,
        "Keeps it from leaving.", fits=_waits, why_not=_why_not_wait, in_bulk=True, danger=True,
    ),
    Action(
        "close-mail", "A person has seen to it", Mail, "billing.change_mail", ReasonForm, _see_to,
        "Takes it off the list of what needs a person.", fits=_flagged, why_not=_why_not_close, in_bulk=True,
    ),
    Action(
        "run-event", "Run again", WebhookEvent, "billing.change_webhookevent", ReasonForm, _try_again,
        "Processes the event once more. Safe at any time: facts are worked out anew from all events, and nothing is "
        "done twice.",
        in_bulk=True,
    ),
    Action(
        "close-event", "A person has seen to it", WebhookEvent, "billing.change_webhookevent", ReasonForm, _see_to,
        "Takes it off the list of what needs a person.", fits=_flagged, why_not=_why_not_close, in_bulk=True,
    ),
    Action(
        "run-errand", "Try again", Errand, "billing.change_errand", ReasonForm, _try_again,
        "Asks Paddle once more.", fits=_is_not_done, why_not=_why_not_again, in_bulk=True,
    ),
    Action(
        "close-errand", "A person has seen to it", Errand, "billing.change_errand", ReasonForm, _see_to,
        "Takes it off the list of what needs a person.", fits=_flagged, why_not=_why_not_close, in_bulk=True,
    ),
    Action(
        "reset-second-factor", "Take away the second factor", User, SUPERUSERS,
        ReasonForm, _reset_second_factor,
        "For whoever lost phone and recovery codes; make sure who is asking. They enrol a new one at their next "
        "log-in, for which their password is enough. Whoever is logged in as them now is out.",
        danger=True,
    ),
    Action(
        "correct-charge", "Correct the charge", UsageRecord, "billing.add_usagerecord", CorrectForm, _correct,
        "The entry itself never changes: a further one takes back what you say, once. Money that came in through "
        "Paddle is refunded in Paddle's dashboard, not here.",
        fits=_can_be_corrected, why_not=_why_no_correction,
    ),
    Action(
        "correct-price", "Correct what it buys", PlanPrice, "billing.change_planprice", PriceForm, _correct_price,
        "For a price that was entered for the wrong plan. Licenses that were bought by it are put on the right plan at "
        "once, and their owners are mailed; a plan that staff chose stays. What was used and charged stays as it is; "
        "nothing is billed or refunded. Tokens go on.",
        danger=True,
    ),
    Action(
        "withdraw-price", "Withdraw", ModelPrice, "billing.add_modelprice", ReasonForm, _withdraw_price,
        "Takes a price away that does not hold yet. No entry was charged by it.",
        fits=_holds_not_yet, why_not=_why_no_withdrawal, danger=True,
    ),
]  # fmt: skip
BY_SLUG = {action.slug: action for action in ACTIONS}


def possible(request: HttpRequest, subject: Any) -> list[Action]:
    """What this member of staff can do with a row as it is now."""
    return [
        action
        for action in ACTIONS
        if action.on is type(subject) and request.user.has_perm(action.permission) and action.fits(subject)
    ]


def in_bulk(request: HttpRequest, model: type[Model]) -> list[Action]:
    """What this member of staff can do with several rows of a list."""
    return [
        action
        for action in ACTIONS
        if action.on is model and action.in_bulk and request.user.has_perm(action.permission)
    ]


def hold(subject: Any) -> None:
    """Whoever else would change this waits, for the rest of the transaction."""
    license = license_of(subject)
    if license is not None:
        lifecycle.hold(license)
    elif isinstance(subject, PlanPrice):
        sales.hold_prices()
    elif isinstance(subject, ToDo):  # the worker is at it, perhaps
        type(subject)._default_manager.select_for_update(no_key=True).get(pk=subject.pk)


def license_of(subject: Any) -> License | None:
    """The license that a row belongs to, if any."""
    return subject if isinstance(subject, License) else getattr(subject, "license", None)
