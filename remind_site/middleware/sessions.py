"""Django's sessions, for the console's pages alone; their end is counted anew with each page.

Whatever cookie comes with another request: it asks the database for no session, and writes none. A health probe
touches nothing, and nothing can fail after an answer was charged.
"""

from django.contrib.sessions import middleware
from django.http import HttpRequest, HttpResponse

from remind_site.api import PAGES


class SessionMiddleware(middleware.SessionMiddleware):
    """Leaves a session as it is where the answer is a failure of ours: what failed may be where sessions are kept."""

    def process_request(self, request: HttpRequest) -> None:
        if request.path.startswith(PAGES):
            super().process_request(request)
        else:
            request.session = self.SessionStore()

    def process_response(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        if response.status_code >= 500 or not request.path.startswith(PAGES):
            return response
        return super().process_response(request, response)
