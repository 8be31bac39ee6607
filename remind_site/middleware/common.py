"""Django's CommonMiddleware, which refuses unknown hosts, for all but probes: those ask by a machine's address.

So does the monitoring system.
"""

from django.http import HttpRequest, HttpResponsePermanentRedirect
from django.middleware import common

PROBES = ("/health", "/api/v1/health", "/metrics")


class CommonMiddleware(common.CommonMiddleware):
    """Lets probes in by any host name; they are told nothing that depends on it."""

    def process_request(self, request: HttpRequest) -> HttpResponsePermanentRedirect | None:
        return None if request.path.startswith(PROBES) else super().process_request(request)
