"""`manage.py paddle_sync`: ask Paddle for its subscriptions, show what we missed, and, with --apply, put it right."""

from argparse import ArgumentParser, ArgumentTypeError
from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from billing import sales
from billing.entitlements import entitlement
from billing.models import Subscription
from billing.paddle import api, events, facts, sync
from licenses.models import License, Plan


class Command(BaseCommand):
    help = "Compares Paddle's subscriptions with what we know, and says what differs; --apply puts it right."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--since", type=_day, metavar="YYYY-MM-DD", help="only those changed since that day (UTC)")
        parser.add_argument("--apply", action="store_true", help="put right what differs")

    def handle(self, *args: Any, **options: Any) -> None:
        if not api.is_configured():
            raise CommandError("PADDLE_API_KEY is not set.")
        asked, differing = 0, list[str]()
        try:
            for difference in sync.differences(options["since"]):
                asked += 1
                if difference.fields:
                    differing.append(difference.subscription_id)
                    self._tell(difference)
                    if options["apply"]:
                        self.stdout.write(f"  {sync.repair(difference)}")
        except api.PaddleUnavailable as problem:
            raise CommandError(f"Paddle does not answer: {problem}. Try again in a minute.") from None
        except api.PaddleRefused as refused:
            raise CommandError(f"Paddle refuses: {refused}. 'manage.py paddle_check' looks at the key.") from None
        if options["apply"]:
            self._finish(differing)
        advice = "" if options["apply"] or not differing else " Run it again with --apply to put that right."
        self.stdout.write(f"{asked} subscriptions at Paddle, {len(differing)} differ here.{advice}")

    def _finish(self, repaired: list[str]) -> None:
        """Look up the customers that were needed, and say which licenses came of it all."""
        if not repaired:
            return
        sync.finish()
        for subscription in Subscription.objects.filter(paddle_id__in=repaired).select_related("license__plan"):
            license = subscription.license
            self.stdout.write(f"{subscription.paddle_id}: {license or 'no license'}, {_until_now(license)}")

    def _tell(self, difference: sync.Difference) -> None:
        self.stdout.write(difference.subscription_id)
        for field, (ours, theirs) in difference.fields.items():
            self.stdout.write(f"  {field}: {_readable(ours)} here, {_readable(theirs)} at Paddle")
        row = Subscription.objects.filter(paddle_id=difference.subscription_id).select_related("license__plan").first()
        now = _until_now(row.license if row else None)
        self.stdout.write(f"  license: {now} here, {_until_then(difference, row)} by this subscription")


def _until_now(license: License | None) -> str:
    return _in_words(license.plan, license.ends_at) if license else "none"


def _until_then(difference: sync.Difference, row: Subscription | None) -> str:
    """What the subscription as Paddle has it entitles to; nothing is written for it."""
    kept = events.stored_about(difference.subscription_id)
    subscription = Subscription(**facts.subscription_facts([*kept, *sync.as_events(difference.state)]))
    payments = list(row.payments.prefetch_related("adjustments")) if row else []
    grace = timedelta(days=settings.PADDLE_GRACE_DAYS)
    right = entitlement(subscription, sales.plan_of(subscription), payments, grace)
    return _in_words(right.plan, right.until, f" ({right.ending.label})") if right else "none"


def _in_words(plan: Plan, until: datetime | None, ending: str = "") -> str:
    """A plan and its end; why it ended, where that is past."""
    if until is None:
        return str(plan)
    return f"{plan} until {_readable(until)}{ending if until <= timezone.now() else ''}"


def _day(text: str) -> datetime:
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        raise ArgumentTypeError(f"'{text}' is no date of the form YYYY-MM-DD") from None


def _readable(value: Any) -> str:
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    return "nothing" if value in (None, "", []) else str(value)
