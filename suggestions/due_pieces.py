"""The pieces of a due time: the words and numbers that name a day, a clock time, a part of a day, a span from now.

`PIECE` finds one, its preposition included, and `piece_of` says what it means, or that it is ordinary words. Which
pieces belong together, and which instant they mean, is the business of `suggestions.due`.

Each pattern looks a few words ahead, so that the time taken grows with the length of a text and with nothing else.
"""

import re
from calendar import monthrange
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Final

# When a part of a day is, where nothing more is said, in minutes after that day's midnight.
HOUR: Final = 60
MORNING: Final = 9 * HOUR
NOON: Final = 12 * HOUR
AFTER_LUNCH: Final = 13 * HOUR
AFTERNOON: Final = 15 * HOUR
END_OF_DAY: Final = 17 * HOUR
EVENING: Final = 18 * HOUR
NIGHT: Final = 20 * HOUR
BEDTIME: Final = 22 * HOUR
MIDNIGHT: Final = 24 * HOUR  # the one that ends the day
BARE_DAY: Final = MORNING

A_FEW: Final = 3
MOST_DAYS_AHEAD: Final = 36_525  # a century; what is later is a typing error

# ----------------------------------------------------------------------------------------------- vocabulary


def _numbered(names: str, first: int = 0) -> dict[str, int]:
    """'a/b c' as {'a': first, 'b': first, 'c': first + 1}."""
    return {name: number for number, group in enumerate(names.split(), first) for name in group.split("/")}


def _any(words: Iterable[str]) -> str:
    """A pattern for any of these words, the longest first."""
    return f"(?:{'|'.join(sorted((re.escape(word) for word in words), key=len, reverse=True))})"


WEEKDAYS: Final = _numbered(
    "monday/mon tuesday/tue/tues wednesday/wed/weds thursday/thu/thur/thurs friday/fri saturday/sat sunday/sun"
)
MONTHS: Final = _numbered(
    "january/jan february/feb march/mar april/apr may june/jun july/jul august/aug september/sep/sept october/oct "
    "november/nov december/dec",
    first=1,
)
DOUBTFUL: Final = frozenset({"mon", "wed", "sat", "sun", "may", "march", "mar"})  # ordinary words as well
DAYS_AHEAD: Final = _numbered("today tomorrow/tomorow/tommorow/tommorrow/tmrw/tmw/tmr/2moro/2morrow") | {
    "day after tomorrow": 2
}
NUMBERS: Final = _numbered(
    "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen", first=1
) | {"twenty": 20, "thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "ninety": 90}
AMOUNTS: Final = NUMBERS | {
    "a": 1, "an": 1, "half": 0.5, "half a": 0.5, "half an": 0.5, "a half": 0.5, "couple": 2, "couple of": 2,
    "a couple": 2, "a couple of": 2, "a few": A_FEW,
}  # fmt: skip
UNITS: Final = {  # not 'second', nor 'sec': 'in a second' is no due time
    name: unit
    for unit, names in {
        "second": "seconds/secs",
        "minute": "minutes/minute/mins/min/m",
        "hour": "hours/hour/hrs/hr/h",
        "day": "days/day/d",
        "week": "weeks/week/wks/wk/w",
        "month": "months/month",
        "year": "years/year/yrs/yr",
    }.items()
    for name in names.split("/")
}
SECONDS: Final = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400, "week": 604_800}
CERTAIN_PARTS: Final = {
    "tonight": NIGHT, "tonite": NIGHT, "noon": NOON, "12 noon": NOON, "midday": NOON, "midnight": MIDNIGHT,
    "12 midnight": MIDNIGHT, "lunchtime": NOON, "after lunch": AFTER_LUNCH, "after work": EVENING,
    "after dinner": NIGHT, "before bed": BEDTIME, "first thing": MORNING, "first thing in the morning": MORNING,
    "eod": END_OF_DAY, "cob": END_OF_DAY, "eob": END_OF_DAY, "end of business": END_OF_DAY,
    "close of business": END_OF_DAY,
}  # fmt: skip
PARTS: Final = CERTAIN_PARTS | {  # these, only where the words around them say so
    "morning": MORNING, "afternoon": AFTERNOON, "evening": EVENING, "night": NIGHT, "lunch": NOON,
    "bedtime": BEDTIME,
}  # fmt: skip
TODAY_ITSELF: Final = frozenset({"tonight", "tonite"}) | {
    name for name, minutes in CERTAIN_PARTS.items() if minutes == END_OF_DAY
}
ZONES: Final = {
    "utc": "UTC", "gmt": "UTC", "bst": "Europe/London", "cet": "Europe/Berlin", "cest": "Europe/Berlin",
    "est": "America/New_York", "edt": "America/New_York", "cst": "America/Chicago", "cdt": "America/Chicago",
    "pst": "America/Los_Angeles", "pdt": "America/Los_Angeles",
}  # fmt: skip

CLOCK_LEADS: Final = frozenset({"at", "by", "before", "around", "about", "after", "until", "till", "from", "@", "~"})
DAY_LEADS: Final = frozenset(
    {"on", "by", "before", "until", "till", "for", "over", "in", "within", "after", "around", "at"}
)
PART_LEADS: Final = frozenset({"in", "at", "by", "before", "until", "till", "during", "over", "for", "around"})
SPAN_LEADS: Final = frozenset({"in", "within", "after"})
TOPIC_LEADS: Final = frozenset({"about", "from", "since", "re", "of"})  # 'the notes from monday'
GONE: Final = frozenset({"last", "past", "this past", "previous"})  # 'last friday'
# What is done in one half of the day: 'wake up at 6', 'dinner at 7'.
MORNING_EVENT: Final = re.compile(r"\b(?:wake|waking|get up|breakfast|sunrise)\b")
EVENING_EVENT: Final = re.compile(r"\b(?:dinner|supper|drinks|party|concert|movie|theat(?:re|er)|gig)\b")

# --------------------------------------------------------------------------------------------------- pieces


@dataclass(frozen=True, slots=True)
class Day:
    """The days that may be meant, likeliest first, and the time of day if nothing else names one.

    Those of one that is past ('last friday') or in no calendar ('30 february') are none.
    """

    dates: tuple[date, ...]
    default: int = BARE_DAY
    relative: bool = False  # counted from today, as 'tomorrow' is
    dated: bool = False  # by its number: more exact than a weekday
    iso: bool = False  # its clock times have 24 hours


@dataclass(frozen=True, slots=True)
class PartOfDay:
    """A part of a day, in minutes after midnight, and whether that is today's."""

    minutes: int
    today: bool
    certain: bool  # enough for a due time, with nothing beside it


@dataclass(frozen=True, slots=True)
class Clock:
    """A clock time; `half` is 'am', 'pm', '24' (as it stands), '' (either may be meant) or 'none' ('13pm')."""

    hour: int
    minute: int
    half: str
    zone: str | None = None


NO_DAY: Final = Day(())
NO_CLOCK: Final = Clock(0, 0, "none")

# Besides those, so long from now; or an instant, which without an offset is meant where the caller is.
Says = Day | PartOfDay | Clock | timedelta | datetime


@dataclass(frozen=True, slots=True)
class Piece:
    """What `text[start:end]` says; `kept` where the due time does not say all of it, so that the text must.

    `apart` is one that is no detail of a past day before it: 'the mail of yesterday by 5pm', but not 'at 5pm'.
    """

    start: int
    end: int
    says: Says
    kept: bool = False
    apart: bool = False


# The prepositions that go with what is said, and out of the text with it.
LEADS_OF: Final[dict[type[Says], frozenset[str]]] = {
    Day: DAY_LEADS,
    PartOfDay: PART_LEADS,
    Clock: CLOCK_LEADS | {"for", "between"},
    timedelta: SPAN_LEADS,
    datetime: DAY_LEADS,
}

# What is never read; in its place stands as much of nothing.
OPAQUE: Final = re.compile(r'"[^"]{0,300}"|“[^”]{0,300}”|`[^`]{0,300}`|(?:https?://|www\.)\S+')
FOLD: Final = str.maketrans(
    "ABCDEFGHIJKLMNOPQRSTUVWXYZ’–\u00a0",
    "abcdefghijklmnopqrstuvwxyz'- ",
)


def folded(text: str) -> str:
    """The text as the patterns want it: as long as it was, in lower case, without what is not to be read."""
    return OPAQUE.sub(lambda match: "\0" * len(match.group()), text).translate(FOLD)


# Pieces of patterns. Every word is one space from the next.
_WEEKDAY, _MONTH, _NUMBER, _DAY = _any(WEEKDAYS), _any(MONTHS), _any(NUMBERS), _any(DAYS_AHEAD)
_TIME = r"[0-9]{1,2}(?:[:.h][0-9]{2})?"
_HALF = r"(?: ?[ap](?:m\b|\.m\.?))"
_NTH = r"(?:st|nd|rd|th)"
_AMOUNT = (
    rf"(?:[0-9]{{1,2}}h[0-9]{{2}}m?|(?:[0-9]{{1,5}}(?:\.[0-9]{{1,2}})?(?: and a half)? ?"
    rf"|{_any(AMOUNTS)}(?: and a half)? ){_any(UNITS)}(?: and a half)?)(?!\w)"
)
PATTERNS: Final = {
    "instant": r"[0-9]{4}-[0-9]{2}-[0-9]{2}t[0-9:.]{4,15}(?:z|[+-][0-9:]{2,6})?",
    "iso": r"(?P<iso_year>[0-9]{4})[-/](?P<iso_month>[0-9]{1,2})[-/](?P<iso_day>[0-9]{1,2})",
    "dotted": r"(?P<dotted_day>[0-9]{1,2})\.(?P<dotted_month>[0-9]{1,2})\.(?P<dotted_year>[0-9]{4})",
    "slash": r"(?P<slash_first>[0-9]{1,2})/(?P<slash_second>[0-9]{1,2})(?:/(?P<slash_year>[0-9]{4}|[0-9]{2}))?",
    "day_month": rf"(?P<leading_day>[0-9]{{1,2}}{_NTH}?)(?: of)? (?P<its_month>{_MONTH})\.?"
    r"(?:,? (?P<its_year>20[0-9]{2}))?",
    "month_day": rf"(?P<leading_month>{_MONTH})\.? (?:the )?(?P<its_day>[0-9]{{1,2}}{_NTH}?)(?![:.][0-9]|{_HALF})"
    r"(?:,? (?P<that_year>20[0-9]{2}))?",
    "month": rf"(?P<month_name>{_MONTH})(?: (?P<month_year>20[0-9]{{2}}))?",
    "nth": rf"(?P<nth_day>[0-9]{{1,2}}){_NTH}(?: of (?:the|this|(?P<nth_next>next)|(?P<nth_every>every|each)) month)?",
    "named_day": _DAY,
    "gone": rf"(?:day before )?yesterday(?:'s)?|last (?:night|{_WEEKDAY})'s|night before last"
    rf"|(?:(?:several|some|many) {_any(UNITS)}|a while) ago"
    r"|earlier (?:today|this (?:week|month|year|morning|afternoon|evening))",
    "weekday": rf"(?P<weekday_name>{_WEEKDAY})(?P<plural>s)?(?P<weekday_next> next week)?",
    "weekend": "weekend|wknd",
    "span": rf"(?P<amounts>{_AMOUNT}(?:,? (?:and )?{_AMOUNT}){{0,3}})"
    rf"(?P<ahead> (?:from|after) (?:now|(?P<origin>{_any([*WEEKDAYS, *DAYS_AHEAD])})))?(?: time| later|(?P<ago> ago))?",
    "unit": r"(?P<unit_name>hour|daily|day|weekday|week|month|year|eow|eom|eoy)"
    rf"(?:(?<=week) (?:on )?(?P<unit_day>{_WEEKDAY}))?",
    "range": rf"(?P<begin>{_TIME})(?P<begin_half>{_HALF})?(?: ?- ?| (?:to|and|until|till) )"
    rf"(?P<finish>{_TIME})(?P<finish_half>{_HALF})?",
    "part": rf"(?<!good ){_any(PARTS)}",
    "spoken": rf"(?P<past>half|(?:a )?quarter|{_NUMBER}|[0-9]{{1,2}}) (?P<side>past|to) "
    rf"(?P<spoken_hour>[0-9]{{1,2}}|{_NUMBER})(?P<spoken_half>{_HALF})?",
    "clock": rf"(?P<hour>[0-9]{{1,4}}|{_NUMBER})(?:(?P<mark>[:.h])(?P<minute>[0-9]{{2}}))?(?:-?(?P<ish>ish))?"
    rf"(?: ?(?P<oclock>o'clock))?(?P<half>{_HALF})?(?:-?ish)?(?: (?P<zone>{_any(ZONES)}))?",
}
_PREPOSITIONS = (CLOCK_LEADS | DAY_LEADS | PART_LEADS | SPAN_LEADS | TOPIC_LEADS | {"between"}) - {"@", "~"}
PIECE: Final = re.compile(
    r"(?<![^\s(\[,;:*_'—-])(?=[a-z0-9@~])"  # at the beginning of a word
    r"(?P<adverb>(?:due|starting|sometime|early|late|later|no later than) )?"
    rf"(?:(?:(?P<preposition>{_any(_PREPOSITIONS)}) |(?P<sign>[@~](?= ?[0-9])) ?))?(?:(?:about|around|another) )?"
    r"(?:(?:the )?(?P<edge>end|last day|start|first day|beginning) of )?"
    rf"(?P<the>the )?(?:(?P<which>this coming|this|next|coming|every|each|{_any(GONE)}) )?"
    rf"(?:{'|'.join(f'(?P<{kind}>{pattern})' for kind, pattern in PATTERNS.items())})"
    r"(?![\w%$€£]|[-/:.']\w|,[0-9])"  # and at the end of one
)
# What may follow a number that is an hour or a day; before anything else it counts or names something.
FREE: Final = re.compile(
    r" ?(?:$|[.,;:!?()\[\]—-])| (?:and|or|to|with|for|about|re|regarding|from|on|in|at|by|if|so|but|because|when"
    r"|before|after|then|that|please|pls|sharp|asap|urgent|this|next|every|each|until|till|via|unless|while"
    rf"|{_any([*DAYS_AHEAD, *WEEKDAYS, *PARTS])})(?!\w)| w/"
)
# What makes a date of a word that may be none: 'sat 10am', 'sun 29 nov', and the end of the text.
COMPANY: Final = re.compile(
    rf"[.!?]*$|,? (?:(?:at|from) [0-9]|{_TIME}{_HALF}|[0-9]{{1,2}}:|{_any(PARTS)}|[0-9]{{1,2}}{_NTH}? {_MONTH})"
)
# What makes a name of the time after it: 'my 3pm call'.
DETERMINER: Final = re.compile(r"\b(?:the|my|our|your|his|her|their|an?|\w{1,30}'s) \Z")
AFTER_TIME: Final = (*(f"{name} " for name in WEEKDAYS), "am ", "pm ")
DAYTIME: Final = re.compile(" (?:in the (?:morning|afternoon|evening)|at night)\\b")
Said = re.Match[str]  # of `PIECE`: its last group is the kind of piece, as in PATTERNS


def piece_of(said: Said, today: date) -> Piece | None:
    """What a match of `PIECE` says; None where it is ordinary words, or about a day but not due on it.

    What is past or impossible says so, rather than nothing: else '2pm' would be left of 'yesterday at 2pm'.
    """
    kind = said.lastgroup or ""
    try:
        says = READERS[kind](said, today)
    except (OverflowError, ValueError):  # beyond the calendar's end
        return None
    if says is None:
        return None
    gone = isinstance(says, Day) and (said["which"] in GONE or all(day < today for day in says.dates))
    if isinstance(says, Day) and gone:
        says = replace(says, dates=())
    elif isinstance(says, Day) and said["preposition"] in TOPIC_LEADS:
        return None
    if isinstance(says, Day) and said["edge"] == "end":
        says = replace(says, default=END_OF_DAY)
    foreign = said["preposition"] is not None and said["preposition"] not in LEADS_OF[type(says)]
    if gone and said["preposition"] == "of":  # 'monday of last week'
        foreign = False
    start = said.end("preposition") + 1 if foreign else said.start()
    repeated = said["which"] in ("every", "each") or said[kind] == "daily" or said["plural"] or said["nth_every"]
    led_apart = said["preposition"] in ("by", "for") or said["which"] not in {None} | GONE
    apart = led_apart or kind == "named_day" or (isinstance(says, PartOfDay) and says.today)
    return Piece(start, said.end(), says, kept=bool(repeated) or kind == "range", apart=apart)


def _free(said: Said) -> bool:
    """Whether it stands for itself: nothing after it that it could count or name, or first in its sentence."""
    before = said.string[max(0, said.start() - 2) : said.start()].rstrip()
    first = said["preposition"] is not None and (not before or before[-1] in ",.:;!?")
    return first or FREE.match(said.string, said.end()) is not None


# ---- days


def _named_day(said: Said, today: date) -> Day:
    """'tomorrow', 'the day after tomorrow'."""
    ahead = DAYS_AHEAD[said["named_day"]]
    return Day((today + timedelta(ahead),), relative=ahead < 2)


def _gone(said: Said, today: date) -> Day:
    """'yesterday', 'earlier this week'."""
    return NO_DAY


def _weekday(said: Said, today: date) -> Day | None:
    """'friday', 'next friday' (of next week), 'friday next week', 'on mondays'."""
    name = said["weekday_name"]
    if name in DOUBTFUL and not _meant_as_date(said):
        return None
    next_week = said["which"] == "next" or said["weekday_next"]
    day = _monday_after(today) + timedelta(WEEKDAYS[name]) if next_week else _coming(WEEKDAYS[name], today)
    return Day((day, day + timedelta(7)))


def _meant_as_date(said: Said) -> bool:
    """Whether the words around a doubtful name make a date of it."""
    led = said["which"] or said["adverb"] or said["preposition"] in ("on", "by", "before", "until", "till")
    return not said["the"] and ((bool(led) and _free(said)) or COMPANY.match(said.string, said.end()) is not None)


def _weekend(said: Said, today: date) -> Day | None:
    """'this weekend', 'next weekend': its first day, or its second once the first has begun."""
    led = said["which"] or (said["preposition"] in DAY_LEADS and _free(said))
    if not led and (said["the"] or not COMPANY.match(said.string, said.end())):
        return None
    saturday = _monday_after(today) + timedelta(5 if said["which"] == "next" else -2)
    return Day((saturday, saturday + timedelta(1), saturday + timedelta(7)))


def _unit(said: Said, today: date) -> Says | None:
    """'next week', 'this month', 'end of the year', 'EOD', 'every day', 'in the next hour'."""
    unit, which, edge = said["unit_name"], said["which"], said["edge"]
    if unit == "hour":
        ahead = which in ("every", "each") or (which == "next" and said["preposition"] in SPAN_LEADS)
        return timedelta(hours=1) if ahead else None
    if unit == "day" and edge == "end":
        return PartOfDay(END_OF_DAY, today=True, certain=True)
    if which in ("every", "each") or unit == "daily":
        return _every(unit, today)
    if unit in ("day", "daily", "weekday"):
        return None
    if which in GONE:
        return NO_DAY
    return _period(unit, which, edge, said["unit_day"], today)


def _every(unit: str, today: date) -> Day | None:
    days = [today + timedelta(ahead) for ahead in range(7)]
    if unit == "weekday":
        return Day(tuple(day for day in days if day.weekday() < WEEKDAYS["saturday"]))
    return Day(tuple(days)) if unit in ("day", "daily") else None


def _period(unit: str, which: str | None, edge: str | None, weekday: str | None, today: date) -> Day | None:
    """The first day of the next one in the morning, or the last (working) day of one at its end."""
    if unit in ("eow", "eom", "eoy"):
        unit, edge = {"eow": "week", "eom": "month", "eoy": "year"}[unit], "end"
    following = which in ("next", "coming", "this coming")
    first = _first_of_next(unit, today)
    if weekday is not None:
        return Day((_monday_after(today) + timedelta(WEEKDAYS[weekday]),)) if following and unit == "week" else None
    if edge in ("end", "last day") or (which == "this" and not edge):
        ends = (_last_before(unit, first), _last_before(unit, _first_of_next(unit, first)))
        return Day(ends[1:] if following else ends, BARE_DAY if edge == "last day" else END_OF_DAY)
    return Day((first,)) if following else None


def _first_of_next(unit: str, today: date) -> date:
    if unit == "week":
        return _monday_after(today)
    return _months_after(today.replace(day=1), 1 if unit == "month" else 13 - today.month)


def _last_before(unit: str, first: date) -> date:
    return first - timedelta(3 if unit == "week" else 1)


def _month(said: Said, today: date) -> Day | None:
    """'in march', 'by next december', 'end of january'."""
    name, led = said["month_name"], said["preposition"] in ("in", "by", "before", "until", "till", "during")
    if not (led or said["which"] in {"this", "next"} | GONE or said["edge"]) or (name in DOUBTFUL and not _free(said)):
        return None
    year = int(said["month_year"]) if said["month_year"] else None
    last = range(31, 27, -1) if said["edge"] in ("end", "last day") else (1,)
    return next((Day(dates) for day in last if (dates := _dates(today, MONTHS[name], day, year))), None)


def _month_and_day(said: Said, today: date) -> Day | None:
    """'3 december', 'Dec 3rd, 2027', '5 may'; no date is 'may 5 people'."""
    name = said["its_month"] or said["leading_month"]
    number = said["leading_day"] or said["its_day"]
    year = said["its_year"] or said["that_year"]
    if name in DOUBTFUL and number.isdigit() and not year and not _free(said):
        return None
    return _dated(today, MONTHS[name], int(number.rstrip("stndrh")), int(year) if year else None)


def _nth(said: Said, today: date) -> Day | None:
    """'on the 15th', 'the 1st of next month', 'friday the 13th'; no date is 'the 3rd floor'."""
    if not (_led_to_a_date(said) or " of " in said["nth"]) or not _free(said):
        return None
    start = _first_of_next("month", today) if said["nth_next"] else today
    months = (_months_after(start.replace(day=1), ahead) for ahead in range(4))
    days = _existing((month.year, month.month, int(said["nth_day"])) for month in months)
    dates = tuple(day for day in days if day >= start)[:2]
    return Day(dates, dated=True) if dates or said["the"] else None  # 'at 42nd' is a street


def _slash(said: Said, today: date) -> Day | None:
    """'12/24', '24/12/2026': month first where both would do. No dates are '24/7' and, with no word for it, '1/2'."""
    first, second, year = int(said["slash_first"]), int(said["slash_second"]), said["slash_year"]
    month, day = (second, first) if first > 12 else (first, second)
    if not year and (said["slash"] == "24/7" or not (_led_to_a_date(said) or day > 12) or not _free(said)):
        return None
    return _dated(today, month, day, int(year) % 2000 + 2000 if year else None)


def _led_to_a_date(said: Said) -> bool:
    after_time = said.string.endswith(AFTER_TIME, 0, said.start())
    return after_time or said["adverb"] is not None or said["preposition"] in DAY_LEADS


def _iso(said: Said, today: date) -> Day | None:
    day = _dated(today, int(said["iso_month"]), int(said["iso_day"]), int(said["iso_year"]))
    return replace(day, iso=True) if day is not None else None


def _dotted(said: Said, today: date) -> Day | None:
    return _dated(today, int(said["dotted_month"]), int(said["dotted_day"]), int(said["dotted_year"]))


def _dated(today: date, month: int, day: int, year: int | None) -> Day | None:
    dates = _dates(today, month, day, year)
    number = year is not None and not 1900 <= year < 2200  # '4711-55-01' is that of an order
    return Day(dates, dated=True) if dates or not number else None


def _dates(today: date, month: int, day: int, year: int | None) -> tuple[date, ...]:
    """That day of that month: of that year, or of the next two years that have it."""
    if year is not None:
        return tuple(_existing([(year, month, day)]))
    candidates = _existing((today.year + ahead, month, day) for ahead in range(9))
    return tuple(candidate for candidate in candidates if candidate >= today)[:2]


def _existing(candidates: Iterable[tuple[int, int, int]]) -> Iterator[date]:
    for year, month, day in candidates:
        if 1 <= year <= 9999 and 1 <= month <= 12 and 1 <= day <= monthrange(year, month)[1]:
            yield date(year, month, day)


def _coming(weekday: int, today: date) -> date:
    return today + timedelta((weekday - today.weekday()) % 7)


def _monday_after(today: date) -> date:
    return today + timedelta(7 - today.weekday())


def _months_after(day: date, months: int) -> date:
    """The same day so many months later, or the last of a month that is too short."""
    years, month = divmod(day.month - 1 + months, 12)
    year = day.year + years
    return date(year, month + 1, min(day.day, monthrange(year, month + 1)[1]))


# ---- times of day


def _part(said: Said, today: date) -> Says | None:
    """'tonight', 'this evening', 'in the morning', 'after lunch'."""
    name, which = said["part"], said["which"]
    certain = name in CERTAIN_PARTS or bool(which) or (said["preposition"] in PART_LEADS and _free(said))
    if name in ("lunch", "bedtime") and said["preposition"] not in ("at", "by", "before", "over"):
        return None
    if which in GONE:  # 'past midnight' is not
        return NO_DAY if which == "last" and name not in CERTAIN_PARTS else None
    return PartOfDay(PARTS[name], name in TODAY_ITSELF or which == "this", certain)


def _clock(said: Said, today: date) -> Clock | None:
    """'2pm', '14:30', '5ish', 'five o'clock', 'at 5'; no time is '5' alone, nor 'at 5 tables'."""
    word, half = said["hour"], _half(said["half"])
    led = said["sign"] or said["preposition"] in CLOCK_LEADS
    if len(word) == 4 and word.isdigit() and said["preposition"] == "at" and not said["mark"]:
        return _valid_clock(int(word[:2]), int(word[2:]), "24") if _free(said) else None
    plain = not (half or said["ish"] or said["oclock"] or said["mark"] in (":", "h"))
    if plain and not (_free(said) and (led or DAYTIME.match(said.string, said.end()))):
        return None
    if not half and said["mark"] and word[0] == "0":  # '08:30' has 24 hours
        half = "24"
    hour, minute = _number(word), int(said["minute"] or 0)
    number = plain or said["preposition"] not in {None} | LEADS_OF[Clock]  # 'sell at 50', 'run it in 45:30'
    impossible = None if number else NO_CLOCK
    named = hour or half or said["mark"]
    return _valid_clock(hour, minute, half, ZONES.get(said["zone"] or "")) or impossible if named else None


def _spoken(said: Said, today: date) -> Clock | None:
    """'half past nine', 'quarter to six', '20 past 3', 'at ten to six'."""
    past, to = said["past"], said["side"] == "to"
    quarter = past.endswith("quarter")
    if to and (past == "half" or not (quarter or said["sign"] or said["preposition"] in CLOCK_LEADS)):
        return None
    minutes = 30 if past == "half" else 15 if quarter else _number(past)
    hour = _number(said["spoken_hour"])
    if not 1 <= hour <= 12 or not 1 <= minutes <= 30:
        return None
    hour, minute = divmod(hour * HOUR + (-minutes if to else minutes), HOUR)
    return Clock(hour or 12, minute, _half(said["spoken_half"]))


def _range(said: Said, today: date) -> Clock | None:
    """'2-3pm', 'from 2 to 4', 'between 2 and 4pm': when it begins."""
    begin, half = _hour_and_minute(said["begin"]), _half(said["begin_half"])
    finish, finish_half = _hour_and_minute(said["finish"]), _half(said["finish_half"])
    led = said["preposition"] in ("from", "between") and _free(said)
    if not (led or half or finish_half or (":" in said["begin"] and ":" in said["finish"])):
        return None
    if finish_half and not half:  # '11-1pm' begins before noon
        half = "am" if finish_half == "pm" and begin[0] % 12 > finish[0] % 12 else finish_half
    return _valid_clock(*begin, half) or (NO_CLOCK if half else None)


def _valid_clock(hour: int, minute: int, half: str, zone: str | None = None) -> Clock | None:
    if minute > 59 or hour > (12 if half in ("am", "pm") else 23) or (hour == 0 and half in ("am", "pm")):
        return None
    return Clock(hour, minute, half or ("24" if hour > 12 or hour == 0 else ""), zone)


def _half(written: str | None) -> str:
    return f"{written.strip()[0]}m" if written else ""


def _hour_and_minute(written: str) -> tuple[int, int]:
    hour, minute = re.fullmatch(r"([0-9]+)[:.h]?([0-9]*)", written).groups()  # type: ignore[union-attr]
    return int(hour), int(minute or 0)


def _number(word: str) -> int:
    return NUMBERS.get(word) or int(word)


# ---- spans of time from now

ONE_AMOUNT: Final = re.compile(
    rf"\b(?P<count>[0-9.]+|{_any(AMOUNTS)}(?= ))(?P<first_half> and a half)? ?(?P<unit>{_any(UNITS)})(?!\w)"
    r"(?P<second_half> and a half)?"
)


def _span(said: Said, today: date) -> Says | None:
    """'in 20 minutes', 'in an hour and a half', '2 weeks from friday', 'every 2 hours'.

    Hours and less are exact; whole days and more name a day, whose time of day is still to be said.
    """
    every = said["which"] in ("every", "each")
    led = said["preposition"] in SPAN_LEADS
    if said["ago"] or (said["which"] in GONE and (led or said["the"])):  # 'it will last 2 hours'
        return NO_DAY
    if not (every or said["ahead"] or led) or said["which"] in GONE:
        return None
    total = _total(re.sub(r"\b([0-9]{1,2})h([0-9]{2})m?\b", r"\1h \2m", said["amounts"]))
    origin = said["origin"]
    if origin in DAYS_AHEAD:
        today += timedelta(DAYS_AHEAD[origin])
    elif origin is not None:
        today = _coming(WEEKDAYS[origin], today)
    months = total.pop("month", 0) + 12 * total.pop("year", 0)
    days = total.get("day", 0) + 7 * total.get("week", 0)
    seconds = sum(count * SECONDS[unit] for unit, count in total.items())
    if not 0 < max(months * 31, seconds / SECONDS["day"]) <= MOST_DAYS_AHEAD:
        return NO_DAY
    if total.keys() <= {"day", "week"} and days == int(days):
        return Day((_months_after(today, int(months)) + timedelta(days),))
    return timedelta(seconds=round(seconds)) if not months else NO_DAY


def _total(amounts: str) -> dict[str, float]:
    total: dict[str, float] = {}
    for one in ONE_AMOUNT.finditer(amounts):
        count = AMOUNTS[one["count"]] if one["count"] in AMOUNTS else float(one["count"])
        unit = UNITS[one["unit"]]
        total[unit] = total.get(unit, 0) + count + (0.5 if one["first_half"] or one["second_half"] else 0)
    return total


def _instant(said: Said, today: date) -> Says | None:
    at = iso_instant(said["instant"].upper())
    return NO_DAY if at is None or at.date() < today - timedelta(1) else at  # one day, for its offset


def iso_instant(written: str) -> datetime | None:
    """A date and a time in ISO 8601, with its offset if it has one."""
    try:
        return datetime.fromisoformat(written) if ":" in written else None
    except ValueError:
        return None


READERS: Final[dict[str, Callable[[Said, date], Says | None]]] = {
    "instant": _instant,
    "iso": _iso,
    "dotted": _dotted,
    "slash": _slash,
    "day_month": _month_and_day,
    "month_day": _month_and_day,
    "month": _month,
    "nth": _nth,
    "named_day": _named_day,
    "gone": _gone,
    "weekday": _weekday,
    "weekend": _weekend,
    "span": _span,
    "unit": _unit,
    "range": _range,
    "part": _part,
    "spoken": _spoken,
    "clock": _clock,
}
