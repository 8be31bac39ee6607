"""Valkey stopped and started again under the deployed service."""

from tests.servers import start_valkey
from tests.service import codes, wait_until


def test_requests_go_on_and_limits_are_counted_per_process(start):
    valkey = start_valkey()
    service = start(REDIS_URL=valkey.connection_url, WEB_CONCURRENCY="2")
    token = service.issue(rate="20/m")
    assert codes([service.suggest(token)]) == {"ok": 1}

    port = valkey.port
    valkey.stop()

    found = codes(service.at_once(100, lambda: service.suggest(token)))
    assert set(found) == {"ok", "rate_limited"}
    assert 20 <= found["ok"] <= 2 * 20, "never unlimited: 20 in each process"
    ready = service.client.get("/health/ready")
    assert (ready.status_code, ready.json()["cache"]) == (200, "unavailable, counting in process memory")
    assert service.client.get("/admin/login/").status_code == 200
    logged = service.log.read_text().count('"cache_unavailable"')
    assert 1 <= logged <= 2, "once a minute and process"
    assert '"status_code": 5' not in service.log.read_text()

    again = start_valkey(port)
    wait_until(lambda: service.client.get("/health/ready").json()["cache"] == "ok")
    wait_until(lambda: service.suggest(token) and again.client().keys("limit:license:*"), what="the cache to be used")
    again.stop()
