"""Paddle in the storm: events of many customers' lives, each delivered several times, in any order, until taken."""

import http.client
import json
import random
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.paddle import SECRET, Life, signed
from tests.storm.world import PRICES, World

LIVES = 12
SENDERS = 8  # that deliver at the same time
PATIENCE = 30  # seconds that are waited for an answer
# What each life must end as, whatever the order: the license's plan, and whether it is paid for.
ENDINGS = {"kept": ("pro", True), "upgraded": ("team", True), "refunded": ("pro", False)}


class Payments:
    """Delivers events at random moments over `seconds`; `taken` are those that were answered with 200."""

    def __init__(self, world: World, seed: int, seconds: float) -> None:
        self._port, self._seconds = world.service.port, seconds
        chance = random.Random(f"paddle/{seed}")
        self.expected: dict[str, tuple[str, bool]] = {}  # Paddle customer -> ending
        deliveries: list[dict[str, Any]] = []
        for number in range(LIVES):
            ending = list(ENDINGS)[number % len(ENDINGS)]
            life = Life(PRICES["pro"], began=datetime.now(UTC) - timedelta(days=2, minutes=number))
            world.paddle.add(life)
            self.expected[life.customer_id] = ENDINGS[ending]
            for event in _events_of(life, ending):
                deliveries += [event] * chance.randint(1, 3)
        chance.shuffle(deliveries)
        self.sent = {event["event_id"] for event in deliveries}
        self.delivered = len(deliveries)
        self.taken: set[str] = set()
        self.unexpected: list[int] = []  # statuses that are neither 200 nor a refusal for the database's sake
        self._over = threading.Event()
        self._threads = [
            threading.Thread(target=self._deliver, args=[deliveries[part::SENDERS], random.Random(f"{seed}/{part}")])
            for part in range(SENDERS)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def finish(self, within: float = 0) -> None:
        """Let the rest be delivered, but break off after so many seconds."""
        ends = time.monotonic() + within
        for thread in self._threads:
            if thread.is_alive():
                thread.join(max(0, ends - time.monotonic()))
        self._over.set()
        for thread in self._threads:
            if thread.is_alive():
                thread.join()

    def _deliver(self, deliveries: list[dict[str, Any]], chance: random.Random) -> None:
        pause = self._seconds / len(deliveries)
        for event in deliveries:
            wait = chance.uniform(0, 2 * pause)
            while not self._over.wait(wait):
                if self._is_taken(event):
                    self.taken.add(event["event_id"])
                    break
                wait = 1.0

    def _is_taken(self, event: dict[str, Any]) -> bool:
        body = json.dumps(event).encode()
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=PATIENCE)
        try:
            connection.request("POST", "/webhooks/paddle", body, {"Paddle-Signature": signed(body, SECRET)})
            status = connection.getresponse().status
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()
        if status not in {200, 503}:
            self.unexpected.append(status)
        return status == 200


def _events_of(life: Life, ending: str) -> list[dict[str, Any]]:
    events = [life.customer(), life.created(), life.activated(), life.completed()]
    if ending == "upgraded":
        life.price = PRICES["team"]
        events.append(life.updated(at=life.at(hours=2)))
    if ending == "refunded":
        events.append(life.adjusted("refund", kind="full"))
    return events
