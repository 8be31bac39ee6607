"""The day's budget with the provider: what it took from us today, and whether that is all we allow.

The spend is kept always and held against `AI_DAILY_BUDGET_USD` where that is set. It is checked before each
call and added to after it, so it can be overrun by the calls that are open at that moment, and by what a provider
does not report (of a call that timed out, say).
"""

from datetime import date
from decimal import Decimal
from typing import Any

import structlog
from django.conf import settings
from django.core.mail import mail_admins
from django.db.models import F, Sum
from django.utils import timezone

from billing.models import DailySpend, OperatorNotice, UsageRecord

logger = structlog.get_logger(__name__)


def add(entry: UsageRecord, cost_usd: Decimal) -> None:
    """Add what an entry's call cost to the UTC day on which it began; inside the entry's own transaction."""
    if not cost_usd:
        return
    row = slot_of(entry)
    if not _increase(row, cost_usd):
        DailySpend.objects.bulk_create([DailySpend(**row)], ignore_conflicts=True)
        _increase(row, cost_usd)


def slot_of(entry: UsageRecord) -> dict[str, Any]:
    """Which of the day's rows an entry's cost is added to."""
    return {"day": entry.created_at.date(), "slot": entry.license_id % DailySpend.SLOTS}


def spent_on(day: date) -> Decimal:
    """What the provider took from us on a UTC day, in US dollars."""
    return DailySpend.objects.filter(day=day).aggregate(total=Sum("cost_usd"))["total"] or Decimal(0)


def is_limited() -> bool:
    """Whether there is a budget at all."""
    return settings.AI_DAILY_BUDGET_USD is not None


def is_used_up_by(spent_usd: Decimal) -> bool:
    """Whether that is all that the budget, where there is one, allows for a day."""
    allowed: Decimal | None = settings.AI_DAILY_BUDGET_USD
    return allowed is not None and spent_usd >= allowed


def note_spent(day: date) -> None:
    """See to it that operators are told, once a day, that the budget is spent: in the log now, by mail soon."""
    kind = OperatorNotice.Kind.BUDGET_SPENT
    if OperatorNotice.objects.filter(kind=kind, day=day).exists():
        return
    allowed = settings.AI_DAILY_BUDGET_USD
    text = f"The AI budget of {allowed} US dollars for {day} (UTC) is spent: until midnight every answer is degraded."
    OperatorNotice.objects.bulk_create([OperatorNotice(kind=kind, day=day, text=text)], ignore_conflicts=True)
    logger.error("ai_budget_spent", day=str(day), budget_usd=str(allowed))


def send_notices() -> int:
    """Mail the operators (`OPERATOR_EMAILS`) what they were not told yet; says how many mails."""
    return sum(_send(notice) for notice in OperatorNotice.objects.filter(sent_at=None))


def _increase(row: dict[str, Any], cost_usd: Decimal) -> bool:
    return DailySpend.objects.filter(**row).update(cost_usd=F("cost_usd") + cost_usd) == 1


def _send(notice: OperatorNotice) -> bool:
    try:
        mail_admins(f"Remind: {notice.get_kind_display()}", notice.text)
    except OSError as error:  # the next sweep tries again
        logger.error("operator_notice_failed", notice=notice.pk, error=type(error).__name__)
        return False
    # Marked only now: told twice, if this process dies in between, is better than never.
    OperatorNotice.objects.filter(pk=notice.pk).update(sent_at=timezone.now())
    return True
