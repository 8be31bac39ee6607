"""From where the console can be reached, where `ADMIN_ALLOWED_ADDRESSES` says so; elsewhere it is not there at all."""

from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from licenses import addresses
from licenses.errors import NotFound
from remind_site import api


class AdminAddressesMiddleware:
    """Answers 404 under /admin/ to addresses that are not allowed, before a session or a password is looked at."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        allowed = settings.ADMIN_ALLOWED_ADDRESSES
        if allowed and request.path.startswith("/admin") and not addresses.is_within(request, allowed):
            return api.refuse(request, NotFound())
        return self.get_response(request)
