"""What every provider of suggestions shares: what goes in, what comes out, and how it can fail.

How one provider does it lives in its own module; when to ask which, and what its failure means for the
quota and the ledger, lives in `suggestions.flow`.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from zoneinfo import ZoneInfo

from billing.usage import Usage
from suggestions.due import Due


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A better reminder: its text (1 to 300 characters), priority (low, medium, high) and due time, if any."""

    text: str
    priority: str
    due: Due | None


@dataclass(frozen=True, slots=True)
class Reply:
    """A provider's suggestion and what it used; `usage` is None where it did not say."""

    suggestion: Suggestion
    usage: Usage | None


class Provider(Protocol):
    """Anything that turns a rough reminder into a better one."""

    def suggest(self, text: str, now: datetime, timezone: ZoneInfo, timeout: float) -> Reply:
        """Improve `text`, written at `now` (aware) in `timezone`, within `timeout` seconds.

        Raises:
            ProviderError: in one of its kinds below, and nothing else.
        """
        ...


class ProviderError(Exception):
    """A provider gave no usable suggestion.

    Attributes:
        outcome: what the ledger remembers, one of `billing.models.Outcome`.
        usage: the tokens it took from us all the same, None where unknown.
    """

    outcome = "provider_unavailable"

    def __init__(self, message: str, usage: Usage | None = None) -> None:
        super().__init__(message)
        self.usage = usage


class ProviderTimeout(ProviderError):
    """No complete answer within the time allowed."""

    outcome = "provider_timeout"


class ProviderUnavailable(ProviderError):
    """It can't be reached, is overloaded (429) or failing (5xx)."""


class ProviderMisconfigured(ProviderError):
    """It refuses us, not the text: a wrong key, model or parameter. An operator's job, so no breaker helps."""

    outcome = "provider_misconfigured"


class ProviderInvalid(ProviderError):
    """What came back is no completion at all: something is broken there."""

    outcome = "provider_invalid"


class AnswerInvalid(ProviderError):
    """The model answered, but not with a suggestion: this text provoked it."""

    outcome = "answer_invalid"


class ProviderRefused(ProviderError):
    """The model refused to work on this text."""

    outcome = "provider_refused"
