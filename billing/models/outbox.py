"""What is to be done outside requests, kept as rows until it is done: events to process, mails, errands at Paddle.

A row is written with its cause, in one transaction; `billing.outbox` does what is due, and tries again with growing
pauses. What has failed for good waits here for a person. No row ever holds a token.
"""

from django.db import models
from django.db.models import Q
from django.utils import timezone

from licenses.models import License, LicenseToken


class State(models.TextChoices):
    WAITING = "waiting", "to be done"
    DONE = "done", "done"
    IGNORED = "ignored", "does not concern us"
    CANCELED = "canceled", "canceled"
    FLAGGED = "flagged", "needs a person"


class ToDo(models.Model):
    """Something that is tried until it is done."""

    state = models.CharField(max_length=8, choices=State.choices, default=State.WAITING)
    due_at = models.DateTimeField(default=timezone.now, help_text="UTC; not tried before this.")
    tries = models.PositiveIntegerField(default=0)
    note = models.TextField(blank=True, help_text="What went wrong, or what a person should look at.")
    created_at = models.DateTimeField(auto_now_add=True)
    done_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        abstract = True


class WebhookEvent(ToDo):
    """A notification from Paddle, as it came; or what its API said when we asked, in the same form."""

    event_id = models.CharField(max_length=150, unique=True)
    event_type = models.CharField(max_length=100)
    occurred_at = models.DateTimeField(null=True)
    subject = models.CharField(max_length=64, blank=True, help_text="The Paddle id of what it is about.")
    body = models.TextField(help_text="JSON, byte for byte.")

    class Meta:
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["subject", "occurred_at"], name="event_by_subject"),
            models.Index(fields=["due_at"], condition=Q(state="waiting"), name="event_due"),
            models.Index(fields=["id"], condition=Q(state="flagged"), name="event_flagged"),
            models.Index(fields=["created_at"], name="event_by_arrival"),
        ]

    def __str__(self) -> str:
        return f"{self.event_type} ({self.event_id})"


class Mail(ToDo):
    """A mail to a customer."""

    class Kind(models.TextChoices):
        TOKEN = "token", "your token"
        PLAN_CHANGED = "plan_changed", "plan changed"
        STOPPED = "stopped", "license stopped"
        EXPIRING = "expiring", "license ends soon"
        MERGED = "merged", "two subscriptions became one"
        QUOTA_80 = "quota_80", "80% of the month's quota used"
        QUOTA_100 = "quota_100", "the month's quota used up"
        CONFIRM_FREE = "confirm_free", "confirm a free license"

    kind = models.CharField(max_length=20, choices=Kind.choices)
    license = models.ForeignKey(License, on_delete=models.PROTECT, null=True, related_name="mails")
    to = models.EmailField(blank=True, help_text="Empty: the license's owner at the time of sending.")
    sent_to = models.EmailField(  # noqa: DJ001  # what runs beside a deploy does not know of it
        null=True, editable=False, help_text="The address that it left for."
    )
    words = models.JSONField(default=dict, help_text="What the template says beside the license.")
    once = models.CharField(  # noqa: DJ001  # many have none, and none is like another
        max_length=150, unique=True, null=True, help_text="A mail of this name is sent once."
    )
    token = models.ForeignKey(LicenseToken, on_delete=models.PROTECT, null=True, related_name="+")

    class Meta:
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["due_at"], condition=Q(state="waiting"), name="mail_due"),
            models.Index(fields=["id"], condition=Q(state="flagged"), name="mail_flagged"),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} to {self.sent_to or self.to or self.license}"


class Errand(ToDo):
    """Something to ask of Paddle's API."""

    class Kind(models.TextChoices):
        FETCH_CUSTOMER = "fetch_customer", "look up a customer"
        CANCEL_SUBSCRIPTION = "cancel_subscription", "cancel a subscription at its period's end"

    kind = models.CharField(max_length=20, choices=Kind.choices)
    subject = models.CharField(max_length=64, help_text="A Paddle id.")

    class Meta:
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["due_at"], condition=Q(state="waiting"), name="errand_due"),
            models.Index(fields=["id"], condition=Q(state="flagged"), name="errand_flagged"),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["kind", "subject"], condition=Q(state="waiting"), name="one_errand_at_a_time"
            )
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()}: {self.subject}"
