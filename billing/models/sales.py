"""What was sold: customers, their subscriptions, payments and adjustments, as facts about objects at Paddle.

A row exists from the first time its Paddle id is heard of, so facts may still be empty. They are written by
`billing.paddle.events` alone, from the events kept in `billing.models.outbox`; what they entitle to is said by
`billing.entitlements`.
"""

from django.db import models
from django.db.models import Q

from licenses.models import License, Plan


def paddle_id() -> "models.CharField[str, str]":
    return models.CharField("Paddle id", max_length=64, unique=True)


class PlanPrice(models.Model):
    """Which plan a price at Paddle buys."""

    class Interval(models.TextChoices):
        MONTH = "month"
        YEAR = "year"

    price_id = models.CharField("Paddle price id", max_length=64, unique=True, help_text="pri_…")
    plan = models.ForeignKey(Plan, on_delete=models.PROTECT, related_name="prices")
    interval = models.CharField(max_length=5, choices=Interval.choices, default=Interval.MONTH)
    is_offered = models.BooleanField(
        "offered", default=True, help_text="New buyers pay this price; off: only those who pay it already."
    )

    class Meta:
        ordering = ["plan__order", "interval", "-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["plan", "interval"],
                condition=Q(is_offered=True),
                name="one_offered_price",
                violation_error_message="Another price is offered for this plan and interval.",
            )
        ]

    def __str__(self) -> str:
        return f"{self.plan} a {self.interval} ({self.price_id})"


class Customer(models.Model):
    """A buyer as Paddle knows them."""

    paddle_id = paddle_id()
    email = models.EmailField(blank=True, db_index=True)
    name = models.CharField(max_length=200, blank=True)
    license = models.OneToOneField(
        License, on_delete=models.PROTECT, null=True, blank=True, related_name="customer",
        help_text="Issued for this customer's first subscription.",
    )  # fmt: skip
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return self.email or self.paddle_id


class Subscription(models.Model):
    """The facts about a subscription, and what they entitle to."""

    class Status(models.TextChoices):
        TRIALING = "trialing"
        ACTIVE = "active"
        PAST_DUE = "past_due", "past due"
        PAUSED = "paused"
        CANCELED = "canceled"

    paddle_id = paddle_id()
    customer = models.ForeignKey(Customer, on_delete=models.PROTECT, null=True, related_name="subscriptions")
    license = models.ForeignKey(License, on_delete=models.PROTECT, null=True, related_name="subscriptions")

    # Facts
    status = models.CharField(max_length=8, choices=Status.choices, blank=True)
    status_since = models.DateTimeField(null=True, help_text="UTC; when it became so.")
    price_ids = models.JSONField(default=list)
    former_price_ids = models.JSONField(default=list, help_text="Newest first.")
    quantity = models.PositiveIntegerField(default=1)
    period_starts_at = models.DateTimeField(null=True)
    period_ends_at = models.DateTimeField(null=True, help_text="UTC; of the last billing period that was heard of.")
    unpaid_from = models.DateTimeField(null=True, help_text="UTC; where the unpaid period begins, once past due.")
    scheduled_action = models.CharField(max_length=20, blank=True, help_text="What is to become of it: cancel, pause.")
    scheduled_at = models.DateTimeField(null=True)
    custom_license = models.CharField(max_length=200, blank=True, help_text="Our signed license number, if any.")

    # What follows from them, and what was done about it
    plan = models.ForeignKey(Plan, on_delete=models.PROTECT, null=True, related_name="+")
    entitled_until = models.DateTimeField(null=True)
    end_handled = models.BooleanField(default=True, help_text="Off until its end, once past, was acted upon.")
    superseded_by = models.ForeignKey(
        "self", on_delete=models.PROTECT, null=True, related_name="supersedes",
        help_text="The better subscription in whose favour we asked Paddle to cancel this one.",
    )  # fmt: skip
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["entitled_until"], condition=Q(end_handled=False), name="subscription_ending"),
        ]

    def __str__(self) -> str:
        return f"{self.paddle_id} ({self.get_status_display() or 'not heard of yet'})"


class Payment(models.Model):
    """A transaction at Paddle. Money has come in only where its status is `completed`."""

    COMPLETED = "completed"

    paddle_id = paddle_id()
    subscription = models.ForeignKey(Subscription, on_delete=models.PROTECT, null=True, related_name="payments")
    customer = models.ForeignKey(Customer, on_delete=models.PROTECT, null=True, related_name="payments")
    status = models.CharField(max_length=20, blank=True)
    amount = models.BigIntegerField(default=0, help_text="In the currency's smallest unit, tax included.")
    tax = models.BigIntegerField(default=0)
    currency = models.CharField(max_length=3, blank=True)
    period_starts_at = models.DateTimeField(null=True)
    period_ends_at = models.DateTimeField(null=True)
    completed_at = models.DateTimeField(null=True, db_index=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.paddle_id} ({self.status or 'not heard of yet'})"


class Adjustment(models.Model):
    """A refund, chargeback or credit on a payment. It counts only where its status is `approved`."""

    APPROVED = "approved"
    REFUND, CHARGEBACK, CHARGEBACK_REVERSE = "refund", "chargeback", "chargeback_reverse"

    paddle_id = paddle_id()
    payment = models.ForeignKey(Payment, on_delete=models.PROTECT, null=True, related_name="adjustments")
    action = models.CharField(max_length=40, blank=True)
    status = models.CharField(max_length=20, blank=True)
    amount = models.BigIntegerField(default=0, help_text="In the currency's smallest unit, tax included.")
    currency = models.CharField(max_length=3, blank=True)
    is_full = models.BooleanField(default=False, help_text="Paddle says that it covers the whole payment.")
    approved_at = models.DateTimeField(null=True, db_index=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.action} ({self.status})"


class FreeClaim(models.Model):
    """That an email address has had its free license: there is one each."""

    address = models.EmailField(unique=True, help_text="Lower case, without a +tag.")
    license = models.OneToOneField(License, on_delete=models.PROTECT, related_name="free_claim")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return self.address
