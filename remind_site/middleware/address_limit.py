"""The limit per client address, and the X-RateLimit headers on every answer that was counted."""

from collections.abc import Callable
from math import ceil
from typing import Any, cast

from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from licenses import addresses, limits
from licenses.errors import RateLimited
from licenses.requests import ServiceRequest
from remind_site import api
from remind_site.middleware.common import PROBES

# These have guards of their own, or must always answer.
EXEMPT = (*PROBES, "/admin/", "/webhooks/", settings.STATIC_URL)


class AddressLimitMiddleware:
    """Counts each request that reaches a view against its address."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        _describe_limits(response, cast(ServiceRequest, request).windows)
        return response

    def process_view(
        self, plain: HttpRequest, view: Any, args: list[Any], kwargs: dict[str, Any]
    ) -> HttpResponseBase | None:
        request = cast(ServiceRequest, plain)
        if request.path.startswith(EXEMPT):
            return None
        window = limits.hit(
            "address",
            addresses.client_network(request),
            settings.RATE_LIMIT_REQUESTS,
            settings.RATE_LIMIT_WINDOW_SECONDS,
        )
        request.windows.append(window)
        return api.answer(request, _too_many(window)) if window.exceeded else None


def _too_many(window: limits.Window) -> RateLimited:
    return RateLimited(
        f"Too many requests from this address: {window.limit} in {settings.RATE_LIMIT_WINDOW_SECONDS} seconds"
        " are allowed.",
        retry_after=window.retry_after,
    )


def _describe_limits(response: HttpResponseBase, windows: list[limits.Window]) -> None:
    if not windows:
        return
    nearest = min(windows, key=lambda window: (window.remaining, -window.resets_at))
    response["X-RateLimit-Limit"] = str(nearest.limit)
    response["X-RateLimit-Remaining"] = str(nearest.remaining)
    response["X-RateLimit-Reset"] = str(ceil(nearest.resets_at))
