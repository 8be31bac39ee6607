"""Who may use the service: plans, licenses, their tokens, and the audit trail of what was done to them.

Whether a license may act is decided in `licenses.decisions`; every change goes through `licenses.lifecycle`,
which writes the audit trail. What use costs lives in `billing`.
"""

from datetime import datetime, timedelta

from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.utils import timezone

MOST = 1_000_000_000  # of anything that is counted; "without limit" in practice, and far from overflowing
LAST_USED_PRECISION = timedelta(minutes=1)


class PlanManager(models.Manager["Plan"]):
    """Plans, found by slug where data comes from another database."""

    def get_by_natural_key(self, slug: str) -> "Plan":
        return self.get(slug=slug)


class Plan(models.Model):
    """What is sold: the defaults that a license holds unless it overrides them."""

    slug = models.CharField(
        max_length=31,
        unique=True,
        validators=[RegexValidator(r"^[a-z][a-z0-9-]{2,30}$", "3 to 31 of a-z, 0-9 and '-', a letter first.")],
        help_text="Part of every token of this plan, so it can't change once tokens exist.",
    )
    name = models.CharField(max_length=60)
    monthly_quota = models.PositiveIntegerField(
        validators=[MaxValueValidator(MOST)], help_text="Suggestions per UTC calendar month."
    )
    rate_limit = models.PositiveIntegerField(
        default=10,
        validators=[MinValueValidator(1), MaxValueValidator(MOST)],
        help_text="Requests per minute and license.",
    )
    price_cents = models.PositiveIntegerField(help_text="US cents per month.")
    order = models.PositiveSmallIntegerField(default=0, help_text="Position in lists, lowest first.")
    is_public = models.BooleanField(default=True, help_text="Offered for sale.")
    is_active = models.BooleanField(default=True, help_text="Licenses of an inactive plan are refused.")

    objects = PlanManager()

    class Meta:
        ordering = ["order", "slug"]
        constraints = [models.CheckConstraint(condition=models.Q(rate_limit__gte=1), name="plan_rate_limit_positive")]

    def __str__(self) -> str:
        return self.name

    def natural_key(self) -> tuple[str]:
        return (self.slug,)


class Ending(models.TextChoices):
    """Why a paid license stops when it does."""

    NOT_RENEWED = "not_renewed", "no renewal was seen"
    CANCELED = "canceled", "the subscription was cancelled"
    PAST_DUE = "past_due", "the last payment failed"
    PAUSED = "paused", "the subscription is paused"
    REFUNDED = "refunded", "the payment was refunded"
    CHARGED_BACK = "charged_back", "the payment was charged back"


TAKEN_BACK = frozenset({Ending.REFUNDED, Ending.CHARGED_BACK})


class License(models.Model):
    """One customer's right to use the service."""

    email = models.EmailField("owner's email", db_index=True)
    plan = models.ForeignKey(Plan, on_delete=models.PROTECT, related_name="licenses")
    starts_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField(null=True, blank=True, help_text="UTC; empty: never.")
    quota_override = models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=[MaxValueValidator(MOST)],
        help_text="Suggestions per month; empty: the plan's.",
    )
    rate_override = models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(MOST)],
        help_text="Requests per minute; empty: the plan's.",
    )
    suspended_at = models.DateTimeField(null=True, blank=True)
    suspended_by = models.CharField(max_length=150, blank=True)
    suspension_reason = models.CharField(max_length=500, blank=True)
    notes = models.TextField(blank=True)
    sends_notices = models.BooleanField(
        default=True, help_text="Mail the owner about plan, payments and quota. Tokens are mailed in any case."
    )
    created_at = models.DateTimeField(auto_now_add=True)

    # What payments say, beside what people decided above: neither writes the other's.
    paid_plan = models.ForeignKey(
        Plan, on_delete=models.PROTECT, null=True, blank=True, related_name="+",
        help_text="The plan that is paid for; empty: this license needs no payments.",
    )  # fmt: skip
    plan_is_kept = models.BooleanField(
        "plan was chosen by staff", default=False, help_text="The plan no longer follows payments."
    )
    paid_until = models.DateTimeField(null=True, blank=True, help_text="UTC; grace included.")
    paid_ending = models.CharField(max_length=12, choices=Ending.choices, blank=True, help_text="Why it ends then.")

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(rate_override__isnull=True) | models.Q(rate_override__gte=1),
                name="license_rate_override_positive",
            )
        ]

    def __str__(self) -> str:
        return f"License {self.pk} ({self.email})"

    @property
    def monthly_quota(self) -> int:
        """Suggestions per month, before bonus units."""
        return self.plan.monthly_quota if self.quota_override is None else self.quota_override

    @property
    def ends_at(self) -> datetime | None:
        """When it stops by what is known now (UTC), None for never; suspensions apart.

        On a paid license, an expiry set by staff is an extension: it holds where it is later than what is paid for,
        unless the money was taken back.
        """
        if self.paid_plan_id is None:
            return self.expires_at
        if self.paid_ending in TAKEN_BACK:
            return self.paid_until
        ends = [moment for moment in (self.paid_until, self.expires_at) if moment is not None]
        return max(ends, default=self.created_at)

    @property
    def rate_limit(self) -> int:
        """Requests per minute."""
        return self.plan.rate_limit if self.rate_override is None else self.rate_override


class LicenseToken(models.Model):
    """One key to a license. A team has several: one a machine, or an old and a new one during rotation."""

    license = models.ForeignKey(License, on_delete=models.PROTECT, related_name="tokens")
    digest = models.CharField(max_length=64, unique=True, editable=False)
    prefix = models.CharField("visible prefix", max_length=50, db_index=True, editable=False)
    label = models.CharField(max_length=60, blank=True, help_text="For people: whose or which machine's.")
    created_at = models.DateTimeField(auto_now_add=True)
    last_used_at = models.DateTimeField(null=True, blank=True, help_text="To the minute.")
    expires_at = models.DateTimeField(null=True, blank=True, help_text="UTC; the end of a rotation's grace.")
    revoked_at = models.DateTimeField(null=True, blank=True)
    is_unsent = models.BooleanField(default=False, help_text="Made for a mail that has not left yet.")

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.prefix}…"

    def is_usable(self, now: datetime) -> bool:
        """Neither revoked nor past its grace."""
        return self.revoked_at is None and (self.expires_at is None or self.expires_at > now)

    def touch(self, now: datetime) -> None:
        """Remember that it was used; written at most once a minute."""
        if self.last_used_at is None or self.last_used_at <= now - LAST_USED_PRECISION:
            LicenseToken.objects.filter(pk=self.pk).update(last_used_at=now)


class AuditEvent(models.Model):
    """One thing that was done: to which license, who, when, what and why. Never changed, never deleted."""

    class Action(models.TextChoices):
        ISSUED = "issued"
        SUSPENDED = "suspended"
        REINSTATED = "reinstated"
        EXTENDED = "extended"
        PLAN_CHANGED = "plan_changed", "plan changed"
        LIMITS_CHANGED = "limits_changed", "limits changed"
        TOKEN_ISSUED = "token_issued", "token issued"
        TOKEN_ROTATED = "token_rotated", "token rotated"
        TOKEN_REVOKED = "token_revoked", "token revoked"
        BONUS_GRANTED = "bonus_granted", "bonus granted"
        EMAIL_CHANGED = "email_changed", "email changed"
        PAYMENTS_CHANGED = "payments_changed", "payments changed"
        NOTES_CHANGED = "notes_changed", "notes changed"
        CHARGE_CORRECTED = "charge_corrected", "charge corrected"
        MAIL_QUEUED = "mail_queued", "mail sent anew"
        MAIL_CANCELED = "mail_canceled", "mail canceled"
        TRIED_AGAIN = "tried_again", "tried again"
        SEEN_TO = "seen_to", "seen to by a person"
        CATALOG_CHANGED = "catalog_changed", "plan or price changed"
        STAFF_CHANGED = "staff_changed", "staff or role changed"
        SECOND_FACTOR_RESET = "2fa_reset", "second factor taken away"

    license = models.ForeignKey(
        License, on_delete=models.PROTECT, related_name="audit_events", null=True, blank=True,
        help_text="Empty where no license is concerned.",
    )  # fmt: skip
    about = models.CharField(max_length=200, blank=True, help_text="What it was done to, beside the license.")
    token = models.ForeignKey(LicenseToken, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    at = models.DateTimeField(auto_now_add=True)
    by = models.CharField(max_length=150)
    action = models.CharField(max_length=20, choices=Action.choices)
    reason = models.CharField(max_length=500, blank=True)
    changes = models.JSONField(default=dict, blank=True, help_text="Field to its value before and after.")

    class Meta:
        ordering = ["-id"]
        indexes = [models.Index(fields=["license", "-at"], name="audit_by_license")]

    def __str__(self) -> str:
        return f"{self.get_action_display()} by {self.by}"
