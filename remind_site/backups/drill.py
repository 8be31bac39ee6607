"""The recovery drill: on a PostgreSQL of its own, lose everything in the middle of work, and get it back to the second.

It runs with the checked-in docs/backups/pgbackrest.conf and postgresql.conf; only where things lie is said anew, in the
environment. What must be there and what must not is known from what the workers were told, not from the database.
"""

import json
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg

from remind_site.backups.errors import BackupProblem
from remind_site.backups.postgres import first_line
from remind_site.environment import BASE_DIR

ARCHIVE_TIMEOUT = 3  # seconds; the documented 60 would make the drill as long
WORK_BEFORE, WORK_AFTER = 5.0, 7.0  # seconds of work before the chosen second, and from there to the end
PATIENCE = 60  # seconds that one step may take
SUPERUSER = "postgres"
DOCS = BASE_DIR / "docs" / "backups"


@dataclass(frozen=True, slots=True)
class Settled:
    """What a worker was told: an entry, and between which moments (Unix seconds) it was settled."""

    entry: int
    began: float
    settled: float


@dataclass(frozen=True, slots=True)
class Report:
    """What the drill has shown."""

    target: datetime
    before: int  # entries settled before that second, all there
    after: int  # entries begun after it, none there
    rpo: float  # seconds of work that were lost with the machine
    rto: float  # seconds from the loss to a database that takes writes, at the chosen second
    backup_bytes: int


@dataclass
class Cluster:
    """A PostgreSQL and a repository of pgBackRest in a folder of their own."""

    folder: Path
    bin: Path
    user: str | None  # whom the programs run as; None: as we are
    env: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        self.data, self.repo = self.folder / "data", self.folder / "repo"
        places = {name: self.folder / name for name in ("repo", "log", "lock", "spool", "socket")}
        for place in places.values():
            place.mkdir()
            self._own(place)
        self._own(self.folder)
        self.socket = places["socket"]
        self.env = {
            **{name: value for name, value in os.environ.items() if not name.startswith("PG")},
            "PGBACKREST_CONFIG": str(self._config("pgbackrest.conf")),
            "PGBACKREST_STANZA": "remind",
            "PGBACKREST_REPO1_TYPE": "posix",
            "PGBACKREST_REPO1_PATH": str(self.repo),
            "PGBACKREST_REPO1_CIPHER_PASS": secrets.token_urlsafe(32),
            "PGBACKREST_LOG_PATH": str(places["log"]),
            "PGBACKREST_LOCK_PATH": str(places["lock"]),
            "PGBACKREST_SPOOL_PATH": str(places["spool"]),
            "PGBACKREST_PG1_PATH": str(self.data),
            "PGBACKREST_PG1_SOCKET_PATH": str(self.socket),
            "PGBACKREST_PG1_USER": SUPERUSER,
        }

    @property
    def url(self) -> str:
        return f"postgresql:///postgres?host={self.socket}&user={SUPERUSER}"

    def create(self) -> None:
        """A new, empty database with the documented archiving."""
        auth = ["--auth=trust", f"--username={SUPERUSER}", "--encoding=UTF8", "--no-locale"]
        self.run(str(self.bin / "initdb"), *auth, f"--pgdata={self.data}")
        with (self.data / "postgresql.conf").open("a") as config:
            config.write(f"include '{self._config('postgresql.conf')}'\narchive_timeout = {ARCHIVE_TIMEOUT}\n")
            config.write(f"listen_addresses = ''\nunix_socket_directories = '{self.socket}'\n")

    def start(self) -> None:
        """Start the server; returns once it takes writes, recovery being over."""
        log = self.folder / "log" / "postgres.log"
        self.run(str(self.bin / "pg_ctl"), "start", "--no-wait", f"--pgdata={self.data}", f"--log={log}")
        _wait_for(self._takes_writes, lambda: first_line("\n".join(reversed(log.read_text().splitlines()))))

    def destroy(self) -> None:
        """The machine is gone: the server is killed, and its data, what was not archived included, is no more."""
        self.kill()
        shutil.rmtree(self.data)

    def kill(self) -> None:
        with suppress(FileNotFoundError, ProcessLookupError, ValueError):
            postmaster = int((self.data / "postmaster.pid").read_text().splitlines()[0])
            os.kill(postmaster, signal.SIGQUIT)  # SIGKILL would leave its children and their shared memory behind
            _wait_for(lambda: not Path(f"/proc/{postmaster}").exists() or _is_zombie(postmaster), str)

    def restore(self, *options: str) -> None:
        """Put the data back from the repository; the restored server archives nothing."""
        with suppress(FileNotFoundError):
            shutil.rmtree(self.data)
        self.data.mkdir(mode=0o700)
        self._own(self.data)
        self.run("pgbackrest", "restore", "--archive-mode=off", *options)

    def run(self, *command: str) -> None:
        """Run a program as the server's user; its complaint where it fails."""
        done = subprocess.run(  # noqa: S603  # our own commands
            command, cwd=self.folder, env=self.env, timeout=PATIENCE, check=False, user=self.user, group=self.user,
            extra_groups=None if self.user is None else [], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        if done.returncode:
            raise BackupProblem(f"{Path(command[0]).name} failed: {first_line(done.stdout)}")

    def rows(self, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.url, autocommit=True) as database:
            return database.execute(query, parameters).fetchall()

    def manage(self, *command: str) -> None:
        """Run a command of ours on this database."""
        done = subprocess.run(  # noqa: S603  # our own commands
            [sys.executable, "manage.py", *command],
            cwd=BASE_DIR, env={**os.environ, "DATABASE_URL": self.url}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise BackupProblem(f"'{command[0]}' fails: {first_line(done.stdout or done.stderr)}")

    def _takes_writes(self) -> bool:
        with suppress(psycopg.OperationalError):
            return self.rows("SELECT pg_is_in_recovery()") == [(False,)]
        return False

    def _config(self, name: str) -> Path:
        """A copy of a checked-in file that the server's user can read."""
        copy = self.folder / name
        if not copy.exists():
            shutil.copy(DOCS / name, copy)
            self._own(copy)
        return copy

    def _own(self, path: Path) -> None:
        if self.user is not None:
            shutil.chown(path, self.user, self.user)


def run(say: Callable[[str], None]) -> Report:
    """The whole drill, in about a minute; leaves nothing behind.

    Raises:
        BackupProblem: what is missing to run it, or what was not as it must be.
    """
    with _cluster() as cluster:
        say("A new PostgreSQL with the real schema, and a base backup ...")
        cluster.create()
        cluster.start()
        cluster.manage("migrate", "--verbosity", "0")
        cluster.run("pgbackrest", "stanza-create")
        cluster.run("pgbackrest", "backup", "--type=full")

        say("Ledger work on several threads; in the middle of it, everything is lost ...")
        with _work(cluster) as told:
            _wait_for(lambda: told, lambda: "no work was done")
            time.sleep(WORK_BEFORE)
            target = int(time.time())
            time.sleep(WORK_AFTER)
            lost_at = time.time()
            cluster.destroy()

        say(f"Back to {datetime.fromtimestamp(target, UTC):%H:%M:%S} UTC ...")
        moment = datetime.fromtimestamp(target, UTC).isoformat(sep=" ")
        cluster.restore("--type=time", f"--target={moment}", "--target-action=promote")
        cluster.start()
        rto = time.time() - lost_at
        before, after = _compare(cluster, told, target)
        cluster.manage("reconcile")

        say("And once more, as late as the archive goes ...")
        cluster.kill()
        cluster.restore()
        cluster.start()
        kept = {entry for (entry,) in cluster.rows("SELECT id FROM billing_usagerecord WHERE state = 'settled'")}
        cluster.manage("reconcile")
        rpo = lost_at - max((work.settled for work in told if work.entry in kept), default=0)
        size = sum(path.stat().st_size for path in cluster.repo.rglob("*") if path.is_file())
        return Report(datetime.fromtimestamp(target, UTC), before, after, rpo, rto, size)


def _compare(cluster: Cluster, told: list[Settled], target: int) -> tuple[int, int]:
    """Everything that was settled before that second is there, and nothing that began after it."""
    entries = dict(cluster.rows("SELECT id, state FROM billing_usagerecord"))
    before = {work.entry for work in told if work.settled <= target}
    after = {work.entry for work in told if work.began > target}
    if not before or not after:
        raise BackupProblem("There was too little work to tell before from after.")
    if missing := [entry for entry in before if entries.get(entry) != "settled"]:
        raise BackupProblem(f"{len(missing)} entries that were settled before that second are missing.")
    if found := after & entries.keys():
        raise BackupProblem(f"{len(found)} entries that began after that second are there.")
    return len(before), len(after)


@contextmanager
def _work(cluster: Cluster) -> Iterator[list[Settled]]:
    """Workers, and what they were told so far."""
    told: list[Settled] = []
    with subprocess.Popen(
        [sys.executable, "-m", "remind_site.backups.drill_work"],
        cwd=BASE_DIR, env={**os.environ, "DATABASE_URL": cluster.url}, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        lines: Iterable[str] = process.stdout or []
        reader = threading.Thread(target=lambda: told.extend(Settled(**json.loads(line)) for line in lines))
        reader.start()
        try:
            yield told
        finally:
            with suppress(subprocess.TimeoutExpired):
                process.wait(5)
            process.kill()
            reader.join()


@contextmanager
def _cluster() -> Iterator[Cluster]:
    if shutil.which("pgbackrest") is None:
        raise BackupProblem("pgbackrest is not installed here; on Debian: apt-get install pgbackrest postgresql.")
    folder = Path(tempfile.mkdtemp(prefix="remind-drill-"))
    try:
        cluster = Cluster(folder, _server_programs(), _server_user())
        try:
            yield cluster
        finally:
            cluster.kill()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _server_programs() -> Path:
    """The newest PostgreSQL server that is installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if initdb := shutil.which("initdb"):
        found.insert(0, Path(initdb))
    if not found:
        raise BackupProblem("There is no PostgreSQL server here; on Debian: apt-get install postgresql.")
    return found[-1].parent


def _server_user() -> str | None:
    """PostgreSQL refuses to run as root, so root hands it to the user that its package made."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam(SUPERUSER).pw_name
    except KeyError:
        raise BackupProblem(f"PostgreSQL does not run as root, and there is no user {SUPERUSER} here.") from None


def _is_zombie(pid: int) -> bool:
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    return True


def _wait_for(condition: Callable[[], Any], why: Callable[[], str]) -> None:
    ends = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > ends:
            raise BackupProblem(f"It took longer than {PATIENCE} seconds: {why()}")
        time.sleep(0.05)
