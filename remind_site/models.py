"""Who came into the console, and how backups went. The accounts themselves are Django's; everything else has an app
of its own.
"""

from django.conf import settings
from django.db import models


class LogIn(models.Model):
    """One log-in, log-out or failed try. Never changed."""

    class What(models.TextChoices):
        LOGGED_IN = "logged_in", "logged in"
        SECOND_FACTOR = "second_factor", "gave the second factor"
        ENROLLED = "enrolled", "enrolled a second factor"
        RECOVERED = "recovered", "used a recovery code"
        NEW_CODES = "new_codes", "made new recovery codes"
        LOGGED_OUT = "logged_out", "logged out"
        FAILED = "failed", "wrong name or password"
        WRONG_CODE = "wrong_code", "wrong code"
        BLOCKED = "blocked", "blocked: too many tries"

    at = models.DateTimeField(auto_now_add=True, db_index=True)
    what = models.CharField(max_length=16, choices=What.choices)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    username = models.CharField(max_length=150, help_text="As it was typed; so of somebody who is not known, too.")
    address = models.CharField(max_length=60, blank=True)

    class Meta:
        ordering = ["-id"]
        verbose_name = "log-in"

    def __str__(self) -> str:
        return f"{self.username} {self.get_what_display()}"


class BackupRun(models.Model):
    """One backup, or one proof that the newest restores. Kept for ever: there are two a day."""

    class Kind(models.TextChoices):
        BACKUP = "backup", "backup"
        VERIFY = "verify", "verification of the backup"

    kind = models.CharField(max_length=8, choices=Kind.choices)
    name = models.CharField(max_length=60, blank=True, help_text="The backup that was taken or verified.")
    started_at = models.DateTimeField(help_text="UTC.")
    ended_at = models.DateTimeField(null=True, blank=True)
    ok = models.BooleanField("went well", default=False)
    detail = models.TextField(blank=True, help_text="What went wrong, or is to be known.")
    bytes = models.PositiveBigIntegerField(default=0, help_text="Of the dump as it is stored.")

    class Meta:
        ordering = ["-id"]
        indexes = [models.Index(fields=["kind", "-ended_at"], name="backup_run_by_kind")]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} of {self.started_at:%Y-%m-%d %H:%M}"
