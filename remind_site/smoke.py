"""Is a deployed service well, seen from outside: what `manage.py smoke` asks of it, and what the answers mean.

Each check is a function: it returns in words what is well, or raises a Problem with what was found and the next step.
They stand in `CHECKS` in the order in which a person would look. No word of the service's own is repeated but codes
and names of a known form, so that neither a token nor a page ends up on somebody's screen.
"""

import re
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import httpx2
from django.conf import settings

from licenses import tokens

CONNECT, READ, SUGGESTION = 5.0, 10.0, 28.0  # seconds for: a connection, an answer, an answer of the provider
ALTOGETHER = 90.0  # seconds
LARGEST = 4 * 1024 * 1024  # bytes of an answer
RATE_HEADERS = ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset")
SECURITY_HEADERS = ("X-Content-Type-Options", "X-Frame-Options", "Referrer-Policy", "Content-Security-Policy")
LOOK_THERE = "Run 'manage.py status' there: it names the page to read, docs/runbooks/database-down.md as a rule."
TEXT = "smoke test: call the office tomorrow at 10am"
LOCAL = {"localhost", "127.0.0.1", "::1"}
_CODE = re.compile(r"[a-z_]{1,40}")


class Problem(Exception):
    """Something is not as it should be: what was found, and what to do next."""

    def __init__(self, found: str, next_step: str) -> None:
        super().__init__(found)
        self.found = found
        self.next_step = next_step


class Unreachable(Problem):
    """Nobody answers, so there is nothing more to ask."""


class Closed(Problem):
    """It refuses whatever it is asked, for a reason that has nothing to do with what that was."""


@dataclass(frozen=True)
class Answer:
    """What came back, read whole."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        try:
            value = httpx2.Response(200, content=self.body).json()
        except ValueError:
            value = None
        if not isinstance(value, dict):
            raise Problem(
                f"it answered {self.status} with something that is no JSON object",
                "Does the address lead to the service itself, and not to a proxy's own page?",
            )
        return value

    @property
    def code(self) -> str:
        """The code of a refusal; empty where there is none of that form."""
        if not self.body.startswith(b"{"):
            return ""
        code = str(self.json.get("code", ""))
        return code if _CODE.fullmatch(code) else ""

    def __str__(self) -> str:
        return f"{self.status} {self.code}".strip()


@dataclass
class Service:
    """The service that is looked at, and what was learned of it so far."""

    url: str
    token: str
    origin: str
    allow_http: bool = False
    ends: float = field(default_factory=lambda: time.monotonic() + ALTOGETHER)
    key: str = field(default_factory=lambda: f"smoke-{uuid.uuid4().hex}")
    before: dict[str, Any] = field(default_factory=dict)  # usage stats
    suggestion: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.url = self.url.rstrip("/")
        self.client = httpx2.Client(follow_redirects=False, headers={"User-Agent": f"remind-smoke/{settings.VERSION}"})

    @property
    def is_https(self) -> bool:
        return urlsplit(self.url).scheme == "https"

    @property
    def is_local(self) -> bool:
        return urlsplit(self.url).hostname in LOCAL

    def get(self, path: str, **options: Any) -> Answer:
        return self.ask("GET", path, **options)

    def ask(self, method: str, path: str, *, read: float = READ, licensed: bool = False, **options: Any) -> Answer:
        """One call, bounded in time and size; with the license's token where it is asked for.

        Raises:
            Problem: there is no answer.
            Closed: its database is away, or it does not know the name by which it was called.
        """
        if licensed:
            options["headers"] = {**options.get("headers", {}), "Authorization": f"Bearer {self._token()}"}
        address = path if "://" in path else self.url + path
        timeout = httpx2.Timeout(read, connect=CONNECT)
        ends = min(self.ends, time.monotonic() + read + CONNECT)
        try:
            with self.client.stream(method, address, timeout=timeout, **options) as response:
                answer = Answer(response.status_code, response.headers, _read(response, ends))
        except httpx2.TimeoutException:
            raise Unreachable(
                f"no answer in time: {address}",
                "Is the process alive, and does the load balancer reach it? See its log.",
            ) from None
        except httpx2.HTTPError as error:
            raise Unreachable(
                f"it can't be reached ({_reason(error)}): {address}",
                "Check the address, the name in the DNS, the port, the certificate, and that the service runs.",
            ) from None
        if answer.status == 503 and answer.code == "database_unavailable":
            raise Closed(
                f"it can't use its database (503 {answer.code}): {path}",
                LOOK_THERE,
            )
        # Nothing that is only fetched here can be wrong in itself; probes are let in by any name.
        if answer.status == 400 and method == "GET" and path.startswith("/") and not path.startswith("/health"):
            raise Closed(
                f"it does not answer to the name {urlsplit(self.url).hostname} (400): {path}",
                "Add the name to ALLOWED_HOSTS there and restart the web, or give one that it has.",
            )
        return answer

    def _token(self) -> str:
        if not (self.is_https or self.is_local or self.allow_http):
            raise Problem("the token was not sent, since the address is not https", "Give the https address.")
        return self.token


def _read(response: httpx2.Response, ends: float) -> bytes:
    body = b""
    for part in response.iter_bytes():
        body += part
        if len(body) > LARGEST or time.monotonic() > ends:
            raise httpx2.ReadTimeout("too long")
    return body


def _reason(error: Exception) -> str:
    """The system's words for a failed connection, or TLS's for a certificate that is not believed."""
    words = re.sub(r"^\[[^\]]*\]\s*", "", str(error)).partition("(_ssl")[0].strip()
    return words if re.fullmatch(r"[A-Za-z0-9 ,.:'-]{3,160}", words) else type(error).__name__


def health(service: Service) -> str:
    answer = service.get("/health")
    if answer.status != 200:
        raise Problem(
            f"/health answered {answer}", "Is this the service? If it is, see its log; it may still be starting."
        )
    expected = {"status": "ok", "version": settings.VERSION}
    given = answer.json
    if given.get("status") != "ok" or set(given) != set(expected):
        raise Problem("/health answered with another body", "Does another program listen at this address?")
    if given["version"] != settings.VERSION:
        raise Problem(
            f"another version than this one ({settings.VERSION}) is deployed",
            "Did the deployment go through? Else run this from the code that is deployed.",
        )
    return f"it is alive, version {settings.VERSION}"


def ready(service: Service) -> str:
    answer = service.get("/health/ready")
    states = answer.json
    if answer.status == 503 and states.get("database") not in {None, "ok"}:
        raise Closed(
            "not ready (503): its database can't be reached",
            LOOK_THERE,
        )
    bad = sorted(name for name, state in states.items() if state != "ok" and name != "status" and _CODE.fullmatch(name))
    if answer.status != 200 or bad:
        raise Problem(
            f"not ready ({answer.status}): {', '.join(bad) or 'no reason given'}",
            "Run 'manage.py check --deploy' there; it says what is missing and how to mend it.",
        )
    return f"it is ready: {', '.join(sorted(set(states) - {'status'}))}"


def https(service: Service) -> str:
    if not service.is_https:
        if service.is_local or service.allow_http:
            return "no HTTPS to look at, at this address"
        raise Problem("the address is not https: tokens would travel in the clear", "Give the https address.")
    host = urlsplit(service.url).hostname or ""
    address = f"http://{f'[{host}]' if ':' in host else host}/api/v1/docs"
    try:
        plain = service.get(address)
    except Unreachable:
        plain = None  # a door that is shut needs no redirect
    if plain and (plain.status not in {301, 308} or not plain.headers.get("Location", "").startswith("https://")):
        raise Problem(
            f"plain http answered {plain.status} in place of a redirect: {address}",
            "Set HTTPS_ONLY=on, or redirect in the proxy.",
        )
    seconds = re.search(r"max-age=(\d+)", service.get("/api/v1/docs").headers.get("Strict-Transport-Security", ""))
    if seconds is None or int(seconds[1]) < 180 * 24 * 3600:
        raise Problem(
            "HSTS is missing, or for less than half a year", "Set HTTPS_ONLY=on, and let the proxy keep the header."
        )
    return f"plain http ({address}) is {'redirected' if plain else 'not answered'}, and HSTS is on"


def documentation(service: Service) -> str:
    schema, docs = service.get("/api/v1/schema"), service.get("/api/v1/docs")
    if schema.status != 200 or not str(schema.json.get("openapi", "")).startswith("3.1"):
        raise Problem(f"/api/v1/schema answered {schema}", "See the log at that moment.")
    if docs.status != 200 or "text/html" not in docs.headers.get("Content-Type", ""):
        raise Problem(f"/api/v1/docs answered {docs.status}", "See the log at that moment.")
    return "schema and documentation answer"


def console(service: Service) -> str:
    page = service.get("/admin/login/")
    if page.status != 200 or b'name="username"' not in page.body:
        raise Problem(
            f"the console's log-in answered {page.status} without its form",
            "Is /admin/ passed on by the proxy? If it is kept inside on purpose, look at it from there.",
        )
    missing = [name for name in SECURITY_HEADERS if name not in page.headers]
    if missing:
        raise Problem(f"headers are missing: {', '.join(missing)}", "Does the proxy take them away?")
    return "the console's log-in answers, with its security headers"


def refusals(service: Service) -> str:
    unknown = tokens.mint("pro")
    for how, headers, expected in (
        ("without a token", {}, "token_missing"),
        ("with a mistyped token", {"Authorization": "Bearer remind_pro_mistyped"}, "token_invalid"),
        ("with an unknown token", {"Authorization": f"Bearer {unknown}"}, "token_invalid"),
    ):
        answer = service.get("/api/v1/usage/stats", headers=headers)
        _not_limited(answer)
        if (answer.status, answer.code) != (401, expected):
            raise Problem(
                f"{how} it answered {answer} in place of 401 {expected}", "This is a bug, or not the service."
            )
    return "it refuses a missing, a mistyped and an unknown token"


def usage(service: Service) -> str:
    answer = service.get("/api/v1/usage/stats", licensed=True)
    _not_limited(answer)
    if answer.status != 200:
        raise Problem(
            f"the token is refused: {answer}", "Give the token of a license that may act ('manage.py license show')."
        )
    missing = [name for name in RATE_HEADERS if not answer.headers.get(name, "").isdigit()]
    if missing or "X-Request-ID" not in answer.headers:
        raise Problem(f"headers are missing: {', '.join(missing) or 'X-Request-ID'}", "Does the proxy take them away?")
    service.before = answer.json
    if not service.before["ai_quota_remaining"]:
        raise Problem("the license has no quota left this month", "Give it bonus units in the console, or use another.")
    return f"the license may act, with {int(service.before['ai_quota_remaining'])} suggestions left"


def suggestion(service: Service) -> str:
    _needs(service.before)
    answer, took = _suggest(service)
    if answer.status != 200:
        raise Problem(f"a suggestion was refused: {answer}", "Look for the last error_response in the log.")
    body = answer.json
    if not body.get("suggested_text") or body.get("priority") not in {"low", "medium", "high"}:
        raise Problem("a suggestion without its fields", "This is a bug: see the log.")
    if body.get("degraded"):
        raise Problem(
            "the provider failed, and the built-in suggester answered",
            "See answer_degraded in the log for the reason: the provider's key, address, model or budget.",
        )
    service.suggestion = body
    return f"a suggestion came in {took:.1f} s, for {int(body['cost_cents'])} cent"


def replay(service: Service) -> str:
    _needs(service.suggestion)
    answer, _ = _suggest(service)
    again = {**answer.json, "due_time_suggestion": ""}  # said in words that hold at that moment
    if answer.status != 200 or again != {**service.suggestion, "due_time_suggestion": ""}:
        raise Problem(
            f"the same Idempotency-Key got another answer ({answer})", "Stop the deployment: customers may pay twice."
        )
    return "the same Idempotency-Key got the same answer"


def accounts(service: Service) -> str:
    _needs(service.suggestion)
    answer = service.get("/api/v1/usage/stats", licensed=True)
    _not_limited(answer)
    after, before = answer.json, service.before
    taken = after["ai_quota_used"] - before["ai_quota_used"]
    charged = after["this_month_cost_cents"] - before["this_month_cost_cents"]
    agree = after["ai_quota_remaining"] == service.suggestion["quota_remaining"] == before["ai_quota_remaining"] - 1
    if taken != 1 or charged != service.suggestion["cost_cents"] or not agree:
        raise Problem(
            f"after one suggestion and its replay the usage went up by {taken}, the charge by {charged} cents",
            "Does anybody else use this license? If not, run 'manage.py reconcile' there.",
        )
    return "the quota went down by exactly one, and the charge fits"


def cors(service: Service) -> str:
    wanted = {
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,idempotency-key",
    }
    path = "/api/v1/suggest-reminder"
    answer = service.ask("OPTIONS", path, headers={"Origin": service.origin, **wanted})
    if answer.headers.get("Access-Control-Allow-Origin") != service.origin:
        raise Problem(f"browsers at {service.origin} are not let in", "Set CORS_ORIGINS, or name yours with --origin.")
    stranger = service.ask("OPTIONS", path, headers={"Origin": "https://stranger.invalid", **wanted})
    if "Access-Control-Allow-Origin" in stranger.headers:
        raise Problem(
            "browsers at any site are let in", "Set CORS_ORIGINS to your sites; does the proxy add headers of its own?"
        )
    return f"browsers at {service.origin} are let in, at others not"


def webhook(service: Service) -> str:
    answer = service.ask("POST", "/webhooks/paddle", json={"event_id": "smoke", "event_type": "smoke"})
    if answer.status not in {401, 403, 429}:
        raise Problem(
            f"an unsigned notification was answered {answer}",
            "Take /webhooks/paddle from the outside, and look into it now.",
        )
    return f"an unsigned notification is refused ({answer})"


def metrics(service: Service) -> str:
    answer = service.get("/metrics")
    if answer.status not in {401, 403, 404}:
        raise Problem(f"/metrics answered {answer.status} without its token", "Close it: METRICS_TOKEN, or the proxy.")
    return f"the metrics are closed without their token ({answer.status})"


# Eight of these calls (seven without https) count against the address limit, which allows 10 a minute by default.
CHECKS: tuple[Callable[[Service], str], ...] = (
    health, ready, https, documentation, console, refusals, usage, suggestion, replay, accounts, cors, webhook, metrics,
)  # fmt: skip


class Skipped(Exception):
    """What this check builds on did not come about, and was said."""


def run(service: Service) -> Iterator[tuple[str, str, str]]:
    """Do every check; for each its outcome ('ok', 'bad', 'skipped'), what was found, and the next step."""
    for check in CHECKS:
        name = check.__name__
        if time.monotonic() > service.ends:
            yield "bad", f"{name}: {ALTOGETHER:.0f} seconds are over", "The service is very slow: see its log."
            return
        try:
            yield "ok", check(service), ""
        except Skipped:
            yield "skipped", f"{name}: not looked at, because of the above", ""
        except Problem as problem:
            yield "bad", problem.found, problem.next_step
            if isinstance(problem, Closed) or (check is health and isinstance(problem, Unreachable)):
                return
        except (KeyError, TypeError, ValueError) as error:  # an answer of another form than promised
            yield (
                "bad",
                f"{name}: an answer of another form than promised ({type(error).__name__})",
                "Is this the service?",
            )


def _suggest(service: Service) -> tuple[Answer, float]:
    began = time.monotonic()
    answer = service.ask(
        "POST",
        "/api/v1/suggest-reminder",
        licensed=True,
        read=SUGGESTION,
        json={"reminder_text": TEXT},
        headers={"Idempotency-Key": service.key},
    )
    _not_limited(answer)
    return answer, time.monotonic() - began


def _needs(earlier: dict[str, Any]) -> None:
    if not earlier:
        raise Skipped


def _not_limited(answer: Answer) -> None:
    if answer.code == "rate_limited":
        raise Problem("too many requests from here within a minute", "Wait a minute, and run it again.")
