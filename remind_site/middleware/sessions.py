"""Django's sessions, whose end is counted anew with each page; but not where the database is gone."""

from django.contrib.sessions import middleware
from django.http import HttpRequest, HttpResponse


class SessionMiddleware(middleware.SessionMiddleware):
    """Leaves a session as it is where the answer is a failure of ours: what failed may be where sessions are kept."""

    def process_response(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        return response if response.status_code >= 500 else super().process_response(request, response)
