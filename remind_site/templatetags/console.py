"""What the console's templates say about money, moments and changes."""

from datetime import datetime
from typing import Any

from django import template
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

register = template.Library()


@register.filter
def dollars(cents: int) -> str:
    """US cents as dollars: -1234 is '-$12.34'."""
    sign = "-" if cents < 0 else ""
    return f"{sign}${abs(cents) // 100:,}.{abs(cents) % 100:02d}"


@register.filter
def minor(amount: int, currency: str) -> str:
    """An amount in a currency's smallest unit, as it is known to people."""
    return dollars(amount) if currency == "USD" else f"{amount:,} {currency} (smallest unit)"


@register.filter
def moment(value: datetime | None) -> SafeString | str:
    """A moment in UTC, with how long ago on pointing at it."""
    if value is None:
        return "–"
    year = "" if value.year == timezone.now().year else " %Y"
    return format_html(
        '<time datetime="{}">{} UTC</time>', value.isoformat(), value.strftime(f"%d %b{year}, %H:%M").lstrip("0")
    )


@register.filter
def change(values: Any) -> str:
    """[before, after] of the audit trail, in words."""
    before, after = values if isinstance(values, list) and len(values) == 2 else (None, values)
    return f"{_word(before)} → {_word(after)}"


def _word(value: Any) -> str:
    return "–" if value is None or value == "" else str(value)
