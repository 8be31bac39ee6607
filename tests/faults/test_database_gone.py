"""PostgreSQL stopped and started again under the deployed service."""

import time
from threading import Thread

import psutil
import psycopg
import pytest

from tests.servers import restart_postgres, start_postgres, stop_postgres
from tests.service import Template, codes, wait_until

PROMISED = 25  # seconds within which the contract promises an answer


@pytest.fixture(scope="module")
def server():
    return start_postgres()


@pytest.fixture
def postgres(server):
    restart_postgres(server)
    return server


@pytest.mark.parametrize("down", [1, 45], ids="{}s".format)
def test_it_says_so_and_is_well_by_itself_within_5_seconds(start, postgres, down):
    service = start(Template(postgres.get_uri("postgres")).copy())
    token = service.issue()
    assert codes([service.suggest(token)]) == {"ok": 1}

    stop_postgres(postgres)
    stopped = time.monotonic()
    answers = service.at_once(20, lambda: service.suggest(token))
    assert codes(answers) == {"database_unavailable": 20}
    assert {(answer.status_code, answer.headers["Retry-After"]) for answer in answers} == {(503, "5")}
    ready = service.client.get("/health/ready")
    assert (ready.status_code, ready.json()["database"]) == (503, "unavailable")
    assert service.client.get("/health").json() == {"status": "ok", "version": "1.0.0"}
    assert service.client.get("/admin/", headers={"Cookie": f"sessionid={'x' * 32}"}).status_code == 503
    # Traffic goes on all the while, as it would.
    wait_until(
        lambda: service.at_once(5, lambda: service.suggest(token)) and time.monotonic() - stopped > down,
        timeout=down + 20,
    )

    restart_postgres(postgres)
    back = time.monotonic()
    wait_until(lambda: codes(service.at_once(10, lambda: service.suggest(token))) == {"ok": 10})
    assert time.monotonic() - back < 5
    assert service.reconcile() == ""


def test_a_frozen_server_is_not_waited_for(start, postgres):
    """It is there and does not answer: neither its own timeouts nor TCP's help."""
    service = start(Template(postgres.get_uri("postgres")).copy())
    token = service.issue()
    assert codes([service.suggest(token)]) == {"ok": 1}
    master = psutil.Process(postgres.get_pid())
    processes = [master, *master.children(recursive=True)]

    for process in processes:
        process.suspend()
    try:
        answers = service.at_once(10, lambda: service.suggest(token))
    finally:
        for process in processes:
            process.resume()

    assert codes(answers) == {"database_unavailable": 10}
    assert max(answer.elapsed.total_seconds() for answer in answers) < PROMISED
    wait_until(lambda: codes(service.at_once(10, lambda: service.suggest(token))) == {"ok": 10})
    assert service.reconcile() == ""


def test_one_that_freezes_while_a_slow_provider_works_is_given_what_is_left_of_the_25_seconds(
    start, postgres, provider
):
    service = start(Template(postgres.get_uri("postgres")).copy())
    token = service.issue()
    provider.delay = 19.8
    master = psutil.Process(postgres.get_pid())
    frozen = []

    def freeze():
        provider.wait_for_calls(1)
        frozen.extend([master, *master.children(recursive=True)])
        for process in frozen:
            process.suspend()

    freezer = Thread(target=freeze)
    freezer.start()
    try:
        answer = service.suggest(token)
    finally:
        freezer.join()
        for process in frozen:
            process.resume()

    assert codes([answer]) == {"database_unavailable": 1}
    assert answer.elapsed.total_seconds() < PROMISED


def test_a_database_that_goes_while_the_provider_works_charges_nothing(start, postgres, provider):
    service = start(Template(postgres.get_uri("postgres")).copy())
    token = service.issue(quota=5)
    provider.hold()

    def stop_then_answer():
        provider.wait_for_calls(1)
        stop_postgres(postgres)
        provider.heal()

    stopper = Thread(target=stop_then_answer)
    stopper.start()
    answer = service.suggest(token)
    stopper.join()
    restart_postgres(postgres)

    assert codes([answer]) == {"database_unavailable": 1}
    service.database.sql("UPDATE billing_usagerecord SET created_at = created_at - interval '61 seconds'")
    service.command("housekeeping")
    assert service.database.sql("SELECT used, charged_cents FROM billing_monthlyusage") == [(0, 0)]
    assert service.reconcile() == ""


def test_a_short_interruption_while_the_provider_works_is_bridged(start, postgres, provider):
    """A restart that is over before the provider answers: the pool's connections are dead, the answer is not."""
    service = start(Template(postgres.get_uri("postgres")).copy(), DATABASE_POOL_MIN="2", DATABASE_POOL_MAX="2")
    token = service.issue()
    provider.hold()

    def restart_then_answer():
        provider.wait_for_calls(1)
        stop_postgres(postgres)
        restart_postgres(postgres)
        provider.heal()

    restarter = Thread(target=restart_then_answer)
    restarter.start()
    answer = service.suggest(token)
    restarter.join()

    assert codes([answer]) == {"ok": 1}
    assert service.reconcile() == ""


def test_a_connection_that_breaks_in_the_middle_of_settling_is_replaced(start, postgres, provider):
    service = start(Template(postgres.get_uri("postgres")).copy())
    token = service.issue()
    provider.hold()

    def break_it():
        provider.wait_for_calls(1)
        with psycopg.connect(service.database.url) as holding:
            holding.execute("SELECT 1 FROM billing_usagerecord FOR UPDATE")
            provider.heal()
            (settling,) = wait_until(
                lambda: service.database.sql(
                    "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
                )
            )
            service.database.sql("SELECT pg_terminate_backend(%s)", settling[0])

    breaker = Thread(target=break_it)
    breaker.start()
    answer = service.suggest(token)
    breaker.join()

    assert codes([answer]) == {"ok": 1}
    assert service.database.sql("SELECT used, charged_cents FROM billing_monthlyusage") == [(1, 1)]
    assert service.reconcile() == ""
