"""What is counted about quota, money and the outbox.

Counters hold what web processes did. What is done elsewhere too (by the worker, by commands) is read from the database
at each scrape, in `from_database`: a handful of statements, each on an index or on rows that stay few, so that they
cost the same with ten million entries in the ledger. Amounts become floating-point numbers here, for drawing only.
"""

from collections import Counter as Tally
from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Count, Min, Q
from django.utils import timezone
from prometheus_client import Counter, Metric
from prometheus_client.core import GaugeMetricFamily

from billing import budget
from billing.models import DailyUsage, Errand, Mail, Outcome, State, UsageRecord, WebhookEvent
from billing.usage import Usage
from licenses.metrics import exact

RESERVED, SETTLED, RELEASED, ABANDONED = "reserved", "settled", "released", "abandoned"
OUTBOX: dict[str, Any] = {"webhook_event": WebhookEvent, "mail": Mail, "errand": Errand}

UNITS = Counter(
    "remind_quota_units_total",
    "Units of quota in web processes: reserved, settled, released, or given up after their time as abandoned.",
    ["step"],
)
CHARGED = Counter("remind_charged_cents_total", "US cents charged, in web processes.")
CORRECTED = Counter("remind_corrected_cents_total", "US cents of charges taken back, in web processes.")
PROVIDER_COST = Counter(
    "remind_provider_cost_usd_total", "US dollars that the provider took, by the prices kept here, in web processes."
)
PROVIDER_TOKENS = Counter("remind_provider_tokens_total", "Tokens as the provider reported them.", ["kind"])

for _step in (RESERVED, SETTLED, RELEASED, ABANDONED):  # else their first event would be hidden from rate()
    UNITS.labels(_step)
for _kind in ("input", "cached", "output"):
    PROVIDER_TOKENS.labels(_kind)


def reserved() -> None:
    """Count a reservation, once it is committed."""
    transaction.on_commit(UNITS.labels(RESERVED).inc, robust=True)


def settled(charge_cents: int, used: Usage, cost_usd: Decimal) -> None:
    """Count a settled entry and what it brought and cost, once it is committed."""
    transaction.on_commit(partial(_closed, SETTLED, charge_cents, used, cost_usd), robust=True)


def released(outcome: Outcome, used: Usage, cost_usd: Decimal) -> None:
    """Count a released entry and what it cost all the same, once that is committed."""
    step = ABANDONED if outcome == Outcome.ABANDONED else RELEASED
    transaction.on_commit(partial(_closed, step, 0, used, cost_usd), robust=True)


def cost_noted(used: Usage, cost_usd: Decimal) -> None:
    """Count what an entry cost that had been released before, once that is committed."""
    transaction.on_commit(partial(_count_cost, used, cost_usd), robust=True)


def corrected(cents: int) -> None:
    """Count a charge taken back, once that is committed."""
    transaction.on_commit(partial(CORRECTED.inc, cents), robust=True)


def _closed(step: str, charge_cents: int, used: Usage, cost_usd: Decimal) -> None:
    UNITS.labels(step).inc()
    CHARGED.inc(charge_cents)
    _count_cost(used, cost_usd)


def _count_cost(used: Usage, cost_usd: Decimal) -> None:
    PROVIDER_COST.inc(exact(float(cost_usd), bits=36))
    PROVIDER_TOKENS.labels("input").inc(used.input_tokens)
    PROVIDER_TOKENS.labels("cached").inc(used.cached_tokens)
    PROVIDER_TOKENS.labels("output").inc(used.output_tokens)


def from_database() -> Iterator[Metric]:
    """The state of billing as it is now, whoever brought it about.

    Raises:
        django.db.Error: it can't be asked.
    """
    now = timezone.now()
    yield from _reservations(now)
    yield from _budget(now)
    yield from _today(now)
    yield from _outbox(now)
    yield _received(now)


def _reservations(now: datetime) -> Iterator[Metric]:
    from billing.quota import RESERVATION_TTL  # which counts here

    open_entries = UsageRecord.objects.filter(state=UsageRecord.State.RESERVED).order_by()
    abandoned = Q(created_at__lt=now - RESERVATION_TTL)
    counts = open_entries.aggregate(open=Count("pk"), abandoned=Count("pk", filter=abandoned))
    yield _gauge("remind_reservations_open", "Units that are reserved now.", counts["open"])
    yield _gauge("remind_reservations_abandoned", "Of these, those that outlived every request.", counts["abandoned"])


def _budget(now: datetime) -> Iterator[Metric]:
    allowed: Decimal | None = settings.AI_DAILY_BUDGET_USD
    yield _gauge("remind_ai_budget_used_usd", "Taken by the provider since midnight UTC.", budget.spent_on(now.date()))
    yield _gauge(
        "remind_ai_budget_limit_usd",
        "What it may take a day; infinite where nothing is set.",
        float("inf") if allowed is None else allowed,
    )


def _today(now: datetime) -> Iterator[Metric]:
    """From the rollups, which housekeeping keeps up to the minute."""
    entries, charged = Tally[str](), 0
    for row in DailyUsage.objects.filter(day=now.date()):
        entries.update(row.outcomes)
        charged += row.charged_cents
    metric = GaugeMetricFamily("remind_today_entries", "Ledger entries since midnight UTC.", labels=["outcome"])
    for outcome in Outcome.values:
        metric.add_metric([outcome], entries[outcome])
    yield metric
    yield _gauge("remind_today_charged_cents", "US cents charged since midnight UTC, less corrections.", charged)
    as_of = DailyUsage.objects.order_by("-day").values_list("as_of", flat=True).first()
    yield _gauge(
        "remind_rollups_timestamp_seconds",
        "When a day was last summed up; 0: never.",
        as_of.timestamp() if as_of else 0,
    )


def _outbox(now: datetime) -> Iterator[Metric]:
    items = GaugeMetricFamily(
        "remind_outbox_items",
        "What is to be done: waiting, retrying after a failure, or flagged for a person.",
        labels=["kind", "state"],
    )
    oldest = GaugeMetricFamily("remind_outbox_oldest_seconds", "Age of the oldest that is not done.", labels=["kind"])
    overdue = GaugeMetricFamily(
        "remind_outbox_overdue_seconds", "For how long the most overdue should have been tried.", labels=["kind"]
    )
    failed = ~Q(note="")
    for kind, model in OUTBOX.items():
        waiting = model._default_manager.filter(state=State.WAITING).order_by()
        found = waiting.aggregate(
            all=Count("pk"), retrying=Count("pk", filter=failed), oldest=Min("created_at"), due=Min("due_at")
        )
        items.add_metric([kind, "waiting"], found["all"] - found["retrying"])
        items.add_metric([kind, "retrying"], found["retrying"])
        items.add_metric([kind, "flagged"], model._default_manager.filter(state=State.FLAGGED).count())
        oldest.add_metric([kind], _age(found["oldest"], now))
        overdue.add_metric([kind], _age(found["due"], now))
    yield from (items, oldest, overdue)


def _received(now: datetime) -> Metric:
    """Of one day only: events are kept for ever."""
    metric = GaugeMetricFamily(
        "remind_webhook_events_24h", "Events received in the last 24 hours, by their state now.", labels=["state"]
    )
    recent = WebhookEvent.objects.filter(created_at__gte=now - timedelta(days=1)).order_by()
    counts = dict(recent.values_list("state").annotate(count=Count("pk")))
    for state in State.values:
        metric.add_metric([state], counts.get(state, 0))
    return metric


def _gauge(name: str, documentation: str, value: Any) -> Metric:
    return GaugeMetricFamily(name, documentation, value=float(value))


def _age(moment: datetime | None, now: datetime) -> float:
    return max(0.0, (now - moment).total_seconds()) if moment else 0.0
