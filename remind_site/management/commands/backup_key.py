"""`manage.py backup_key`: a pair of keys for backups, as the lines to set. Nothing is kept."""

from typing import Any

from django.core.management.base import BaseCommand
from pyrage import x25519


class Command(BaseCommand):
    help = "Prints a new pair of age keys: the one that backups are encrypted to, and the one that reads them."
    requires_system_checks = []

    def handle(self, *args: Any, **options: Any) -> None:
        identity = x25519.Identity.generate()
        self.stdout.write(f"BACKUP_AGE_RECIPIENTS={identity.to_public()}")
        self.stdout.write(f"BACKUP_AGE_IDENTITY={identity}")
        self.stderr.write("Keep the identity where a fire at the server does not reach it: without it no backup opens.")
