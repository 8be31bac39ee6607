"""The home: figures that are the ledger's, what needs a person, what to keep an eye on."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.core.management import call_command
from django_q.models import Schedule

from billing import figures, mails, notices, quota, reconcile, refusals, rollups
from billing.models import (
    Adjustment,
    DailyRefusals,
    DailyUsage,
    Mail,
    ModelPrice,
    MonthlyUsage,
    Payment,
    UsageRecord,
)
from licenses import lifecycle
from licenses.models import MOST, License, Plan
from remind_site.console import home as home_page
from tests.billing.paddle.outcome import license_of
from tests.factories import LicenseFactory
from tests.paddle import Life

pytestmark = pytest.mark.django_db


def today():
    return datetime.now(UTC).date()


def home(staff):
    refusals.write()
    DailyUsage.objects.update(as_of=datetime(2000, 1, 1, tzinfo=UTC))  # a minute passes
    return staff.get("/admin/").context


def test_todays_figures_are_the_ledgers(staff, act, post, openai, license):
    for _ in range(3):
        assert post().json()["degraded"] is False
    post(bearer=None)
    post("")
    seen = home(staff)
    ledger = list(UsageRecord.objects.all())
    today = seen["today"]
    assert today.answered == 3
    assert today.charged_cents == sum(entry.charge_cents for entry in ledger) == 3
    cost = sum(entry.provider_cost_usd for entry in ledger)
    assert cost > 0
    assert DailyUsage.objects.get(plan=license.plan).provider_cost_usd == cost
    assert sorted(seen["refusals"]) == [("invalid", 1, 1), ("token_missing", 1, 1)]
    assert today.refused == 2
    assert seen["month"].answered == 3

    act(staff, "correct-charge", ledger[0], cents="1", gives_back_unit="on")
    assert home(staff)["today"].charged_cents == 2
    assert home(staff)["today"].answered == 3


def test_degraded_answers_are_counted_apart(staff, post, settings, license):
    ModelPrice.objects.all().delete()
    assert post().json()["degraded"] is True
    assert (home(staff)["today"].answered, home(staff)["today"].degraded) == (0, 1)


def test_what_was_never_finished_is_not_degraded(staff, license):
    now = datetime.now(UTC)
    for outcome in ("abandoned", "provider_timeout", "provider_timeout"):
        UsageRecord.objects.create(
            license=license, plan=license.plan, month=now.date().replace(day=1), state="released", outcome=outcome,
            request_id="x", model="local", created_at=now, closed_at=now,
        )  # fmt: skip
    assert home(staff)["today"].degraded == 2
    assert DailyUsage.objects.get(plan=license.plan).outcomes == {"abandoned": 1, "provider_timeout": 2}


def test_revenue_is_payments_less_refunds_and_tax(staff, deliver, prices, paddle):
    life = Life(prices["pro"])
    deliver(life.customer(), life.created(), life.completed())
    now = datetime.now(UTC)
    Payment.objects.update(completed_at=now, amount=1200, tax=200)
    assert home(staff)["today"].revenue_cents == 1000
    payment = Payment.objects.get()
    Adjustment.objects.create(
        paddle_id="adj_1",
        payment=payment,
        action="refund",
        status="approved",
        amount=600,
        currency="USD",
        approved_at=now,
    )
    Adjustment.objects.create(
        paddle_id="adj_2",
        payment=payment,
        action="refund",
        status="pending",
        amount=600,
        currency="USD",
        approved_at=now,
    )
    assert home(staff)["today"].revenue_cents == 500
    assert home(staff)["month"].margin_usd == 5
    for number, (action, revenue) in enumerate([("chargeback", 0), ("chargeback_reverse", 500), ("credit", 500)]):
        Adjustment.objects.create(
            paddle_id=f"adj_b{number}", payment=payment, action=action, status="approved", amount=600, currency="USD",
            approved_at=now,
        )  # fmt: skip
        assert home(staff)["today"].revenue_cents == revenue, action
    Payment.objects.update(currency="EUR")
    Adjustment.objects.update(currency="EUR")
    assert home(staff)["today"].revenue_cents == 0
    assert home(staff)["others_this_month"] == {"EUR": 500}


def test_licenses_are_counted_by_plan(staff, deliver, prices):
    now = datetime.now(UTC)
    one, two, three = (LicenseFactory() for _ in range(3))
    lifecycle.suspend(one, by="x", reason="y")
    License.objects.filter(pk=two.pk).update(expires_at=now + timedelta(days=3))
    License.objects.filter(pk=three.pk).update(expires_at=now - timedelta(days=3))
    life = Life(prices["pro"], began=now - timedelta(days=25))
    deliver(life.customer(), life.created())  # renews by itself, so it does not count as ending
    counts = next(plan.counts for plan in home(staff)["plans"] if plan.slug == "pro")
    assert counts == {"plan": one.plan_id, "active": 2, "new": 4, "suspended": 1, "expiring": 1, "expired": 1}


def test_what_failed_for_good_is_a_list_that_links(staff, license):
    mails.queue_token(license)
    Mail.objects.update(state="flagged", note="mailbox full")
    page = staff.get("/admin/")
    mail = Mail.objects.get()
    assert "Needs a person: 1" in page.text
    assert f'href="/admin/billing/mail/{mail.pk}/change/"' in page.text
    assert "mailbox full" in page.text


def test_a_worker_that_stands_still_is_seen_with_nothing_else_to_do(staff, settings):
    queue = lambda: {what: is_well for what, is_well, _ in staff.get("/admin/").context["health"]}["Queue"]  # noqa: E731
    settings.Q_CLUSTER = {**settings.Q_CLUSTER, "sync": False}
    Schedule.objects.update(next_run=datetime.now(UTC) - timedelta(minutes=1))
    assert queue()
    Schedule.objects.update(next_run=datetime.now(UTC) - timedelta(minutes=6))
    assert not queue()


def test_licenses_near_their_quota_are_warned_of_and_listed(staff, license):
    other, fine = LicenseFactory(), LicenseFactory()
    month = today().replace(day=1)
    MonthlyUsage.objects.create(license=license, month=month, used=800)
    MonthlyUsage.objects.create(license=other, month=month, used=1010, bonus_units=10)
    MonthlyUsage.objects.create(license=fine, month=month, used=1000, bonus_units=500)
    assert "2 licenses have used 80%" in staff.get("/admin/").text
    listed = lambda query: set(staff.get("/admin/licenses/license/", query).context["cl"].queryset)  # noqa: E731
    assert listed({"quota": "80"}) == {license, other}
    assert listed({"quota": "100"}) == {other}
    assert "80% used" in staff.get(f"/admin/licenses/license/{license.pk}/change/").text
    assert "Used up" in staff.get(f"/admin/licenses/license/{other.pk}/change/").text


def test_the_largest_and_the_smallest_quotas_are_reckoned_right(staff, license):
    License.objects.filter(pk=license.pk).update(quota_override=MOST)
    counter = MonthlyUsage.objects.create(license=license, month=today().replace(day=1), used=MOST // 5 * 4)
    assert "1 license has used 80%" in staff.get("/admin/").text
    assert notices.queue_due() == 1
    License.objects.filter(pk=license.pk).update(quota_override=9)
    MonthlyUsage.objects.filter(pk=counter.pk).update(used=7)  # 78%
    assert "used 80%" not in staff.get("/admin/").text


def test_a_plan_that_costs_more_than_it_brings_is_warned_of(staff, deliver, prices):
    life = Life(prices["pro"])
    deliver(life.customer(), life.created())
    pro = license_of(life).plan
    row = DailyUsage.objects.create(
        day=today() - timedelta(days=3), plan=pro, provider_cost_usd=Decimal("3.99"), as_of=datetime.now(UTC),
        is_final=True,
    )  # fmt: skip
    assert pro.price_cents >= 400
    assert "costs more than it brings" not in staff.get("/admin/").text
    row.provider_cost_usd = Decimal(pro.price_cents + 1) / 100
    row.save()
    assert "Pro costs more than it brings" in staff.get("/admin/").text


def test_an_old_price_is_warned_of(staff):
    ModelPrice.objects.exclude(model="local").update(valid_from=datetime.now(UTC) - timedelta(days=91))
    assert "The price of gpt-5-nano is from" in staff.get("/admin/").text
    price = ModelPrice.objects.get(model="gpt-5-nano")
    price.pk, price.valid_from = None, datetime.now(UTC) - timedelta(days=1)
    price.save()
    assert "The price of gpt-5-nano is from" not in staff.get("/admin/").text


def test_a_budget_that_is_near_is_warned_of(staff, license, settings):
    from billing.models import DailySpend

    settings.AI_DAILY_BUDGET_USD = Decimal(10)
    spend = DailySpend.objects.create(day=today(), slot=0, cost_usd=Decimal("7.99"))
    assert "AI budget" not in staff.get("/admin/").text
    spend.cost_usd = Decimal(8)
    spend.save()
    assert "$8.00 of today" in staff.get("/admin/").text


def test_the_home_costs_a_bounded_number_of_queries(staff, license, django_assert_max_num_queries):
    staff.get("/admin/")
    with django_assert_max_num_queries(60):
        staff.get("/admin/")


# --- Rollups and refusals


def test_rollups_are_kept_by_housekeeping_rebuilt_by_a_command_and_checked_by_reconcile(post, license):
    from billing import housekeeping

    post()
    housekeeping.run()
    row = DailyUsage.objects.get(plan=license.plan)
    assert (row.answered, row.is_final) == (1, False)
    assert DailyUsage.objects.count() == Plan.objects.count()

    tomorrow = datetime.now(UTC) + timedelta(days=1, minutes=30)
    rollups.refresh(tomorrow)
    assert DailyUsage.objects.get(plan=license.plan, day=row.day).is_final
    assert not list(reconcile.differences())
    DailyUsage.objects.filter(day=row.day, plan=license.plan).update(answered=2)
    assert ["rebuild_rollups" in str(difference) for difference in reconcile.differences()] == [True]
    rollups.rebuild()
    DailyUsage.objects.update(is_final=True)
    assert not list(reconcile.differences())


def test_a_day_is_final_only_when_its_reservations_are_closed(post, license):
    post()
    just_after = datetime.combine(today() + timedelta(days=1), datetime.min.time(), UTC) + timedelta(minutes=1)
    rollups.refresh(just_after)
    assert not DailyUsage.objects.filter(is_final=True).exists()
    rollups.refresh(just_after + timedelta(minutes=10))
    assert set(DailyUsage.objects.filter(is_final=True).values_list("day", flat=True)) == {today()}


def test_a_day_is_final_only_when_what_was_abandoned_is_released(license):
    now = datetime.now(UTC)
    MonthlyUsage.objects.create(license=license, month=now.date().replace(day=1), used=1)
    UsageRecord.objects.create(
        license=license, plan=license.plan, month=now.date().replace(day=1), request_id="x", model="local",
        created_at=now - timedelta(days=2),
    )  # fmt: skip
    rollups.refresh(now)  # the worker was stopped; somebody looks at the home
    assert not DailyUsage.objects.filter(is_final=True, day=today() - timedelta(days=2)).exists()
    quota.release_abandoned()
    rollups.refresh(now + timedelta(minutes=2))
    assert DailyUsage.objects.get(day=today() - timedelta(days=2), plan=license.plan).outcomes == {"abandoned": 1}
    assert DailyUsage.objects.get(day=today() - timedelta(days=2), plan=license.plan).is_final
    assert not list(rollups.differences())


def test_a_plan_that_came_later_is_no_difference(post, license):
    post()
    rollups.refresh(datetime.now(UTC) + timedelta(days=1, minutes=30))
    Plan.objects.create(slug="later", name="Later", monthly_quota=1, price_cents=0)
    assert not list(reconcile.differences())


def test_days_that_nobody_swept_are_summed_up_later(post, license):
    post()
    assert rollups.refresh(datetime.now(UTC) + timedelta(days=5)) == 6
    assert DailyUsage.objects.filter(plan=license.plan, answered=1).count() == 1


def test_the_home_waits_for_no_long_history_and_has_today(post, license):
    post()
    later = datetime.combine(today() + timedelta(days=50), datetime.min.time(), UTC) + timedelta(hours=12)
    assert rollups.refresh(later, most=3) == 3
    assert rollups.refresh(later, most=3) == 0
    assert rollups.refresh(later + timedelta(minutes=1), most=3) == 3
    days = set(DailyUsage.objects.values_list("day", flat=True))
    assert days == {today() + timedelta(days=number) for number in (0, 1, 2, 3, 50)}
    assert rollups.refresh(later + timedelta(minutes=1)) == 47  # all that is left, though today was just done


def test_days_before_those_that_were_rebuilt_are_not_forgotten(license):
    month = today().replace(day=1)
    UsageRecord.objects.create(
        license=license, plan=license.plan, month=month, request_id="x", model="local", state="released",
        outcome="provider_timeout", created_at=datetime.now(UTC) - timedelta(days=9), closed_at=datetime.now(UTC),
    )  # fmt: skip
    rollups.rebuild(first=today() - timedelta(days=2))
    rollups.refresh()
    assert DailyUsage.objects.get(day=today() - timedelta(days=9), plan=license.plan).degraded == 1


def test_old_figures_are_seen_to_be_old(staff, post):
    post()
    rollups.refresh(datetime.now(UTC) - timedelta(minutes=10))
    DailyUsage.objects.update(as_of=datetime.now(UTC) - timedelta(minutes=10))
    assert [well for what, well, _ in home_page._health() if what == "Figures"] == [False]
    assert "✓ </span>as of" in staff.get("/admin/").text  # to look at the home sums today up


def test_what_fails_and_is_tried_again_is_said_though_nobody_need_act_yet(staff, license):
    mail = Mail.objects.create(kind="quota_80", license=license, tries=3, note="ConnectionRefusedError: mail server")
    Mail.objects.create(kind="quota_100", license=license)  # not tried yet
    page = staff.get("/admin/").text
    assert "1 mail failed, and will be tried again" in page
    assert "mail server" in page
    assert mail.note in staff.get("/admin/billing/mail/?state__exact=waiting").text


def test_what_came_in_in_other_currencies_stands_with_today_too(staff, deliver, prices, paddle):
    life = Life(prices["pro"], began=datetime.combine(today(), datetime.min.time(), UTC))
    totals = {"totals": {"grand_total": "1500", "tax": "0", "currency_code": "EUR"}}
    deliver(life.customer(), life.created(), life.completed(details=totals))
    assert staff.get("/admin/").text.count("Also, in EUR") == 2


def test_what_ends_soon_is_counted_as_the_list_shows_it(staff, deliver, prices):
    soon = datetime.now(UTC) + timedelta(days=3)
    ending, suspended = LicenseFactory(expires_at=soon), LicenseFactory(expires_at=soon, suspended_at=soon)
    page = staff.get("/admin/licenses/license/?ends=14").text
    assert ending.email in page.replace("<wbr>", "")
    assert suspended.email not in page.replace("<wbr>", "")


def test_the_command_says_how_many_days(post, capsys):
    post()
    call_command("rebuild_rollups", since=today() - timedelta(days=2))
    assert "3 days summed up" in capsys.readouterr().out


def test_refusals_are_counted_by_code_and_license(post, license, client):
    license.quota_override = 1
    license.save()
    assert [post().status_code for _ in range(3)] == [200, 429, 429]
    client.get("/admin/nope/")
    refusals.write()
    refusals.write()
    assert list(DailyRefusals.objects.values_list("code", "license_number", "count")) == [
        ("quota_exhausted", license.pk, 2)
    ]
    post()
    refusals.write()
    assert DailyRefusals.objects.get().count == 3


def test_refusals_that_can_not_be_written_are_kept_for_the_next_time(post, monkeypatch):
    from django.db import OperationalError

    post(bearer=None)
    with monkeypatch.context() as patch:
        patch.setattr(refusals, "_add", lambda *_: (_ for _ in ()).throw(OperationalError()))
        refusals.write()
    refusals.write()
    assert DailyRefusals.objects.get(code="token_missing").count == 1


def test_refused_lately_stands_on_the_customers_page(staff, post, license):
    license.quota_override = 0
    license.save()
    post()
    refusals.write()
    page = staff.get(f"/admin/licenses/license/{license.pk}/change/").text
    assert "quota_exhausted" in page
    assert "1 time<" in page


def test_figures_by_day_and_month_cover_every_day(license, post):
    post()
    rollups.refresh()
    days = list(figures.by_day(today() - timedelta(days=29), today()))
    assert len(days) == 30
    assert [row.answered for _, row in days][-1] == 1
    months = list(figures.by_month(today().replace(day=1, year=today().year - 1), today()))
    assert len(months) == 13
    assert months[-1][1].answered == 1
