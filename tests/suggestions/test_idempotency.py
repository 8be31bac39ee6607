"""Idempotency-Key through the API: one answer, one charge, whatever is sent again."""

from datetime import UTC, datetime, timedelta

import pytest
from django.core.management import call_command
from django.db import connection

from billing import quota
from billing.idempotency import claim_for
from billing.models import IdempotencyKey, MonthlyUsage, Outcome, UsageRecord
from licenses import lifecycle
from licenses.views import LicensedView
from suggestions.views import SuggestReminderView
from tests.fake_provider import SUGGESTION, completion

pytestmark = pytest.mark.usefixtures("either_way")

KEY = {"Idempotency-Key": "order-66"}


def age(row, by):
    type(row).objects.filter(pk=row.pk).update(expires_at=row.expires_at - by)


def test_sent_again_it_gets_the_same_answer_and_costs_nothing(post, openai):
    first = post("call mum", headers=KEY).json()
    openai.reply = completion("something else")

    assert post("call mum", headers=KEY).json() == first
    assert openai.calls == 1
    assert UsageRecord.objects.count() == MonthlyUsage.objects.get().used == 1


def test_text_is_compared_after_validation(post, openai):
    first = post("call mum", headers=KEY)

    assert post("  call mum ", timezone="UTC", headers=KEY).json() == first.json()


@pytest.mark.parametrize("other", [{"text": "call dad"}, {"text": "call mum", "timezone": "Asia/Tokyo"}])
def test_another_body_is_a_mismatch(post, openai, other):
    post("call mum", headers=KEY)

    answer = post(**other, headers=KEY)

    assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_mismatch")
    assert openai.calls == 1


@pytest.mark.parametrize("minutes", [12, -1])
def test_sent_again_later_its_due_time_is_said_as_it_is_meant_now(post, openai, minutes):
    openai.reply = completion({**SUGGESTION, "due_time_suggestion": "in 20 minutes"})
    first = post("pasta", headers=KEY).json()
    assert first["due_time_suggestion"] == "in 20 minutes"
    due_at = (datetime.now(UTC) + timedelta(minutes=minutes)).replace(microsecond=0)
    kept = IdempotencyKey.objects.get()  # of a request that was sent some minutes ago
    IdempotencyKey.objects.update(answer={**kept.answer, "due_at": due_at.isoformat()})

    again = post("pasta", headers=KEY).json()

    words = due_at.replace(tzinfo=None).isoformat(" ", "seconds" if due_at.second else "minutes")
    said = {"due_time_suggestion": words if minutes > 0 else None, "due_at": due_at.isoformat()}
    assert again == {**first, **said}


def test_a_key_that_came_free_just_now_is_taken_after_all(post, openai, license, monkeypatch):
    """The first request with it ends, degraded, between our reservation's refusal and our look at its answer."""
    first, recall = open_call(license), quota.recall

    def look(claim):
        quota.release(first, Outcome.PROVIDER_TIMEOUT)
        monkeypatch.setattr(quota, "recall", recall)
        return quota.recall(claim)

    monkeypatch.setattr(quota, "recall", look)
    monkeypatch.setattr(SuggestReminderView, "find_token", LicensedView.find_token)  # it was not known when it came

    answer = post("call mum", headers=KEY)

    assert (answer.status_code, answer.json()["degraded"]) == (200, False)
    assert sorted(UsageRecord.objects.values_list("state", flat=True)) == ["released", "settled"]


def test_the_key_of_another_license_is_another_key(post, openai, db):
    from tests.factories import LicenseFactory

    post("call mum", headers=KEY)
    _, other = lifecycle.add_token(LicenseFactory(), by="test")

    assert post("call dad", bearer=other, headers=KEY).status_code == 200


def test_a_replay_is_answered_before_rate_and_quota(post, openai, license, valkey):
    lifecycle.change_limits(license, quota=1, rate=1, by="test")
    first = post("call mum", headers=KEY).json()
    assert post("call mum").json()["code"] == "rate_limited"
    valkey.flushdb()
    assert post("call mum").json()["code"] == "quota_exhausted"

    assert post("call mum", headers=KEY).json() == first


def test_after_a_day_it_is_a_new_call(post, openai):
    post("call mum", headers=KEY)
    age(IdempotencyKey.objects.get(), timedelta(hours=24))

    assert post("call dad", headers=KEY).json()["quota_remaining"] == 998
    assert openai.calls == 2


def test_housekeeping_deletes_expired_keys_only(post, openai):
    post("call mum", headers=KEY)
    post("call dad", headers={"Idempotency-Key": "young"})
    age(IdempotencyKey.objects.get(key="order-66"), timedelta(hours=24))

    call_command("housekeeping", verbosity=0)

    assert IdempotencyKey.objects.get().key == "young"


def test_a_degraded_answer_does_not_use_up_the_key(post, openai):
    openai.mode = "failing"
    assert post("call mum", headers=KEY).json()["degraded"] is True
    openai.heal()

    answer = post("call dad", headers=KEY).json()

    assert (answer["degraded"], answer["quota_remaining"]) == (False, 999)


@pytest.mark.parametrize("cache", ["shared", "memory"])
@pytest.mark.parametrize("comes_to_nothing", ["degraded", "quota_exhausted"])
def test_one_after_the_other_each_call_that_came_to_nothing_counts(
    post, openai, license, settings, valkey, cache, comes_to_nothing
):
    if cache == "memory":
        settings.REDIS_URL = ""
    openai.mode = "failing"
    lifecycle.change_limits(license, quota=0 if comes_to_nothing == "quota_exhausted" else 5, rate=2, by="test")

    answers = [post("call mum", headers=KEY).json() for _ in range(4)]

    outcomes = [answer.get("code", "degraded") for answer in answers]
    assert outcomes == [comes_to_nothing, comes_to_nothing, "rate_limited", "rate_limited"]


def test_a_refused_call_does_not_use_up_the_key(post, openai, license):
    lifecycle.change_limits(license, quota=0, rate=1000, by="test")
    assert post("call mum", headers=KEY).status_code == 429
    lifecycle.change_limits(license, quota=5, rate=1000, by="test")

    assert post("call dad", headers=KEY).status_code == 200


def open_call(license, text="call mum"):
    """The state that a request leaves while the provider works, or when its process dies."""
    token = license.tokens.get()
    claim = claim_for(license, KEY["Idempotency-Key"], {"text": text, "timezone": "UTC"})
    return quota.reserve(license, token, model="gpt-5-nano", request_id="first", key=claim)


def test_while_the_first_runs_the_others_are_told_to_wait(post, openai, license):
    open_call(license)

    answer = post("call mum", headers=KEY)

    assert (answer.status_code, answer.json()["code"]) == (409, "idempotency_in_progress")
    assert int(answer["Retry-After"]) > 0
    assert UsageRecord.objects.count() == 1
    assert post("call dad", headers=KEY).json()["code"] == "idempotency_mismatch"


def test_a_first_call_that_died_is_not_waited_for(post, openai, license):
    reservation = open_call(license)
    UsageRecord.objects.update(created_at=reservation.entry.created_at - timedelta(seconds=61))

    answer = post("call mum", headers=KEY)

    assert (answer.status_code, answer.json()["quota_remaining"]) == (200, 999)


@pytest.mark.parametrize("key", ["", "a b", "ü", "x" * 256, "tab\t"])
def test_a_malformed_key_is_refused(post, openai, key):
    answer = post("call mum", headers={"Idempotency-Key": key})

    assert (answer.status_code, answer.json()["code"]) == (400, "invalid")
    assert "Idempotency-Key" in answer.json()["errors"]
    assert UsageRecord.objects.count() == 0


def test_a_row_that_is_refused_for_another_reason_is_no_taken_key(client, post, openai):
    client.raise_request_exception = False
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE billing_idempotencykey ADD CONSTRAINT broken CHECK (key <> 'order-66')")

    answer = post("call mum", headers=KEY)

    assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
    assert MonthlyUsage.objects.count() == UsageRecord.objects.count() == 0
