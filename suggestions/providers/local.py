"""The built-in suggester: rules for what people write in reminders. No model, no network, no cost.

It is the provider where none is configured, and answers in place of one that fails. Its due times are read by
`suggestions.due`; here is what becomes of the rest: how urgent it is, and what a person should read when it is due.
The words for the due time are cut, since 'tomorrow' is wrong by then; repetition ('every Monday') and ranges
('2-3pm') stay, for the due time does not say them.
"""

import re
from collections.abc import Callable
from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

from suggestions import due
from suggestions.providers.base import Suggestion

LONGEST: Final = 300  # characters of a suggested text
NOTHING_LEFT: Final = "Reminder"  # for one that only names its time

# ------------------------------------------------------------------------------------------------- priority

LOW_WORDS: Final = (
    r"(?:no|not in a|there['’]?s no|in no) (?:rush|hurry)"
    r"|(?:not|nothing|isn['’]?t)(?: (?:very|that|so|too))? (?:urgent|important)"
    r"|low[- ]prio(?:rity)?|when(?:ever)? (?:you|i|we) (?:get a chance|have (?:a chance|time|a moment)|can)"
    r"|if (?:you|i|we) (?:get a chance|have (?:a chance|time|a moment))|if there['’]?s time|at some point|some ?day"
    r"|sometime|eventually|nice to have"
)
HIGH_WORDS: Final = (
    r"(?:high|top)[- ]prio(?:rity)?|asap|a\.s\.a\.p|as soon as possible"
    r"|urgent(?:ly)?(?! care)|important|critical(?:ly)?|crucial|vital|emergency(?! (?:contact|number|fund|kit|exit))"
    r"|immediately|right (?:away|now)|overdue|final notice|last chance|can['’]?t miss"
)
LOW: Final = re.compile(rf"\b(?:{LOW_WORDS})\b|^maybe\b|^perhaps\b", re.IGNORECASE)
HIGH: Final = re.compile(rf"\b(?:{HIGH_WORDS})\b|!!", re.IGNORECASE)

# ----------------------------------------------------------------------------------- what is cut, and rewritten

QUOTED: Final = re.compile(r'("[^"]{0,300}"|“[^”]{0,300}”|`[^`]{0,300}`)')
# Control characters and halves of surrogate pairs, which no database or answer can carry; and white space.
BLANK: Final = re.compile(r"[\s\x00-\x1f\x7f-\x9f\ud800-\udfff]+")
ANYWHERE: Final = re.compile(
    r"(?<!\S)(?:u+h+m*|u+m+|e+r+m+|hmm+|pl(?:ea)?se|pls|plz|asap|a\.s\.a\.p\.?|as soon as possible"
    rf"|{LOW_WORDS})[,.!]*(?=[\s)]|$)(?: but\b)?",
    re.IGNORECASE,
)
OPENING: Final = re.compile(
    r"\A(?:(?:hey|hi|hello|ok(?:ay)?|so|well|oh|also|and|but|maybe|perhaps|please|todo|to-do|note to self|fyi"
    r"|(?:can|could|would|will) you|(?:you )?remind me(?: (?:to|that|about|of))?"
    r"|(?:(?:set|add|create|make)(?: me)? )?(?:a )?reminder(?: (?:to|for|that|about))?"
    r"|(?:don['’]?t|do not|never) forget(?: (?:to|that|about))?|remember(?: (?:to|that))?|(?:make|be) sure (?:to|i)"
    r"|(?:(?:i|we)(?:['’]ve)? )?(?:need to|have to|got to|gotta|must|should|have got to)(?: probably)?|i['’]?d like to"
    r"|i (?:want to|wanna)|it(?:['’]?s| is) (?:very |really )?(?:important|urgent|critical|vital|crucial) (?:to|that)"
    rf"|(?:i have|i['’]ve got|there(?:['’]s| is)) (?:a|an)|(?:very |super )?(?:{HIGH_WORDS}|{LOW_WORDS})(?=\s*[:!,—-]))"
    r"(?![\w'])[\s,.:;!—-]*)+",
    re.IGNORECASE,
)
CLOSING: Final = re.compile(
    r"(?:[\s,.;(!—-]{1,4}(?:"
    rf"(?:(?:and )?(?:it|this|that)(?:['’]?s| is) )?(?:very |really |super )?(?:{HIGH_WORDS}|{LOW_WORDS})"
    r"|thanks|thank you|thx|ty|please|ok|okay)\)?)+[\s.,!)]{0,4}\Z",
    re.IGNORECASE,
)
LONGEST_CLOSING: Final = 80  # characters: looking for one in the whole of a long text would take time
READABLE: Final[tuple[tuple[re.Pattern[str], str], ...]] = (
    (re.compile(r"(?<!\S)w/o(?=\s)"), "without"),
    (re.compile(r"(?<!\S)w/ ?(?=\S)"), "with "),
    (re.compile(r"(?<=\S )re:?(?= )"), "about"),
    (re.compile(r"(?<!\S)appt(?!\S)"), "appointment"),
    (re.compile(r"(?<!\S)mtg(?!\S)"), "meeting"),
    (re.compile(r"(?<!\S)i(?=[\s,'’]|$)"), "I"),
)
NAMES: Final = re.compile(
    r"(?<!\S)(?:(?:mon|tues|wednes|thurs|fri|satur|sun)days?|january|february|april|june|july|august|september"
    r"|october|november|december)\b|(?<=[0-9] )(?:march|may)\b"
)
UNTIDY: Final = (
    (re.compile(r"\(\s*\)|\[\s*\]|!{2,}\s*\Z"), ""),
    (re.compile(r"!{2,}"), "!"),
    (re.compile(r"\s+"), " "),
    (re.compile(r"\s(?=[,.;:!?)])"), ""),
)
LOOSE_ENDS: Final = " ,;:-–—"


def suggest(text: str, now: datetime, timezone: ZoneInfo) -> Suggestion:
    """A better reminder than `text` (1 to 1,000 characters), written at `now` (aware) in `timezone`.

    It always has one: of 1 to 300 characters, and never raises.
    """
    text = BLANK.sub(" ", text).strip()
    found = due.find(text, now, timezone)
    if found is None:
        return Suggestion(_shortened(_improved(text) or text or NOTHING_LEFT), _priority(text), None)
    return Suggestion(_shortened(_improved(_without(found, text)) or NOTHING_LEFT), _priority(text), found.due)


def _without(found: due.Found, text: str) -> str:
    """The text without its due time; what stays of that stands at the end if the rest would begin with it."""
    before, after = text[: found.start], text[found.end :]
    if found.stays and after.startswith(" to ") and not OPENING.sub("", before).strip():  # 'remind me daily to'
        return f"{before}{after} {found.stays}"
    return f"{before}{found.stays}{after}"


def as_it_came(text: str) -> Suggestion:
    """A reminder with nothing understood, only fit to be answered."""
    return Suggestion(text=BLANK.sub(" ", text).strip()[:LONGEST] or NOTHING_LEFT, priority="medium", due=None)


def _priority(text: str) -> str:
    """What the wording says; 'not urgent' is read before 'urgent', and what is quoted says nothing."""
    unquoted = QUOTED.sub(" ", text)
    rest = LOW.sub(" ", unquoted)
    if HIGH.search(rest):
        return "high"
    return "low" if rest != unquoted else "medium"


def _improved(text: str) -> str:
    """The text without filler, its shorthand written out; empty where it was nothing but filler."""
    text = _outside_quotes(lambda part: ANYWHERE.sub(" ", part), text)
    text = _tidy(text)
    text = _tidy(_without_closing(OPENING.sub("", text)))
    return _capitalised(_outside_quotes(_readable, text))


def _without_closing(text: str) -> str:
    closing = CLOSING.search(text, max(0, len(text) - LONGEST_CLOSING))
    return text[: closing.start()] if closing is not None else text


def _outside_quotes(change: Callable[[str], str], text: str) -> str:
    """Change a text, but not what it quotes."""
    parts = QUOTED.split(text)  # every other one is quoted
    return "".join(part if index % 2 else change(part) for index, part in enumerate(parts))


def _readable(text: str) -> str:
    for pattern, written_out in READABLE:
        text = pattern.sub(written_out, text)
    return NAMES.sub(lambda match: match.group().capitalize(), text)


def _tidy(text: str) -> str:
    """Mend what cutting leaves behind."""
    for pattern, mended in UNTIDY:
        text = pattern.sub(mended, text)
    return text.strip(LOOSE_ENDS)


def _capitalised(text: str) -> str:
    """With a capital first letter, unless the first word is an address, a name such as iPhone, or code."""
    word = text.partition(" ")[0]
    plain = word.replace("'", "").replace("’", "").replace("-", "").rstrip(",.:;!?")
    return text[0].upper() + text[1:] if plain.isalpha() and plain.islower() else text


def _shortened(text: str) -> str:
    """At most as long as a suggested text may be, cut between words where there is one to cut at."""
    if len(text) <= LONGEST:
        return text
    kept = text[: LONGEST - 1]
    return (kept.rpartition(" ")[0] or kept).rstrip(LOOSE_ENDS) + "…"
