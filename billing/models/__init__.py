"""The rows of billing: the ledger and its counters, what was sold, and what is still to be done outside requests."""

from billing.models.ledger import (
    MISFIRES,
    BonusGrant,
    DailySpend,
    IdempotencyKey,
    ModelPrice,
    MonthlyUsage,
    OperatorNotice,
    Outcome,
    UsageRecord,
)
from billing.models.outbox import Errand, Mail, State, WebhookEvent
from billing.models.rollups import DailyRefusals, DailyUsage
from billing.models.sales import Adjustment, Customer, FreeClaim, Payment, PlanPrice, Subscription

__all__ = [
    "MISFIRES",
    "Adjustment",
    "BonusGrant",
    "Customer",
    "DailyRefusals",
    "DailySpend",
    "DailyUsage",
    "Errand",
    "FreeClaim",
    "IdempotencyKey",
    "Mail",
    "ModelPrice",
    "MonthlyUsage",
    "OperatorNotice",
    "Outcome",
    "Payment",
    "PlanPrice",
    "State",
    "Subscription",
    "UsageRecord",
    "WebhookEvent",
]
