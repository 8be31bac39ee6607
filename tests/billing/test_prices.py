"""From tokens to money."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from billing import prices
from billing.models import ModelPrice
from billing.usage import Usage

pytestmark = pytest.mark.django_db


@pytest.fixture
def nano():
    return ModelPrice.objects.get(model="gpt-5-nano")


@pytest.mark.parametrize(
    ("used", "cents"),
    [
        (Usage(0, 0, 0), 1),
        (Usage(60, 0, 25), 1),
        (Usage(40_000_000, 0, 4_000_000), 210),
        (Usage(40_000_000, 40_000_000, 4_000_000), 210),
        (Usage(0, 0, 133_333), 1),
        (Usage(0, 0, 133_334), 2),
        (Usage(266_667, 0, 66_666), 1),
        (Usage(533_333, 0, 0), 1),
        (Usage(533_334, 0, 0), 2),
    ],
)
def test_the_charge_is_rounded_down_to_cents_and_at_least_one(nano, used, cents):
    assert prices.charge_cents(nano, used) == cents


def test_the_cost_is_exact(nano):
    assert prices.provider_cost(nano, Usage(1, 0, 0)) == Decimal("0.00000005")
    assert prices.provider_cost(nano, Usage(1, 1, 0)) == Decimal("0.000000005")
    assert prices.provider_cost(nano, Usage(0, 0, 1)) == Decimal("0.0000004")


def test_the_newest_price_that_has_begun_holds(nano):
    now = datetime.now(UTC)
    values = {
        field: Decimal(1)
        for field in ("provider_input", "provider_cached_input", "provider_output", "charged_input", "charged_output")
    }
    current = ModelPrice.objects.create(model=nano.model, valid_from=now, **values)
    ModelPrice.objects.create(model=nano.model, valid_from=now + timedelta(days=1), **values)

    assert prices.price_at(nano.model, now) == current
    assert prices.price_at(nano.model, now - timedelta(seconds=1)) == nano
    assert prices.price_at("unknown", now) is None


def test_a_changed_price_changes_no_entry_of_before(post, openai, nano):
    from django.core.management import call_command

    from billing.models import UsageRecord

    post()
    ModelPrice.objects.create(
        model=nano.model, valid_from=datetime.now(UTC), provider_input=9, provider_cached_input=9, provider_output=9,
        charged_input=9_000, charged_output=9_000,
    )  # fmt: skip

    assert post().json()["cost_cents"] == 76  # 60 * 0.9 + 25 * 0.9 cents, rounded down
    assert list(UsageRecord.objects.order_by("id").values_list("charge_cents", flat=True)) == [1, 76]
    call_command("reconcile")
