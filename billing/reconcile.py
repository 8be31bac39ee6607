"""The proof that the books are right: counters against ledger, charges against prices, keys against entries.

It reads everything in one snapshot and changes nothing. What it finds is for a person to judge.
"""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from django.db import connection, transaction
from django.db.models import Q, Sum

from billing import ledger_guard, prices, rollups
from billing.models import BonusGrant, DailySpend, IdempotencyKey, ModelPrice, MonthlyUsage, UsageRecord
from billing.usage import Usage

State = UsageRecord.State
NO_COST = Decimal(0)
CHUNK = 5_000


@dataclass(frozen=True, slots=True)
class Difference:
    """Something that does not add up; `license_id` is None where it concerns no single license."""

    license_id: int | None
    text: str

    def __str__(self) -> str:
        where = "service" if self.license_id is None else f"license {self.license_id}"
        return f"{where}: {self.text}"


def differences() -> Iterator[Difference]:
    """Everything that does not add up, as one moment saw it."""
    with _snapshot():
        yield from _counters()
        yield from _entries_and_spend()
        yield from _keys()
        yield from _protection()
        for text in rollups.differences():
            yield Difference(None, text)


@contextmanager
def _snapshot() -> Iterator[None]:
    outermost = not connection.in_atomic_block
    with transaction.atomic():
        if connection.vendor == "postgresql" and outermost:
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
                cursor.execute("SET LOCAL statement_timeout = 0")  # a large ledger takes longer than a request may
        yield


def _counters() -> Iterator[Difference]:
    months = set(MonthlyUsage.objects.values_list("month", flat=True).distinct())
    months |= set(UsageRecord.objects.order_by().values_list("month", flat=True).distinct())
    months |= set(BonusGrant.objects.order_by().values_list("month", flat=True).distinct())
    for month in sorted(months):
        yield from _counters_of(month)


def _counters_of(month: date) -> Iterator[Difference]:
    ledger = {
        license_id: (used or 0, charged or 0)
        for license_id, used, charged in UsageRecord.objects.filter(month=month)
        .order_by()
        .values("license_id")
        .annotate(used=Sum("units", filter=~Q(state=State.RELEASED)), charged=Sum("charge_cents"))
        .values_list("license_id", "used", "charged")
    }
    granted = dict(
        BonusGrant.objects.filter(month=month)
        .order_by()
        .values("license_id")
        .annotate(units=Sum("units"))
        .values_list("license_id", "units")
    )
    counters = {
        license_id: (used, charged, bonus)
        for license_id, used, charged, bonus in MonthlyUsage.objects.filter(month=month).values_list(
            "license_id", "used", "charged_cents", "bonus_units"
        )
    }
    for license_id in sorted(ledger.keys() | counters.keys() | granted.keys()):
        expected = (*ledger.get(license_id, (0, 0)), granted.get(license_id, 0))
        found = counters.get(license_id, (0, 0, 0))
        for what, should, is_ in zip(("used units", "charged cents", "bonus units"), expected, found, strict=True):
            if should != is_:
                yield Difference(license_id, f"{month:%Y-%m}: counter says {is_} {what}, the ledger {should}")


def _entries_and_spend() -> Iterator[Difference]:
    price_rows = ModelPrice.objects.in_bulk()
    spent: dict[date, Decimal] = defaultdict(lambda: NO_COST)
    for entry in UsageRecord.objects.order_by("id").iterator(chunk_size=CHUNK):
        spent[entry.created_at.date()] += entry.provider_cost_usd
        yield from _entry(entry, price_rows.get(entry.price_id or 0))
    yield from _spend(spent)


def _entry(entry: UsageRecord, price: ModelPrice | None) -> Iterator[Difference]:
    if entry.corrects_id is not None:
        yield from _correction(entry)
        return
    cost, charge = _expected(entry, price)
    if entry.charge_cents != charge:
        yield Difference(
            entry.license_id, f"entry {entry.pk} ({entry.state}) charges {entry.charge_cents} cents, its price {charge}"
        )
    if entry.provider_cost_usd != cost:
        yield Difference(
            entry.license_id, f"entry {entry.pk} cost us {entry.provider_cost_usd} dollars, by its price {cost}"
        )
    if (entry.state == State.RESERVED) != (entry.closed_at is None):
        yield Difference(entry.license_id, f"entry {entry.pk} is {entry.state} but closed at {entry.closed_at}")
    if entry.state == State.SETTLED and price is None:
        yield Difference(entry.license_id, f"entry {entry.pk} is settled without a price")


def _correction(entry: UsageRecord) -> Iterator[Difference]:
    corrected = entry.corrects
    if corrected is None or corrected.state != State.SETTLED or -entry.charge_cents > corrected.charge_cents:
        yield Difference(entry.license_id, f"entry {entry.pk} takes back more than entry {entry.corrects_id} charged")
    elif (corrected.license_id, corrected.month) != (entry.license_id, entry.month):
        yield Difference(entry.license_id, f"entry {entry.pk} corrects another license's or month's entry")


def _expected(entry: UsageRecord, price: ModelPrice | None) -> tuple[Decimal, int]:
    if price is None:
        return NO_COST, 0
    used = Usage(entry.input_tokens, entry.cached_tokens, entry.output_tokens)
    charge = prices.charge_cents(price, used) if entry.state == State.SETTLED else 0
    return prices.provider_cost(price, used), charge


def _spend(spent: dict[date, Decimal]) -> Iterator[Difference]:
    kept: dict[date, Decimal] = defaultdict(lambda: NO_COST)
    for day, cost in DailySpend.objects.values_list("day", "cost_usd"):
        kept[day] += cost
    for day in sorted(spent.keys() | kept.keys()):
        if spent[day] != kept[day]:
            yield Difference(None, f"{day}: the day's spend says {kept[day]} dollars, the ledger {spent[day]}")


def _keys() -> Iterator[Difference]:
    rows = IdempotencyKey.objects.exclude(
        Q(entry__state=State.RESERVED, answer=None) | Q(entry__state=State.SETTLED, answer__isnull=False)
    )
    for license_id, entry_id in rows.values_list("license_id", "entry_id"):
        yield Difference(license_id, f"the idempotency key of entry {entry_id} does not fit the entry's state")


def _protection() -> Iterator[Difference]:
    for trigger in ledger_guard.missing():
        yield Difference(None, f"the ledger's trigger {trigger} is missing; run 'manage.py migrate' to install it")
