"""Paddle's API through its own SDK: the few calls that we make, each bounded in time, with two ways to fail.

The SDK's entities are left aside where facts are read: they stop at fields they don't expect, and facts are read from
plain data anyway (`billing.paddle.facts`).
"""

import logging
import re
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import partial
from types import SimpleNamespace
from typing import Any, TypeVar

from django.conf import settings
from paddle_billing import Client, Environment, Options
from paddle_billing.Entities.Shared import CustomData
from paddle_billing.Entities.Subscriptions import SubscriptionEffectiveFrom
from paddle_billing.Exceptions.ApiError import ApiError
from paddle_billing.Resources.Customers.Operations import CreateCustomer
from paddle_billing.Resources.Subscriptions.Operations import CancelSubscription
from paddle_billing.Resources.Transactions.Operations import CreateTransaction
from paddle_billing.Resources.Transactions.Operations.Create import TransactionCreateItem
from requests import RequestException

from billing.outbox import Outage
from billing.paddle import facts

TIMEOUT = 8.0  # seconds; a buyer waits for some of these calls
CUSTOMER_ID = re.compile(r"ctm_[a-z0-9]{10,40}")
# Said of the key, not of what was asked for with it.
KEY_REFUSALS = {"authentication_missing", "authentication_malformed", "invalid_token", "forbidden"}

# It logs whole answers, which hold customers' addresses and a destination's secret; what fails is logged by callers.
Client.null_logger().setLevel(logging.CRITICAL + 1)

Result = TypeVar("Result")


class PaddleUnavailable(Outage):
    """Paddle did not answer, or can't just now: try again later."""


class PaddleRefused(Exception):
    """Paddle understood and said no; `code` is its word for it."""

    def __init__(self, code: str, detail: str) -> None:
        self.code = code
        self.detail = detail
        super().__init__(f"{code}: {detail}"[:300])

    @property
    def concerns_key(self) -> bool:
        """Whether it is the key that Paddle does not take, or does not allow this."""
        return self.code in KEY_REFUSALS


def is_configured() -> bool:
    """Whether there is a key to ask with."""
    return bool(settings.PADDLE_API_KEY)


def create_checkout(price_id: str, *, email: str = "", custom_data: dict[str, str] | None = None) -> str:
    """The address of a checkout for one price.

    Raises:
        PaddleUnavailable, PaddleRefused
    """
    customer = {"customer_id": find_or_create_customer(email)} if email else {}
    custom = {"custom_data": CustomData(custom_data)} if custom_data else {}
    wanted = CreateTransaction(items=[TransactionCreateItem(price_id, 1)], **customer, **custom)
    url: str | None = _ask(lambda client: client.post_raw("/transactions", wanted).json()["data"]["checkout"]["url"])
    if not url or not url.startswith(("https://", "http://")):
        raise PaddleRefused(
            "no_checkout_url", "Paddle named no address for the checkout: set the default payment link."
        )
    return url


def find_or_create_customer(email: str) -> str:
    """The Paddle id of the customer with this address.

    Raises:
        PaddleUnavailable, PaddleRefused
    """
    try:
        return str(_ask(lambda client: client.post_raw("/customers", CreateCustomer(email=email)).json()["data"]["id"]))
    except PaddleRefused as refused:
        known = CUSTOMER_ID.search(refused.detail) if refused.code == "customer_already_exists" else None
        if known is None:
            raise
        return known.group()


def customer(paddle_id: str) -> dict[str, Any]:
    """A customer as Paddle's API words them.

    Raises:
        PaddleUnavailable, PaddleRefused
    """
    return _one(f"/customers/{paddle_id}")


def subscription(paddle_id: str) -> dict[str, Any]:
    """A subscription as Paddle's API words it."""
    return _one(f"/subscriptions/{paddle_id}")


def price(paddle_id: str) -> dict[str, Any]:
    """A price as Paddle's API words it."""
    return _one(f"/prices/{paddle_id}")


def subscriptions(since: datetime | None = None) -> Iterator[dict[str, Any]]:
    """All subscriptions, newest first; only those changed since then, where a moment is given.

    Paddle filters and orders by no time of change, and an old subscription may have changed last: so all are read. One
    that does not say when it changed is never left out.
    """
    for one in _pages("/subscriptions", {"per_page": "100", "order_by": "id[DESC]"}):
        changed_at = facts.moment(one, "updated_at")
        if since is None or changed_at is None or changed_at >= since:
            yield one


def destinations() -> list[dict[str, Any]]:
    """Where Paddle sends notifications to."""
    return list(_pages("/notification-settings", {}))


def cancel_at_period_end(paddle_id: str) -> dict[str, Any]:
    """Have a subscription end instead of being renewed; what it is then."""
    when = CancelSubscription(SubscriptionEffectiveFrom.NextBillingPeriod)
    return _mapping(_ask(lambda client: client.post_raw(f"/subscriptions/{paddle_id}/cancel", when).json()["data"]))


def _one(path: str) -> dict[str, Any]:
    return _mapping(_ask(lambda client: client.get_raw(path).json()["data"]))


def _pages(path: str, parameters: dict[str, str]) -> Iterator[dict[str, Any]]:
    rows, following = _ask(partial(_page, path, parameters))
    seen = {path}
    while True:
        yield from rows
        if not following:
            return
        if following in seen:
            raise PaddleUnavailable("pages that have no end")
        seen.add(following)
        rows, following = _ask(partial(_page, following, None))


def _page(url: str, parameters: dict[str, str] | None, client: Client) -> tuple[list[dict[str, Any]], str]:
    """The rows of a page, and where the next one is; empty after the last."""
    page = client.get_raw(url, parameters).json()
    pagination = page.get("meta", {}).get("pagination") or {}
    following = pagination.get("next") if pagination.get("has_more") else None
    return [_mapping(row) for row in page["data"]], following or ""


def _ask(call: Callable[[Client], Result]) -> Result:
    client = _client()
    try:
        return call(client)
    except ApiError as error:
        if error.response.status_code == 429 or error.response.status_code >= 500:
            raise PaddleUnavailable(f"status {error.response.status_code}") from None
        raise PaddleRefused(str(error.error_code), str(error.detail)) from None
    except RequestException as error:
        raise PaddleUnavailable(type(error).__name__) from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise PaddleUnavailable(f"an answer that makes no sense ({type(error).__name__})") from None
    finally:
        client.client.close()


def _client() -> Client:
    """A client of its own for each call: the SDK's keeps state of the last one, and is not made for threads.

    It tries once: whoever calls tries again, later, or tells the buyer to.
    """
    known = Environment.PRODUCTION if settings.PADDLE_ENVIRONMENT == "production" else Environment.SANDBOX
    environment = SimpleNamespace(base_url=settings.PADDLE_BASE_URL) if settings.PADDLE_BASE_URL else known
    client = Client(settings.PADDLE_API_KEY, options=Options(environment), retry_count=0, timeout=TIMEOUT)
    client.client.max_redirects = 0  # what we send goes nowhere else
    return client


def _mapping(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise PaddleUnavailable("an answer that makes no sense")
    return value
