"""`GET /api/v1/usage/stats`."""

from datetime import UTC, datetime, timedelta

import pytest

from billing import quota
from billing.models import MonthlyUsage
from billing.months import month_of, start_of_next
from licenses import lifecycle

FIELDS = {
    "user_id", "plan_tier", "ai_quota_used", "ai_quota_total", "ai_quota_remaining", "this_month_cost_cents",
    "rate_limit_remaining", "rate_limit_reset_at", "quota_resets_at", "license_status", "expires_at",
}  # fmt: skip


@pytest.fixture
def stats(client, token):
    def stats(path="/api/v1/usage/stats"):
        return client.get(path, headers={"Authorization": f"Bearer {token}"})

    return stats


@pytest.mark.parametrize(
    "path", ["/api/v1/usage/stats", "/api/v1/usage/stats/", "/api/v1/usage-stats", "/api/v1/usage-stats/"]
)
def test_an_unused_license(stats, license, path):
    body = stats(path).json()
    assert set(body) == FIELDS
    assert (body["user_id"], body["plan_tier"], body["license_status"]) == (license.pk, "pro", "active")
    assert (body["ai_quota_used"], body["ai_quota_total"], body["ai_quota_remaining"]) == (0, 1000, 1000)
    assert (body["this_month_cost_cents"], body["expires_at"]) == (0, None)
    assert datetime.fromisoformat(body["quota_resets_at"]) == start_of_next(month_of(datetime.now(UTC)))


def test_it_counts_what_was_used(stats, post, license, valkey):
    lifecycle.change_limits(license, quota=None, rate=10, by="test")
    quota.grant_bonus(license, 50, month=datetime.now(UTC).date(), by="test", reason="x")
    for _ in range(3):
        post()

    body = stats().json()

    assert (body["ai_quota_used"], body["ai_quota_total"], body["ai_quota_remaining"]) == (3, 1050, 1047)
    assert (body["this_month_cost_cents"], body["rate_limit_remaining"]) == (3, 7)
    reset = datetime.fromisoformat(body["rate_limit_reset_at"])
    assert timedelta(0) < reset - datetime.now(UTC) <= timedelta(seconds=61)  # rounded up


def test_looking_is_not_counted_against_the_license(stats, license, valkey):
    lifecycle.change_limits(license, quota=None, rate=2, by="test")
    answers = [stats() for _ in range(5)]
    assert {answer.status_code for answer in answers} == {200}
    assert answers[-1].json()["rate_limit_remaining"] == 2


def test_a_lowered_quota_leaves_nothing_below_zero(stats, post, license):
    post()
    post()
    lifecycle.change_limits(license, quota=1, rate=None, by="test")
    body = stats().json()
    assert (body["ai_quota_used"], body["ai_quota_total"], body["ai_quota_remaining"]) == (2, 1, 0)


def test_another_month_is_another_quota(stats, post, license):
    post()
    MonthlyUsage.objects.update(month=datetime(2020, 1, 1).date())
    assert stats().json()["ai_quota_used"] == 0


@pytest.mark.parametrize(
    ("moment", "month", "resets"),
    [
        (datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC), (2026, 12), datetime(2027, 1, 1, tzinfo=UTC)),
        (datetime(2028, 2, 29, tzinfo=UTC), (2028, 2), datetime(2028, 3, 1, tzinfo=UTC)),
        (datetime.fromisoformat("2026-03-01T00:30:00+02:00"), (2026, 2), datetime(2026, 3, 1, tzinfo=UTC)),
    ],
)
def test_months_are_utc_calendar_months(moment, month, resets):
    first = month_of(moment)
    assert (first.year, first.month, first.day) == (*month, 1)
    assert start_of_next(first) == resets
