"""Finding a customer by whatever support was given: email, license number, token or its prefix, an id of Paddle's, a
request id. The form posts, so that a whole token that is pasted into it stands in no address and no history.
"""

import re

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.utils import timezone
from django.views.decorators.cache import never_cache

from billing.models import WebhookEvent
from licenses import tokens
from licenses.decisions import with_decision
from licenses.models import License

MOST = 50
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
    found = list(with_decision(matches(term), timezone.now()).select_related("plan")[: MOST + 1])
    if len(found) == 1:
        if tokens.is_well_formed(term):
            messages.info(request, f"This is the license of the token that begins with {tokens.visible_prefix(term)}.")
        return redirect("admin:licenses_license_change", found[0].pk)
    return _page(request, tokens.shorten(term), found)


def matches(term: str) -> "QuerySet[License]":
    """The licenses that a search term means, by its form."""
    licenses = License.objects.all()
    number = term.removeprefix("#")
    if number.isdecimal() and number.isascii() and len(number) < 19:
        return licenses.filter(pk=int(number))
    if tokens.is_well_formed(term):
        return licenses.filter(tokens__digest=tokens.digest(term))
    if term.startswith("remind_"):
        return licenses.filter(pk__in=License.objects.filter(tokens__prefix__startswith=term[:50]).values("pk"))
    if PADDLE_ID.fullmatch(term):
        return licenses.filter(pk__in=_by_paddle_id(_subject_of(term.lower())))
    if re.fullmatch(r"[0-9a-f]{32}", term):
        return licenses.filter(pk__in=License.objects.filter(usage_records__request_id=term).values("pk"))
    return licenses.filter(email__icontains=term)


def _subject_of(paddle_id: str) -> str:
    """What an event is about; any other id is its own."""
    subjects = WebhookEvent.objects.filter(event_id=paddle_id).values_list("subject", flat=True)
    return subjects.first() or paddle_id


def _by_paddle_id(paddle_id: str) -> "QuerySet[License, int]":
    owner = Q(customer__paddle_id=paddle_id) | Q(subscriptions__customer__paddle_id=paddle_id)
    bought = (
        Q(subscriptions__paddle_id=paddle_id)
        | Q(subscriptions__payments__paddle_id=paddle_id)
        | Q(subscriptions__payments__adjustments__paddle_id=paddle_id)
        | Q(customer__payments__paddle_id=paddle_id)
    )
    return License.objects.filter(owner | bought).values_list("pk", flat=True)


def _page(request: HttpRequest, term: str, found: list[License] | None) -> HttpResponse:
    context = {
        **admin.site.each_context(request),
        "title": "Find a customer",
        "term": term,
        "found": found and found[:MOST],
        "searched": found is not None,
        "more": found is not None and len(found) > MOST,
    }
    return TemplateResponse(request, "console/find.html", context)
