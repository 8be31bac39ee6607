"""`manage.py paddle_sync`: ask Paddle for its subscriptions, show what we missed, and, with --apply, put it right."""

from argparse import ArgumentParser, ArgumentTypeError
from datetime import UTC, datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from billing.paddle import api, sync


class Command(BaseCommand):
    help = "Compares Paddle's subscriptions with what we know, and says what differs; --apply puts it right."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--since", type=_day, metavar="YYYY-MM-DD", help="only those changed since that day (UTC)")
        parser.add_argument("--apply", action="store_true", help="put right what differs")

    def handle(self, *args: Any, **options: Any) -> None:
        if not api.is_configured():
            raise CommandError("PADDLE_API_KEY is not set.")
        asked = differ = 0
        try:
            for difference in sync.differences(options["since"]):
                asked += 1
                if difference.fields:
                    differ += 1
                    self._tell(difference)
                    if options["apply"]:
                        self.stdout.write(f"  {sync.repair(difference)}")
            if options["apply"]:
                sync.finish()
        except (api.PaddleUnavailable, api.PaddleRefused) as problem:
            raise CommandError(f"Paddle does not answer as expected: {problem}. Try again in a minute.") from None
        advice = "" if options["apply"] or not differ else " Run it again with --apply to put that right."
        self.stdout.write(f"{asked} subscriptions at Paddle, {differ} differ here.{advice}")

    def _tell(self, difference: sync.Difference) -> None:
        self.stdout.write(difference.subscription_id)
        for field, (ours, theirs) in difference.fields.items():
            self.stdout.write(f"  {field}: {_readable(ours)} here, {_readable(theirs)} at Paddle")


def _day(text: str) -> datetime:
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        raise ArgumentTypeError(f"'{text}' is no date of the form YYYY-MM-DD") from None


def _readable(value: Any) -> str:
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    return "nothing" if value in (None, "", []) else str(value)
