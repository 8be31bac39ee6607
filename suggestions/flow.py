"""One suggestion, from a validated request to its answer: what is done in which order, and what it costs.

    recall     a repeated Idempotency-Key gets the answer it got before
    suggest    reserve a unit     one short transaction, then the connection goes back
               ask the provider   no transaction, no connection, bounded time
               settle or release  one short transaction

HTTP is the view's job; quota and money are `billing`'s; who may ask was decided before.
"""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

import structlog
from django.conf import settings
from django.db import InterfaceError, InternalError, OperationalError
from django.utils import timezone

from billing import idempotency, quota
from billing.errors import IdempotencyInProgress
from billing.models import Outcome
from billing.quota import Reservation
from billing.usage import Usage
from licenses import connections
from licenses.authentication import Holder
from licenses.deadline import deadline
from licenses.views import count_again
from suggestions import due, metrics
from suggestions.errors import refusal_for
from suggestions.providers import LOCAL_MODEL, configured, local
from suggestions.providers.base import ProviderError, ProviderInvalid, Reply, Suggestion

# Seconds after a request's start. The client gives up at 30 and is promised an answer by 25: so the provider must be
# done by the first of these, and the database is waited for until the second, whatever it does; telling it to stop
# (`remind_site.postgres`) and sending the answer come after that.
PROVIDER_DONE_BY = 20.0
DATABASE_DONE_BY = 24.5
WORTH_SETTLING = 1.0  # seconds; with less, after a wait for a connection, a second try is not begun
WORTH_ASKING = 3.0  # seconds; with less, a timeout would be our own slowness and no failure of the provider's

T = TypeVar("T")

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Ask:
    """A validated request for a suggestion."""

    holder: Holder
    text: str
    timezone: ZoneInfo
    claim: idempotency.Claim | None  # its Idempotency-Key, where it has one
    request_id: str
    started: float  # monotonic seconds

    def elapsed(self) -> float:
        return time.monotonic() - self.started

    def deadline(self) -> AbstractContextManager[None]:
        """For all that the request asks of the database inside."""
        return deadline(self.started + DATABASE_DONE_BY)


class NotAsked(ProviderError):
    """The provider was left alone for a reason of our own."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.label)
        self.outcome = outcome


def recall(ask: Ask) -> dict[str, Any] | None:
    """The answer that was given for this request's key before; None where it is to be done.

    Raises:
        IdempotencyInProgress, IdempotencyMismatch
    """
    answer = None if ask.claim is None else quota.recall(ask.claim)
    if answer is None:
        return None
    metrics.count(metrics.REPLAYED)
    return {**answer, "due_time_suggestion": _words_now(answer, ask)}


def _words_now(answer: dict[str, Any], ask: Ask) -> str | None:
    """The due time of an answer that was given before: 'in 20 minutes' and 'today' were right then."""
    words, at = answer["due_time_suggestion"], answer["due_at"]
    if words is None or at is None:
        return None
    told = due.still(due.Due(words, datetime.fromisoformat(at)), timezone.now(), ask.timezone)
    return told.words if told else None


def suggest(ask: Ask) -> dict[str, Any]:
    """Turn the reminder into a better one, and charge for it; the answer's fields are those of the contract.

    Raises:
        QuotaExhausted: no unit is left.
        IdempotencyInProgress: another request with this key came first, and still runs.
        Refusal: the provider failed and the fallback is off.
    """
    try:
        reservation = _reserve(ask)
    except idempotency.KeyTaken:
        answer = recall(ask)
        if answer is not None:
            return answer
        reservation = _reserve_after_all(ask)
    now = timezone.now()
    try:
        reply = _ask_provider(reservation, ask, now)
    except ProviderError as error:
        return _degraded(reservation, ask, now, error)
    return _charged(reservation, reply, ask)


def _reserve(ask: Ask) -> Reservation:
    return quota.reserve(
        ask.holder.license,
        ask.holder.token,
        model=configured().model,
        request_id=ask.request_id,
        key=ask.claim,
    )


def _reserve_after_all(ask: Ask) -> Reservation:
    """Reserve for a key that another request had, which came to nothing just now; a third one may be quicker still."""
    try:
        return _reserve(ask)
    except idempotency.KeyTaken:
        raise IdempotencyInProgress(retry_after=1) from None


def _ask_provider(reservation: Reservation, ask: Ask, now: datetime) -> Reply:
    if reservation.blocked is not None:
        raise NotAsked(reservation.blocked)
    left = PROVIDER_DONE_BY - ask.elapsed()
    if left < WORTH_ASKING:
        raise NotAsked(Outcome.TOO_LATE)
    connections.give_back()
    chosen = configured()
    timeout = min(settings.AI_TIMEOUT_SECONDS, left)
    with chosen.breaker.call(timeout) as seconds, metrics.provider_call():
        try:
            return chosen.provider.suggest(ask.text, now, ask.timezone, seconds)
        except ProviderError:
            raise
        except Exception as error:  # a bug of ours there must cost nobody a unit, nor an answer
            logger.exception("provider_bug")
            raise ProviderInvalid(f"bug: {type(error).__name__}") from error


def _charged(reservation: Reservation, reply: Reply, ask: Ask) -> dict[str, Any]:
    usage = reply.usage or Usage()
    answer = _answer(reply.suggestion, configured().model, usage)
    committed = _committed(lambda: quota.settle(reservation, reply.usage, answer), ask)
    # A gift where it was given up while the provider worked (a machine that stood still).
    result, outcome = (
        (metrics.DEGRADED, Outcome.ABANDONED) if committed["degraded"] else (metrics.CHARGED, Outcome.ANSWERED)
    )
    structlog.contextvars.bind_contextvars(outcome=outcome)
    metrics.count(result, outcome)
    return committed


def _degraded(reservation: Reservation, ask: Ask, now: datetime, error: ProviderError) -> dict[str, Any]:
    structlog.contextvars.bind_contextvars(outcome=error.outcome)
    logger.warning("answer_degraded", outcome=error.outcome, error=str(error))
    if ask.claim is not None:  # before the key is free: whoever takes it next is no copy of this request any more
        count_again(ask.holder.license, ask.claim.input_digest)
    remaining = _committed(lambda: quota.release(reservation, Outcome(error.outcome), error.usage), ask)
    if not settings.AI_FALLBACK:
        raise refusal_for(error)
    answer = _answer(_built_in(ask, now), LOCAL_MODEL, Usage())
    metrics.count(metrics.DEGRADED, error.outcome)
    return {**answer, "degraded": True, "cost_cents": 0, "quota_remaining": remaining}


def _built_in(ask: Ask, now: datetime) -> Suggestion:
    try:
        return local.suggest(ask.text, now, ask.timezone)
    except Exception:  # a bug of ours; nobody is left to answer but the customer's own words
        logger.exception("built_in_bug")
        return local.as_it_came(ask.text)


def _committed(operation: Callable[[], T], ask: Ask) -> T:
    """Do a closing step, once more on a fresh connection if the first was lost; each step holds only once."""
    try:
        return operation()
    except (OperationalError, InterfaceError, InternalError):
        if ask.elapsed() + _wait_for_a_connection() + WORTH_SETTLING > DATABASE_DONE_BY:
            raise
        connections.give_back()
        return operation()


def _wait_for_a_connection() -> float:
    """Seconds that it may take."""
    pool = settings.DATABASES["default"].get("OPTIONS", {}).get("pool") or {}
    return float(pool.get("timeout", 0))


def _answer(suggestion: Suggestion, model: str, usage: Usage) -> dict[str, Any]:
    found = suggestion.due
    return {
        "suggested_text": suggestion.text,
        "priority": suggestion.priority,
        "due_time_suggestion": found.words if found else None,
        "due_at": found.at.isoformat(timespec="seconds") if found else None,
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "model": model,
        "degraded": False,
    }
