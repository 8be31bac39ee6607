"""What each command drives, in which order, and what its page says."""

import json
import re
import statistics
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from tests.load import machine, peer, profile, trips
from tests.load.client import Job
from tests.load.drive import Books, Measured, measure, paid, rounds, say
from tests.load.filling import LICENSES, fill
from tests.load.report import Report, digits, ratio
from tests.load.users import crowd
from tests.load.world import World, issue, through
from tests.service import Database, Service

CONNECTIONS = 64
BODY = json.dumps({"reminder_text": "meeting with John tomorrow 2pm re Q1", "timezone": "UTC"})
GOOD = '"degraded":false'
WARM_UP = 2.0  # seconds, not counted
TRIPS_OF = 50  # requests
SOAK_PARTS = 10
HOW = (
    "Each figure is the median of the rounds, with the smallest and the largest in brackets. CPU is milliseconds an"
    " answer; memory is proportional set size (shared pages once). The driver's own CPU is on the same cores."
    " A round in which answers, the provider's calls and settled entries are not the same number is void, and the whole"
    " run with it."
)


@dataclass
class Options:
    """Of a command."""

    seconds: float  # of each drive
    rounds: int
    folder: Path
    entries: list[int]  # ledger entries, for `growth`
    users: int


def bench_paid(world: World, options: Options) -> Report:
    """The paid suggestion beside bare views, its round trips, and a provider that takes a second."""
    report = _report(world, options, "paid", "The paid suggestion")
    shop = Shop(world)
    bare = world.bare()
    ours = partial(shop.drive, CONNECTIONS, options.seconds)
    drives: dict[str, Callable[[], Measured]] = {"suggestion": ours}
    for name, path in {"bare DRF view": "/rest", "bare Django view": "/django"}.items():
        job = Job(bare[0], path, CONNECTIONS, options.seconds, [], BODY, GOOD)
        drives[name] = partial(measure, job, world.costs(bare[1]))
        measure(replace(job, seconds=WARM_UP), {})
    found = rounds(options.rounds, drives)
    report.say(f"## As fast as it can: {CONNECTIONS} connections, a provider without delay")
    report.table(found)
    report.bars("rate", "Answers a second", found, "requests/s")
    report.bars("cpu", "CPU of the web processes, ms an answer", found, "CPU ms, web")
    _say_trips(report, _trips(world))

    world.provider.set_delay(1.0)
    slow = {f"{count} connections": partial(shop.drive, count, options.seconds) for count in (16, 200, 1000)}
    report.say(
        "## A provider that takes one second",
        "{} processes of {} threads each ask it, so {} is as many answers a second as there can be.".format(
            *shop.size()
        ),
    )
    report.table(rounds(options.rounds, slow))
    return report


def bench_peers(world: World, options: Options) -> Report:
    """The service and LiteLLM's proxy, in turns."""
    peer.install()
    report = _report(world, options, "peers", f"Beside {peer.version()}")
    report.say(peer.__doc__ or "", "Two worker processes each, the same provider, the same connections, in turns.")
    shop = Shop(world)
    port, pid = peer.start(world)
    theirs = world.costs(pid)
    measure(peer.job(port, CONNECTIONS, 2 * WARM_UP), theirs)
    for delay, connections in ((0.0, (CONNECTIONS,)), (1.0, (200, 1000))):
        world.provider.set_delay(delay)
        for count in connections:
            names = {"Remind": partial(shop.drive, count, options.seconds)}
            names[peer.version()] = partial(measure, peer.job(port, count, options.seconds), theirs)
            found = rounds(options.rounds, names)
            report.say(f"## {count} connections, a provider that takes {delay:g} s")
            report.table(found)
            for figure in ("requests/s", "p99 ms", "MiB, web"):
                report.say(f"{figure}: {ratio(found, 'Remind', peer.version(), figure)} times LiteLLM's.")
            if not delay:
                report.bars("rate", "Answers a second", found, "requests/s")
    return report


def bench_growth(world: World, options: Options) -> Report:
    """The same requests with ledgers of different sizes, in turns."""
    report = _report(world, options, "growth", "As the ledger grows")
    report.say(f"Every database has {LICENSES:,} licenses more; the entries lie over the 24 months before.")
    suggestions: dict[str, Callable[[], Measured]] = {}
    stats: dict[str, Callable[[], Measured]] = {}
    totals: dict[str, Callable[[], Measured]] = {}
    for entries in options.entries:
        say(f"filling a ledger with {entries:,} entries")
        shop = Shop(world, entries)
        name = f"{entries:,} entries"
        suggestions[name] = partial(shop.drive, CONNECTIONS, options.seconds)
        path = "/api/v1/usage/stats"
        stats[name] = partial(
            shop.look, Job(0, path, CONNECTIONS, options.seconds, shop.tokens, good='"ai_quota_used"')
        )
        job = Job(0, "/admin/", 4, options.seconds, [], cookie=shop.session(), good="</html>")
        totals[name] = partial(shop.look, job)
    for title, drives in {
        "The paid suggestion": suggestions, "Usage stats": stats, "The console's home, with the month's totals": totals,
    }.items():  # fmt: skip
        found = rounds(options.rounds, drives)
        report.say(f"## {title}")
        report.table(found)
        least, most = next(iter(found)), list(found)[-1]
        report.say(f"p50 with {most}: {ratio(found, most, least, 'p50 ms')} times that with {least}.")
    return report


def bench_soak(world: World, options: Options) -> Report:
    """Ten parts, one after the other; memory after each."""
    report = _report(world, options, "soak", "A soak")
    shop = Shop(world)
    parts = []
    for number in range(SOAK_PARTS):
        parts.append(shop.drive(CONNECTIONS, options.seconds))
        say(f"part {number + 1}: {parts[-1].result.rate:.0f}/s, {parts[-1].memory}")
    answers = sum(part.result.good for part in parts)
    others = sum(sum(part.result.others.values()) for part in parts)
    report.say(f"{answers:,} answers in {SOAK_PARTS * options.seconds:.0f} s, and {others} that were not as asked.")
    rows = []
    for name in parts[0].memory:
        sizes = [part.memory[name] for part in parts]
        growth = (sizes[-1] / sizes[0] - 1) * 100
        rows.append([name, digits(sizes[0]), digits(statistics.median(sizes)), digits(sizes[-1]), f"{growth:+.1f}%"])
    report.rows(["MiB", "after the first part", "median", "at the end", "growth"], rows)
    return report


def bench_users(world: World, options: Options) -> Report:
    """Users who think, by locust."""
    report = _report(world, options, "users", f"{options.users:,} users who think 5 to 10 seconds")
    shop = Shop(world)
    world.provider.set_delay(1.0)
    books = Books(world, shop.database)
    found = crowd(world, shop.service.port, shop.tokens, options.users, options.seconds)
    books.must_have(int(found["requests"] - found["errors"]))
    report.say(
        f"The provider takes 1 s. {options.seconds:.0f} s in all, 20 of them until all users are there, each of whom"
        " thinks before the first reminder, too."
    )
    report.rows(["", ""], [[name, digits(value)] for name, value in found.items()])
    return report


def bench_profile(world: World, options: Options) -> Report:
    """Where the CPU of the paid suggestion goes."""
    report = _report(world, options, "profile", "Where the time goes")
    shop = Shop(world)
    plain = [shop.drive(CONNECTIONS, options.seconds) for _ in range(options.rounds)]
    milliseconds = statistics.median(one.cpu["web"] for one in plain)
    looks = profile.Looks(world, shop.service.process.pid, options.seconds)
    shop.drive(CONNECTIONS, options.seconds)
    report.say(
        profile.__doc__ or "",
        f"A paid suggestion takes {digits(milliseconds)} ms of the web processes' CPU: with {CONNECTIONS} connections"
        " and a provider without delay, measured before anybody looked. Shares are of looks.",
    )
    parts = looks.by_part()
    rows = [[part, f"{share:.0%}", digits(share * milliseconds)] for part, share in parts.items()]
    report.rows(["part", "share", "ms an answer"], rows)
    return report


class Shop:
    """The service with a database of its own, licenses, and what it costs; warmed up."""

    def __init__(self, world: World, entries: int | None = None) -> None:
        self.world, self.database = world, world.template.copy()
        self.tokens = issue(self.database)
        self.service = world.service(self.database, ADMIN_REQUIRE_2FA="off")
        self.costs = world.costs(self.service.process.pid)
        self.drive(CONNECTIONS, WARM_UP)
        if entries is not None:
            fill(self.database, entries)
            self.drive(CONNECTIONS, WARM_UP)

    def drive(self, connections: int, seconds: float) -> Measured:
        """Paid suggestions."""
        job = Job(self.service.port, "/api/v1/suggest-reminder", connections, seconds, self.tokens, BODY, GOOD)
        return paid(self.world, self.database, job, self.costs)

    def look(self, job: Job) -> Measured:
        """Requests that cost nothing."""
        return measure(replace(job, port=self.service.port), self.costs)

    def size(self) -> tuple[int, int, int]:
        """Web processes, threads of each, and threads in all, as the service's log says."""
        said = re.search(r"the web: (\d+) process(?:es)? of (\d+) threads", self.service.log.read_text())
        assert said, "the log does not say how large the web is"
        processes, threads = int(said[1]), int(said[2])
        return processes, threads, processes * threads

    def session(self) -> str:
        """A cookie that opens the console."""
        script = (
            "from django.contrib.auth import get_user_model; from django.test import Client; c = Client();"
            " c.force_login(get_user_model().objects.create_superuser('bench', 'bench@example.com'));"
            " print(c.cookies.output(header='', sep=';').split(';')[0].strip())"
        )
        return self.service.command("shell", "-v", "0", "-c", script).stdout.strip()


def _trips(world: World) -> trips.Trips:
    """Counted on a service of one process, one request after the other."""
    watch, database = world.watch(), world.template.copy()
    token = issue(database, 1)[0]
    env = {"REDIS_URL": f"redis://127.0.0.1:{watch.cache.port}/0", "OPENAI_BASE_URL": watch.provider_url}
    service = world.service(
        Database(through(watch, database)), WEB_CONCURRENCY="1", DATABASE_POOL_MIN="1", DATABASE_POOL_MAX="1", **env
    )
    request = partial(_one, service, token)
    watch.of(request, 5)
    found = watch.of(request, TRIPS_OF)
    service.kill()
    return found


def _one(service: Service, token: str) -> None:
    assert not service.suggest(token).json()["degraded"]


def _say_trips(report: Report, found: trips.Trips) -> None:
    report.say(
        "## Round trips of one suggestion",
        "Everything is counted: the pool's check, BEGIN, COMMIT. The median of"
        f" {TRIPS_OF} requests, one after the other.",
    )
    numbers = {
        "database, before the provider": found.database_before,
        "database, after it": found.database_after,
        "cache": found.cache,
    }
    report.rows(["", "round trips"], [[name, f"{value:g}"] for name, value in numbers.items()])


def _report(world: World, options: Options, name: str, title: str) -> Report:
    report = Report(name, title, options.folder)
    report.machine(world.versions(), machine.load())
    report.say(HOW, f"{options.rounds} rounds; each drive lasts {options.seconds:g} s.")
    return report
