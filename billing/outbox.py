"""Doing what waits in the outbox: one at a time each, tried again with growing pauses, flagged after a day of them.

What the work is, is said by its callers: `billing.mails`, `billing.paddle.events`, `billing.paddle.errands`.
"""

import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import structlog
from django.db import InterfaceError, OperationalError, transaction
from django.db.models import F, Q, QuerySet
from django.utils import timezone
from django_q.tasks import async_task

from billing.models import State
from billing.models.outbox import ToDo

# For so long nobody else tries what somebody is trying; longer than any try can last.
LEASE = timedelta(minutes=2)
FIRST_PAUSE, LONGEST_PAUSE = timedelta(minutes=1), timedelta(hours=2)
MOST_TRIES = 18  # with these pauses: about a day
BATCH = 200

logger = structlog.get_logger(__name__)


class Outage(Exception):
    """Somebody outside is not there just now, which happens: trying again is all there is to do."""


class NeedsPerson(Exception):
    """Trying again is no use; the message says what a person should look at."""


def do_due(rows: "QuerySet[Any]", do: Callable[[Any], None]) -> int:
    """Do what is due among these rows, oldest first; says how many were tried."""
    due = list(rows.filter(state=State.WAITING, due_at__lte=timezone.now()).order_by("due_at", "pk")[:BATCH])
    return sum(attempt(row, do) for row in due)


def attempt(row: ToDo, do: Callable[[Any], None], lease: timedelta = LEASE) -> bool:
    """Try one row now, unless somebody else is at it; what goes wrong is noted on the row, never raised."""
    if not _claim(row, lease):
        return False
    try:
        do(row)
    except NeedsPerson as error:
        close(row, State.FLAGGED, str(error))
    except Exception as error:  # noqa: BLE001  # whatever it is: the row must not be lost, nor hold up the others
        _note_failure(row, error)
    return True


def close(row: ToDo, state: State = State.DONE, note: str = "") -> bool:
    """End a row that waits; False where somebody else did."""
    open_rows = type(row)._default_manager.filter(pk=row.pk, state=State.WAITING)
    if state == State.FLAGGED:
        logger.error("needs_person", what=row._meta.model_name, number=row.pk, note=note)
    return open_rows.update(state=state, note=note, done_at=timezone.now()) == 1


def call_off(row: ToDo, state: State, note: str) -> bool:
    """End a row that waits, unless it is being tried just now: then it may be done in the next moment."""
    waiting = type(row)._default_manager.filter(pk=row.pk, state=State.WAITING)
    untouched = Q(tries=0) | ~Q(note="") | Q(due_at__lte=timezone.now())  # `_claim` makes it otherwise
    return waiting.filter(untouched).update(state=state, note=note, done_at=timezone.now()) == 1


def see_to(row: ToDo, state: State, note: str) -> bool:
    """Take a row off the list of what needs a person; False where it is not on it."""
    flagged = type(row)._default_manager.filter(pk=row.pk, state=State.FLAGGED)
    return flagged.update(state=state, note=f"{row.note} {note}".strip()) == 1


def try_again(row: ToDo) -> None:
    """Have a row done once more, soon, by a person's wish."""
    reopen(row)
    wake()


def reopen(row: ToDo) -> None:
    """Let a row wait again, as if it were new."""
    type(row)._default_manager.filter(pk=row.pk).update(
        state=State.WAITING, due_at=timezone.now(), tries=0, note="", done_at=None
    )


def wake() -> None:
    """Have the worker look at once, when this transaction is committed. The schedule would, within a minute."""
    transaction.on_commit(_wake, robust=True)


def pause_after(tries: int) -> timedelta:
    """How long to wait after so many failed tries."""
    doublings: int = min(tries - 1, 20)
    return min(FIRST_PAUSE * 2.0**doublings, LONGEST_PAUSE)


def _wake() -> None:
    async_task("billing.housekeeping.run_outbox")


def _claim(row: ToDo, lease: timedelta) -> bool:
    now = timezone.now()
    mine = type(row)._default_manager.filter(pk=row.pk, state=State.WAITING, due_at=row.due_at)
    if not mine.update(due_at=now + lease, tries=F("tries") + 1, note=""):
        return False
    row.refresh_from_db()
    return True


def _note_failure(row: ToDo, error: Exception) -> None:
    """Keep what went wrong, for staff to read. Of an outage the log has only the kind; a bug is an error, once."""
    note = f"{type(error).__name__}: {error}"[:1000]
    is_news = row.tries == 1 and not isinstance(error, Outage | OperationalError | InterfaceError)
    logger.log(
        logging.ERROR if is_news else logging.WARNING,
        "try_failed",
        what=row._meta.model_name,
        number=row.pk,
        tries=row.tries,
        error=type(error).__name__,
        exc_info=error if is_news else None,
    )
    if row.tries >= MOST_TRIES:
        close(row, State.FLAGGED, note)
        return
    mine = type(row)._default_manager.filter(pk=row.pk, state=State.WAITING)
    mine.update(note=note, due_at=timezone.now() + pause_after(row.tries))
