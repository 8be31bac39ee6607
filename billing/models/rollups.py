"""Daily sums, so that no figure on the console's home grows with the ledger. `billing.rollups` and `billing.refusals`
keep them; the ledger itself is in `billing.models.ledger`.
"""

from django.db import models

from billing.models.ledger import usd
from licenses.models import Plan


class DailyUsage(models.Model):
    """What the ledger holds of one UTC day (by when an entry was made) and plan."""

    day = models.DateField()
    plan = models.ForeignKey(Plan, on_delete=models.PROTECT, related_name="+")
    answered = models.PositiveIntegerField(default=0)
    degraded = models.PositiveIntegerField(default=0, help_text="Released, for whatever reason but 'never finished'.")
    outcomes = models.JSONField(default=dict, help_text="Each outcome and how often.")
    charged_cents = models.BigIntegerField("charged, US cents", default=0, help_text="Less what was corrected.")
    provider_cost_usd = usd("provider cost, US dollars")
    input_tokens = models.BigIntegerField(default=0)
    output_tokens = models.BigIntegerField(default=0)
    is_final = models.BooleanField(default=False, help_text="The day was over when this was summed up.")
    as_of = models.DateTimeField()

    class Meta:
        ordering = ["-day", "plan"]
        verbose_name_plural = "daily usage"
        constraints = [models.UniqueConstraint(fields=["day", "plan"], name="one_rollup_a_plan")]

    def __str__(self) -> str:
        return f"{self.day}, {self.plan}: {self.answered} answered"


class DailyRefusals(models.Model):
    """How often the API refused on one UTC day, by code and license."""

    day = models.DateField()
    code = models.CharField(max_length=40)
    license_number = models.PositiveBigIntegerField(default=0, help_text="0: nobody knows whose.")
    count = models.PositiveIntegerField(default=0)

    class Meta:
        ordering = ["-day", "code"]
        verbose_name_plural = "daily refusals"
        constraints = [models.UniqueConstraint(fields=["license_number", "day", "code"], name="one_count_a_code")]
        indexes = [models.Index(fields=["day"], name="refusals_by_day")]

    def __str__(self) -> str:
        return f"{self.day}, {self.code}: {self.count}"
