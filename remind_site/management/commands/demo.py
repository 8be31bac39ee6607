"""`manage.py demo`: what `make run` needs to be tried out: a license, an admin user, and how to use them.

What it makes up is kept in a git-ignored file that only its owner reads, and printed again each time.
"""

import json
import secrets
import socket
from pathlib import Path
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError
from django.db import connection, transaction

from licenses import lifecycle, tokens
from licenses.models import License, LicenseToken, Plan
from remind_site.environment import env
from remind_site.settings import private_folder

EMAIL = "demo@example.com"
ADMIN = "admin"
BY = "command:demo"
PORT = env.int("PORT", 8000)


class Command(BaseCommand):
    help = "Makes a demonstration license (Pro) and an admin user unless they exist, and prints how to use them."

    def handle(self, *args: Any, **options: Any) -> None:
        if connection.vendor != "sqlite":
            raise CommandError("This is for trying out, on SQLite; not for a database that others may use.")
        _check_port(PORT)
        kept = private_folder() / "demo.json"
        known = _read(kept)
        with transaction.atomic():
            known = {"token": _token(known.get("token")), "password": _password(known.get("password"))}
            _write(kept, known)
        self._print(**known)

    def _print(self, token: str, password: str) -> None:
        address = f"http://localhost:{PORT}"
        self.stdout.write(f"""
Remind is about to serve on {address}. Try it:

  curl -s {address}/api/v1/suggest-reminder \\
    -H 'Content-Type: application/json' \\
    -H 'Authorization: Bearer {token}' \\
    -d '{{"reminder_text": "hey pls remind me meeting with John tomorrow 2pm re Q1"}}'

The console:  {address}/admin/   user: {ADMIN}   password: {password}
The API's documentation:  {address}/api/v1/docs

(Kept in var/demo.json, which only you can read. Stop with Ctrl-C.)
""")


def _check_port(port: int) -> None:
    """Say so before anything is promised, if the port can't be had."""
    try:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
    except (OSError, OverflowError) as error:
        raise CommandError(f"Port {port} can't be had ({error}). Choose another: PORT=8001 make run") from error


def _token(known: str | None) -> str:
    """The token that is known, if it still opens the demonstration license; else a new one."""
    if known and LicenseToken.objects.filter(digest=tokens.digest(known), revoked_at=None, expires_at=None).exists():
        return known
    license = License.objects.filter(email=EMAIL).first()
    if license is None:
        license = lifecycle.issue(EMAIL, Plan.objects.get(slug="pro"), by=BY, notes="For trying out.")
    return lifecycle.add_token(license, by=BY, label="demonstration")[1]


def _password(known: str | None) -> str:
    """The admin's password, if it is still the known one; else a new one."""
    user, _ = get_user_model().objects.get_or_create(
        username=ADMIN, defaults={"is_staff": True, "is_superuser": True, "email": EMAIL}
    )
    if known and user.check_password(known):
        return known
    password = secrets.token_urlsafe(12)
    user.set_password(password)
    user.save(update_fields=["password"])
    return password


def _read(path: Path) -> dict[str, str]:
    try:
        return dict(json.loads(path.read_text()))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise CommandError(f"{path} can't be read; delete it to have it made anew.") from error


def _write(path: Path, known: dict[str, str]) -> None:
    path.touch(mode=0o600)
    path.write_text(json.dumps(known))
