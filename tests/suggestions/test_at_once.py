"""Many at once, against the service as it is deployed: limits hold exactly, and keys are charged once."""

import pytest

from tests.service import codes

MONTH = "month = date_trunc('month', now() at time zone 'utc')"


def way(engine):
    return {"LEDGER_IN_ONE_STATEMENT": str(engine == "postgresql")}


def assert_books(service, used):
    database = service.database
    assert database.value("SELECT sum(used) FROM billing_monthlyusage") == used
    assert database.value("SELECT count(*) FROM billing_usagerecord WHERE state = 'settled'") == used
    assert database.value("SELECT count(*) FROM billing_usagerecord WHERE state = 'reserved'") == 0
    assert service.reconcile() == ""


@pytest.mark.parametrize("engine", ["postgresql", "postgresql in several statements", "sqlite"])
def test_200_at_once_with_37_units_left_get_37_answers(start, engine, provider, request):
    if engine != "sqlite":
        service = start(WEB_CONCURRENCY="2", **way(engine))
    else:
        service = start(request.getfixturevalue("sqlite"), WEB_CONCURRENCY="1", REDIS_URL="", WEB_THREADS="200")
    token = service.issue(quota=37)

    answers = service.at_once(200, lambda: service.suggest(token))

    assert codes(answers) == {"ok": 37, "quota_exhausted": 163}
    assert provider.calls == 37
    assert_books(service, 37)


def test_the_license_rate_holds_across_processes(start):
    service = start(WEB_CONCURRENCY="2")
    token = service.issue(rate="25/m")

    answers = service.at_once(100, lambda: service.suggest(token))

    assert codes(answers) == {"ok": 25, "rate_limited": 75}
    assert_books(service, 25)


def test_the_address_limit_holds_across_processes(start):
    service = start(WEB_CONCURRENCY="2", RATE_LIMIT_REQUESTS="30", TRUSTED_PROXY_COUNT="1")
    from_one = {"X-Forwarded-For": "198.51.100.7"}

    answers = service.at_once(100, lambda: service.client.get("/api/v1/schema", headers=from_one))

    assert sorted(answer.status_code for answer in answers) == [200] * 30 + [429] * 70


@pytest.mark.parametrize(
    ("engine", "quota"),
    [("postgresql", 1), ("postgresql", 100), ("postgresql in several statements", 100), ("sqlite", 100)],
)
def test_one_key_20_times_at_once_is_one_call_and_one_charge(start, engine, quota, provider, request):
    service = (
        start(**way(engine))
        if engine != "sqlite"
        else start(request.getfixturevalue("sqlite"), WEB_CONCURRENCY="1", REDIS_URL="")
    )
    token = service.issue(quota=quota, rate="1/m" if quota > 1 else "1000/m")
    key = {"Idempotency-Key": "the-one"}
    provider.delay = 0.3

    answers = service.at_once(20, lambda: service.suggest(token, **key))

    found = codes(answers)
    assert found.pop("ok") >= 1
    assert set(found) <= {"idempotency_in_progress"}
    assert len({a.text for a in answers if a.status_code == 200}) == 1
    assert provider.calls == 1
    assert_books(service, 1)
    if quota == 1:  # it is used up now; the key still gets its answer
        assert codes([service.suggest(token)]) == {"quota_exhausted": 1}
    assert service.suggest(token, **key).text == next(a.text for a in answers if a.status_code == 200)
    assert_books(service, 1)


def test_no_database_connection_is_held_while_the_provider_is_asked(start, provider):
    """60 calls are with the provider together, while the pool has 4 connections."""
    service = start(WEB_CONCURRENCY="1", WEB_THREADS="60", DATABASE_POOL_MIN="4", DATABASE_POOL_MAX="4")
    token, states = service.issue(), set()
    provider.hold()

    def all_are_with_the_provider_then_answer():
        provider.wait_for_calls(60)
        found = service.database.sql(
            "SELECT state FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            " AND backend_type = 'client backend'"
        )
        states.update(state for (state,) in found)
        provider.heal()

    from threading import Thread

    watcher = Thread(target=all_are_with_the_provider_then_answer)
    watcher.start()
    answers = service.at_once(60, lambda: service.suggest(token))
    watcher.join()

    assert states == {"idle"}
    assert codes(answers) == {"ok": 60}
    assert_books(service, 60)
