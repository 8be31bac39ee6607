"""Paddle for tests: what it sends, signed for real, and its API as a real server on loopback, faults included."""

import hashlib
import hmac
import itertools
import json
import threading
import time
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

SECRET = "pdl_ntfset_test_secret"
_numbers = itertools.count(1)


def paddle_id(kind: str) -> str:
    """An id such as Paddle makes: rising with time."""
    return f"{kind}_01{next(_numbers):024d}"


def stamp(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def signed(body: bytes, *secrets: str, at: float | None = None) -> str:
    """The Paddle-Signature header for a body."""
    ts = int(time.time() if at is None else at)
    hashes = [hmac.new(secret.encode(), f"{ts}:".encode() + body, hashlib.sha256).hexdigest() for secret in secrets]
    return ";".join([f"ts={ts}", *[f"h1={one}" for one in hashes]])


def event(event_type: str, data: dict[str, Any], occurred_at: datetime, event_id: str = "") -> dict[str, Any]:
    """A notification's envelope."""
    return {
        "event_id": event_id or paddle_id("evt"),
        "event_type": event_type,
        "occurred_at": stamp(occurred_at),
        "notification_id": paddle_id("ntf"),
        "data": data,
    }


class Life:
    """One customer's subscription, and the events of its life. Times are relative to `began`."""

    def __init__(self, price: str, *, began: datetime | None = None, email: str = "", customer: str = "") -> None:
        self.began = began or datetime.now(UTC) - timedelta(days=2)
        self.customer_id = customer or paddle_id("ctm")
        self.email = email or f"{self.customer_id}@example.com"
        self.subscription_id = paddle_id("sub")
        self.transaction_id = paddle_id("txn")
        self.price = price
        self.period = (self.began, self.began + timedelta(days=30))

    def at(self, **after: float) -> datetime:
        return self.began + timedelta(**after)

    def subscription(self, status: str = "active", **changes: Any) -> dict[str, Any]:
        starts, ends = self.period
        return {
            "id": self.subscription_id,
            "status": status,
            "customer_id": self.customer_id,
            "address_id": "add_01hv8gq3318ktkfengj2r75gfx",
            "business_id": None,
            "currency_code": "USD",
            "collection_mode": "automatic",
            "items": [{"price": {"id": self.price}, "quantity": 1, "status": "active"}],
            "current_billing_period": {"starts_at": stamp(starts), "ends_at": stamp(ends)},
            "next_billed_at": stamp(ends),
            "scheduled_change": None,
            "custom_data": None,
            "created_at": stamp(self.began),
            "updated_at": stamp(self.began),
            **changes,
        }

    def created(self, **changes: Any) -> dict[str, Any]:
        return event("subscription.created", self.subscription(**changes), self.at(seconds=2))

    def activated(self, **changes: Any) -> dict[str, Any]:
        return event("subscription.activated", self.subscription(**changes), self.at(seconds=2))

    def updated(self, status: str = "active", *, at: datetime | None = None, **changes: Any) -> dict[str, Any]:
        return event("subscription.updated", self.subscription(status, **changes), at or self.at(hours=1))

    def became(self, status: str, *, at: datetime | None = None, **changes: Any) -> dict[str, Any]:
        return event(f"subscription.{status}", self.subscription(status, **changes), at or self.at(hours=2))

    def canceled(self, *, at: datetime | None = None) -> dict[str, Any]:
        moment = at or self.at(hours=3)
        changes = {"current_billing_period": None, "next_billed_at": None, "canceled_at": stamp(moment)}
        return event("subscription.canceled", self.subscription("canceled", **changes), moment)

    def customer(self, event_type: str = "customer.created", **changes: Any) -> dict[str, Any]:
        data = {
            "id": self.customer_id,
            "email": self.email,
            "name": "Jo Brown",
            "status": "active",
            "updated_at": stamp(self.began),
            **changes,
        }
        return event(event_type, data, self.began)

    def completed(self, amount: int = 1500, **changes: Any) -> dict[str, Any]:
        starts, ends = self.period
        data = {
            "id": self.transaction_id,
            "status": "completed",
            "customer_id": self.customer_id,
            "subscription_id": self.subscription_id,
            "items": [{"price": {"id": self.price}, "quantity": 1}],
            "billing_period": {"starts_at": stamp(starts), "ends_at": stamp(ends)},
            "details": {"totals": {"grand_total": str(amount), "tax": "0", "currency_code": "USD"}},
            **changes,
        }
        return event("transaction.completed", data, self.at(seconds=5))

    def adjusted(
        self, action: str, status: str = "approved", amount: int = 1500, kind: str | None = None, **more: Any
    ) -> dict[str, Any]:
        data = {
            "id": more.pop("id", None) or paddle_id("adj"),
            "action": action,
            "status": status,
            "type": kind,
            "transaction_id": self.transaction_id,
            "subscription_id": self.subscription_id,
            "customer_id": self.customer_id,
            "items": [],
            "totals": {"total": str(amount), "currency_code": "USD"},
        }
        return event("adjustment.updated", data, more.pop("at", None) or self.at(hours=4))


class FakePaddle:
    """Paddle's API: customers, transactions, subscriptions, prices, destinations.

    `mode` is 'ok', or the fault that every call meets: 'too_many', 'failing', 'hang', 'html', 'reset'.
    """

    def __init__(self) -> None:
        self.calls: list[tuple[str, str, Any]] = []  # method, path, body
        self.keys: list[str] = []  # what came as Authorization
        self.mode = "ok"
        self.customers: dict[str, dict[str, Any]] = {}
        self.subscriptions: dict[str, dict[str, Any]] = {}
        self.prices: dict[str, dict[str, Any]] = {}
        self.destinations: list[dict[str, Any]] = []
        self.transactions: dict[str, dict[str, Any]] = {}
        self.page_size = 100
        self.pay_page = "https://pay.example.com/pay"
        self._gate = threading.Event()
        paddle = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                paddle._serve(self)

            do_POST = do_PATCH = do_GET

            def log_message(self, *args: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            request_queue_size = 128
            daemon_threads = True

            def handle_error(self, *args: Any) -> None:
                pass

        self._server = Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, args=[0.01], daemon=True).start()

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        self._gate.set()
        self._server.shutdown()
        self._server.server_close()

    def heal(self) -> None:
        self.mode = "ok"
        self._gate.set()

    def asked(self, method: str, path: str) -> list[Any]:
        """The bodies of the calls to a path that begins so."""
        return [body for verb, called, body in self.calls if verb == method and called.startswith(path)]

    def add(self, life: Life) -> None:
        """Know the customer and the subscription of a life."""
        self.customers[life.customer_id] = life.customer()["data"]
        self.subscriptions[life.subscription_id] = life.subscription()

    def _serve(self, handler: BaseHTTPRequestHandler) -> None:
        length = int(handler.headers.get("Content-Length") or 0)
        body = json.loads(handler.rfile.read(length)) if length else None
        self.calls.append((handler.command, handler.path, body))
        self.keys.append(handler.headers.get("Authorization", ""))
        if self.mode == "hang":
            self._gate.clear()
            self._gate.wait(60)
            handler.close_connection = True
            return
        if self.mode == "reset":
            handler.connection.close()
            handler.close_connection = True
            return
        if self.mode == "html":
            self._send(handler, 200, b"<html>maintenance</html>", "text/html")
            return
        if self.mode in {"too_many", "failing"}:
            status, code = (429, "too_many_requests") if self.mode == "too_many" else (500, "internal_error")
            self._error(handler, status, code, "slow down")
            return
        self._answer(handler, handler.command, urlsplit(handler.path).path, body)

    def _answer(self, handler: BaseHTTPRequestHandler, method: str, path: str, body: Any) -> None:
        match method, path.strip("/").split("/"):
            case "POST", ["customers"]:
                self._create_customer(handler, body)
            case "POST", ["transactions"]:
                number = paddle_id("txn")
                url = f"{self.pay_page}?_ptxn={number}"
                self.transactions[number] = {"id": number, "status": "draft", "checkout": {"url": url}, **body}
                self._data(handler, self.transactions[number], 201)
            case "POST", ["subscriptions", number, "cancel"] if number in self.subscriptions:
                self._cancel(handler, self.subscriptions[number], body)
            case "GET", ["subscriptions"]:
                self._list(handler, list(self.subscriptions.values()))
            case "GET", ["notification-settings"]:
                self._list(handler, self.destinations)
            case "GET", [("customers" | "subscriptions" | "prices" | "transactions") as kind, number]:
                known = getattr(self, kind).get(number)
                if known is None:
                    self._error(handler, 404, "not_found", f"Unable to find an entity of {kind} with the id {number}")
                else:
                    self._data(handler, known)
            case _:
                self._error(handler, 404, "not_found", "no such entity")

    def _create_customer(self, handler: BaseHTTPRequestHandler, body: Any) -> None:
        for number, known in self.customers.items():
            if known["email"] == body["email"]:
                detail = f"customer email conflicts with customer of id {number}"
                self._error(handler, 409, "customer_already_exists", detail)
                return
        number = paddle_id("ctm")
        now = stamp(datetime.now(UTC))
        self.customers[number] = {"id": number, "name": None, "status": "active", "updated_at": now, **body}
        self._data(handler, self.customers[number], 201)

    def _cancel(self, handler: BaseHTTPRequestHandler, known: dict[str, Any], body: Any) -> None:
        if known["status"] == "canceled":
            self._error(handler, 400, "subscription_is_canceled_action_invalid", "it is canceled")
            return
        ends = (known["current_billing_period"] or {}).get("ends_at")
        known["scheduled_change"] = {"action": "cancel", "effective_at": ends, "resume_at": None}
        known["updated_at"] = stamp(datetime.now(UTC))
        self._data(handler, known)

    def _list(self, handler: BaseHTTPRequestHandler, rows: list[Any]) -> None:
        start = int(parse_qs(urlsplit(handler.path).query).get("after", ["0"])[0])
        page = rows[start : start + self.page_size]
        more = start + self.page_size < len(rows)
        path = urlsplit(handler.path).path
        following = f"{self.base_url}{path}?after={start + self.page_size}"
        pagination = {"per_page": self.page_size, "next": following, "has_more": more, "estimated_total": len(rows)}
        body = {"data": page, "meta": {"request_id": "r", "pagination": pagination}}
        self._send(handler, 200, json.dumps(body).encode())

    def _data(self, handler: BaseHTTPRequestHandler, data: Any, status: int = 200) -> None:
        self._send(handler, status, json.dumps({"data": data, "meta": {"request_id": "r"}}).encode())

    def _error(self, handler: BaseHTTPRequestHandler, status: int, code: str, detail: str) -> None:
        error = {"type": "request_error", "code": code, "detail": detail, "documentation_url": "https://example.com"}
        self._send(handler, status, json.dumps({"error": error, "meta": {"request_id": "r"}}).encode())

    def _send(
        self, handler: BaseHTTPRequestHandler, status: int, body: bytes, content_type: str = "application/json"
    ) -> None:
        handler.send_response(status)
        handler.send_header("Content-Type", content_type)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)
