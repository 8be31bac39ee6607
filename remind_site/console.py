"""The console as a whole, Django's admin: its name, and what guards its door. Each app registers its own models."""

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django_ratelimit.core import get_usage

from licenses import addresses
from licenses.errors import RateLimited
from remind_site import api

admin.site.site_header = admin.site.site_title = "Remind"
admin.site.index_title = "Console"
admin.site.site_url = None  # there is no site for people beside it

TRIES = "10/5m"  # per address


def login(request: HttpRequest) -> HttpResponseBase:
    """The admin's own log-in page, as long as one address does not try too often."""
    usage = get_usage(
        request,
        group="console-login",
        key=lambda _, request: addresses.client_network(request),
        rate=TRIES,
        method="POST",
        increment=True,
    )
    if usage and usage["should_limit"]:
        minutes = -(-usage["time_left"] // 60)
        too_many = RateLimited(
            f"Too many tries to log in. Please wait {minutes} minutes.", retry_after=usage["time_left"]
        )
        return api.error_page(request, too_many)
    page: HttpResponse = admin.site.login(request)
    return page
