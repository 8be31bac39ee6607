"""The proof that the newest backup restores: into a scratch database, which is migrated, reconciled and counted."""

import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

from django.conf import settings

from remind_site.backups import postgres, runs, store
from remind_site.backups.errors import BackupProblem
from remind_site.backups.folder import temporary
from remind_site.environment import BASE_DIR
from remind_site.models import BackupRun

TOO_OLD = timedelta(hours=26)  # backups are daily; so the newest one is missing
SHOWN = 5  # of what differs


def verify() -> store.Manifest:
    """Restore the newest backup and compare it with what was noted when it was taken; leaves nothing behind.

    Raises:
        BackupProblem: why it can't be relied upon; it was recorded and mailed.
    """
    with runs.recorded(BackupRun.Kind.VERIFY) as run, temporary("remind-verify-") as folder:
        manifest = store.newest()
        run.name, run.bytes = manifest.name, manifest.bytes
        path = folder / "dump"
        _fetch(manifest, path)
        with postgres.scratch(settings.BACKUP_SCRATCH_URL or postgres.conninfo()) as scratch:
            runs.close_abandoned(BackupRun.Kind.VERIFY, but=run)
            with path.open("rb") as source:
                postgres.restore(source, is_sealed=manifest.is_sealed, server=manifest.server, conninfo=scratch)
            _compare(manifest.counts, postgres.counts_of(scratch))
            _manage(scratch, "migrate", "--verbosity", "0")
            _manage(scratch, "reconcile")
        if manifest.age > TOO_OLD:
            raise BackupProblem(
                f"{manifest.name} restores well, but it is {manifest.age.days} days and {manifest.age.seconds // 3600} "
                "hours old: newer backups are missing."
            )
    return manifest


def _fetch(manifest: store.Manifest, path: Path) -> None:
    try:
        store.fetch(manifest, path)
    except OSError as error:
        raise BackupProblem(f"The dump can't be written to {path.parent.parent}: {error.strerror}.") from None


def _compare(noted: dict[str, int], found: dict[str, int]) -> None:
    differing = [
        f"{table} has {found.get(table, 'no table')} instead of {noted.get(table, 'no table')}"
        for table in sorted(noted.keys() | found.keys())
        if noted.get(table) != found.get(table)
    ]
    if differing:
        raise BackupProblem(f"The restored rows differ from those noted: {'; '.join(differing[:SHOWN])}.")


def _manage(scratch: str, *command: str) -> None:
    """Run a command of ours on the scratch database, in a process of its own."""
    done = subprocess.run(  # noqa: S603  # our own commands
        [sys.executable, "manage.py", *command],
        cwd=BASE_DIR,
        env={**os.environ, "DATABASE_URL": postgres.url(scratch)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        said = [line for line in (done.stdout or done.stderr).splitlines() if line.strip()]
        told = "; ".join(said[:SHOWN] if done.stdout else said[-1:])
        raise BackupProblem(f"'{command[0]}' fails on the restored database: {told}")
