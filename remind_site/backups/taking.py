"""Take a backup: a dump of one moment, its counts, its checksum, into the store; then remove those that are too old.

Old ones are removed only after a new one is whole in the store. The newest that was shown to restore always stays.
"""

from datetime import timedelta
from pathlib import Path

import structlog
from django.conf import settings
from django.utils import timezone

from remind_site.backups import postgres, runs, sealing, store
from remind_site.backups.errors import BackupProblem
from remind_site.backups.folder import temporary
from remind_site.models import BackupRun

logger = structlog.get_logger(__name__)


def take() -> store.Manifest:
    """Take a backup now.

    Raises:
        BackupProblem: why there is none; it was recorded and mailed, and the older ones are as they were.
    """
    with runs.recorded(BackupRun.Kind.BACKUP) as run, temporary("remind-backup-") as folder:
        path = folder / "dump"
        with postgres.connected(postgres.conninfo()) as database:
            runs.close_abandoned(BackupRun.Kind.BACKUP, but=run)
            manifest = _dump(database, path)
            store.put(path, manifest)
        run.name, run.bytes = manifest.name, manifest.bytes
        run.detail = _remove_old(manifest)
    return manifest


def _dump(database: postgres.Connection, path: Path) -> store.Manifest:
    now = timezone.now()
    name = store.new_name(now)
    with postgres.snapshot(database) as moment:
        try:
            with path.open("wb") as target:
                postgres.dump(postgres.conninfo(), moment, target)
        except OSError as error:
            raise BackupProblem(f"The dump can't be written to {path.parent.parent}: {error}") from None
    return store.Manifest(
        name=name,
        file=f"{name}{store.SEALED if sealing.is_on() else store.DUMP}",
        taken_at=now.isoformat(),
        bytes=path.stat().st_size,
        sha256=store.checksum(path),
        is_sealed=sealing.is_on(),
        server=moment.server,
        counts=moment.counts,
    )


def _remove_old(newest: store.Manifest) -> str:
    """Remove what is too old, and say so; that it can't be done makes the new backup no worse."""
    limit = timezone.now() - timedelta(days=settings.BACKUP_KEEP_DAYS)
    try:
        removed = store.remove_older(limit, but={newest.name, runs.newest_verified()})
    except BackupProblem as problem:
        logger.error("old_backups_not_removed", error=str(problem))
        return f"Old backups could not be removed: {problem}"
    return f"{len(removed)} old ones removed." if removed else ""
