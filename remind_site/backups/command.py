"""What the commands about backups share: plain words and exit code 1, and an orderly end when they are told to stop."""

import signal
import sys
from typing import Any

import psycopg
from django.core.management.base import BaseCommand, CommandError
from django.db import Error as DatabaseError

from remind_site.backups.errors import BackupProblem
from remind_site.backups.postgres import first_line


class BackupCommand(BaseCommand):
    """A command whose `run` may raise BackupProblem."""

    def handle(self, *args: Any, **options: Any) -> None:
        # So that temporary files and databases go, and the run is recorded as failed.
        before = signal.signal(signal.SIGTERM, lambda *_: sys.exit("Stopped before it was done."))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})  # the worker, which starts it, has it blocked
        try:
            self.run(**options)
        except BackupProblem as problem:
            raise CommandError(str(problem)) from None
        except (psycopg.Error, DatabaseError) as error:
            raise CommandError(f"The database refused: {first_line(str(error))}") from None
        finally:
            signal.signal(signal.SIGTERM, before)

    def run(self, **options: Any) -> None:
        raise NotImplementedError
