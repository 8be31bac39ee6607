"""Errors and traces to Sentry: set up once, for web processes, commands and the queue's worker alike, by
`remind_site.reporting`, which is what all others call.

One rule says what is reported: what is logged as an error, once, and what no code of ours caught. A line about an
error names the report (`sentry_event_id`), and the report names the request (tag `request_id`). Refusals are expected:
they are logged as warnings, or by loggers that are quiet here. What a report may hold is in `remind_site.scrubber`.

Sending is the SDK's background thread with a queue of bounded length: a Sentry that is slow or gone costs a request
nothing, and reports that do not fit are dropped.
"""

import re
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import sentry_sdk
import structlog
from django.conf import settings
from sentry_sdk.integrations.atexit import AtexitIntegration
from sentry_sdk.integrations.dedupe import DedupeIntegration
from sentry_sdk.integrations.django import DjangoIntegration
from sentry_sdk.integrations.httpx2 import Httpx2Integration
from sentry_sdk.integrations.logging import LoggingIntegration
from sentry_sdk.integrations.stdlib import StdlibIntegration
from sentry_sdk.types import Event, Hint
from sentry_sdk.utils import event_from_exception

from remind_site import scrubber
from remind_site.middleware.common import PROBES

if TYPE_CHECKING:  # what gunicorn's master has imported, a reload does not read anew
    from licenses.requests import ServiceRequest

# What these log as errors was reported already, or is expected, or is about reporting itself.
QUIET = (
    "django.request",  # a bug in a view: the Django integration has the request to it
    "django.security",  # refused with 400
    "remind_site.middleware.error_tracking",  # how a request ended
    "remind_site.api",  # the database is gone: answered 503, and monitored
    "django-q",  # repeats, in another process, what a task raised
    "sentry_sdk",
    "urllib3",
)
BREADCRUMBS = 30
LAST_WORDS = 2.0  # seconds that a process that ends, or a task that failed, waits for its reports to leave

logger = structlog.get_logger(__name__)


def start() -> None:
    """Set the SDK up, and have what nobody catches come here."""
    sentry_sdk.init(**options())
    sys.excepthook = _process_failed
    _follow_the_queue()


def options() -> dict[str, Any]:
    """How the SDK is set up. It collects next to nothing by itself, and the scrubber is the second net."""
    return {
        "dsn": settings.SENTRY_DSN,
        "release": settings.SENTRY_RELEASE,
        "environment": settings.SENTRY_ENVIRONMENT,
        "traces_sampler": _sample_rate,
        "before_send": _scrubbed,
        "before_send_transaction": _scrubbed,
        "max_breadcrumbs": BREADCRUMBS,
        "shutdown_timeout": LAST_WORDS,
        # What is not collected can't leak.
        "send_default_pii": False,
        "include_local_variables": False,
        "max_request_body_size": "never",
        "trace_propagation_targets": [],  # neither the AI provider nor Paddle gets headers of ours
        "auto_session_tracking": False,
        # Those we want, by name: others would send arguments of commands, prompts, and keys of the cache.
        "default_integrations": False,
        "auto_enabling_integrations": False,
        "integrations": [
            DjangoIntegration(middleware_spans=False, signals_spans=False, cache_spans=False),
            LoggingIntegration(level=None, event_level=None, sentry_logs_level=None),  # `report_errors` does it
            StdlibIntegration(),
            Httpx2Integration(),
            DedupeIntegration(),
            AtexitIntegration(callback=_say_nothing),
        ],
    }


def begin_request(request: "ServiceRequest") -> None:
    """Have what is reported from here on name the request."""
    sentry_sdk.set_tag("request_id", request.request_id)


def report_errors(line: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Report an error's line, and note the report's number in it; leave a trail of the others."""
    if line["logger"].startswith(QUIET):
        return line
    if line["level"] in {"error", "critical"}:
        event_id = _report(line)
        if event_id is not None:
            line["sentry_event_id"] = event_id
    elif "_record" not in line:  # our own lines: constants, where others put values into the text
        sentry_sdk.add_breadcrumb(type="log", category=line["logger"], level=line["level"], message=line["event"])
    return line


def _report(line: structlog.typing.EventDict) -> str | None:
    """Send a log line as an event: its exception where it has one; its number, or None where that was sent before."""
    event, hint = _exception_of(line)
    record = line.get("_record")
    event["level"] = "fatal" if line["level"] == "critical" else "error"
    event["logger"] = line["logger"]
    # A library's message only as it stands in its source, without what was put into it.
    message = line["event"] if record is None else _template(record)
    event["logentry"] = {"message": message}
    event["contexts"] = {"log": {name: value for name, value in line.items() if name in scrubber.FIELDS}}
    return sentry_sdk.capture_event(cast(Event, event), hint=hint)


def _exception_of(line: structlog.typing.EventDict) -> tuple[dict[str, Any], Hint | None]:
    given = line.get("exc_info")
    if given is True:
        given = sys.exc_info()
    elif isinstance(given, BaseException):
        given = (type(given), given, given.__traceback__)
    if not given or given[1] is None:
        return {}, None
    event, hint = event_from_exception(
        given, client_options=sentry_sdk.get_client().options, mechanism={"type": "logging", "handled": True}
    )
    return dict(event), hint


def _template(record: Any) -> str:
    text = str(record.msg)
    return text if re.search(r"%[sdr(]", text) else f"{record.name}: {record.funcName}"


def _scrubbed(event: Event, hint: Hint) -> Event:
    """The SDK's last hook before sending. Log lines from here on name an error's report."""
    kept = scrubber.event(cast(dict[str, Any], event), structlog.contextvars.get_contextvars())
    if event.get("type") != "transaction":
        structlog.contextvars.bind_contextvars(sentry_event_id=event["event_id"])
    return cast(Event, kept)


def _sample_rate(context: Mapping[str, Any]) -> float:
    path = context.get("wsgi_environ", {}).get("PATH_INFO", "")
    return 0.0 if path.startswith(PROBES) else settings.SENTRY_TRACES_SAMPLE_RATE


def _say_nothing(pending: int, timeout: float) -> None:
    """In place of the SDK's words on standard error while it waits."""


def _process_failed(kind: type[BaseException], error: BaseException, trace: Any) -> None:
    """A command that ended with an exception: one line of the log, and so a report, in place of a bare trace."""
    if not issubclass(kind, Exception):  # Ctrl-C
        sys.__excepthook__(kind, error, trace)
        return
    name = sys.argv[1] if len(sys.argv) > 1 and re.fullmatch(r"[a-z_]{1,40}", sys.argv[1]) else ""
    structlog.contextvars.bind_contextvars(command=name)
    logger.critical("process_failed", exc_info=(kind, error, trace))


def _follow_the_queue() -> None:
    from django_q import signals, worker

    signals.pre_execute.connect(_begin_task, dispatch_uid="remind_site.sentry")
    # django-q2 takes its reporters from the entry points of installed packages, and this is no package.
    worker.error_reporter = _TaskReporter()


def _begin_task(sender: Any, func: Any, task: Mapping[str, Any], **kwargs: Any) -> None:
    if task.get("sync"):  # in a request or a command, which has a name already
        return
    sentry_sdk.get_isolation_scope().clear()
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(task=str(task["func"]), request_id=task["id"])


class _TaskReporter:
    """What django-q2 calls where a task raised."""

    def report(self) -> None:
        logger.error("task_failed", exc_info=sys.exc_info()[1])
        sentry_sdk.flush(LAST_WORDS)  # this process may be about to be replaced
