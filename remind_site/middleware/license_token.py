"""What a protected route asks of a request before anything is counted or looked up: its form, and a token's.

In the contract's order: method, length, media type, size, JSON, then a license token that is present and
well-formed. Whose token it is, is found out later, by `licenses.authentication`.
"""

import json
import time
from collections.abc import Callable
from typing import Any, NoReturn, cast

import structlog
from django.conf import settings
from django.http import HttpRequest, UnreadablePostError
from django.http.response import HttpResponseBase
from rest_framework.views import APIView

from licenses import tokens
from licenses.authentication import presented_token
from licenses.errors import (
    Invalid,
    LengthRequired,
    MethodNotAllowed,
    Refusal,
    TooLarge,
    UnsupportedMediaType,
)
from licenses.requests import ServiceRequest
from remind_site import api

# Seconds. The rest of the request's time is for the provider and the database; a body is 16 KiB at most.
ARRIVES_WITHIN = 10.0


class LicenseTokenMiddleware:
    """Refuses what no protected route could use."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        return self.get_response(request)

    def process_view(
        self, request: HttpRequest, view: Any, args: list[Any], kwargs: dict[str, Any]
    ) -> HttpResponseBase | None:
        view_class = getattr(view, "cls", None)
        if view_class is None or not issubclass(view_class, APIView):
            return None
        try:
            _check_method(request, view_class)
            if getattr(view_class, "requires_license_token", False):
                _check_token(cast(ServiceRequest, request))
        except Refusal as refusal:
            return api.refuse(request, refusal)
        return None


def _check_method(request: HttpRequest, view_class: type[APIView]) -> None:
    allowed = _allowed_methods(view_class)
    if request.method not in allowed:
        raise MethodNotAllowed(headers={"Allow": ", ".join(allowed)})


def _allowed_methods(view_class: type[APIView]) -> list[str]:
    methods = [name.upper() for name in ("get", "post") if hasattr(view_class, name)]
    return ["GET", "HEAD", *methods[1:]] if "GET" in methods else methods


def _check_token(request: ServiceRequest) -> None:
    request.json_body = _json_body(request) if request.method == "POST" else {}
    request.license_token = presented_token(request, request.json_body)
    structlog.contextvars.bind_contextvars(token=tokens.mask(request.license_token))


def _json_body(request: ServiceRequest) -> dict[str, Any]:
    _check_length_is_known(request)
    _check_media_type(request)
    _check_size(request)
    try:
        if len(request.body) < _content_length(request):
            raise _bad_body("This ended before its Content-Length.")
        if time.monotonic() - request.started > ARRIVES_WITHIN:
            raise _bad_body("This took too long to arrive.")
        body = json.loads(request.body.decode("utf-8"), parse_constant=_no_constant)
    except (ValueError, RecursionError, UnreadablePostError):
        raise _bad_body("This is not valid JSON.") from None
    if not isinstance(body, dict):
        raise _bad_body("This must be a JSON object.")
    return body


def _check_length_is_known(request: HttpRequest) -> None:
    if "Transfer-Encoding" in request.headers and not request.META.get("CONTENT_LENGTH"):
        raise LengthRequired


def _check_media_type(request: HttpRequest) -> None:
    has_body = _content_length(request) > 0
    if (has_body or request.content_type) and request.content_type != "application/json":
        raise UnsupportedMediaType


def _check_size(request: HttpRequest) -> None:
    if _content_length(request) > settings.MAX_BODY_BYTES:
        raise TooLarge(f"The body is too large: at most {settings.MAX_BODY_BYTES // 1024} KiB.")


def _content_length(request: HttpRequest) -> int:
    try:
        return int(request.META.get("CONTENT_LENGTH") or 0)
    except ValueError:
        return 0


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _bad_body(problem: str) -> Invalid:
    return Invalid("The request's body is invalid.", errors={"body": [problem]})
