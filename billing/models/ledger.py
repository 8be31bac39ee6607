"""What use costs: the month's counter, the ledger, prices, bonus units, and answers kept for repeated keys.

The rows change only through `billing.quota` (reserve, settle, release, bonus), `billing.idempotency` and
`billing.budget`; the database itself refuses to change a settled entry (`billing.ledger_guard`). Who may use the
service is in `licenses`. Reminder texts are never stored.
"""

from datetime import datetime
from decimal import Decimal

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q

from licenses.models import License, LicenseToken, Plan


def usd(name: str) -> "models.DecimalField[Decimal, Decimal]":
    """An exact amount of US dollars: a price has 6 decimals and is per million tokens, which makes 12."""
    return models.DecimalField(name, max_digits=24, decimal_places=12, default=Decimal(0))


def usd_per_million(help_text: str) -> "models.DecimalField[Decimal, Decimal]":
    """A price in US dollars per million tokens."""
    return models.DecimalField(max_digits=12, decimal_places=6, validators=[MinValueValidator(0)], help_text=help_text)


class ModelPriceManager(models.Manager["ModelPrice"]):
    """Prices, found by model and beginning where data comes from another database."""

    def get_by_natural_key(self, model: str, valid_from: datetime) -> "ModelPrice":
        return self.get(model=model, valid_from=valid_from)


class ModelPrice(models.Model):
    """What a model costs from a moment on. Never changed: a new price is a new row."""

    model = models.CharField(max_length=100, help_text="As configured, for example gpt-5-nano.")
    valid_from = models.DateTimeField(help_text="UTC.")
    provider_input = usd_per_million("US dollars per million input tokens, to the provider.")
    provider_cached_input = usd_per_million("The same for input that it had cached.")
    provider_output = usd_per_million("The same for output tokens, reasoning included.")
    charged_input = usd_per_million("US dollars per million input tokens, to the customer.")
    charged_output = usd_per_million("The same for output tokens.")

    objects = ModelPriceManager()

    class Meta:
        ordering = ["model", "-valid_from"]
        constraints = [models.UniqueConstraint(fields=["model", "valid_from"], name="one_price_a_moment")]

    def __str__(self) -> str:
        return f"{self.model} from {self.valid_from:%Y-%m-%d}"

    def natural_key(self) -> tuple[str, str]:
        return self.model, self.valid_from.isoformat()


class Outcome(models.TextChoices):
    """Why an entry is as it is: answered, or what came between."""

    ANSWERED = "answered"
    PROVIDER_TIMEOUT = "provider_timeout", "provider took too long"
    PROVIDER_UNAVAILABLE = "provider_unavailable", "provider unavailable"
    PROVIDER_MISCONFIGURED = "provider_misconfigured", "provider refused our request"
    PROVIDER_INVALID = "provider_invalid", "provider answered nonsense"
    ANSWER_INVALID = "answer_invalid", "the model's answer was no suggestion"
    PROVIDER_REFUSED = "provider_refused", "provider refused the text"
    BREAKER_OPEN = "breaker_open", "provider resting after failures"
    CORRECTED = "corrected", "a charge taken back by staff"
    BUDGET_SPENT = "budget_spent", "the day's budget was spent"
    MISFIRES_SPENT = "misfires_spent", "too many unusable answers today"
    PRICE_MISSING = "price_missing", "no price for the model"
    TOO_LATE = "too_late", "no time was left to ask the provider"
    ABANDONED = "abandoned", "never finished"


# What one customer's own text provoked: paid by us, so a license gets a few a day and no more.
MISFIRES = frozenset({Outcome.ANSWER_INVALID, Outcome.PROVIDER_REFUSED})


class UsageRecord(models.Model):
    """A ledger entry: one unit of quota reserved, and what became of it.

    Reserved becomes settled (charged, final) or released (free; keeps what the provider cost us). Since a settled
    entry never changes, a wrong one is corrected by a further one, with a negative charge, that names it.
    """

    class State(models.TextChoices):
        RESERVED = "reserved"
        SETTLED = "settled"
        RELEASED = "released"

    license = models.ForeignKey(License, on_delete=models.PROTECT, related_name="usage_records")
    token = models.ForeignKey(LicenseToken, on_delete=models.PROTECT, null=True, related_name="+")
    plan = models.ForeignKey(Plan, on_delete=models.PROTECT, related_name="+", help_text="At that time.")
    month = models.DateField(help_text="First day of the UTC month that the unit was taken from.")
    state = models.CharField(max_length=8, choices=State.choices, default=State.RESERVED)
    outcome = models.CharField(max_length=24, choices=Outcome.choices, blank=True)
    request_id = models.CharField(max_length=64)
    model = models.CharField(max_length=100, help_text="The configured model, by which prices are kept.")
    price = models.ForeignKey(ModelPrice, on_delete=models.PROTECT, null=True, related_name="+")
    input_tokens = models.PositiveIntegerField(default=0)
    cached_tokens = models.PositiveIntegerField(default=0, help_text="The part of input that was cached.")
    output_tokens = models.PositiveIntegerField(default=0)
    usage_missing = models.BooleanField(default=False, help_text="The provider did not say what it used.")
    provider_cost_usd = usd("provider cost, US dollars")
    charge_cents = models.IntegerField("charge, US cents", default=0)
    units = models.SmallIntegerField(
        default=1, db_default=1, help_text="Of the month's quota; a correction gives back one (-1) or none (0)."
    )
    corrects = models.OneToOneField(
        "self", on_delete=models.PROTECT, null=True, blank=True, related_name="correction",
        help_text="The settled entry whose charge this one takes back.",
    )  # fmt: skip
    created_at = models.DateTimeField(db_index=True)
    closed_at = models.DateTimeField(null=True, blank=True, help_text="When it was settled or released.")

    class Meta:
        ordering = ["-id"]
        verbose_name, verbose_name_plural = "ledger entry", "ledger entries"
        indexes = [
            models.Index(fields=["license", "-created_at"], name="usage_by_license"),
            models.Index(fields=["created_at"], condition=Q(state="reserved"), name="usage_open"),
            models.Index(fields=["license"], condition=Q(state="reserved"), name="usage_open_by_license"),
            models.Index(fields=["request_id"], name="usage_by_request"),
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(corrects=None, units=1, charge_cents__gte=0)
                | Q(corrects__isnull=False, units__in=[0, -1], charge_cents__lte=0, state="settled"),
                name="only_corrections_give_back",
            )
        ]

    def __str__(self) -> str:
        return f"Entry {self.pk} ({self.state})"


class MonthlyUsage(models.Model):
    """The counter of one license and UTC month, so that no check grows with the history.

    `used` counts settled entries and open reservations; it is what the quota is held against.
    """

    license = models.ForeignKey(License, on_delete=models.PROTECT, related_name="monthly_usage")
    month = models.DateField(help_text="First day of the UTC month.")
    used = models.PositiveIntegerField(default=0)
    bonus_units = models.PositiveIntegerField(default=0)
    charged_cents = models.PositiveIntegerField("charged, US cents", default=0)
    misfires = models.PositiveIntegerField(default=0, help_text="Unusable answers on the day below.")
    misfires_on = models.DateField(null=True, blank=True)
    warned = models.PositiveSmallIntegerField(default=0, help_text="Percent used, as last told to the owner.")

    class Meta:
        ordering = ["-month", "license"]
        verbose_name_plural = "monthly usage"
        constraints = [models.UniqueConstraint(fields=["license", "month"], name="one_counter_a_month")]

    def __str__(self) -> str:
        return f"{self.license_id} in {self.month:%Y-%m}: {self.used}"

    def remaining(self, monthly_quota: int) -> int:
        """Units that are left of a monthly quota (before bonus units)."""
        return max(0, monthly_quota + self.bonus_units - self.used)


class BonusGrant(models.Model):
    """Extra units for one license and month, with who gave them and why."""

    license = models.ForeignKey(License, on_delete=models.PROTECT, related_name="bonus_grants")
    month = models.DateField(help_text="First day of the UTC month.")
    units = models.PositiveIntegerField(validators=[MinValueValidator(1), MaxValueValidator(1_000_000)])
    by = models.CharField(max_length=150)
    reason = models.CharField(max_length=500)
    at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.units} units for {self.license_id} in {self.month:%Y-%m}"


class IdempotencyKey(models.Model):
    """A client's Idempotency-Key, the entry it stands for, and, once settled, the answer to repeat."""

    license = models.ForeignKey(License, on_delete=models.PROTECT, related_name="+")
    key = models.CharField(max_length=255)
    input_digest = models.CharField(max_length=64)
    entry = models.OneToOneField(UsageRecord, on_delete=models.PROTECT, related_name="idempotency_key")
    answer = models.JSONField(null=True)
    expires_at = models.DateTimeField(db_index=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["license", "key"], name="one_key_a_license")]

    def __str__(self) -> str:
        return f"Key of entry {self.entry_id}"


class DailySpend(models.Model):
    """What the provider took from us on a UTC day, in a few rows so that no single one is a bottleneck."""

    SLOTS = 16

    day = models.DateField(help_text="UTC; the day on which the calls began.")
    slot = models.PositiveSmallIntegerField(help_text="The license's number modulo 16.")
    cost_usd = usd("cost, US dollars")

    class Meta:
        ordering = ["-day", "slot"]
        constraints = [models.UniqueConstraint(fields=["day", "slot"], name="one_spend_a_slot")]

    def __str__(self) -> str:
        return f"{self.day} #{self.slot}: {self.cost_usd}"


class OperatorNotice(models.Model):
    """Something an operator is to be told, once; written with its cause and mailed by housekeeping."""

    class Kind(models.TextChoices):
        BUDGET_SPENT = "budget_spent", "the day's AI budget is spent"

    kind = models.CharField(max_length=24, choices=Kind.choices)
    day = models.DateField()
    text = models.CharField(max_length=500)
    created_at = models.DateTimeField(auto_now_add=True)
    sent_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-id"]
        constraints = [models.UniqueConstraint(fields=["kind", "day"], name="one_notice_a_day")]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} ({self.day})"
