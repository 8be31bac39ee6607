"""Due times: how people and models name one, which instant that is, and in what words the client is told.

`find` looks for the due time that a reminder names in passing, `read` takes one that stands alone. What becomes of
the rest of the reminder is the business of `suggestions.providers.local`. Three steps:

    pieces    what names a day, a clock time, a part of the day or a span from now: `suggestions.due_pieces`
    phrases   pieces that stand together, as far as they are a due time and no topic
    instants  what a phrase means at `now`: the first instant in the future among those it may stand for
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from typing import Final
from zoneinfo import ZoneInfo

from suggestions.due_pieces import (
    BARE_DAY,
    DETERMINER,
    END_OF_DAY,
    EVENING_EVENT,
    FREE,
    HOUR,
    MIDNIGHT,
    MORNING_EVENT,
    NIGHT,
    NO_CLOCK,
    NOON,
    PIECE,
    SECONDS,
    Clock,
    Day,
    PartOfDay,
    Piece,
    Said,
    folded,
    iso_instant,
    piece_of,
)

FIRST_WAKING_HOUR: Final = 7  # 'at 5' is in the afternoon, 'at 8' is the next of the two
LAST_NIGHT_HOUR: Final = 4  # 'tonight at 1' is after midnight
MOST_PHRASES: Final = 20  # a text may name more, but each costs time
READ_WITHIN: Final = timedelta(seconds=30)  # of the first request, by a client
# By then 'today' must not have become yesterday.
DAY_MAY_TURN: Final = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Due:
    """A due time: the words the client is sent, which `dateparser` reads as the instant `at`, in the caller's zone."""

    words: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Found:
    """A due time that is named in `text[start:end]`; `stays` is what should be left standing there."""

    start: int
    end: int
    stays: str
    due: Due


def read(words: str, now: datetime, timezone: ZoneInfo) -> Due | None:
    """The due time that a provider gave, in ISO 8601 or in English.

    Args:
        words: 'tomorrow at 2pm', '2026-11-27T17:00:00+01:00', '20 minutes', or anything else.
        now: the present, aware.
        timezone: where the caller is; times without an offset are meant there.

    Returns:
        None where they name no time, or none in the future. Nothing is raised, whatever they are.
    """
    words = " ".join(words.split())
    exact = iso_instant(words)
    if exact is not None:
        return _due(Phrase(exact=exact), now.astimezone(timezone), timezone, "")
    for lead in ("", "in ", "at ", "on the "):  # standing alone, '20 minutes', '5' and '3rd' are due times too
        found = find(lead + words, now, timezone)
        if found is not None and (not lead or found.end - found.start == len(lead + words)):
            return found.due
    return None


def still(told: Due, now: datetime, timezone: ZoneInfo) -> Due | None:
    """A due time that was told before, in words that mean it now; None once it is past.

    Args:
        told: as the first answer had it: 'in 20 minutes' was right then.
    """
    here = now.astimezone(timezone)
    if not _ahead(told.at, here):
        return None
    is_span = told.words.startswith("in ")
    again = read(told.words, here if is_span else here + DAY_MAY_TURN, timezone)
    if again is not None and abs(again.at - told.at) <= READ_WITHIN:
        return told
    at = told.at.astimezone(timezone)
    return Due(_wall_words(at), at)


def find(text: str, now: datetime, timezone: ZoneInfo) -> Found | None:
    """The due time that a reminder names, None if it names none in the future; of several, the likeliest.

    Args:
        text: the reminder, its words one space apart. What stands in quotation marks or in a link is not read.
        now: the present, aware.
        timezone: where the caller is; times are meant there unless they name a zone.
    """
    here = now.astimezone(timezone)
    plain = folded(text)
    usual_half = "am" if MORNING_EVENT.search(plain) else "pm" if EVENING_EVENT.search(plain) else ""
    phrases = islice(_phrases(plain, here.date()), MOST_PHRASES)
    for phrase in sorted(phrases, key=lambda phrase: _weight(phrase, plain), reverse=True):
        due = _due(phrase, here, timezone, usual_half)
        if due is not None:
            kept = phrase.kept or range(0)
            return Found(phrase.start, phrase.end, text[kept.start : kept.stop], due)
    return None


# -------------------------------------------------------------------------------------------------- phrases


@dataclass(slots=True)
class Phrase:
    """Pieces that stand together in `text[start:end]`, at most one of each kind."""

    start: int = 0
    end: int = 0
    day: Day | None = None
    part: PartOfDay | None = None
    clock: Clock | None = None
    exact: timedelta | datetime | None = None
    kept: range | None = None  # what of the text says more than the due time does

    def add(self, piece: Piece) -> bool:
        """Take in one more piece, if it says something new."""
        said = [self.day, self.part, self.clock, self.exact]
        if self.past and piece.apart:
            return False
        match piece.says:
            case Day() as day if self.exact is None and self._goes_with(day):
                self.day = self.day if self.past else day
            case PartOfDay() as part if self.exact is None and self.part is None:
                self.part = part
            case PartOfDay() as part if self.part is not None and part.minutes == MIDNIGHT:  # 'tonight at midnight'
                self.part = replace(part, today=self.part.today)
            case Clock() as clock if self.exact is None and self.clock is None:
                self.clock = clock
            case timedelta() | datetime() as exact if not any(said):
                self.exact = exact
            case _:
                return False
        self.end = piece.end
        if piece.kept:
            self.kept = range(piece.start, piece.end)
        return True

    @property
    def past(self) -> bool:
        """Whether its day is past, or none."""
        return self.day is not None and not self.day.dates

    def _goes_with(self, day: Day) -> bool:
        """Whether a day is the same as the one before, in other words: 'friday 27 november', 'last week on friday'."""
        if self.day is None or self.past:
            return True
        return not self.day.dated and (day.dated or (not day.dates and not self.day.relative))


JOINT: Final = re.compile(r",? (?:- )?")
ALTERNATIVE: Final = re.compile(r" (?:or|and|to|-) ")


def _phrases(text: str, today: date) -> Iterator[Phrase]:
    """The phrases in a folded text that may be due times."""
    position = 0
    while (said := PIECE.search(text, position)) is not None:
        position = said.end()
        first = piece_of(said, today)
        if first is None or (
            first.says == NO_CLOCK and said["preposition"] is None and not said["half"] and first.start
        ):
            continue  # 'Isaiah 40:31'
        phrase = Phrase(start=first.start)
        phrase.add(first)
        while (following := _piece_after(JOINT, text, phrase.end, today)) is not None and phrase.add(following):
            pass
        position = phrase.end
        if phrase.past:
            continue
        alternative = _piece_after(ALTERNATIVE, text, phrase.end, today)
        if alternative is not None:
            position = alternative.end
        if _is_due_time(phrase, text, said):
            if alternative is not None or _holds_the_sentence(phrase, text):
                phrase.kept = range(phrase.start, phrase.end)
            yield phrase


def _piece_after(joint: re.Pattern[str], text: str, end: int, today: date) -> Piece | None:
    """The piece that follows `text[:end]`, with nothing but that joint between them."""
    between = joint.match(text, end)
    said = PIECE.match(text, between.end()) if between is not None else None
    piece = piece_of(said, today) if said is not None else None
    return piece if piece is not None and said is not None and piece.start == said.start() else None


def _is_due_time(phrase: Phrase, text: str, first: Said) -> bool:
    """Whether a phrase is no topic ('the friday report'). A time that is one stays in the text: 'the 3pm call'."""
    if phrase.part is not None and not (phrase.part.certain or phrase.day or phrase.clock):
        return False
    named = first["the"] or DETERMINER.search(text[max(0, phrase.start - 32) : phrase.start])
    attributive = first.lastgroup in ("weekday", "clock", "range") and named and not FREE.match(text, phrase.end)
    if attributive and phrase.day is not None:
        return False
    if attributive:
        phrase.kept = range(phrase.start, phrase.end)
    return True


def _holds_the_sentence(phrase: Phrase, text: str) -> bool:
    """Whether the text does not do without the phrase: 'it is on friday', 'until friday', 'moved to friday'."""
    until = text.startswith(("until ", "till "), phrase.start)
    return until or text.endswith((" is ", " are ", " was ", " be ", " to "), 0, phrase.start)


def _weight(phrase: Phrase, text: str) -> tuple[bool, ...]:
    """How likely it is that a phrase is what the reminder is for, against others in it."""
    return (
        text.endswith(("remind me ", "reminder "), 0, phrase.start),
        phrase.kept is None,
        text.startswith(("by ", "before ", "due ", "no later "), phrase.start),
        not text.startswith("for ", phrase.start),
        phrase.clock is not None or phrase.exact is not None,
    )


# ------------------------------------------------------------------------------------------------- instants


def _due(phrase: Phrase, now: datetime, timezone: ZoneInfo, usual_half: str) -> Due | None:
    """What a phrase means at `now`, which is in `timezone`; None where that is past, or in no calendar.

    `usual_half` is the half of the day ('am', 'pm' or '') in which one does what is to be done.
    """
    try:
        if isinstance(phrase.exact, timedelta):
            return _due_after(phrase.exact, now, timezone)
        if phrase.exact is not None:
            at = _shown(phrase.exact.replace(tzinfo=phrase.exact.tzinfo or timezone), timezone, now)
            return Due(_wall_words(at), at) if _ahead(at, now) else None
        return _due_on_a_day(phrase, now, timezone, usual_half)
    except (ValueError, OverflowError):
        return None


def _due_after(span: timedelta, now: datetime, timezone: ZoneInfo) -> Due | None:
    at = (now.astimezone(UTC) + span).astimezone(timezone).replace(microsecond=0)
    return Due(_span_words(span, at, now), at) if _ahead(at, now) else None


def _due_on_a_day(phrase: Phrase, now: datetime, timezone: ZoneInfo, usual_half: str) -> Due | None:
    days, zone = _days(phrase, now.date()), timezone
    if phrase.clock is not None and phrase.clock.zone is not None:
        zone = ZoneInfo(phrase.clock.zone)
    candidates = (_at(day, minutes, zone, now) for day in days for minutes in _times(phrase, usual_half))
    at = next((candidate for candidate in candidates if _ahead(candidate, now)), None)
    if at is None and phrase.clock is None and days == (now.date(),):
        at = _later_today(phrase, now, timezone)
    if at is None:
        return None
    at = at.astimezone(timezone)
    return Due(_day_words(at, now) if _counts_from_today(phrase) else _wall_words(at), at)


def _days(phrase: Phrase, today: date) -> tuple[date, ...]:
    if phrase.day is not None:
        return phrase.day.dates
    return (today,) if phrase.part is not None and phrase.part.today else (today, today + timedelta(1))


def _times(phrase: Phrase, usual_half: str) -> tuple[int, ...]:
    """The times of day that may be meant, likeliest first, in minutes after midnight."""
    clock, part, day = phrase.clock, phrase.part, phrase.day
    if clock is None:
        return (part.minutes if part is not None else day.default if day is not None else BARE_DAY,)
    if clock == NO_CLOCK:
        return ()
    am, pm = clock.hour % 12, clock.hour % 12 + 12
    if clock.half == "24" or (day is not None and day.iso and not clock.half):
        hours = [clock.hour]
    elif part is not None and not clock.half:
        hours = [_hour_within(part, am, pm)]
    elif half := clock.half or usual_half:
        hours = [am if half == "am" else pm]
    elif am < FIRST_WAKING_HOUR:
        hours = [pm]
    elif day is not None and not day.relative:
        hours = [am]
    else:
        hours = [am, pm]
    return tuple(hour * HOUR + clock.minute for hour in hours)


def _hour_within(part: PartOfDay, am: int, pm: int) -> int:
    if part.minutes < NOON:
        return am
    return am + 24 if part.minutes >= NIGHT and am <= LAST_NIGHT_HOUR else pm


def _at(day: date, minutes: int, zone: ZoneInfo, now: datetime) -> datetime:
    midnight = datetime(day.year, day.month, day.day, tzinfo=zone)
    return _shown(midnight + timedelta(minutes=minutes), zone, now)


def _shown(wall: datetime, zone: ZoneInfo, now: datetime) -> datetime:
    """The instant at which clocks in `zone` show `wall`.

    What the spring change skips is as much later. What the autumn change repeats is the first of the two, and the
    second once the first is past.
    """
    at = wall.astimezone(UTC).astimezone(zone)
    return at if _ahead(at, now) else wall.replace(fold=1).astimezone(UTC).astimezone(zone)


def _ahead(at: datetime, now: datetime) -> bool:
    """Whether an instant is in the future. Python compares two times in one zone by what the clock shows alone."""
    return at.astimezone(UTC) > now.astimezone(UTC)


def _later_today(phrase: Phrase, now: datetime, timezone: ZoneInfo) -> datetime | None:
    """The time that a part of today usually has is past: the next usual one, or an hour from now."""
    if phrase.part is not None and phrase.part.minutes <= NOON:
        return None  # 'this morning', said in the afternoon, is over
    usual = (_at(now.date(), minutes, timezone, now) for minutes in (END_OF_DAY, NIGHT))
    in_an_hour = (now.astimezone(UTC) + timedelta(hours=1)).replace(second=0, microsecond=0)
    return next((at for at in usual if _ahead(at, now)), in_an_hour)


# ------------------------------------------------------------------------------------ words for the client


def _counts_from_today(phrase: Phrase) -> bool:
    """Whether it says 'today' or 'tomorrow'. Only then is the client told so: where it gave no timezone, its own
    count is the right one, while 'at 5pm' may have been taken for another day than its user meant."""
    if phrase.clock is not None and phrase.clock.zone is not None:
        return False
    if phrase.day is not None:
        return phrase.day.relative
    return phrase.part is not None and phrase.part.today


def _day_words(at: datetime, now: datetime) -> str:
    ahead = (at.date() - now.date()).days
    if ahead > 1 or at.fold or (now + DAY_MAY_TURN).date() != now.date():
        return _wall_words(at)
    minute = f":{at.minute:02}" if at.minute else ""
    return f"{'tomorrow' if ahead else 'today'} at {at.hour % 12 or 12}{minute}{'am' if at.hour < 12 else 'pm'}"


def _span_words(span: timedelta, at: datetime, now: datetime) -> str:
    if at.utcoffset() != now.utcoffset() or at.fold:  # the client adds to what its clock shows
        return _wall_words(at)
    seconds = int(span.total_seconds())
    unit = next(unit for unit in ("hour", "minute", "second") if seconds % SECONDS[unit] == 0)
    count = seconds // SECONDS[unit]
    return f"in {count} {unit}{'' if count == 1 else 's'}"


def _wall_words(at: datetime) -> str:
    """What the clock shows. The second time around, in the hour that an autumn change repeats, with its offset."""
    return at.replace(tzinfo=at.tzinfo if at.fold else None).isoformat(" ", "seconds" if at.second else "minutes")
