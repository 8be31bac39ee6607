"""`manage.py verify_backup`: show that the newest backup restores. In production a schedule does it every night."""

from typing import Any

from remind_site.backups import verifying
from remind_site.backups.command import BackupCommand


class Command(BackupCommand):
    help = (
        "Restores the newest backup into a scratch database, migrates and reconciles it, and compares row counts with "
        "those noted when it was taken. Exits 1 and says why where it can't be relied upon."
    )

    def run(self, **options: Any) -> None:
        manifest = verifying.verify()
        rows = sum(manifest.counts.values())
        self.stdout.write(f"{manifest.name} restores: {rows:,} rows as noted, the books are right.")
