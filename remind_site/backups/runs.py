"""What each run came to: a row that metrics and the console read, a log line, and, when it failed, a mail to operators.

A database that is gone keeps no run from failing loudly: then there is no row, but the line and the mail.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import structlog
from django.core.mail import mail_admins
from django.db import Error as DatabaseError
from django.db import connection
from django.utils import timezone

from remind_site.backups.errors import BackupProblem, UnderWay
from remind_site.backups.postgres import first_line
from remind_site.models import BackupRun

WHAT_NOW = "Backups that are there were left alone. What to do: docs/runbooks/backup-failed.md"

logger = structlog.get_logger(__name__)


@contextmanager
def recorded(kind: BackupRun.Kind) -> Iterator[BackupRun]:
    """Do something that is to be known of; `name`, `bytes` and `detail` of the run may be set meanwhile."""
    run = BackupRun(kind=kind, started_at=timezone.now())
    _save(run)
    try:
        yield run
    except BaseException as error:
        if isinstance(error, UnderWay) and _is_done_by_another(run):
            run.delete()  # the other one's row says how it went
            raise
        run.detail = _in_words(error)
        _end(run)
        _tell(run)
        raise
    run.ok = True
    _end(run)


def newest_verified() -> str:
    """The name of the newest backup that was shown to restore; empty where none was."""
    verified = BackupRun.objects.filter(kind=BackupRun.Kind.VERIFY, ok=True).order_by("-name").first()
    return verified.name if verified else ""


def close_abandoned(kind: BackupRun.Kind, *, but: BackupRun) -> None:
    """Mark the runs that were killed; only who holds the lock of `postgres.connected` knows that they were."""
    killed = BackupRun.objects.filter(kind=kind, ended_at=None).exclude(pk=but.pk)
    killed.update(ended_at=timezone.now(), detail="Ended before its time: killed, or the machine stopped.")


def _is_done_by_another(run: BackupRun) -> bool:
    """Whether the same backups are being verified; a backup that is not taken is one that is missing."""
    if run.kind != BackupRun.Kind.VERIFY or run.pk is None:
        return False
    try:
        return BackupRun.objects.filter(kind=run.kind, ended_at=None).exclude(pk=run.pk).exists()
    except DatabaseError:
        return False


def _in_words(error: BaseException) -> str:
    if isinstance(error, BackupProblem):
        return str(error)
    if isinstance(error, SystemExit | KeyboardInterrupt):
        return "Stopped before it was done."
    if isinstance(error, psycopg.Error | DatabaseError):
        return f"The database refused: {first_line(str(error))}"
    return f"Unexpected: {type(error).__name__}."


def _end(run: BackupRun) -> None:
    run.ended_at = timezone.now()
    _save(run)
    log = logger.info if run.ok else logger.error
    log(f"{run.kind}_ended", ok=run.ok, name=run.name, bytes=run.bytes, detail=run.detail)


def _save(run: BackupRun) -> None:
    try:
        run.save()
    except DatabaseError as error:
        logger.error("backup_run_not_recorded", error=type(error).__name__)
    finally:
        if not connection.in_atomic_block:
            connection.close()  # a run may take longer than an idle connection lives


def _tell(run: BackupRun) -> None:
    what = run.get_kind_display()
    text = f"The {what} that began at {run.started_at:%Y-%m-%d %H:%M} UTC failed.\n\n{run.detail}\n\n{WHAT_NOW}\n"
    try:
        mail_admins(f"Remind: {what} failed", text)
    except OSError as error:
        logger.error("backup_mail_failed", error=type(error).__name__)
