"""The refusals that a failing provider leads to where the built-in fallback is off."""

from licenses.errors import Refusal
from suggestions.providers.base import (
    AnswerInvalid,
    ProviderError,
    ProviderInvalid,
    ProviderRefused,
    ProviderTimeout,
)

RETRY_AFTER = 10  # seconds


class InvalidFromProvider(Refusal):
    status = 502
    code = "provider_invalid"
    detail = "The AI provider gave no usable suggestion. Nothing was charged."


class UnavailableProvider(Refusal):
    status = 503
    code = "provider_unavailable"
    detail = "The AI provider is unavailable. Nothing was charged; please try again later."


class SlowProvider(Refusal):
    status = 504
    code = "provider_timeout"
    detail = "The AI provider did not answer in time. Nothing was charged; please try again."


def refusal_for(error: ProviderError) -> Refusal:
    """The refusal that stands for a provider's failure."""
    if isinstance(error, AnswerInvalid | ProviderInvalid | ProviderRefused):
        return InvalidFromProvider()
    if isinstance(error, ProviderTimeout):
        return SlowProvider()
    return UnavailableProvider(retry_after=RETRY_AFTER)
