"""Structured logs: one JSON object a line on standard error, from our code and from libraries alike.

Nothing that looks like a license token, a key or an email leaves in full, whoever wrote the line: masking is the last
step. What a request's own line holds is in `remind_site.middleware.error_tracking`; how errors get from here to Sentry,
in `remind_site.reporting`.
"""

import logging.config
from typing import Any

import structlog
from django.utils.log import CallbackFilter
from structlog.typing import EventDict, WrappedLogger

from licenses import tokens
from remind_site import reporting, scrubber

SHARED_PROCESSORS: list[Any] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    reporting.report_errors,
    structlog.processors.format_exc_info,
]


def mask_texts(logger: WrappedLogger, method: str, line: EventDict) -> EventDict:
    """Mask keys and emails in a line's fields, and in a bug's trace all that came with the request."""
    private = scrubber.private() if "exception" in line else ()
    return {name: scrubber.mask(text, private) if isinstance(text, str) else text for name, text in line.items()}


def scrub_tokens(logger: WrappedLogger, method: str, line: str) -> str:
    """Mask every token in a line as it is about to be written."""
    return tokens.scrub(line)


def configure(level: int) -> None:
    """Send everything, ours and the libraries', through one formatter to standard error."""
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *SHARED_PROCESSORS,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    logging.config.dictConfig(configuration(level))


def configuration(level: int) -> dict[str, Any]:
    """The standard library's side of it, for `logging.config.dictConfig` (gunicorn takes it too)."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "json": {
                "()": structlog.stdlib.ProcessorFormatter,
                "foreign_pre_chain": [structlog.stdlib.PositionalArgumentsFormatter(), *SHARED_PROCESSORS],
                "processors": [
                    structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                    mask_texts,
                    structlog.processors.JSONRenderer(default=str),
                    scrub_tokens,
                ],
            }
        },
        "filters": {
            # A client that stalled was cut off, as it should be: worth no trace.
            "no_stalled_client": {"()": CallbackFilter, "callback": _is_no_stalled_client},
            "with_trace": {"()": CallbackFilter, "callback": lambda record: bool(record.exc_info)},
        },
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json"}},
        "root": {"handlers": ["stderr"], "level": level},
        "loggers": {
            # Our own line about each request says more; only a bug's trace stands nowhere else.
            "django.request": {"level": "ERROR", "filters": ["with_trace"]},
            "django.server": {"level": "ERROR", "handlers": [], "propagate": True},
            "httpx2": {"level": "WARNING"},
            "psycopg.pool": {"level": "ERROR"},
            # Imported before this is configured, it has taken a handler of its own, which masks nothing.
            "django-q": {"level": level, "handlers": [], "propagate": True},
            "gunicorn.error": {"level": level, "handlers": [], "propagate": True, "filters": ["no_stalled_client"]},
        },
    }


def _is_no_stalled_client(record: logging.LogRecord) -> bool:
    return not (record.exc_info and isinstance(record.exc_info[1], BlockingIOError))
