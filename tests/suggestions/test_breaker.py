"""The circuit breaker: what opens it, who may try, what closes it."""

import threading

import pytest

from suggestions.providers import breaker as module
from suggestions.providers.base import (
    AnswerInvalid,
    ProviderMisconfigured,
    ProviderRefused,
    ProviderTimeout,
    ProviderUnavailable,
)
from suggestions.providers.breaker import FAILURES, REST, TRIAL_TIMEOUT, Breaker, BreakerOpen


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = 100.0

    monkeypatch.setattr(module.time, "monotonic", lambda: Clock.now)
    return Clock


def ask(breaker, error=None, timeout=20):
    with breaker.call(timeout) as seconds:
        if error:
            raise error("no")
    return seconds


def fail(breaker, times, error=ProviderTimeout):
    for _ in range(times):
        with pytest.raises(error):
            ask(breaker, error)


@pytest.mark.parametrize("error", [ProviderTimeout, ProviderUnavailable])
def test_failures_in_a_row_open_it(clock, error):
    breaker = Breaker()
    fail(breaker, FAILURES - 1, error)
    assert ask(breaker) == 20
    fail(breaker, FAILURES, error)
    with pytest.raises(BreakerOpen):
        ask(breaker)


@pytest.mark.parametrize("error", [AnswerInvalid, ProviderRefused])
def test_what_a_text_provoked_does_not_count(clock, error):
    breaker = Breaker()
    fail(breaker, 3 * FAILURES, error)
    assert ask(breaker) == 20


def test_after_its_rest_one_trial_with_less_time_goes_through(clock):
    breaker = Breaker()
    fail(breaker, FAILURES)
    clock.now += REST
    with breaker.call(20) as seconds:
        assert seconds == TRIAL_TIMEOUT
        with pytest.raises(BreakerOpen):
            ask(breaker)
    assert ask(breaker) == 20


def test_a_failed_trial_rests_again(clock):
    breaker = Breaker()
    fail(breaker, FAILURES)
    clock.now += REST
    fail(breaker, 1)
    with pytest.raises(BreakerOpen):
        ask(breaker)
    clock.now += REST
    assert ask(breaker) == TRIAL_TIMEOUT


@pytest.mark.parametrize("error", [None, ProviderTimeout, ProviderMisconfigured, AnswerInvalid])
def test_a_call_that_began_before_it_opened_neither_closes_it_nor_lengthens_its_rest(clock, error):
    breaker = Breaker()
    late = breaker.call(20)
    late.__enter__()
    fail(breaker, FAILURES)
    clock.now += REST / 2

    assert not late.__exit__(error, error and error("no"), None)

    with pytest.raises(BreakerOpen):
        ask(breaker)
    clock.now += REST / 2
    assert ask(breaker) == TRIAL_TIMEOUT


@pytest.mark.parametrize("error", [ProviderMisconfigured, AnswerInvalid])
def test_a_trial_that_is_answered_closes_it_whatever_the_answer(clock, error):
    breaker = Breaker()
    fail(breaker, FAILURES)
    clock.now += REST
    fail(breaker, 1, error)
    assert ask(breaker) == 20


def test_a_trial_that_ends_in_a_bug_lets_the_next_one_try(clock):
    breaker = Breaker()
    fail(breaker, FAILURES)
    clock.now += REST
    with pytest.raises(ZeroDivisionError):
        ask(breaker, ZeroDivisionError)
    clock.now += REST
    assert ask(breaker) == TRIAL_TIMEOUT


def test_calls_do_not_wait_for_each_other():
    breaker, inside = Breaker(), threading.Barrier(5, timeout=10)

    def call():
        with breaker.call(20):
            inside.wait()  # passes only when all five are in at once

    threads = [threading.Thread(target=call) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not inside.broken
