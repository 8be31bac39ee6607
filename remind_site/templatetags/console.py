"""What the console's templates say about money, moments and changes."""

from datetime import datetime
from typing import Any

from django import template
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from billing import money
from licenses import decisions

register = template.Library()
register.filter("end", decisions.end_in_words)
register.filter("dollars", money.dollars)
register.filter("exact", money.exact)
register.filter("minor", money.minor)


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
