"""Finding a customer by whatever support was given: email, license number, token or its prefix, an id of Paddle's, a
request id. The form posts, so that a whole token that is pasted into it stands in no address and no history.
"""

import re
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.utils import timezone
from django.views.decorators.cache import never_cache

from billing.models import Adjustment, Customer, Payment, Subscription, UsageRecord, WebhookEvent
from licenses import tokens
from licenses.decisions import with_decision
from licenses.models import License, LicenseToken
from remind_site.console import actions

MOST = 50
# What looks like one; clients may choose any.
REQUEST_ID = re.compile(r"[0-9a-f]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
WAYS = {  # from a license to an id of Paddle's, by how that begins
    "ctm": ("customer__paddle_id", "subscriptions__customer__paddle_id"),
    "sub": ("subscriptions__paddle_id",),
    "txn": ("subscriptions__payments__paddle_id", "customer__payments__paddle_id"),
    "adj": ("subscriptions__payments__adjustments__paddle_id",),
}
PADDLE_ID = re.compile(r"(ctm|sub|txn|adj|evt)_[a-z0-9]+", re.IGNORECASE)


@never_cache
def view(request: HttpRequest) -> HttpResponse:
    """Lead to the license if there is one, else list those that come near."""
    if not request.user.has_perm("licenses.view_license"):
        raise PermissionDenied
    if request.method != "POST":
        return _page(request, "", None)
    term = request.POST.get("term", "").replace("\x00", "").strip()[:300]
    if not term:
        return _page(request, "", None)
    token = tokens.pasted(term)
    found = list(with_decision(matches(token or term), timezone.now()).select_related("plan")[: MOST + 1])
    if len(found) == 1:
        if token or tokens.begins_like_one(term):
            say = messages.warning if token and _end_of(token) else messages.info
            say(request, _which_token(term, token))
        return redirect("admin:licenses_license_change", found[0].pk)
    row = None if found else _at_paddle(term.lower())
    if row is not None:
        messages.info(request, "No license belongs to this yet; here is what we know of it.")
        return redirect(f"admin:billing_{row._meta.model_name}_change", row.pk)
    return _page(request, term, found)


def matches(term: str) -> "QuerySet[License]":
    """The licenses that a search term means, by its form."""
    licenses = License.objects.all()
    number = re.sub(r"^(license)?\s*#?\s*", "", term, flags=re.IGNORECASE)
    if number.isdecimal() and number.isascii() and len(number) < 19:
        return licenses.filter(pk__in=[int(number), *_by_request(term)])
    if tokens.is_well_formed(term):
        return licenses.filter(tokens__digest=tokens.digest(term))
    if beginning := tokens.beginning(term):
        return licenses.filter(pk__in=License.objects.filter(tokens__prefix__startswith=beginning).values("pk"))
    if PADDLE_ID.fullmatch(term):
        return licenses.filter(pk__in=_by_paddle_id(_subject_of(term.lower())))
    return licenses.filter(Q(email__icontains=term) | Q(pk__in=_by_request(term)))


def _by_request(request_id: str) -> list[int]:
    """The numbers of the licenses that asked with this id. A client chooses it as it likes: it hides nobody else."""
    entries = UsageRecord.objects.filter(request_id=request_id).order_by().values_list("license_id", flat=True)
    return list(entries.distinct()[: MOST + 1])


def _which_token(term: str, token: str | None) -> str:
    if token is not None:
        end = _end_of(token)
        which = f"This is the license of the token that begins with {tokens.visible_prefix(token)}."
        return f"{which} That token {end}." if end else which
    return "A token of this license begins so; what was pasted is not a whole one, or is mistyped."


def _end_of(token: str) -> str:
    """How a whole token ended, or is to end; empty where it goes on."""
    row = LicenseToken.objects.filter(digest=tokens.digest(token)).first()
    return actions.end_of(row) if row else ""


def _at_paddle(paddle_id: str) -> Any:
    """What an id of Paddle's stands for where it leads to no license; None where we never heard of it."""
    if not PADDLE_ID.fullmatch(paddle_id):
        return None
    for model in (Subscription, Payment, Adjustment, Customer):
        row = model._default_manager.filter(paddle_id=paddle_id).first()
        if row is not None:
            return row
    return WebhookEvent.objects.filter(Q(event_id=paddle_id) | Q(subject=paddle_id)).first()


def _subject_of(paddle_id: str) -> str:
    """What an event is about; any other id is its own."""
    subjects = WebhookEvent.objects.filter(event_id=paddle_id).values_list("subject", flat=True)
    return subjects.first() or paddle_id


def _by_paddle_id(paddle_id: str) -> set[int]:
    """The numbers of the licenses that an id leads to; a short query for each way, since all in one reads all."""
    found = [License.objects.filter(**{way: paddle_id}) for way in WAYS.get(paddle_id[:3], ())]
    return {number for licenses in found for number in licenses.values_list("pk", flat=True)[: MOST + 1]}


def _page(request: HttpRequest, term: str, found: list[License] | None) -> HttpResponse:
    context = {
        **admin.site.each_context(request),
        "title": "Find a customer",
        "term": tokens.hide(term),
        "is_token": tokens.begins_like_one(term),
        "is_request": REQUEST_ID.fullmatch(term) is not None,
        "found": found and found[:MOST],
        "searched": found is not None,
        "more": found is not None and len(found) > MOST,
    }
    return TemplateResponse(request, "console/find.html", context)
