"""How much a form may hold. Views of the API have limits of their own, in the contract's order of refusals."""

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from rest_framework.views import APIView

from licenses.errors import TooLarge
from remind_site import api


class PageBodiesMiddleware:
    """Refuses a large form before anything reads it: Django itself would write uploaded files of any size to disk."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        return self.get_response(request)

    def process_view(
        self, request: HttpRequest, view: Any, args: list[Any], kwargs: dict[str, Any]
    ) -> HttpResponseBase | None:
        if issubclass(getattr(view, "cls", object), APIView):
            return None
        length = request.META.get("CONTENT_LENGTH") or "0"
        if not (length.isascii() and length.isdecimal()) or int(length) > settings.MAX_FORM_BYTES:
            return api.answer(request, TooLarge(f"At most {settings.MAX_FORM_BYTES // 1024} KiB can be sent here."))
        return None
