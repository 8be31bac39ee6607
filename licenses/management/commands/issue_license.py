"""`manage.py issue_license`: a new license with its token. Others script against its arguments and last line."""

import argparse
import re
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from licenses import lifecycle
from licenses.management import operator
from licenses.models import Plan


class Command(BaseCommand):
    help = "Issues a license and prints its token, alone, as the last line of standard output."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("email", help="the owner's email address")
        parser.add_argument("--plan", required=True, help="the plan's slug, for example pro")
        parser.add_argument("--quota", type=_count, help="suggestions per month, instead of the plan's")
        parser.add_argument("--rate", type=_rate, metavar="N/m", help="requests per minute, instead of the plan's")
        parser.add_argument("--expires", type=_end_of_day, metavar="YYYY-MM-DD", help="the last day (UTC) it is valid")

    def handle(self, *args: Any, **options: Any) -> None:
        plan = Plan.objects.filter(slug=options["plan"]).first()
        if plan is None:
            known = ", ".join(Plan.objects.values_list("slug", flat=True))
            raise CommandError(f"There is no plan '{options['plan']}'. Plans: {known}.")
        by = operator.running()
        try:
            with transaction.atomic():
                license = lifecycle.issue(
                    options["email"],
                    plan,
                    by=by,
                    quota=options["quota"],
                    rate=options["rate"],
                    expires_at=options["expires"],
                )
                _, secret = lifecycle.add_token(license, by=by)
        except ValidationError as error:
            raise CommandError(f"{options['email']}: {' '.join(error.messages)}") from error
        self.stderr.write(f"License {license.pk} ({plan.name}) for {license.email}. Its token is shown only this once:")
        self.stdout.write(secret)


def _count(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise argparse.ArgumentTypeError(f"'{text}' is no whole number from 0 to 999,999,999")
    return int(text)


def _rate(text: str) -> int:
    match = re.fullmatch(r"([1-9][0-9]{0,8})/m", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"'{text}' is no rate; write 30/m for thirty requests a minute")
    return int(match[1])


def _end_of_day(text: str) -> datetime:
    try:
        last_day = date.fromisoformat(text)
        return datetime.combine(last_day + timedelta(days=1), time.min, tzinfo=UTC)
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(f"'{text}' is no date of the form YYYY-MM-DD") from None
