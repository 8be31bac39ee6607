"""`manage.py recovery_drill`: show that point-in-time recovery works, on a PostgreSQL of its own."""

import time
from typing import Any

from remind_site.backups import drill
from remind_site.backups.command import BackupCommand


class Command(BackupCommand):
    help = (
        "Starts a PostgreSQL with continuous archiving, writes to its ledger, destroys it, restores it to a chosen "
        "second, and shows that all from before is there and nothing from after. Touches no other database."
    )
    requires_system_checks = []

    def run(self, **options: Any) -> None:
        began = time.monotonic()
        report = drill.run(self.stdout.write)
        self.stdout.write(
            f"""
Restored to   {report.target:%Y-%m-%d %H:%M:%S} UTC
There         all {report.before:,} entries settled before it
Not there     any of the {report.after:,} begun after it
Books         right, both times
RPO           {report.rpo:.1f} s of work lost with the machine (archive_timeout {drill.ARCHIVE_TIMEOUT} s here)
RTO           {report.rto:.1f} s from the loss to a database that takes writes
Repository    {report.backup_bytes / 1e6:.1f} MB, encrypted
Drill         {time.monotonic() - began:.0f} s"""
        )
