"""`manage.py status`: is everything well, and if not, which page to read. Exits 1 where something is wrong."""

import threading
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import connection

from remind_site import status

WITHIN = 15.0  # seconds in which it ends, whatever does not answer


class Command(BaseCommand):
    help = "Looks at everything that the service depends on, and names the runbook for what is wrong. Changes nothing."
    requires_system_checks = []  # it is for when something is wrong

    def handle(self, *args: Any, **options: Any) -> None:
        _wait_for_nothing()
        self.wrong, self.looked_at_all = 0, False
        self.unheard: BrokenPipeError | None = None
        looking = threading.Thread(target=self._look, daemon=True)
        looking.start()
        looking.join(WITHIN)
        if looking.is_alive():
            self._tell(status.Finding("database", False, f"no answer in {WITHIN:.0f} seconds", "database-down"))
        elif self.unheard:
            raise self.unheard
        elif not self.looked_at_all:
            raise CommandError("This command itself failed, and looked no further. What it saw is above.")
        if self.wrong:
            raise CommandError(f"{self.wrong} to look at. All pages: docs/INCIDENT_RESPONSE.md")
        self.stdout.write("All is well.")

    def _look(self) -> None:
        try:
            for finding in status.look():
                self._tell(finding)
            self.looked_at_all = True
        except BrokenPipeError as error:  # as by `| head`
            self.unheard = error
        connection.close()

    def _tell(self, finding: status.Finding) -> None:
        self.wrong += not finding.is_well
        line = f"{'ok   ' if finding.is_well else 'WRONG'}  {finding.what:<15} {finding.words}"
        if not finding.is_well:
            line += f"\n       -> docs/runbooks/{finding.page}.md"
        self.stdout.write(line)
        self.stdout.flush()


def _wait_for_nothing() -> None:
    """A server that is away, or stands still, is what is to be said, not what is to be waited for."""
    if connection.vendor == "postgresql":
        options = connection.settings_dict["OPTIONS"]
        options.setdefault("connect_timeout", 3)
        options.setdefault("options", "-c statement_timeout=3000")
