"""The providers of suggestions, and the one that the settings choose."""

from dataclasses import dataclass
from datetime import datetime
from functools import cache
from zoneinfo import ZoneInfo

from django.conf import settings

from billing.usage import Usage
from suggestions.providers import local
from suggestions.providers.base import Provider, Reply
from suggestions.providers.breaker import Breaker

LOCAL_MODEL = "local"  # how the built-in suggester is named in answers, prices and the ledger


@dataclass(frozen=True, slots=True)
class Configured:
    """The chosen provider, the model by which it is priced, and the breaker that watches over it."""

    provider: Provider
    model: str
    breaker: Breaker


class LocalProvider:
    """The built-in suggester as a provider in its own right: it uses no tokens and does not fail."""

    def suggest(self, text: str, now: datetime, timezone: ZoneInfo, timeout: float) -> Reply:
        return Reply(local.suggest(text, now, timezone), Usage())


def configured_model() -> str:
    """The model by which the chosen provider is priced, known without making the provider."""
    return LOCAL_MODEL if settings.AI_PROVIDER == "local" else settings.OPENAI_MODEL


@cache
def configured() -> Configured:
    """The provider that `AI_PROVIDER` names, made once a process."""
    if settings.AI_PROVIDER == "local":
        return Configured(LocalProvider(), configured_model(), Breaker())
    from suggestions.providers.openai import OpenAIProvider  # slow to import, and commands do without

    provider = OpenAIProvider.connect(
        settings.OPENAI_API_KEY,
        settings.OPENAI_BASE_URL,
        settings.OPENAI_MODEL,
        settings.OPENAI_PARAMETERS,
        max_connections=settings.WEB_THREADS,
    )
    return Configured(provider, configured_model(), Breaker())
