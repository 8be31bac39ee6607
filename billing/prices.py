"""From tokens to money: which price row holds, what the provider takes, what the customer is charged.

Exact decimals throughout; the one rounding, down to whole cents, is in `charge_cents`.
"""

from datetime import datetime
from decimal import Decimal

from billing.models import ModelPrice
from billing.usage import Usage

MILLION = Decimal(1_000_000)
CENTS = Decimal(100)
MINIMUM_CHARGE = 1  # cents


def price_at(model: str, moment: datetime) -> ModelPrice | None:
    """The price row that holds for a configured model at a moment (aware); None where there is none."""
    return ModelPrice.objects.filter(model=model, valid_from__lte=moment).order_by("-valid_from").first()


def provider_cost(price: ModelPrice, used: Usage) -> Decimal:
    """What the provider takes from us, in exact US dollars. Cached tokens are part of the input tokens."""
    return (
        (used.input_tokens - used.cached_tokens) * price.provider_input
        + used.cached_tokens * price.provider_cached_input
        + used.output_tokens * price.provider_output
    ) / MILLION


def charge_cents(price: ModelPrice, used: Usage) -> int:
    """What the customer is charged, in whole US cents: rounded down, at least 1."""
    dollars = (used.input_tokens * price.charged_input + used.output_tokens * price.charged_output) / MILLION
    return max(MINIMUM_CHARGE, int(dollars * CENTS))
