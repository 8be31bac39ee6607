"""Reserve, settle and release: done twice, as after a confirmation that was lost on its way; and each way alike."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.core.management import call_command
from django.db import OperationalError, transaction
from django.utils import timezone

from billing import budget, quota
from billing.errors import QuotaExhausted
from billing.idempotency import KeyTaken, claim_for
from billing.models import DailySpend, IdempotencyKey, ModelPrice, MonthlyUsage, OperatorNotice, UsageRecord
from billing.usage import Usage
from licenses import lifecycle

pytestmark = pytest.mark.usefixtures("either_way")

USED = Usage(60, 0, 25)


@pytest.fixture
def reservation(license, token):
    return quota.reserve(license, license.tokens.get(), model="gpt-5-nano", request_id="one")


@pytest.fixture(autouse=True)
def _books_are_right(capsys, db):
    yield
    call_command("reconcile")
    assert capsys.readouterr().out == ""


def test_a_settle_done_twice_charges_once_and_gives_the_same_answer(reservation):
    first = quota.settle(reservation, USED, {"suggested_text": "x"})

    assert quota.settle(reservation, USED, {"suggested_text": "x"}) == first
    assert first == {"suggested_text": "x", "cost_cents": 1, "quota_remaining": 999}
    counter = MonthlyUsage.objects.get()
    assert (counter.used, counter.charged_cents) == (1, 1)
    assert str(DailySpend.objects.get().cost_usd) == "0.000013000000"


def test_a_release_done_twice_gives_one_unit_back(reservation, license):
    quota.reserve(license, license.tokens.get(), model="gpt-5-nano", request_id="two")

    for _ in range(2):
        assert quota.release(reservation, "answer_invalid", USED) == 999

    assert MonthlyUsage.objects.get().used == MonthlyUsage.objects.get().misfires == 1
    assert str(DailySpend.objects.get().cost_usd) == "0.000013000000"


def test_what_is_settled_can_not_be_released_and_the_other_way_round(reservation, license):
    quota.settle(reservation, USED, {})
    quota.release(reservation, "provider_timeout")
    assert UsageRecord.objects.get().state == "settled"

    other = quota.reserve(license, license.tokens.get(), model="gpt-5-nano", request_id="two")
    quota.release(other, "provider_timeout")
    for _ in range(2):
        assert quota.settle(other, USED, {}) == {"degraded": True, "cost_cents": 0, "quota_remaining": 999}
    assert list(UsageRecord.objects.order_by("id").values_list("state", flat=True)) == ["settled", "released"]
    assert MonthlyUsage.objects.get().used == 1


def test_the_largest_quota_takes_the_largest_bonus(license, token):
    from licenses.models import MOST

    lifecycle.change_limits(license, quota=MOST, rate=None, by="test")
    license.refresh_from_db()
    quota.grant_bonus(license, 1_000_000, month=datetime.now(UTC).date(), by="test", reason="x")

    reservation = quota.reserve(license, license.tokens.get(), model="gpt-5-nano", request_id="one")

    assert quota.release(reservation, "provider_timeout") == MOST + 1_000_000


@pytest.fixture
def claim(license):
    return claim_for(license, "order-66", {"text": "call mum"})


def reserve(license, name="one", key=None):
    return quota.reserve(license, license.tokens.get(), model="gpt-5-nano", request_id=name, key=key)


def test_a_key_that_is_taken_takes_no_unit(license, token, claim):
    first = reserve(license, key=claim)

    with pytest.raises(KeyTaken):
        reserve(license, "two", key=claim)

    assert MonthlyUsage.objects.get().used == UsageRecord.objects.count() == 1
    assert quota.settle(first, USED, {})["quota_remaining"] == 999


@pytest.mark.parametrize(("allowed", "bonus", "granted"), [(2, 0, 2), (0, 0, 0), (0, 2, 2), (1, 2, 3)])
def test_units_are_those_of_the_quota_and_the_bonus(license, token, allowed, bonus, granted):
    lifecycle.change_limits(license, quota=allowed, rate=None, by="test")
    license.refresh_from_db()
    if bonus:
        quota.grant_bonus(license, bonus, month=datetime.now(UTC).date(), by="test", reason="x")

    for number in range(granted):
        left = quota.settle(reserve(license, str(number)), USED, {})["quota_remaining"]
        assert left == granted - number - 1
    with pytest.raises(QuotaExhausted, match=f"{granted}/{granted} used"):
        reserve(license, "too many")


def test_what_may_not_be_asked_is_said(license, token, settings):
    assert reserve(license).blocked is None
    MonthlyUsage.objects.update(misfires=5, misfires_on=datetime.now(UTC).date() - timedelta(days=1))
    assert reserve(license).blocked is None, "those were yesterday's"
    MonthlyUsage.objects.update(misfires_on=datetime.now(UTC).date())
    assert reserve(license).blocked == "misfires_spent"
    settings.AI_DAILY_BUDGET_USD = Decimal("0.03")
    DailySpend.objects.create(day=datetime.now(UTC).date() - timedelta(days=1), slot=1, cost_usd=Decimal(1))
    for slot in (1, 2):
        DailySpend.objects.create(day=datetime.now(UTC).date(), slot=slot, cost_usd=Decimal("0.01"))
    assert reserve(license).blocked == "misfires_spent"
    DailySpend.objects.create(day=datetime.now(UTC).date(), slot=3, cost_usd=Decimal("0.01"))
    assert reserve(license).blocked == "budget_spent"
    assert OperatorNotice.objects.get().kind == "budget_spent"
    DailySpend.objects.all().delete()  # which no entry stands for
    no_price = quota.reserve(license, license.tokens.get(), model="unknown", request_id="x")
    assert (no_price.blocked, no_price.price) == ("price_missing", None)


def test_a_notice_that_can_not_be_kept_loses_no_reservation(license, token, settings, monkeypatch):
    settings.AI_DAILY_BUDGET_USD = Decimal(0)
    monkeypatch.setattr(budget, "note_spent", lambda day: (_ for _ in ()).throw(OperationalError("gone")))
    assert reserve(license).blocked == "budget_spent"


def test_both_ways_leave_the_same_rows(license, token, claim, settings):
    """Compared column by column, but for numbers and times."""
    price = ModelPrice.objects.get(model="gpt-5-nano")
    price.pk, price.valid_from, price.charged_input = None, timezone.now() + timedelta(days=1), Decimal(1000)
    price.save()  # which does not hold yet

    def rows():
        found = {}
        for model in (UsageRecord, MonthlyUsage, IdempotencyKey, DailySpend):
            found[model] = list(model.objects.order_by("pk").values())
            for row in found[model]:
                for name in ("id", "entry_id", "created_at", "closed_at", "expires_at"):
                    row[name] = row.get(name) is not None
        return found

    def story(in_one_statement):
        settings.LEDGER_IN_ONE_STATEMENT = in_one_statement
        with transaction.atomic():
            reserve(license, "still open")
            answer = quota.settle(reserve(license, key=claim), Usage(600_000, 200, 70_000), {"text": "a'b%s\u00fc"})
            assert quota.settle(reserve(license, "two"), None, {})["cost_cents"] == 1
            price = reserve(license, "three").price
            left = answer, rows(), [getattr(price, field.attname) for field in ModelPrice._meta.concrete_fields]
            transaction.set_rollback(True)
        return left

    assert story(True) == story(False)
