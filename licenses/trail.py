"""What a line of the audit trail says changed, in the words of the console; the lines are written by `lifecycle`."""

from datetime import UTC, datetime
from typing import Any

from licenses.decisions import end_in_words
from licenses.models import AuditEvent

NAMES = {  # of what is kept, where its own would not be understood
    "expires_at": "end",
    "ending": "why payments end it",
    "plan_is_kept": "plan chosen by staff",
    "sends_notices": "notices by mail",
    "charge_cents": "charge in US cents",
    "price_cents": "price in US cents",
    "is_offered": "offered",
    "is_active": "active",
    "is_public": "public",
    "is_staff": "may open the console",
    "is_superuser": "superuser",
}
NOTHING = {"expires_at": "never", "quota": "the plan's", "rate": "the plan's"}  # what an empty value stands for
FREE_TEXT = {"notes"}  # whatever it looks like, it stands as it was written
LONGEST = 200  # characters of a value


def changes_in_words(event: AuditEvent) -> list[tuple[str, str]]:
    """(what, 'before → after') of each value that changed."""
    told = []
    for name, values in event.changes.items():
        before, after = values if isinstance(values, list) and len(values) == 2 else (None, values)
        if before != after:
            what = NAMES.get(name, name.replace("_", " "))
            told.append((what, f"{_word(name, before)} → {_word(name, after)}"))
    return told


def _word(name: str, value: Any) -> str:
    if name in FREE_TEXT and value:
        return _shortened(str(value))
    if value in (None, ""):
        return NOTHING.get(name, "–")
    if str(value) in {"True", "False"}:
        return "yes" if str(value) == "True" else "no"
    if isinstance(value, int):
        return f"{value:,}"
    text = str(value)
    moment = _moment(text)
    if moment is not None:
        return end_in_words(moment) if name == "expires_at" else f"{moment:%-d %b %Y, %H:%M} UTC"
    return _shortened(text)


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def _moment(text: str) -> datetime | None:
    """The moment that a text stands for, if it is one with a timezone."""
    try:
        found = datetime.fromisoformat(text)
        return found.astimezone(UTC) if found.tzinfo else None
    except (ValueError, OverflowError):
        return None
