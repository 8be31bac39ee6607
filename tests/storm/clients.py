"""Forty clients that ask steadily, as clients do, a probe, and the record of all that they were told."""

import http.client
import itertools
import json
import random
import threading
import time
from dataclasses import dataclass, field
from typing import Any

PAUSE = (0.4, 1.2)  # seconds that a client thinks between two reminders
TRIES = 6  # of one reminder with an Idempotency-Key, as long as the answer is no final one
PATIENCE = 30  # seconds, like the real client's
PROBES = ("/health", "/health/ready")


@dataclass
class Attempt:
    """One request, and what came of it. Times are monotonic seconds."""

    license: str
    request_id: str
    key: str | None
    held_since: float  # when its connection was last known to be well: as good as `began` for a new one
    reused: bool  # whether the connection was there before
    began: float
    ended: float = 0.0
    status: int = 0  # 0: the connection broke
    body: dict[str, Any] = field(default_factory=dict)

    @property
    def outcome(self) -> str:
        """`answered`, `degraded`, `broken`, or the code of a refusal."""
        if self.status == 0:
            return "broken"
        if self.status != 200:
            return str(self.body.get("code", f"status {self.status} without a code"))
        return "degraded" if self.body["degraded"] else "answered"

    @property
    def is_final(self) -> bool:
        return self.outcome in {"answered", "quota_exhausted"} or self.status in {400, 401, 422}


@dataclass
class Probe:
    """A look at the service's health. Times are monotonic seconds."""

    path: str
    began: float
    ended: float
    status: int  # 0: the connection broke


class Connection:
    """To the service, for one license's token; kept alive, or made anew for each request."""

    def __init__(self, port: int, license: str, token: str, *, keep: bool) -> None:
        self._port, self._license, self._token, self._keep = port, license, token, keep
        self._http: http.client.HTTPConnection | None = None
        self._well_at = 0.0

    def ask(self, request_id: str, key: str | None, text: str) -> Attempt:
        began, reused = time.monotonic(), self._http is not None
        held_since = self._well_at if reused else began
        attempt = Attempt(self._license, request_id, key, held_since, reused, began)
        headers = {"Authorization": f"Bearer {self._token}", "X-Request-ID": request_id}
        headers |= {"Content-Type": "application/json"} | ({"Idempotency-Key": key} if key else {})
        try:
            self._http = self._http or http.client.HTTPConnection("127.0.0.1", self._port, timeout=PATIENCE)
            self._http.request("POST", "/api/v1/suggest-reminder", json.dumps({"reminder_text": text}), headers)
            response = self._http.getresponse()
            raw = response.read()
            attempt.body = json.loads(raw)
            attempt.status = response.status
        except (OSError, http.client.HTTPException, ValueError) as error:
            attempt.body = {"error": f"{type(error).__name__}: {error}"}
        attempt.ended = self._well_at = time.monotonic()
        if not attempt.status or not self._keep or response.will_close:
            self.close()
        return attempt

    def close(self) -> None:
        if self._http is not None:
            self._http.close()
            self._http = None


class Crowd:
    """The clients and the probe; `attempts` and `probes` grow while they run."""

    def __init__(self, port: int, tokens: dict[str, str], clients: int, seed: int) -> None:
        self.attempts: list[Attempt] = []
        self.probes: list[Probe] = []
        self._port, self._seed = port, seed
        self._over = threading.Event()
        holders = itertools.islice(itertools.cycle(tokens.items()), clients)
        self._threads = [threading.Thread(target=self._watch)]
        for number, (license, token) in enumerate(holders):
            self._threads.append(threading.Thread(target=self._live, args=[number, license, token]))

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Let everyone end what they have begun."""
        self._over.set()
        for thread in self._threads:
            if thread.is_alive():
                thread.join()

    def _live(self, number: int, license: str, token: str) -> None:
        chance = random.Random(f"{self._seed}/{number}")
        # The published client makes a connection for each request; those that keep theirs stand for a proxy.
        connection = Connection(self._port, license, token, keep=number % 4 == 0)
        for reminder in itertools.count(1):
            if self._over.wait(chance.uniform(*PAUSE)):
                connection.close()
                return
            name = f"storm-{self._seed}-{number}-{reminder}"
            if chance.random() < 0.5:
                self._insist(connection, name, once_more=chance.random() < 0.25)
            else:
                self._ask(connection, name, None)

    def _insist(self, connection: Connection, name: str, *, once_more: bool) -> None:
        """Ask with a key until there is a final answer; and perhaps again after it, as if that had been lost."""
        for number in range(1, TRIES + 1):
            if self._ask(connection, f"{name}.{number}", name).is_final or self._over.wait(0.5):
                break
        if once_more:
            self._ask(connection, f"{name}.again", name)

    def _ask(self, connection: Connection, request_id: str, key: str | None) -> Attempt:
        attempt = connection.ask(request_id, key, "call mum tomorrow at 5pm")
        self.attempts.append(attempt)
        return attempt

    def _watch(self) -> None:
        for path in itertools.cycle(PROBES):
            if self._over.wait(0.1):
                return
            self.probes.append(self._probe(path))

    def _probe(self, path: str) -> Probe:
        began = time.monotonic()
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=PATIENCE)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            response.read()
            status = response.status
        except (OSError, http.client.HTTPException):
            status = 0
        finally:
            connection.close()
        return Probe(path, began, time.monotonic(), status)
