"""Refusals as HTTP, in one place: whatever goes wrong on an API route ends as the contract's JSON.

The refusals themselves are defined where they arise.
"""

from typing import Any

import structlog
from django import db
from django.conf import settings
from django.http import HttpRequest, JsonResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.response import Response

from licenses.errors import Forbidden, Invalid, NotFound, Refusal
from remind_site.metrics import requests

PAGES = ("/admin/",)  # paths made for people, whose errors are pages
SHOP = ("/api/v1/checkout/", "/pay")  # for browsers too: pages for those who accept them, else the API's JSON

logger = structlog.get_logger(__name__)


class InternalError(Refusal):
    status = 500
    code = "internal_error"
    detail = "Something went wrong on our side. Please try again; if it stays, tell us the request_id."


class DatabaseUnavailable(Refusal):
    status = 503
    code = "database_unavailable"
    detail = (
        "The service can't reach its database. Please try again shortly; with the same Idempotency-Key nothing is"
        " charged twice."
    )

    for_staff = (
        "The database can't be reached now, or something took too long. What you sent was not done, or not all of it:"
        " go back, look at the audit trail, then send it again."
    )

    def __init__(self) -> None:
        super().__init__(retry_after=5)


class AnyAcceptNegotiation(BaseContentNegotiation):
    """Ignores Accept: everything here answers JSON, and never 406."""

    def select_parser(self, request: Any, parsers: Any) -> Any:
        return next(iter(parsers), None)

    def select_renderer(self, request: Any, renderers: Any, format_suffix: Any = None) -> Any:
        return renderers[0], renderers[0].media_type


def refuse(request: HttpRequest, refusal: Refusal) -> JsonResponse:
    """The response that stands for a refusal."""
    structlog.contextvars.bind_contextvars(outcome=refusal.code)
    return JsonResponse(body_of(request, refusal), status=refusal.status, headers=refusal.headers)


def body_of(request: HttpRequest, refusal: Refusal) -> dict[str, Any]:
    body = {
        "detail": refusal.detail,
        "code": refusal.code,
        "request_id": getattr(request, "request_id", ""),
    }
    if refusal.errors is not None:
        body["errors"] = refusal.errors
    return body


def exception_handler(error: Exception, context: dict[str, Any]) -> Response | None:
    """DRF's hook: a response for each expected exception, None for a bug."""
    refusal = refusal_for(error)
    if refusal is None:
        return None
    structlog.contextvars.bind_contextvars(outcome=refusal.code)
    request = context["request"]._request
    return Response(body_of(request, refusal), status=refusal.status, headers=refusal.headers)


def refusal_for(error: Exception) -> Refusal | None:
    """The refusal that an exception stands for; None where it is a bug."""
    if isinstance(error, Refusal):
        return error
    if isinstance(error, db.OperationalError | db.InterfaceError | db.InternalError):
        requests.count_database_error(error)
        logger.error("database_unavailable", error=type(error).__name__, reason=str(error).split("\n")[0])
        return DatabaseUnavailable()
    return None


def is_page(request: HttpRequest) -> bool:
    """Whether people look at this answer in a browser."""
    if request.path.startswith(SHOP):
        return "text/html" in request.headers.get("Accept", "")
    return request.path.startswith(PAGES)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    return answer(request, Invalid())


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    return answer(request, Forbidden(_not_yours(request) if is_page(request) else None))


def _not_yours(request: HttpRequest) -> str:
    """What to say to a member of staff whose roles do not reach that far."""
    if not request.user.is_authenticated or request.user.is_superuser:
        return "Nobody may do that here: what is kept stays as it is."
    roles = ", ".join(request.user.groups.order_by("name").values_list("name", flat=True))
    may = f"with your role ({roles})" if roles else "without a role"
    return f"This is not open to you {may}. Ask a superuser if you need it; docs/SUPPORT.md says who may do what."


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponseBase:
    """A form that did not come from a page of ours, or from one that is too old."""
    logger.warning("csrf_failure", reason=reason)
    return answer(request, Forbidden("This page was open for too long. Please load it again and send it once more."))


def page_not_found(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    return answer(request, NotFound())


def server_error(request: HttpRequest) -> HttpResponseBase:
    return answer(request, InternalError())


def answer(request: HttpRequest, refusal: Refusal) -> HttpResponseBase:
    """A refusal as who is asking can read it: JSON for programs, a page for people."""
    return error_page(request, refusal) if is_page(request) else refuse(request, refusal)


def error_page(request: HttpRequest, refusal: Refusal) -> HttpResponseBase:
    """A refusal for people."""
    structlog.contextvars.bind_contextvars(outcome=refusal.code)
    template = "checkout/refusal.html" if request.path.startswith(SHOP) else "error.html"
    context = {"refusal": refusal, "request_id": getattr(request, "request_id", ""), "support": settings.SUPPORT_EMAIL}
    page = render(None, template, context)
    page.status_code = refusal.status
    for name, value in refusal.headers.items():
        page[name] = value
    return page
