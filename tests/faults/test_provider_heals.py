"""A provider in trouble, against the deployed service: answers stay quick, and it is asked again once it is well."""

import time

from tests.service import codes, wait_until

PROMISED = 25  # seconds within which the contract promises an answer


def test_a_provider_that_hangs_is_answered_in_time_and_its_healing_is_noticed(start, provider):
    service = start(AI_TIMEOUT_SECONDS="2")
    token = service.issue()
    provider.mode = "hang"

    answers = service.at_once(40, lambda: service.suggest(token))

    assert codes(answers) == {"degraded": 40}
    assert max(answer.elapsed.total_seconds() for answer in answers) < PROMISED
    # The breaker keeps further requests from waiting at all.
    asked = provider.calls
    assert codes(service.at_once(10, lambda: service.suggest(token))) == {"degraded": 10}
    assert provider.calls <= asked + 2  # one trial a process, at most

    provider.heal()
    healed = time.monotonic()
    wait_until(lambda: codes(service.at_once(4, lambda: service.suggest(token))) == {"ok": 4}, timeout=30)
    assert time.monotonic() - healed < 30
    assert service.reconcile() == ""


def test_the_whole_timeout_leaves_room_for_the_answer(start, provider):
    """With the longest timeout that is allowed, and a byte a second."""
    service = start(WEB_CONCURRENCY="1")
    token = service.issue()
    provider.mode = "drip"

    answer = service.suggest(token)

    assert codes([answer]) == {"degraded": 1}
    assert answer.elapsed.total_seconds() < PROMISED
    assert service.reconcile() == ""
