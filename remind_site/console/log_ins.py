"""Keeps who logged in and when: receivers of Django's signals, and of what `second_factor` tells."""

from typing import Any

from django.contrib.auth.models import User
from django.http import HttpRequest

from licenses import addresses, tokens
from remind_site.models import LogIn

What = LogIn.What


def note(request: HttpRequest | None, what: LogIn.What, user: User | None, username: str = "") -> None:
    """Write one line."""
    name = username or (user.get_username() if user else "")
    LogIn.objects.create(
        what=what,
        user=user,
        username=tokens.scrub(name.replace("\x00", ""))[:150],  # whatever was pasted into the wrong field
        address=addresses.client_address(request) if request else "",
    )


def note_log_in(sender: Any, request: HttpRequest | None, user: User, **kwargs: Any) -> None:
    note(request, What.LOGGED_IN, user)


def note_log_out(sender: Any, request: HttpRequest | None, user: User | None, **kwargs: Any) -> None:
    if user is not None:
        note(request, What.LOGGED_OUT, user)


def note_failure(sender: Any, credentials: dict[str, Any], request: HttpRequest | None = None, **kwargs: Any) -> None:
    note(request, What.FAILED, None, str(credentials.get("username", "")))
