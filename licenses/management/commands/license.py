"""`manage.py license`: look at one license and act on it, for when the console is out of reach.

A license is named by its number or its owner's email address, a token by its record number; a whole token is
never an argument, since arguments stay in shell histories.
"""

import argparse
from datetime import datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from licenses import lifecycle
from licenses.decisions import decide
from licenses.management import operator
from licenses.models import License, LicenseToken

MAX_REASON = 500  # characters


class Command(BaseCommand):
    help = "Shows, suspends or reinstates a license, and rotates or revokes its tokens."

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
        for name, help_text in (
            ("show", "status, plan, limits, tokens and the audit trail"),
            ("suspend", "stop the license until it is reinstated"),
            ("reinstate", "lift the suspension"),
        ):
            action = actions.add_parser(name, help=help_text)
            action.add_argument("license", help="its number, or its owner's email address")
            if name != "show":
                action.add_argument(
                    "--reason", type=_reason, required=name == "suspend", help="why, for the audit trail"
                )
        for name, help_text in (
            ("rotate", "a new token; the old one goes on for a day"),
            ("revoke", "end a token at once"),
        ):
            action = actions.add_parser(name, help=help_text)
            action.add_argument("token", type=int, help="the token's record number, as 'show' lists it")
            action.add_argument("--reason", type=_reason, help="why, for the audit trail")

    def handle(self, *args: Any, **options: Any) -> None:
        self.by = operator.running()
        try:
            getattr(self, options["action"])(**options | {"reason": options.get("reason") or ""})
        except lifecycle.NotPossible as error:
            raise CommandError(str(error)) from error

    def show(self, license: str, **options: Any) -> None:
        found = _license(license)
        now = timezone.now()
        self.stdout.write(f"License {found.pk}, {found.email}, {found.plan.name}: {decide(found, now)}")
        if found.suspended_at:
            self.stdout.write(
                f"  suspended {found.suspended_at:%Y-%m-%d %H:%M} by {found.suspended_by}: {found.suspension_reason}"
            )
        self.stdout.write(f"  from {found.starts_at:%Y-%m-%d} to {_day(found.ends_at)}")
        self.stdout.write(f"  quota: {found.monthly_quota} a month, rate: {found.rate_limit} a minute")
        self.stdout.write("Tokens:")
        for token in found.tokens.all():
            self.stdout.write(f"  {token.pk}  {token.prefix}…  {_token_state(token)}  {token.label}")
        self.stdout.write("Audit trail, newest first:")
        for event in found.audit_events.all():
            self.stdout.write(f"  {event.at:%Y-%m-%d %H:%M}  {event.get_action_display()}  {event.by}  {event.reason}")

    def suspend(self, license: str, reason: str, **options: Any) -> None:
        found = _license(license)
        lifecycle.suspend(found, by=self.by, reason=reason)
        self.stdout.write(f"License {found.pk} is suspended.")

    def reinstate(self, license: str, reason: str, **options: Any) -> None:
        found = _license(license)
        lifecycle.reinstate(found, by=self.by, reason=reason)
        self.stdout.write(f"License {found.pk} is reinstated.")

    def rotate(self, token: int, reason: str, **options: Any) -> None:
        new, secret = lifecycle.rotate(_token(token), by=self.by, reason=reason)
        self.stderr.write(f"Token {token} goes on for a day. The new one, number {new.pk}, is shown only this once:")
        self.stdout.write(secret)

    def revoke(self, token: int, reason: str, **options: Any) -> None:
        lifecycle.revoke(_token(token), by=self.by, reason=reason)
        self.stdout.write(f"Token {token} is revoked.")


def _reason(text: str) -> str:
    if not 1 <= len(text.strip()) <= MAX_REASON:
        raise argparse.ArgumentTypeError(f"a reason has 1 to {MAX_REASON} characters")
    return text.strip()


def _license(name: str) -> License:
    licenses = License.objects.select_related("plan")
    found = list(licenses.filter(pk=name) if name.isascii() and name.isdigit() else licenses.filter(email=name.lower()))
    if not found:
        raise CommandError(f"There is no license '{name}'. Give its number or its owner's email address.")
    if len(found) > 1:
        numbers = ", ".join(str(license.pk) for license in found)
        raise CommandError(f"{name} owns several licenses. Give one of their numbers: {numbers}.")
    return found[0]


def _token(number: int) -> LicenseToken:
    token = LicenseToken.objects.select_related("license__plan").filter(pk=number).first()
    if token is None:
        raise CommandError(f"There is no token number {number}. 'license show' lists a license's tokens.")
    return token


def _token_state(token: LicenseToken) -> str:
    if token.revoked_at:
        return f"revoked {_day(token.revoked_at)}"
    if token.expires_at:
        return f"until {token.expires_at:%Y-%m-%d %H:%M}"
    return "usable"


def _day(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d}" if moment else "never"
