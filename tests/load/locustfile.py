"""Users who think 5 to 10 seconds between two reminders; also against a deployed address.

    locust --headless -f tests/load/locustfile.py --host https://staging.example.com \\
        --users 200 --spawn-rate 20 --run-time 3m

REMIND_TOKENS     a file with license tokens, one a line, dealt out to the users in turn; or REMIND_TOKEN, one token.
PROVIDER_SECONDS  what the provider takes of each answer, where that is known: `added` is what is above it.

A run ends after `--run-time`, or after 10 minutes where none was given. Against a deployed address each answer is
charged to those licenses and costs what the provider takes; keep users below the limits of licenses and address, or
what is measured is refusals. Its exit code is 1 where an answer was anything but an undegraded 200.
"""

import itertools
import os
import random
from pathlib import Path
from typing import Any

import gevent
from locust import FastHttpUser, between, events, task

LONGEST = 600  # seconds
SHORTEST_THOUGHT, LONGEST_THOUGHT = 5, 10  # seconds
REMINDER = {"reminder_text": "meeting with John tomorrow 2pm re Q1", "timezone": "UTC"}
PROVIDER_SECONDS = float(os.environ.get("PROVIDER_SECONDS", "0"))


def _tokens() -> list[str]:
    path = os.environ.get("REMIND_TOKENS")
    return Path(path).read_text().split() if path else [os.environ["REMIND_TOKEN"]]


@events.init.add_listener
def bound(environment: Any, **kwargs: Any) -> None:
    """No run goes on for ever, and none begins without a token."""
    if environment.parsed_options and not environment.parsed_options.run_time:
        environment.parsed_options.run_time = LONGEST
    User.tokens = itertools.cycle(_tokens())


class User(FastHttpUser):
    """One client, on a connection of its own."""

    wait_time = between(SHORTEST_THOUGHT, LONGEST_THOUGHT)
    connection_timeout = network_timeout = 30.0  # seconds, as the real client waits
    tokens: Any = None

    def on_start(self) -> None:
        self.headers = {"Authorization": f"Bearer {next(self.tokens)}"}
        gevent.sleep(random.uniform(0, LONGEST_THOUGHT))  # locust starts many at one tick; people do not come in step

    @task
    def suggest(self) -> None:
        with self.client.post(
            "/api/v1/suggest-reminder", json=REMINDER, headers=self.headers, catch_response=True
        ) as answer:
            said = answer.json() if answer.status_code == 200 else {}
            if answer.status_code != 200:
                answer.failure(f"status {answer.status_code}")
                return
            if said["degraded"]:
                answer.failure("degraded")
                return
            added = answer.request_meta["response_time"] - PROVIDER_SECONDS * 1000
            answer.success()
        self.environment.events.request.fire(
            request_type="", name="added", response_time=max(0.0, added), response_length=0, exception=None, context={}
        )
