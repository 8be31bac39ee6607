"""`manage.py paddle_replay EVENT_ID...`: process kept events once more, whatever became of them."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from billing.models import State, WebhookEvent
from billing.paddle import events

OUTCOMES = {State.WAITING: "failed", State.DONE: "done", State.IGNORED: "ignored", State.FLAGGED: "flagged"}


class Command(BaseCommand):
    help = "Processes events that were kept before once more; harmless, however often."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("event_id", nargs="+", metavar="EVENT_ID", help="evt_…, as the console shows it")

    def handle(self, *args: Any, **options: Any) -> None:
        known = WebhookEvent.objects.in_bulk(options["event_id"], field_name="event_id")
        for event_id in options["event_id"]:
            if event_id in known:
                self.stdout.write(f"{event_id}: {_outcome(events.process_again(known[event_id]))}")
        unknown = [event_id for event_id in options["event_id"] if event_id not in known]
        if unknown:
            raise CommandError(f"Not kept here: {', '.join(unknown)}. Paddle can send them again, from its dashboard.")


def _outcome(event: WebhookEvent) -> str:
    if event.state == State.WAITING and not event.note:
        return "somebody else is processing it just now"
    return f"{OUTCOMES[State(event.state)]}{event.note and f': {event.note}'}"
