"""Where errors and traces are reported to: Sentry, where SENTRY_DSN is set, else nobody.

Without it nothing of Sentry's SDK is loaded: 6 MB of each process (measured: 87 and 93 after start-up). What is
reported, and what a report holds, is in `remind_site.sentry` and `remind_site.scrubber`.
"""

import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import structlog
from django.conf import settings

from remind_site import scrubber

if TYPE_CHECKING:  # what gunicorn's master has imported, a reload does not read anew
    from licenses.requests import ServiceRequest

USABLE_ENVIRONMENT = re.compile(r"[^\s/]{1,64}")
TRACE_HEADERS = ("HTTP_SENTRY_TRACE", "HTTP_BAGGAGE", "HTTP_TRACEPARENT")

WSGI = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

_reporters: list[Any] = []  # `remind_site.sentry`, once it has started, or nothing


def start() -> None:
    """Report from here on, if there is a Sentry to report to. A malformed address is for the checks to refuse."""
    if settings.SENTRY_DSN and is_dsn(settings.SENTRY_DSN) and not _reporters:
        from remind_site import sentry

        sentry.start()
        _reporters.append(sentry)


def is_dsn(text: str) -> bool:
    """Whether the SDK can report to this address."""
    from sentry_sdk.utils import BadDsn, Dsn

    try:
        Dsn(text)
    except (BadDsn, ValueError):
        return False
    return True


def begin_request(request: "ServiceRequest") -> None:
    """Have what is reported from here on name the request, and hold nothing that came with it."""
    scrubber.request_at_hand.set(request)
    for reporter in _reporters:
        reporter.begin_request(request)


def report_errors(logger: Any, method: str, line: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """A step of every log line's way: errors are reported, and the line names the report."""
    for reporter in _reporters:
        line = reporter.report_errors(line)
    return line


class OwnTraces:
    """A WSGI application that takes no trace from outside: no client decides what is sampled, or what stands in it."""

    def __init__(self, application: WSGI) -> None:
        self.application = application

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        for name in TRACE_HEADERS:
            environ.pop(name, None)
        return self.application(environ, start_response)
