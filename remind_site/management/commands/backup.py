"""`manage.py backup`: take a backup now. In production a schedule does it every night."""

from typing import Any

from remind_site.backups import taking
from remind_site.backups.command import BackupCommand


class Command(BackupCommand):
    help = "Dumps the database into the store, encrypted where BACKUP_AGE_RECIPIENTS is set, and removes old backups."

    def run(self, **options: Any) -> None:
        manifest = taking.take()
        kind = "encrypted" if manifest.is_sealed else "NOT encrypted"
        rows = sum(manifest.counts.values())
        self.stdout.write(f"{manifest.name}: {rows:,} rows, {manifest.bytes:,} bytes, {kind}")
