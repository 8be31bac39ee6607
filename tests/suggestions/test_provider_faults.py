"""What a client gets when the provider fails, and what the books say afterwards."""

from datetime import UTC, datetime, timedelta

import pytest
from django.core.management import call_command
from django.db import OperationalError, connection

from billing import quota
from billing.models import DailySpend, MonthlyUsage, UsageRecord
from suggestions import flow
from suggestions.providers import breaker
from tests.fake_provider import SUGGESTION, completion

BAD_COMPLETIONS = {
    "not_json": completion("Sure! Here is your reminder"),
    "an_array": completion([1, 2]),
    "missing_field": completion({"suggested_text": "x"}),
    "wrong_type": completion({**SUGGESTION, "suggested_text": 5}),
    "empty_text": completion({**SUGGESTION, "suggested_text": "  "}),
    "long_text": completion({**SUGGESTION, "suggested_text": "x" * 301}),
    "surrogate": completion('{"suggested_text": "\\ud800", "priority": "low", "due_time_suggestion": null}'),
    "wrong_priority": completion({**SUGGESTION, "priority": "extreme"}),
    "due_is_a_number": completion({**SUGGESTION, "due_time_suggestion": 5}),
    "no_content": completion(None),
    "cut_off": completion('{"suggested_text": "Meet', finish="length"),
    "deep": completion("[" * 50_000),
    "message_without_content": {**completion(None), "choices": [{"message": {"role": "assistant"}}]},
}
# As some compatible servers leave out what is null.
BARE_REFUSAL = {**completion(None), "choices": [{"message": {"role": "assistant", "refusal": "no"}}]}
FAULTS = {
    # how the provider behaves: (mode, reply), outcome in the ledger, status and code where the fallback is off
    "429": ("too_many", None, "provider_unavailable", 503, "provider_unavailable"),
    "500": ("failing", None, "provider_unavailable", 503, "provider_unavailable"),
    "reset": ("reset", None, "provider_unavailable", 503, "provider_unavailable"),
    "huge": ("huge", None, "provider_invalid", 502, "provider_invalid"),
    "bad_key": ("bad_key", None, "provider_misconfigured", 503, "provider_unavailable"),
    "html": ("html", None, "provider_invalid", 502, "provider_invalid"),
    "no_choices": ("ok", {"choices": []}, "provider_invalid", 502, "provider_invalid"),
    "json_array": ("ok", [], "provider_invalid", 502, "provider_invalid"),
    "message_is_text": ("ok", {"choices": [{"message": "x"}]}, "provider_invalid", 502, "provider_invalid"),
    "bare_refusal": ("ok", BARE_REFUSAL, "provider_refused", 502, "provider_invalid"),
    "refusal": ("ok", completion(None, refusal="I can't"), "provider_refused", 502, "provider_invalid"),
    "filtered": ("ok", completion("", finish="content_filter"), "provider_refused", 502, "provider_invalid"),
    "hang": ("hang", None, "provider_timeout", 504, "provider_timeout"),
    "drip": ("drip", None, "provider_timeout", 504, "provider_timeout"),
    **{name: ("ok", reply, "answer_invalid", 502, "provider_invalid") for name, reply in BAD_COMPLETIONS.items()},
}


@pytest.fixture(params=FAULTS, ids=str)
def fault(request, openai, settings):
    settings.AI_TIMEOUT_SECONDS = 0.5
    mode, reply, *expected = FAULTS[request.param]
    openai.mode = mode
    if reply is not None:
        openai.reply = reply
    yield expected
    openai.heal()


def test_the_fallback_answers_uncharged(post, openai, fault, capsys):
    outcome, *_ = fault

    answer = post("call mum tomorrow at 2pm")

    assert answer.status_code == 200
    body = answer.json()
    assert (body["degraded"], body["model"], body["cost_cents"]) == (True, "local", 0)
    assert (body["input_tokens"], body["output_tokens"], body["quota_remaining"]) == (0, 0, 1000)
    assert body["suggested_text"]
    entry = UsageRecord.objects.get()
    assert (entry.state, entry.outcome, entry.charge_cents) == ("released", outcome, 0)
    assert MonthlyUsage.objects.get().used == 0
    call_command("reconcile")
    assert capsys.readouterr().out == ""


def test_without_the_fallback_it_is_a_refusal(post, fault, settings):
    settings.AI_FALLBACK = False
    _, status, code = fault

    answer = post()

    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.has_header("Retry-After") == (status == 503)
    assert MonthlyUsage.objects.get().used == 0


@pytest.mark.parametrize(
    ("reply", "misfires"),
    [
        (completion("nonsense"), 1),
        (BARE_REFUSAL, 1),
        ({**completion(None), "choices": []}, 0),
        ({**completion(None), "choices": [{"message": "x"}]}, 0),
    ],
    ids=["nonsense", "bare refusal", "no choices", "message is text"],
)
def test_a_released_entry_keeps_what_the_provider_took(post, openai, reply, misfires):
    openai.reply = reply

    post()

    entry = UsageRecord.objects.get()
    assert MonthlyUsage.objects.get().misfires == misfires
    assert (entry.input_tokens, entry.output_tokens, str(entry.provider_cost_usd)) == (60, 25, "0.000013000000")
    assert str(DailySpend.objects.get().cost_usd) == "0.000013000000"


def test_texts_that_provoke_nonsense_stop_costing_us_after_a_few_and_degrade_nobody_else(post, openai, license, db):
    from licenses import lifecycle
    from tests.factories import LicenseFactory

    openai.reply = completion("nonsense")
    for _ in range(quota.MISFIRES_A_DAY + 3):
        assert post().json()["degraded"] is True
    assert openai.calls == quota.MISFIRES_A_DAY
    assert UsageRecord.objects.filter(outcome="misfires_spent").count() == 3

    openai.heal()
    assert post().json()["degraded"] is True
    _, other = lifecycle.add_token(LicenseFactory(), by="test")
    assert post(bearer=other).json()["degraded"] is False


def test_a_misfire_of_yesterday_does_not_count_today(post, openai, license):
    openai.reply = completion("nonsense")
    for _ in range(quota.MISFIRES_A_DAY):
        post()
    MonthlyUsage.objects.update(misfires_on=datetime.now(UTC).date() - timedelta(days=1))
    openai.heal()

    assert post().json()["degraded"] is False


def test_nonsense_that_is_no_completion_counts_against_nobody(post, openai):
    openai.mode = "html"
    for _ in range(quota.MISFIRES_A_DAY + 1):
        post()
    openai.heal()

    assert post().json()["degraded"] is False


def test_past_the_days_budget_every_answer_is_degraded_and_an_operator_is_told_once(post, openai, settings, mailoutbox):
    from decimal import Decimal

    settings.AI_DAILY_BUDGET_USD = Decimal("0.000026")  # two calls
    settings.ADMINS = [("ops", "ops@example.com")]

    answers = [post().json()["degraded"] for _ in range(5)]

    assert answers == [False, False, True, True, True]
    assert openai.calls == 2
    assert set(UsageRecord.objects.filter(state="released").values_list("outcome", flat=True)) == {"budget_spent"}
    call_command("housekeeping", verbosity=0)
    call_command("housekeeping", verbosity=0)
    (mail,) = mailoutbox
    assert mail.to == ["ops@example.com"]
    assert "budget" in mail.body


def test_a_model_without_a_price_is_never_asked(post, openai, settings):
    settings.OPENAI_MODEL = "gpt-without-price"

    assert post().json()["degraded"] is True
    assert openai.calls == 0
    assert UsageRecord.objects.get().outcome == "price_missing"


@pytest.mark.parametrize("mode", ["too_many", "failing", "huge", "html"])
def test_a_provider_in_trouble_is_asked_once(post, openai, mode):
    openai.mode = mode
    post()
    assert openai.calls == 1


def test_a_host_whose_first_address_is_dead_is_reached_by_its_next(post, openai, monkeypatch):
    from suggestions.providers import deadline

    dead_then_alive = [(None, None, None, "", (address, 0)) for address in ("127.0.0.9", "127.0.0.1")]
    monkeypatch.setattr(deadline, "_addresses", lambda host, port: dead_then_alive)
    assert post().json()["degraded"] is False


def test_a_bug_in_a_provider_costs_nobody_a_unit_nor_an_answer(post, openai, monkeypatch):
    from suggestions.providers import openai as module

    monkeypatch.setattr(module, "_usage", lambda value: 1 / 0)

    body = post().json()

    assert (body["degraded"], body["quota_remaining"]) == (True, 1000)
    assert UsageRecord.objects.get().outcome == "provider_invalid"


@pytest.mark.parametrize("chosen", ["openai", "local"])
def test_a_bug_in_the_built_in_suggester_sends_the_reminder_back_as_it_came(
    post, openai, settings, monkeypatch, chosen
):
    settings.AI_PROVIDER = chosen
    openai.mode = "failing"
    monkeypatch.setattr("suggestions.providers.local.suggest", lambda *args: 1 / 0)

    body = post("call mum\n tomorrow" + "!" * 400).json()

    assert (body["degraded"], body["quota_remaining"], body["due_at"]) == (True, 1000, None)
    assert body["suggested_text"] == "call mum tomorrow" + "!" * 283
    assert body["priority"] == "medium"


def test_a_request_that_was_late_by_itself_does_not_ask_and_blames_nobody(post, openai, monkeypatch):
    openai.mode = "hang"
    # No request can be made to wait that long from outside in a test that is to be quick.
    with monkeypatch.context() as patch:
        patch.setattr(flow.Ask, "elapsed", lambda ask: flow.PROVIDER_DONE_BY - 2.5)
        answers = [post().json() for _ in range(breaker.FAILURES)]

    assert [answer["degraded"] for answer in answers] == [True] * breaker.FAILURES
    assert openai.calls == 0
    assert set(UsageRecord.objects.values_list("outcome", flat=True)) == {"too_late"}
    openai.heal()
    assert post().json()["degraded"] is False


def test_parameters_of_ones_own_replace_those_known(post, openai, settings):
    settings.OPENAI_PARAMETERS = {"top_k": 5, "max_tokens": 99}
    assert post().json()["degraded"] is False
    (request,) = openai.requests
    assert (request["top_k"], request["max_tokens"]) == (5, 99)
    assert "reasoning_effort" not in request


def test_a_provider_that_closed_an_idle_connection_is_asked_again(post, openai):
    post()
    openai.mode = "reset"
    real = openai._reset

    def once(handler):
        openai.mode = "ok"
        real(handler)

    openai._reset = once

    assert post().json()["degraded"] is False
    assert openai.calls == 3


def test_a_failure_that_comes_after_its_reservation_was_given_up_still_keeps_its_cost(post, openai, license, capsys):
    openai.reply = completion("nonsense")
    release = quota.release

    def late_release(reservation, *args):
        UsageRecord.objects.update(created_at=reservation.entry.created_at - timedelta(seconds=61))
        assert quota.release_abandoned(license) == 1
        release(reservation, *args)
        return release(reservation, *args)  # as after a confirmation that was lost

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(quota, "release", late_release)
        assert post().json()["degraded"] is True

    entry = UsageRecord.objects.get()
    assert (entry.outcome, str(entry.provider_cost_usd)) == ("abandoned", "0.000013000000")
    assert str(DailySpend.objects.get().cost_usd) == "0.000013000000"
    call_command("reconcile")


def test_an_answer_that_comes_after_its_reservation_was_given_up_goes_out_uncharged(post, openai, license):
    # No process can be made to stand still just there from outside.
    settle = quota.settle

    def late_settle(reservation, usage, answer):
        UsageRecord.objects.update(created_at=reservation.entry.created_at - timedelta(seconds=61))
        assert quota.release_abandoned(license) == 1
        return settle(reservation, usage, answer)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(quota, "settle", late_settle)
        body = post().json()

    assert (body["degraded"], body["cost_cents"], body["quota_remaining"]) == (True, 0, 1000)
    assert body["suggested_text"] == SUGGESTION["suggested_text"]
    entry = UsageRecord.objects.get()
    assert (entry.state, entry.charge_cents, str(entry.provider_cost_usd)) == ("released", 0, "0.000013000000")


def test_such_an_answer_outlives_a_connection_that_breaks(post, openai, license, monkeypatch):
    settle, breaks = quota.settle, []

    def late_settle(reservation, usage, answer):
        UsageRecord.objects.update(created_at=reservation.entry.created_at - timedelta(seconds=61))
        if quota.release_abandoned(license):
            breaks.append(True)
        return settle(reservation, usage, answer)

    def break_once(execute, sql, *args):
        if breaks and sql.startswith("SELECT") and "billing_monthlyusage" in sql:
            breaks.pop()
            raise OperationalError("the connection is lost")
        return execute(sql, *args)

    monkeypatch.setattr(quota, "settle", late_settle)
    with connection.execute_wrapper(break_once):
        answer = post()

    assert (answer.status_code, breaks) == (200, [])
    assert (answer.json()["degraded"], answer.json()["quota_remaining"]) == (True, 1000)
    assert str(DailySpend.objects.get().cost_usd) == "0.000013000000"
