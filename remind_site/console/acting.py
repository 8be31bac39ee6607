"""Shows an action's form and carries the action out: on one row, on several of a list, or to make a new license.

Two people at one license: the form remembers what it was shown for, and whoever comes second is told what the first
did before anything is done.
"""

import re
from time import monotonic
from typing import Any
from uuid import uuid4

import structlog
from django.contrib import admin, messages
from django.core.cache import cache
from django.core.exceptions import PermissionDenied
from django.db import InterfaceError, OperationalError, transaction
from django.db.models import Max, Model, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.urls import reverse

from licenses.admin import is_number, name_of, staff, state_of
from licenses.lifecycle import NotPossible
from licenses.models import AuditEvent
from remind_site.console import customer
from remind_site.console.actions import BY_SLUG, Action, Done, ReasonForm, Unsure, Who, hold, in_bulk, license_of

logger = structlog.get_logger(__name__)

MOST_AT_ONCE = 100
BULK_SECONDS = 20  # of one request, before which a browser or a proxy gives up; what is left then is said
TOLD_ONE_BY_ONE = 5
FORM_LIFE = 24 * 3600  # seconds
UNDER_WAY, ENDED = "under way", "ended"
UNREADABLE = "This form can't be read. Nothing was done; open it anew."
# PostgreSQL's codes for a `lock_timeout` and a deadlock: nothing was done, and once more it may well be.
HELD = {"55P03", "40P01"}


def without_subject(request: HttpRequest, slug: str) -> HttpResponse:
    """The form of an action that makes something, and what comes of it."""
    action = _allowed(request, slug)
    if action.on is not None:
        raise Http404
    if (sent := _sent_before(request, None)) is not None:
        return _page(request, action, action.form(), title=action.label, back=reverse("admin:index"), problem=sent)
    form = action.form(request.POST or None)
    if form.is_valid():
        done = _try(request, action, None, form)
        if done is not None:
            return _after(request, done, None)
    return _page(request, action, form, title=action.label, back=reverse("admin:index"))


def on_one(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """The form of an action on one row, and what comes of it."""
    action, model = _allowed_on_rows(request, slug)
    subject = get_object_or_404(model, pk=pk)
    if request.method == "GET" and not action.fits(subject):
        why = f"'{action.label}' is not possible for {subject} as it is now. {action.why_not(subject)}"
        messages.error(request, why.strip())
        return redirect(_page_of(subject))
    form = action.form(request.POST or None, subject=subject)
    context = {"subject": subject, "back": _page_of(subject), "facts": customer.facts(subject)}
    title = f"{action.label}: {subject}"
    if (sent := _sent_before(request, subject)) is not None:
        return _page(request, action, form, title=title, seen=_state(subject), problem=sent, **context)
    seen = _shown_for(request, "seen", subject)
    if form.is_valid():
        done = _try(request, action, subject, form)
        if done is not None:
            return _after(request, done, subject)
        seen = _state(subject)  # what others did meanwhile was said now
    return _page(request, action, form, title=title, seen=seen, **context)


def on_many(request: HttpRequest, slug: str) -> HttpResponse:
    """What a list's bulk action leads to: one form for all chosen rows, then a message with the counts."""
    action, model = _allowed_on_rows(request, slug)
    if not action.in_bulk:
        raise Http404
    rows = list(_with_license(model).filter(pk__in=_chosen(request)))
    if request.method != "POST" or not rows:
        messages.error(request, "Choose some rows of the list first.")
        return redirect(_list_of(model))
    form = action.form(request.POST)
    if not form.is_valid():
        return _bulk_page(request, action, form, rows)
    _do_all(request, action, form, rows)
    return redirect(_list_of(model))


def bulk_actions(request: HttpRequest, model: type[Model]) -> dict[str, Any]:
    """The actions of a list, in the form in which the admin wants them."""
    return {action.slug: (_opener(action), action.slug, action.label) for action in in_bulk(request, model)}


def _opener(action: Action) -> Any:
    def open_form(model_admin: Any, request: HttpRequest, rows: QuerySet[Any]) -> HttpResponse | None:
        chosen = list(rows[: MOST_AT_ONCE + 1])
        if not chosen:  # what was ticked has left the filtered list meanwhile
            model_admin.message_user(request, "What was chosen is no longer in this list.", messages.ERROR)
            return None
        if len(chosen) > MOST_AT_ONCE:
            problem = f"{MOST_AT_ONCE} at most at once. Narrow the list by its filters, or tick a page at a time."
            model_admin.message_user(request, problem, messages.ERROR)
            return None
        return _bulk_page(request, action, action.form(), chosen)

    return open_form


def _bulk_page(request: HttpRequest, action: Action, form: ReasonForm, rows: list[Any]) -> HttpResponse:
    title = f"{action.label}: {len(rows)} {_plural(type(rows[0]), len(rows))}"
    events = _last_events(rows)
    chosen = [(row, request.POST.get(f"seen-{row.pk}") or _state(row, events)) for row in rows]
    return _page(request, action, form, title=title, rows=chosen, back=_list_of(type(rows[0])))


def _do_all(request: HttpRequest, action: Action, form: ReasonForm, rows: list[Any]) -> None:
    if not _is_first_time(request):
        messages.error(request, _sent_before(request, None) or UNREADABLE)
        return
    told: list[str] = []
    try:
        _do_each(request, action, form, rows, told)
    finally:
        _note_end(request)
        level = messages.SUCCESS if len(told) == len(rows) else messages.WARNING
        more = f" And {len(told) - TOLD_ONE_BY_ONE} more." if len(told) > TOLD_ONE_BY_ONE else ""
        each = " ".join(told[:TOLD_ONE_BY_ONE])
        messages.add_message(request, level, f"{action.label}: done for {len(told)} of {len(rows)}. {each}{more}")


def _do_each(request: HttpRequest, action: Action, form: ReasonForm, rows: list[Any], told: list[str]) -> None:
    """Row by row, each in a transaction of its own; `told` gets a sentence for each that is done."""
    ours: dict[tuple[Any, str], str] = {}  # a license and the event its rows were shown for: the last one of ours since
    until = monotonic() + BULK_SECONDS
    for tried, row in enumerate(rows):
        if monotonic() > until:
            messages.warning(
                request, f"It took too long: {len(rows) - tried} of them were not tried. Choose them again."
            )
            break
        number, _, rest = request.POST.get(f"seen-{row.pk}", "").partition("-")
        shown_for = (license_of(row), number)
        try:
            with transaction.atomic():
                done = _carry_out(request, action, row, form, seen=f"{ours.get(shown_for, number)}-{rest}")
                ours[shown_for] = _last_event(row)
            told.append(done.message)
        except NotPossible as error:
            messages.warning(request, f"{row}: {error}")
        except (OperationalError, InterfaceError) as error:
            logger.warning("bulk_action_cut_short", action=action.slug, error=type(error).__name__)
            left = len(rows) - tried - 1
            unsure = "the database did not confirm it. Look at the audit trail before you do it again."
            messages.warning(request, f"{row}: {unsure} {left} after it were not tried.")
            break


def _try(request: HttpRequest, action: Action, subject: Any, form: ReasonForm) -> Done | None:
    """Carry it out; None where the form now says why not."""
    if not _is_first_time(request):
        form.add_error(None, _sent_before(request, subject) or UNREADABLE)
        return None
    try:
        done = _carry_out(request, action, subject, form, seen=request.POST.get("seen", ""))
    except NotPossible as error:
        form.add_error(error.box if isinstance(error, Unsure) else None, str(error))
        done = None
    finally:
        _note_end(request)
    return done


def _carry_out(request: HttpRequest, action: Action, subject: Any, form: ReasonForm, seen: str) -> Done:
    """Do it, unless something was done since the form was shown.

    Raises:
        NotPossible: and why.
    """
    try:
        return _do(request, action, subject, form, seen)
    except OperationalError as error:
        if getattr(error.__cause__, "sqlstate", "") not in HELD:
            raise
        raise NotPossible("Something else holds this at the moment. Nothing was done; send it once more.") from None


@transaction.atomic
def _do(request: HttpRequest, action: Action, subject: Any, form: ReasonForm, seen: str) -> Done:
    if subject is not None:
        hold(subject)
        subject.refresh_from_db()
        _refuse_if_changed(subject, seen)
    return action.do(subject, form.cleaned_data, _who(request, form))


def _once(request: HttpRequest) -> str:
    """The key of this very form in the cache; empty where it has none that can be read."""
    once = request.POST.get("once", "")
    return f"console-form:{once}" if re.fullmatch(r"[0-9a-f]{32}", once) else ""


def _is_first_time(request: HttpRequest) -> bool:
    """Whether this very form is sent for the first time: not a reload, not a second click."""
    newest = AuditEvent.objects.order_by("-pk").values_list("pk", flat=True).first() or 0
    return bool(_once(request)) and cache.add(_once(request), (newest, UNDER_WAY), FORM_LIFE)


def _note_end(request: HttpRequest) -> None:
    newest, _ = cache.get(_once(request)) or (0, "")
    cache.set(_once(request), (newest, ENDED), FORM_LIFE)


def _sent_before(request: HttpRequest, subject: Any) -> str | None:
    """What came of this very form when it was sent before, by the audit trail; None where it was not."""
    before = cache.get(_once(request)) if _once(request) else None
    if before is None:
        return None
    newest, how_far = before
    license = license_of(subject)
    events = AuditEvent.objects.filter(by=staff(request), pk__gt=newest).select_related("license")
    done = list((events.filter(license=license) if license else events).order_by("pk")[:TOLD_ONE_BY_ONE])
    if done:
        told = "; ".join(
            f"{event.get_action_display().lower()}{f': {event.license}' if event.license else ''}" for event in done
        )
        return f"This form was sent before. Since then you did: {told}. Nothing was done a second time."
    if how_far == UNDER_WAY:
        return "This form was sent before, and is being worked on. Look at the audit trail in a moment."
    return "This form was sent before, and nothing was changed by it. Look at it once more, then send it again."


def _state(subject: Any, events: dict[Any, int] | None = None) -> str:
    """What a form was shown for: the last audit event, and how far the row was where it has a state.

    The event is the license's. A row that belongs to none is told by all its values; its event only says since when.
    """
    license = license_of(subject)
    events = _last_events([subject]) if events is None else events
    if license is None:
        return f"{events[None]}-{state_of(subject)}"
    return f"{events.get(license.pk, 0)}-{getattr(subject, 'state', '')}-{getattr(subject, 'tries', '')}"


def _last_event(subject: Any) -> str:
    """The number of the last audit event of a row's license; 0 where there is none."""
    return _state(subject).partition("-")[0]


def _last_events(rows: list[Any]) -> dict[Any, int]:
    """The number of the last audit event of each license that these rows belong to; under None, that of them all."""
    licenses = [license_of(row) for row in rows]
    events = AuditEvent.objects.filter(license__in={one.pk for one in licenses if one is not None}).order_by()
    numbers: dict[Any, int] = dict(events.values("license").annotate(last=Max("pk")).values_list("license", "last"))
    if None in licenses:
        numbers[None] = AuditEvent.objects.order_by("-pk").values_list("pk", flat=True).first() or 0
    return numbers


def _shown_for(request: HttpRequest, name: str, subject: Any) -> str:
    """The state that a form is for; whoever gets it back for a wrong input knows no more than at first."""
    return request.POST.get(name) or _state(subject)


def _refuse_if_changed(subject: Any, seen: str) -> None:
    now = _state(subject)
    if license_of(subject) is None:  # what else was done since is not about it
        seen_values, now_values = seen.partition("-")[2], now.partition("-")[2]
    else:
        seen_values, now_values = seen, now
    if seen_values != now_values:
        raise NotPossible(_what_happened(subject, seen))


def _what_happened(subject: Any, seen: str) -> str:
    number = seen.partition("-")[0]
    license = license_of(subject)
    events = AuditEvent.objects.filter(license=license, pk__gt=int(number) if is_number(number) else 0)
    if license is None:
        events = events.filter(about__startswith=name_of(subject))
    told = "; ".join(
        f"{event.get_action_display()} by {event.by} at {event.at:%H:%M} UTC"
        + (f" ({event.reason})" if event.reason else "")
        for event in events[:5]
    )
    what = told or f"it is now '{getattr(subject, 'state', 'changed')}'"
    return f"Since you opened this form: {what}. Nothing of yours was done. Look again, then send it once more."


def _allowed_on_rows(request: HttpRequest, slug: str) -> tuple[Action, type[Model]]:
    action = _allowed(request, slug)
    if action.on is None:
        raise Http404
    return action, action.on


def _allowed(request: HttpRequest, slug: str) -> Action:
    action = BY_SLUG.get(slug)
    if action is None:
        raise Http404
    if not request.user.has_perm(action.permission):
        raise PermissionDenied
    return action


def _who(request: HttpRequest, form: ReasonForm) -> Who:
    return {"by": staff(request), "reason": form.cleaned_data["reason"]}


def _chosen(request: HttpRequest) -> list[int]:
    return [int(value) for value in request.POST.getlist("chosen")[:MOST_AT_ONCE] if is_number(value)]


def _after(request: HttpRequest, done: Done, subject: Any) -> HttpResponse:
    license = done.license or license_of(subject)
    gone = license is None and subject.pk is None  # it was deleted
    back = _list_of(type(subject)) if gone else _page_of(license if license is not None else subject)
    if not done.secret:
        messages.success(request, done.message)
        return redirect(back)
    context = {"title": "Here is the token", "done": done, "back": back}
    page = TemplateResponse(request, "console/token.html", {**admin.site.each_context(request), **context})
    page["Cache-Control"] = "no-store"  # the only page that ever holds a whole token
    return page


def _page(request: HttpRequest, action: Action, form: ReasonForm, **context: Any) -> HttpResponse:
    context = {**admin.site.each_context(request), "action": action, "form": form, "once": uuid4().hex, **context}
    return TemplateResponse(request, "console/act.html", context)


def _with_license(model: type[Model]) -> "QuerySet[Any]":
    has_license = any(field.name == "license" for field in model._meta.fields)
    return model._default_manager.select_related(*["license"] if has_license else [])


def _page_of(row: Any) -> str:
    return reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_change", args=[row.pk])


def _list_of(model: type[Model]) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")


def _plural(model: type[Model], count: int) -> str:
    return str(model._meta.verbose_name if count == 1 else model._meta.verbose_name_plural)
