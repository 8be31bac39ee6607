"""What the console shows in browser tests and in the handbook's pictures: staff, customers, and two months of use.

Runs inside `manage.py shell` of the service under test: `from tests.browser.seed import seed; seed()`.
"""

import itertools
import json
import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.utils import timezone
from django_otp.plugins.otp_totp.models import TOTPDevice

from billing import outbox, rollups
from billing.models import (
    DailyRefusals,
    DailySpend,
    Errand,
    Mail,
    ModelPrice,
    MonthlyUsage,
    PlanPrice,
    UsageRecord,
    WebhookEvent,
)
from billing.months import month_of
from billing.paddle import events
from licenses import lifecycle
from licenses.models import License, Plan
from remind_site.models import BackupRun
from tests import paddle
from tests.paddle import Life

PASSWORD = "correct horse battery"
KEY = "3132333435363738393031323334353637383930"  # of every second factor; RFC 6238's
ROLES = ("Support", "Billing", "Auditor")
PRICES = {"indie": "pri_indie", "pro": "pri_pro", "team": "pri_team"}


def seed() -> None:
    """Fill an empty, migrated database."""
    _staff()
    for plan in Plan.objects.filter(slug__in=PRICES):
        PlanPrice.objects.create(plan=plan, price_id=PRICES[plan.slug])
    random.seed(7)
    licenses = [_license(number) for number in range(12)]
    _use(licenses)
    _troubles(licenses)
    _payments()
    _behind_the_scenes()
    rollups.rebuild()


def _staff() -> None:
    users = get_user_model().objects
    for role in ROLES:
        user = users.create_user(role.lower(), f"{role.lower()}@example.com", PASSWORD, is_staff=True)
        user.groups.add(Group.objects.get(name=role))
        TOTPDevice.objects.create(user=user, key=KEY, name="authenticator app")
    admin = users.create_superuser("admin", "admin@example.com", PASSWORD)
    TOTPDevice.objects.create(user=admin, key=KEY, name="authenticator app")
    users.create_user("newcomer", "new@example.com", PASSWORD, is_staff=True).groups.add(
        Group.objects.get(name="Support")
    )


def _license(number: int) -> License:
    plan = Plan.objects.order_by("order")[number % 4]
    license = lifecycle.issue(
        f"customer{number}@example.com", plan, by="staff:support", reason=f"order {1000 + number}"
    )
    lifecycle.add_token(license, by="staff:support", label="laptop", reason="first token")
    return license


def _use(licenses: list[License]) -> None:
    now, price = timezone.now(), ModelPrice.objects.get(model="gpt-5-nano")
    rows = [
        _entry(license, price, now - timedelta(days=days_ago, minutes=random.randint(0, 600)))
        for days_ago in range(60)
        for license in licenses
        for _ in range(random.randint(0, 6))
    ]
    UsageRecord.objects.bulk_create(rows)
    spent: dict[tuple[object, int], Decimal] = {}
    for row in rows:
        key = (row.created_at.date(), row.license_id % DailySpend.SLOTS)
        spent[key] = spent.get(key, Decimal(0)) + row.provider_cost_usd
    DailySpend.objects.bulk_create(DailySpend(day=day, slot=slot, cost_usd=cost) for (day, slot), cost in spent.items())
    for license in licenses:
        for month in {row.month for row in rows}:
            mine = [
                row for row in rows if row.license_id == license.pk and row.month == month and row.state == "settled"
            ]
            cents = sum(row.charge_cents for row in mine)
            MonthlyUsage.objects.create(license=license, month=month, used=len(mine), charged_cents=cents)
    DailyRefusals.objects.bulk_create(
        DailyRefusals(
            day=(now - timedelta(days=days_ago)).date(), code=code, license_number=number, count=days_ago % 5 + 1
        )
        for days_ago in range(30)
        for code, number in (("rate_limited", licenses[days_ago % 12].pk), ("token_invalid", 0))
    )


def _entry(license: License, price: ModelPrice, at: datetime) -> UsageRecord:
    answered = random.random() > 0.08
    return UsageRecord(
        license=license, plan=license.plan, month=month_of(at), state="settled" if answered else "released",
        outcome="answered" if answered else "provider_timeout", request_id=f"{random.getrandbits(128):032x}",
        model=price.model, price=price, input_tokens=300 if answered else 0, output_tokens=60 if answered else 0,
        provider_cost_usd=Decimal("0.000039") if answered else Decimal(0), charge_cents=1 if answered else 0,
        created_at=at, closed_at=at + timedelta(seconds=1),
    )  # fmt: skip


def _troubles(licenses: list[License]) -> None:
    """What a person should see to."""
    near, full = licenses[1], licenses[2]
    month = month_of(timezone.now())
    for license, share in ((near, 90), (full, 100)):
        units = MonthlyUsage.objects.get(license=license, month=month).used
        lifecycle.change_limits(
            license, quota=max(1, units * 100 // share), rate=None, by="staff:support", reason="trial"
        )
    lifecycle.suspend(licenses[3], by="staff:billing", reason="chargeback, ticket 311")
    License.objects.filter(pk=licenses[5].pk).update(expires_at=timezone.now() + timedelta(days=5))
    Mail.objects.create(
        kind="quota_80", license=near, state="flagged", tries=18, note="SMTPRecipientsRefused: mailbox unavailable"
    )
    WebhookEvent.objects.create(
        event_id="evt_01hv8x29kz0t586xy6zn1a62ny", event_type="subscription.created",
        subject="sub_01hv8x29kz0t586xy6zn1a62ny", occurred_at=datetime.now(UTC), state="flagged", tries=1,
        body=f'{{"data": {{"items": [{{"price": {{"id": "pri_new"}}}}], "url": "https://buyer.example/{"x" * 90}"}}}}',
        note="The price pri_new is not known. Add it under 'Prices at Paddle'.",
    )  # fmt: skip


def _payments() -> None:
    """One who pays, one who got half of it back, and one who got all of it back."""
    paddle._numbers = itertools.count(1_000_000)  # the tests, in another process, count from 1
    for number, (price, cents, back) in enumerate(
        [("pri_pro", 1500, 0), ("pri_team", 4900, 2450), ("pri_pro", 1500, 1500)]
    ):
        life = Life(price, email=f"payer{number}@example.com")
        told = [life.customer(), life.created(), life.completed(cents)]
        if back:
            told.append(life.adjusted("refund", amount=back, kind="full" if back == cents else "partial"))
        for event in told:
            stored = events.store(json.dumps(event))
            assert stored is not None
            outbox.attempt(stored, events.process)
    Mail.objects.filter(state="waiting").update(state="done", done_at=timezone.now(), sent_to="payer@example.com")


def _behind_the_scenes() -> None:
    now = timezone.now()
    Errand.objects.create(kind="fetch_customer", subject="ctm_01hv8x29kz0t586xy6zn1a62ny", state="done", done_at=now)
    for days in (2, 1):
        began = now - timedelta(days=days)
        BackupRun.objects.create(
            kind="backup", name=f"remind-{began:%Y%m%d}", started_at=began, ended_at=began + timedelta(seconds=9),
            ok=True, bytes=1_234_567,
        )  # fmt: skip
    BackupRun.objects.create(
        kind="verify", name=f"remind-{now:%Y%m%d}", started_at=now - timedelta(hours=1), ended_at=now, ok=False,
        detail="The newest backup can't be read: the key does not open it.",
    )  # fmt: skip
