"""`manage.py reconcile`: silent when the books are right, and naming each thing that is not."""

import pytest
from django.core.management import call_command
from django.db import connection

from billing.models import BonusGrant, DailySpend, IdempotencyKey, ModelPrice, MonthlyUsage, UsageRecord
from licenses import lifecycle
from tests.commands import run_command
from tests.factories import LicenseFactory
from tests.fake_provider import completion


@pytest.fixture
def reconcile(capsys):
    """What it prints; asserts that the exit code agrees."""

    def reconcile():
        capsys.readouterr()
        code = 0
        try:
            call_command("reconcile")
        except SystemExit as stop:
            code = stop.code
        out = capsys.readouterr().out
        assert code == (1 if out else 0)
        return out

    return reconcile


@pytest.fixture
def busy(post, openai, license, reconcile):
    """A license with one entry of each kind, and all right."""
    post(headers={"Idempotency-Key": "one"})
    openai.reply = completion("nonsense")
    post()
    openai.heal()
    post()
    assert reconcile() == ""
    return license


def damage(change):
    """Change entries (`SET ... WHERE ...`, or `DELETE WHERE ...`) with the guard off."""
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")  # else the test's own transaction is in the way
        cursor.execute("ALTER TABLE billing_usagerecord DISABLE TRIGGER ledger_guard")
        verb = "DELETE FROM" if change.startswith("DELETE") else "UPDATE"
        cursor.execute(f"{verb} billing_usagerecord {change.removeprefix('DELETE')}")
        cursor.execute("ALTER TABLE billing_usagerecord ENABLE TRIGGER ledger_guard")


@pytest.mark.parametrize(
    ("do", "said"),
    [
        (lambda: MonthlyUsage.objects.update(used=7), "counter says 7 used units, the ledger 2"),
        (lambda: MonthlyUsage.objects.update(charged_cents=1), "counter says 1 charged cents, the ledger 2"),
        (lambda: MonthlyUsage.objects.update(bonus_units=3), "counter says 3 bonus units, the ledger 0"),
        (lambda: MonthlyUsage.objects.all().delete(), "counter says 0 used units, the ledger 2"),
        (lambda: damage("SET charge_cents = 3 WHERE state = 'settled'"), "charges 3 cents, its price 1"),
        (lambda: damage("SET charge_cents = 1 WHERE state = 'released'"), "charges 1 cents, its price 0"),
        (lambda: damage("SET input_tokens = 61 WHERE state = 'settled'"), "by its price 0.00001305"),
        (lambda: damage("SET provider_cost_usd = 0"), "cost us 0E-12 dollars, by its price"),
        (lambda: damage("SET state = 'reserved' WHERE state = 'settled'"), "is reserved but closed at"),
        (lambda: damage("SET state = 'released' WHERE state = 'settled'"), "the ledger 0"),
        (lambda: damage("DELETE WHERE state = 'released'"), "the day's spend says"),
        (lambda: damage("SET price_id = NULL"), "settled without a price"),
        (lambda: ModelPrice.objects.update(charged_input=10**5), "its price"),
        (lambda: IdempotencyKey.objects.update(answer=None), "does not fit the entry's state"),
        (lambda: DailySpend.objects.update(cost_usd=5), "the day's spend says 5"),
    ],
)  # fmt: skip
def test_each_damage_is_named(busy, reconcile, do, said):
    do()
    found = reconcile()
    assert said in found
    assert f"license {busy.pk}:" in found or "service:" in found


def test_each_license_that_differs_is_named_and_no_other(post, busy, reconcile):
    others = []
    for _ in range(3):
        license = LicenseFactory()
        post(bearer=lifecycle.add_token(license, by="test")[1])
        others.append(license)
    MonthlyUsage.objects.filter(license__in=others[:2]).update(used=9)

    found = reconcile()

    assert [line.split(":")[0] for line in found.splitlines()] == [f"license {license.pk}" for license in others[:2]]


def test_bonus_units_belong_to_grants(busy, reconcile):
    from datetime import UTC, datetime

    from billing import quota

    quota.grant_bonus(busy, 5, month=datetime.now(UTC).date(), by="test", reason="x")
    assert reconcile() == ""
    BonusGrant.objects.update(units=4)
    assert "counter says 5 bonus units, the ledger 4" in reconcile()
    assert UsageRecord.objects.count() == 3


@pytest.mark.parametrize(("command", "code"), [("reconcile", 2), ("housekeeping", 1)])
def test_books_that_can_not_be_read_are_not_called_wrong(command, code):
    done = run_command(command, env={"DATABASE_URL": "postgresql://x@127.0.0.1:1/x?connect_timeout=2"}, check=False)

    assert done.returncode == code
    assert "Connection refused" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr
