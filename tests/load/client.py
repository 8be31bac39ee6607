"""Keep-alive connections that each ask, wait for the answer and ask again, for some seconds; nothing is left open.

A process of its own (`ask` starts it), so that what it costs can be told from what the service costs: asyncio's
protocols on plain sockets, no HTTP library. Every answer is read whole; whatever is not the answer that was asked for
is counted by what it was, and so is every error of a socket.
"""

import asyncio
import json
import subprocess
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass, field

from tests.commands import ROOT
from tests.load.provider import length_of

PATIENCE = 60.0  # seconds for an answer; far longer than anybody promises
SHOWN = 120  # bytes of an answer's body that explain why it counts as another outcome


@dataclass
class Job:
    """What to ask, of whom, and for how long."""

    port: int
    path: str
    connections: int
    seconds: float
    tokens: list[str]  # dealt out to the connections in turn
    body: str = ""  # none: a GET
    good: str = ""  # what stands in the body of every good answer
    cookie: str = ""


@dataclass
class Result:
    """What came of it. Times in seconds."""

    seconds: float = 0.0  # from the first request to the last answer
    milliseconds: list[float] = field(default_factory=list)  # each good answer took
    good: int = 0
    others: dict[str, int] = field(default_factory=dict)  # outcome -> how often
    cpu: float = 0.0  # seconds that the driver itself used

    @property
    def rate(self) -> float:
        """Good answers a second."""
        return self.good / self.seconds

    def percentile(self, percent: float) -> float:
        """Milliseconds within which so many of the good answers came; nearest rank."""
        ordered = sorted(self.milliseconds)
        return ordered[max(0, -(-len(ordered) * percent // 100).__int__() - 1)] if ordered else float("nan")


def ask(job: Job) -> Result:
    """Do it, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.load.client"],
        cwd=ROOT,
        input=json.dumps(asdict(job)),
        capture_output=True,
        text=True,
        timeout=job.seconds + 2 * PATIENCE,
        check=True,
    )
    return Result(**json.loads(done.stdout))


class Drive:
    """What the connections share."""

    def __init__(self, job: Job) -> None:
        self.job, self.result, self.others = job, Result(), Counter[str]()
        self.good = job.good.encode()
        self.open = 0
        self.over = asyncio.Event()
        self.ends = 0.0

    def request(self, number: int) -> bytes:
        job = self.job
        token = job.tokens[number % len(job.tokens)] if job.tokens else ""
        head = [f"{'POST' if job.body else 'GET'} {job.path} HTTP/1.1", f"Host: 127.0.0.1:{job.port}"]
        head += [f"Authorization: Bearer {token}"] if token else []
        head += [f"Cookie: {job.cookie}"] if job.cookie else []
        body = job.body.encode()
        if body:
            head += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
        return "\r\n".join([*head, "", ""]).encode() + body

    def note(self, head: bytes, body: bytes, began: float) -> None:
        status = head[9:12].decode("ascii", "replace")
        if status == "200" and self.good in body:
            self.result.good += 1
            self.result.milliseconds.append(round((time.perf_counter() - began) * 1000, 3))
        else:
            self.others[f"{status}: {_explained(body)}"] += 1

    def closed(self) -> None:
        self.open -= 1
        if not self.open:
            self.over.set()


class Connection(asyncio.Protocol):
    """One client; it asks again as soon as it has its answer."""

    def __init__(self, drive: Drive, number: int) -> None:
        self.drive, self.request = drive, drive.request(number)
        self.data, self.waiting, self.done = b"", False, False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def go_on(self) -> None:
        self.data = b""
        self.waiting = time.perf_counter() < self.drive.ends
        if not self.waiting or self.transport.is_closing():
            self._end()
            return
        self.began = time.perf_counter()
        self.transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        self.data += data
        head, end, body = self.data.partition(b"\r\n\r\n")
        if not end:
            return
        lowered = head.lower()
        if b"\r\ncontent-length:" not in lowered:
            if not body.endswith(b"0\r\n\r\n"):  # chunked: this is its end
                return
        elif len(body) < length_of(head):
            return
        self.drive.note(head, body, self.began)
        self.waiting = False
        if b"\r\nconnection: close" in lowered:
            self._end()
            self.drive.others["the connection was closed after an answer"] += 1
        else:
            self.go_on()

    def connection_lost(self, error: Exception | None) -> None:
        if self.waiting:
            self.drive.others[f"socket: {type(error).__name__ if error else 'closed without an answer'}"] += 1
        self._end()

    def _end(self) -> None:
        if not self.done:
            self.done, self.waiting = True, False
            self.transport.close()
            self.drive.closed()


async def _run(job: Job) -> Result:
    drive, loop = Drive(job), asyncio.get_running_loop()
    made: list[Connection] = []
    for number in range(job.connections):
        try:
            _, connection = await loop.create_connection(lambda n=number: Connection(drive, n), "127.0.0.1", job.port)
            made.append(connection)
        except OSError as error:
            drive.others[f"socket: {type(error).__name__} at connecting"] += 1
    drive.open = sum(not connection.done for connection in made)
    if drive.open < len(made):
        drive.others["socket: closed while the others were made"] += len(made) - drive.open
    began, cpu = time.perf_counter(), time.process_time()
    drive.ends = began + job.seconds
    for connection in made:
        connection.go_on()
    if not drive.open:
        drive.over.set()
    try:
        await asyncio.wait_for(drive.over.wait(), job.seconds + PATIENCE)
    except TimeoutError:
        drive.others[f"no answer within {PATIENCE:.0f} s"] += drive.open
    result = drive.result
    result.seconds, result.cpu = time.perf_counter() - began, time.process_time() - cpu
    result.others = dict(drive.others)
    return result


def _explained(body: bytes) -> str:
    """A refusal's code, or what makes an answer another one than was asked for."""
    try:
        said = json.loads(body)
        return "degraded" if said.get("degraded") else str(said.get("code") or said)[:SHOWN]
    except (ValueError, AttributeError):
        return body[:SHOWN].decode("utf-8", "replace")


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asdict(asyncio.run(_run(Job(**json.load(sys.stdin)))))))
