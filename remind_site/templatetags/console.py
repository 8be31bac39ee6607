"""What the console's templates say about money, moments and changes."""

from datetime import datetime
from typing import Any

from django import template
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from billing import money
from licenses import decisions, trail
from remind_site.console import navigation

register = template.Library()
register.filter("end", decisions.end_in_words)
register.filter("changes", trail.changes_in_words)
register.filter("dollars", money.dollars)
register.filter("exact", money.exact)
register.filter("minor", money.minor)


@register.filter
def place(parts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """unfold's way to a page, without the app it begins with; lists are called what the sidebar calls them."""
    named = navigation.titles()
    shown = parts[1:] if len(parts) > 1 else parts
    return [{**part, "title": named.get(str(part.get("link", "")), part["title"])} for part in shown]


@register.filter
def moment(value: datetime | None) -> SafeString | str:
    """A moment in UTC."""
    if value is None:
        return "–"
    year = "" if value.year == timezone.now().year else " %Y"
    return format_html(
        '<time datetime="{}">{} UTC</time>', value.isoformat(), value.strftime(f"%d %b{year}, %H:%M").lstrip("0")
    )
