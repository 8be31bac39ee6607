"""Closing steps that are done twice, as after a confirmation that was lost on its way."""

import pytest
from django.core.management import call_command

from billing import quota
from billing.models import DailySpend, MonthlyUsage, UsageRecord
from billing.usage import Usage

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
        assert quota.settle(other, USED, {}) is None
    assert list(UsageRecord.objects.order_by("id").values_list("state", flat=True)) == ["settled", "released"]
    assert MonthlyUsage.objects.get().used == 1


def test_the_largest_quota_takes_the_largest_bonus(license, token):
    from datetime import UTC, datetime

    from licenses import lifecycle
    from licenses.models import MOST

    lifecycle.change_limits(license, quota=MOST, rate=None, by="test")
    license.refresh_from_db()
    quota.grant_bonus(license, 1_000_000, month=datetime.now(UTC).date(), by="test", reason="x")

    reservation = quota.reserve(license, license.tokens.get(), model="gpt-5-nano", request_id="one")

    assert quota.release(reservation, "provider_timeout") == MOST + 1_000_000
