"""Processes killed while calls are with the provider: units come back, and nothing is charged."""

from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest

from tests.service import codes


@pytest.fixture
def killed(start, provider):
    """A service with 20 of a license's 20 units reserved, killed in the middle and started again."""
    service = start()
    token = service.issue(quota=20)
    provider.hold()

    def doomed(number):
        with pytest.raises(httpx2.TransportError):
            service.suggest(token, **{"Idempotency-Key": f"call-{number}"})

    with ThreadPoolExecutor(20) as pool:
        calls = [pool.submit(doomed, number) for number in range(20)]
        provider.wait_for_calls(20)
        service.kill()
        for call in calls:
            call.result()
    provider.heal()
    service.start()
    return service, token


def age(service):
    """As if the reservations' time to live had passed."""
    service.database.sql("UPDATE billing_usagerecord SET created_at = created_at - interval '61 seconds'")


def states(service):
    return dict(service.database.sql("SELECT state, count(*) FROM billing_usagerecord GROUP BY state"))


def test_housekeeping_gives_the_units_back(killed):
    service, token = killed
    assert states(service) == {"reserved": 20}
    assert "reservations_released: 0" in service.command("housekeeping").stdout, "too early"

    age(service)

    assert "reservations_released: 20" in service.command("housekeeping").stdout
    assert states(service) == {"released": 20}
    assert service.database.sql("SELECT used, charged_cents FROM billing_monthlyusage") == [(0, 0)]
    assert service.reconcile() == ""
    assert codes([service.suggest(token, **{"Idempotency-Key": "call-7"})]) == {"ok": 1}


def test_a_customer_with_no_unit_left_gets_them_back_at_the_next_call(killed):
    service, token = killed
    refused = service.suggest(token)
    assert codes([refused]) == {"quota_exhausted": 1}
    assert refused.headers["Retry-After"] == "5"

    age(service)

    answer = service.suggest(token)
    assert codes([answer]) == {"ok": 1}
    assert answer.json()["quota_remaining"] == 19
    assert service.reconcile() == ""
