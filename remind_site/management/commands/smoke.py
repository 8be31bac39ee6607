"""`manage.py smoke URL`: a deployed service, checked from outside. What is checked is in `remind_site.smoke`."""

import os
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.core.management.base import BaseCommand, CommandError, CommandParser

from licenses import tokens
from remind_site import smoke

VARIABLE = "SMOKE_TOKEN"


class Command(BaseCommand):
    help = (
        "Checks a deployed service end to end, from outside, in seconds: a line for each check, and exit code 1 where"
        " one fails. It asks for one real suggestion, so keep a license for it that nobody else uses."
    )
    requires_system_checks: list[str] = []  # it is not this machine that is looked at

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("url", help="where the service is, for example https://api.example.com")
        parser.add_argument("--token-file", type=Path, metavar="FILE", help="a file with the license's token")
        parser.add_argument(
            "--token",
            help="the token itself; everybody on this machine can read it in the list of processes, so better use"
            f" --token-file, or the environment variable {VARIABLE}",
        )
        parser.add_argument(
            "--origin", default="https://remind.dev", help="a site that CORS_ORIGINS lets in (default: %(default)s)"
        )
        parser.add_argument("--allow-http", action="store_true", help="send the token without TLS, inside a network")

    def handle(self, *args: Any, **options: Any) -> None:
        service = smoke.Service(
            _url(options["url"]), _token(options), origin=options["origin"], allow_http=options["allow_http"]
        )
        with service.client:
            outcomes = [self._say(*outcome) for outcome in smoke.run(service)]
        failed = len(outcomes) - outcomes.count("ok")
        if failed:
            raise CommandError(f"{service.url} is not well: see {failed} of {len(outcomes)} lines above.")
        self.stdout.write(f"{service.url} is well.")

    def _say(self, outcome: str, found: str, next_step: str) -> str:
        marks = {"ok": "✓", "bad": "✗", "skipped": "–"}
        if not _can_write(self.stdout, "✓✗–"):
            marks = {"ok": "ok  ", "bad": "BAD ", "skipped": "-   "}
        self.stdout.write(f"{marks[outcome]} {found}")
        if next_step:
            self.stdout.write(f"    {next_step}")
        return outcome


def _url(text: str) -> str:
    try:
        parts = urlsplit(text)
        usable = parts.scheme in {"http", "https"} and parts.hostname and not (parts.username or parts.query)
        _ = parts.port  # raises where it is none
    except ValueError:
        usable = False
    if not usable:
        raise CommandError("The URL must be http or https, with a host, and without a user or a query.")
    return text


def _token(options: dict[str, Any]) -> str:
    """The token that was given in one of three ways.

    Raises:
        CommandError: there is none, or it has no token's form; it is not repeated.
    """
    token = options["token"] or os.environ.get(VARIABLE, "")
    if options["token_file"]:
        try:
            token = options["token_file"].read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise CommandError(f"The token's file can't be read: {type(error).__name__}.") from None
    if not token.strip():
        raise CommandError(
            f"A license's token is needed: --token-file FILE, or {VARIABLE}. Issue one for this:"
            " manage.py issue_license smoke@example.com --plan free"
        )
    if not tokens.is_well_formed(token.strip()):
        raise CommandError("That is no license token: it may be cut off or mistyped.")
    return str(token).strip()


def _can_write(stream: Any, text: str) -> bool:
    try:
        text.encode(getattr(stream, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        return False
    return True
