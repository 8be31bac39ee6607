"""The outermost middleware but the security headers: a request's id, duration and outcome, and one log line about it.

The line never holds the query string, the body, or more than 10 characters of a token; nor an address that is none of
ours, in which anything may stand.
"""

import re
import time
import uuid
from collections.abc import Callable
from typing import cast

import structlog
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from billing import refusals
from licenses.requests import ServiceRequest
from remind_site import api, reporting
from remind_site.metrics import requests

SLOW = 5.0  # seconds
USABLE_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")

logger = structlog.get_logger(__name__)


class ErrorTrackingMiddleware:
    """Names the request, times it and logs how it ended."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, plain: HttpRequest) -> HttpResponseBase:
        request = cast(ServiceRequest, plain)
        request.started = time.monotonic()
        request.request_id = _request_id(request)
        request.windows = []
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request.request_id)
        reporting.begin_request(request)
        with requests.IN_PROGRESS.track_inprogress():
            response = self.get_response(request)
        duration = time.monotonic() - request.started
        response["X-Request-ID"] = request.request_id
        _count_refusal(request, response.status_code)
        requests.count(request, response.status_code, duration)
        _log(request, response.status_code, duration)
        structlog.contextvars.clear_contextvars()
        return response

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponseBase | None:
        """Answer what a page's view let through, such as a database that is gone; a bug is left to Django."""
        refusal = api.refusal_for(error)
        return None if refusal is None else api.answer(request, refusal)


def _request_id(request: HttpRequest) -> str:
    """The caller's own id where it can be used as one, so that its logs and ours meet."""
    given = request.headers.get("X-Request-ID", "")
    return given if USABLE_ID.fullmatch(given) else uuid.uuid4().hex


def _count_refusal(request: HttpRequest, status: int) -> None:
    bound = structlog.contextvars.get_contextvars()
    if status >= 400 and request.path.startswith("/api/") and "outcome" in bound:
        refusals.count(bound["outcome"], bound.get("license_id", 0))


def _log(request: ServiceRequest, status: int, duration: float) -> None:
    fields = {
        "method": request.method,
        "path": "(no route)" if requests.route_of(request) == requests.UNKNOWN else request.path,
        "status_code": status,
        "duration": f"{duration:.2f}s",
    }
    if status >= 500:
        logger.error("error_response", **fields)
    elif status >= 400:
        logger.warning("error_response", **fields)
    else:
        logger.info("request", **fields)
    if duration > SLOW:
        logger.warning("slow_request", **fields)
