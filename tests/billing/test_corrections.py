"""A charge taken back by a further entry: the books agree, once is once, and nothing else is ever negative."""

import threading

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone

from billing import quota, reconcile
from billing.models import MonthlyUsage, UsageRecord
from licenses.lifecycle import NotPossible
from tests.service import run_command

pytestmark = pytest.mark.django_db
WHO = {"by": "staff:jo", "reason": "ticket 1"}


@pytest.fixture
def entry(post, openai, license):
    post()
    return UsageRecord.objects.select_related("license").get()


def test_the_books_agree(entry):
    quota.correct(entry, cents=1, gives_back_unit=True, **WHO)
    assert not list(reconcile.differences())
    counter = MonthlyUsage.objects.get()
    assert (counter.used, counter.charged_cents) == (0, 0)


def test_without_its_unit_the_quota_stays_as_it_was(entry):
    quota.correct(entry, cents=1, gives_back_unit=False, **WHO)
    counter = MonthlyUsage.objects.get()
    assert (counter.used, counter.charged_cents) == (1, 0)
    assert not list(reconcile.differences())


def test_the_unit_alone_can_be_given_back(entry):
    quota.correct(entry, cents=0, gives_back_unit=True, **WHO)
    counter = MonthlyUsage.objects.get()
    assert (counter.used, counter.charged_cents) == (0, 1)
    assert not list(reconcile.differences())


@pytest.mark.parametrize(("cents", "unit"), [(2, True), (-1, True), (0, False)])
def test_what_was_not_charged_can_not_be_taken_back(entry, cents, unit):
    with pytest.raises(NotPossible):
        quota.correct(entry, cents=cents, gives_back_unit=unit, **WHO)
    assert UsageRecord.objects.count() == 1


def test_once_for_each_entry_and_never_a_correction(entry):
    correction = quota.correct(entry, cents=1, gives_back_unit=True, **WHO)
    for again in (entry, correction):
        with pytest.raises(NotPossible), transaction.atomic():
            quota.correct(again, cents=1, gives_back_unit=True, **WHO)
    assert MonthlyUsage.objects.get().charged_cents == 0


def test_the_client_sees_less(entry, client, token):
    headers = {"Authorization": f"Bearer {token}"}
    assert client.get("/api/v1/usage/stats", headers=headers).json()["this_month_cost_cents"] == 1
    quota.correct(entry, cents=1, gives_back_unit=True, **WHO)
    stats = client.get("/api/v1/usage/stats", headers=headers).json()
    assert (stats["this_month_cost_cents"], stats["ai_quota_used"]) == (0, 0)


def test_reconcile_sees_a_correction_of_too_much(entry):
    number = entry.pk
    entry.pk, entry.corrects_id, entry.charge_cents, entry.units = None, number, -5, 0
    entry.save()
    assert any("takes back more" in str(difference) for difference in reconcile.differences())


@pytest.mark.parametrize("wrong", [{"charge_cents": -1}, {"units": -1}, {"units": 0}, {"units": 2}])
def test_no_other_entry_is_negative(entry, wrong):
    now = timezone.now()
    entry.pk, entry.created_at, entry.closed_at = None, now, now
    for name, value in wrong.items():
        setattr(entry, name, value)
    with pytest.raises(IntegrityError), transaction.atomic():
        entry.save()


def test_two_at_once_take_it_back_once(start, database):
    service = start(database)
    service.suggest(service.issue())
    script = (
        "from billing import quota; from billing.models import UsageRecord\n"
        "from licenses.lifecycle import NotPossible\n"
        "entry = UsageRecord.objects.get(corrects=None)\n"
        "try: quota.correct(entry, cents=1, gives_back_unit=True, by='x', reason='y')\n"
        "except NotPossible: pass"
    )
    threads = [
        threading.Thread(target=run_command, args=("shell", "-v0", "-c", script), kwargs={"env": service.env})
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert database.value("SELECT count(*) FROM billing_usagerecord WHERE corrects_id IS NOT NULL") == 1
    assert service.reconcile() == ""
