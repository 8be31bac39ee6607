"""What of an error report or a trace may leave for Sentry. Everything is left out but what is named here.

Reports are built anew from known-harmless parts: types, lines of our source, routes, statements with placeholders, and
a few fields of our log lines. The one thing in them that others may have written is text (an exception's message, an
address, a statement), and from that goes whatever a pattern knows: tokens, keys, emails, what stands in quotes, the
settings' secrets, and all that the request itself brought.

How reports are made and sent is in `remind_site.sentry`.
"""

import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextvars import ContextVar
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.http import HttpRequest

from licenses import tokens

Json = dict[str, Any]

# The request that this thread answers, or answered last.
request_at_hand: ContextVar[HttpRequest | None] = ContextVar("request_at_hand", default=None)

LONGEST = 300  # characters of any text
SHORTEST = 6  # characters of a private text; masking what is shorter would hide words that mean something else

EVENT = ("event_id", "timestamp", "start_timestamp", "type", "platform", "level", "logger", "release", "environment",
         "server_name", "sdk", "transaction", "transaction_info")  # fmt: skip
TAGS = ("request_id", "license_id", "token_id", "outcome", "task", "command")
# Fields of our own log lines. Not: notes, reasons, problems and errors, which hold what others wrote.
FIELDS = {
    "what", "number", "part", "tries", "plan", "interval", "has_price", "price", "code", "day", "budget_usd", "notice",
    "counting", "event_id", "error", "status_code",
}  # fmt: skip
HEADERS = ("Content-Length", "Content-Type", "User-Agent")
TRACE = ("trace_id", "span_id", "parent_span_id", "op", "status", "origin")
SPAN = (*TRACE, "start_timestamp", "timestamp", "same_process_as_parent")
SPAN_DATA = ("db.system", "db.operation", "http.method", "http.request.method", "http.response.status_code",
             "server.address", "server.port", "reason")  # fmt: skip
FRAME = ("filename", "abs_path", "module", "function", "lineno", "in_app", "pre_context", "context_line",
         "post_context")  # fmt: skip
MECHANISM = ("type", "handled", "exception_id", "parent_id", "is_exception_group", "source")
# Spans whose description is made of our source: names of functions and templates. Statements and addresses are cut.
NAMED_SPANS = ("http.server", "view", "template", "middleware", "queue")

_EMAIL = re.compile(r"[\w.+%-]+(?:@|%40)[\w-]+(?:\.[\w-]+)+", re.ASCII)
_USERINFO = re.compile(r"(?<=://)[^/\s@]+@")
_QUERY = re.compile(r"\?[\w%.\[\]-]+=[^\s'\"]*")
_KEYS = re.compile(
    r"\b(?:sk|rk|pdl|whsec|ghp|xox[abp])[-_][\w-]{8,}"  # as providers and shops make them
    r"|\bAGE-SECRET-KEY-1\w+"
    r"|\b(?:test|live)_[0-9a-f]{20,}"
    r"|\bBearer\s+\S+|\bBasic\s+[A-Za-z0-9+/=]{12,}"
    r"|\beyJ[\w-]+\.[\w-]+\.[\w-]*",  # a JSON web token
    re.IGNORECASE,
)
# Anything long of letters and digits; but not hexadecimal, as our own numbers of requests and reports are.
_RANDOM = re.compile(r"\b(?=[a-z0-9+/-]*\d)(?=[a-z0-9+/-]*[g-z])[a-z0-9+/-]{32,}", re.IGNORECASE)
_QUOTED = re.compile(r"'([^']*)'|\"([^\"]*)\"|“([^”]*)”|«([^»]*)»")
_NAME = re.compile(r"[A-Za-z_][\w.]{0,60}", re.ASCII)

GONE = "[…]"


def mask(text: str, private: Iterable[str] = ()) -> str:
    """The text without the private ones, tokens, keys, emails, and credentials in addresses."""
    for secret in private:
        text = text.replace(secret, GONE)
    text = tokens.scrub(text)
    for pattern in (_USERINFO, _EMAIL, _KEYS):
        text = pattern.sub(GONE, text)
    return text


def clean(text: Any, private: Iterable[str] = ()) -> str:
    """One line of text that others may have had a hand in: masked, and without quoted values and query strings.

    Only the first line: databases put rows and values in the others. What is quoted stays if it can be the name of a
    column or an attribute.
    """
    line = mask(str(text).strip().partition("\n")[0], private)
    line = _RANDOM.sub(GONE, _QUERY.sub("?" + GONE, line))
    return _QUOTED.sub(_name_or_nothing, line)[:LONGEST]


def _name_or_nothing(match: re.Match[str]) -> str:
    quoted = next(group for group in match.groups() if group is not None)
    return match[0] if _NAME.fullmatch(quoted) else GONE


def private() -> list[str]:
    """What must be in no report and no trace of a bug: the settings' secrets, and all texts of the request at hand."""
    request = request_at_hand.get()
    texts = {text.strip() for text in _texts_of(request)} if request is not None else set()
    return sorted((text for text in texts | _secrets() if len(text) >= SHORTEST), key=len, reverse=True)


def _secrets() -> set[str]:
    """Every secret among the settings, passwords in addresses too."""
    keys = {settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS, settings.OPENAI_API_KEY, settings.PADDLE_API_KEY}
    keys |= {*settings.PADDLE_WEBHOOK_SECRETS, settings.EMAIL_HOST_PASSWORD, settings.METRICS_TOKEN}
    keys |= {settings.BACKUP_AGE_IDENTITY, settings.STORAGES["backups"]["OPTIONS"].get("secret_key") or ""}
    database = settings.DATABASES["default"]
    passwords = {
        str(place.get(name) or "") for place, name in ((database, "PASSWORD"), (database["OPTIONS"], "password"))
    }
    urls = (settings.REDIS_URL, settings.SENTRY_DSN, settings.BACKUP_SCRATCH_URL)
    return keys | passwords | {urlsplit(url).password or "" for url in urls}


def _texts_of(request: HttpRequest) -> Iterator[str]:
    body = getattr(request, "_body", b"")  # only what was read already: reading could wait for the client
    try:
        yield from _strings(json.loads(body))
    except (ValueError, RecursionError):
        yield body.decode(errors="replace")
    yield from (value for values in request.GET.lists() for value in values[1])
    yield from request.COOKIES.values()
    if hasattr(request, "_post"):
        yield from (value for values in request.POST.lists() for value in values[1])
    yield request.META.get("QUERY_STRING", "")
    yield request.headers.get("Authorization", "").rpartition(" ")[2]
    yield request.headers.get("Idempotency-Key", "")


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
        yield from value.splitlines()
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from _strings(part)
    elif isinstance(value, list):
        for part in value:
            yield from _strings(part)


def event(given: Json, bound: Mapping[str, Any]) -> Json:
    """What may be sent of an event or a transaction.

    Args:
        given: as the SDK made it.
        bound: what is known about the work at hand, from the log's context; some of it becomes tags.
    """
    scrub = _Scrub(private())
    kept = _only(given, EVENT)
    if "transaction" in kept:
        kept["transaction"] = scrub.route(given)
    tags = {**(given.get("tags") or {}), **bound}
    kept["tags"] = {name: scrub.text(value) for name, value in tags.items() if name in TAGS}
    kept["contexts"] = scrub.contexts(given.get("contexts", {}))
    for name, part in (
        ("request", scrub.request),
        ("exception", scrub.exceptions),
        ("logentry", scrub.log_entry),
        ("breadcrumbs", scrub.breadcrumbs),
        ("spans", scrub.spans),
    ):
        if given.get(name):
            kept[name] = part(given[name])
    if "request" in kept and "transaction" in kept:
        kept["request"]["url"] = kept["transaction"]
    return kept


class _Scrub:
    """The parts of an event, each rebuilt; with the texts that must not be in any."""

    def __init__(self, private: Collection[str]) -> None:
        self.private = private

    def text(self, value: Any) -> Any:
        return value if value is None or isinstance(value, bool | int | float) else clean(value, self.private)

    def route(self, given: Json) -> str:
        """The route's pattern; an address that matched none is whatever somebody typed."""
        is_address = given.get("transaction_info", {}).get("source") == "url"
        return "(no route)" if is_address else clean(given["transaction"], self.private)

    def contexts(self, given: Json) -> Json:
        kept = {name: given[name] for name in ("runtime",) if name in given}
        if "trace" in given:
            kept["trace"] = _only(given["trace"], TRACE)
        if "log" in given:
            kept["log"] = {name: self.text(value) for name, value in given["log"].items() if name in FIELDS}
        return kept

    def request(self, given: Json) -> Json:
        headers = {str(name).title(): value for name, value in (given.get("headers") or {}).items()}
        return {
            **_only(given, ("method",)),
            "headers": {name: self.text(headers[name]) for name in HEADERS if name in headers},
        }

    def exceptions(self, given: Json) -> Json:
        return {"values": [self.exception(one) for one in given.get("values", [])]}

    def exception(self, given: Json) -> Json:
        kept = _only(given, ("type", "module", "thread_id"))
        kept["value"] = self.text(given.get("value") or "")
        kept["mechanism"] = _only(given.get("mechanism") or {}, MECHANISM)
        frames = (given.get("stacktrace") or {}).get("frames", [])
        return {**kept, "stacktrace": {"frames": [_only(frame, FRAME) for frame in frames]}}

    def log_entry(self, given: Json) -> Json:
        return {"message": self.text(given.get("message", ""))}

    def breadcrumbs(self, given: Json) -> Json:
        return {"values": [kept for crumb in given.get("values", []) if (kept := self.breadcrumb(crumb))]}

    def breadcrumb(self, given: Json) -> Json | None:
        """Our own log lines by their event, statements by their text, calls by their address; no others."""
        kept = _only(given, ("type", "category", "level", "timestamp"))
        data = given.get("data") or {}
        if given.get("category") == "query" or given.get("type") == "log":
            return {**kept, "message": self.text(given.get("message", ""))}
        if given.get("category") == "httplib":
            return {**kept, "data": {"url": self.address(data.get("url", "")), **_only(data, SPAN_DATA)}}
        return None

    def spans(self, given: list[Json]) -> list[Json]:
        return [self.span(one) for one in given]

    def span(self, given: Json) -> Json:
        kept = _only(given, SPAN)
        kept["data"] = {name: self.text(value) for name, value in _only(given.get("data") or {}, SPAN_DATA).items()}
        description, op = str(given.get("description") or ""), str(given.get("op") or "")
        if op == "http.client":
            method, _, address = description.partition(" ")
            kept["description"] = f"{self.text(method)} {self.address(address)}"
        elif op.startswith(("db", *NAMED_SPANS)):
            kept["description"] = self.text(description)
        return kept

    def address(self, url: str) -> str:
        """Scheme and host only: paths hold what we ask about."""
        try:
            parts = urlsplit(url)
        except ValueError:
            return GONE
        return clean(f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}", self.private)


def _only(given: Mapping[str, Any], names: Iterable[str]) -> Json:
    return {name: given[name] for name in names if name in given}
