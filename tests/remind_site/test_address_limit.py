"""The limit per client address: whom it counts as one, whom it leaves alone, and what it says."""

import time

import pytest
from redis import Redis

from licenses import limits

DOCS = "/api/v1/docs"


@pytest.fixture(autouse=True)
def _three_requests(settings, valkey):
    settings.RATE_LIMIT_REQUESTS = 3


def statuses(client, count=4, path=DOCS, **meta):
    return [client.get(path, **meta).status_code for _ in range(count)]


def test_the_next_one_is_refused_with_headers(client):
    answers = [client.get(DOCS) for _ in range(4)]

    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert [answer["X-RateLimit-Remaining"] for answer in answers] == ["2", "1", "0", "0"]
    refused = answers[-1]
    assert refused.json()["code"] == "rate_limited"
    assert "address" in refused.json()["detail"]
    assert 1 <= int(refused["Retry-After"]) <= 61
    assert 0 < int(refused["X-RateLimit-Reset"]) - time.time() <= 61


def test_it_counts_every_route_together(client):
    client.get("/api/v1/schema")
    assert statuses(client, 3) == [200, 200, 429]


@pytest.mark.parametrize(
    "path", ["/health", "/api/v1/health", "/health/ready", "/admin/login/", "/static/admin/css/base.css"]
)
@pytest.mark.django_db
def test_probes_static_files_and_the_console_are_not_counted(client, path):
    for _ in range(5):
        answer = client.get(path)
        if answer.streaming:
            answer.close()
        assert answer.status_code == 200
        assert "X-RateLimit-Limit" not in answer


def test_a_forged_forwarding_header_never_moves_it(client):
    for number in range(3):
        client.get(DOCS, headers={"X-Forwarded-For": f"1.2.3.{number}"})
    assert client.get(DOCS, headers={"X-Forwarded-For": "9.9.9.9"}).status_code == 429


def test_behind_proxies_only_their_own_entries_count(client, settings):
    settings.TRUSTED_PROXY_COUNT = 2
    for forged in ("6.6.6.6", "7.7.7.7, 8.8.8.8", "not an address"):
        client.get(DOCS, headers={"X-Forwarded-For": f"{forged}, 203.0.113.5, 10.0.0.1"})
    assert client.get(DOCS, headers={"X-Forwarded-For": "203.0.113.5, 10.0.0.1"}).status_code == 429
    assert client.get(DOCS, headers={"X-Forwarded-For": "203.0.113.6, 10.0.0.1"}).status_code == 200


def test_with_fewer_entries_than_proxies_the_first_one_counts(client, settings):
    settings.TRUSTED_PROXY_COUNT = 3
    for _ in range(3):
        client.get(DOCS, headers={"X-Forwarded-For": "203.0.113.5, 10.0.0.1"})
    assert client.get(DOCS, headers={"X-Forwarded-For": "203.0.113.5, 10.0.0.2"}).status_code == 429
    assert client.get(DOCS, headers={"X-Forwarded-For": "203.0.113.6, 10.0.0.1"}).status_code == 200


def test_a_window_that_lost_its_end_gets_a_new_one(client, valkey):
    statuses(client)
    (key,) = valkey.keys("limit:address:*")
    valkey.persist(key)
    client.get(DOCS)
    assert 0 < valkey.ttl(key) <= 60


@pytest.mark.parametrize("forwarded", ["nonsense", "", "999.1.1.1", ":80"])
def test_a_forwarded_entry_that_is_no_address_counts_as_the_connection(client, settings, forwarded, address):
    settings.TRUSTED_PROXY_COUNT = 1
    statuses(client, 3, REMOTE_ADDR=address)
    answer = client.get(DOCS, headers={"X-Forwarded-For": forwarded}, REMOTE_ADDR=address)
    assert answer.status_code == 429


@pytest.mark.parametrize("written", ["203.0.113.5:4711", "[2001:db8::1]:4711", "2001:db8::1"])
def test_a_forwarded_entry_may_have_a_port(client, settings, written):
    settings.TRUSTED_PROXY_COUNT = 1
    for port in range(3):
        client.get(DOCS, headers={"X-Forwarded-For": written.replace("4711", f"471{port}")})
    assert client.get(DOCS, headers={"X-Forwarded-For": written}).status_code == 429
    assert client.get(DOCS, headers={"X-Forwarded-For": "203.0.113.6:4711"}).status_code == 200


def test_ipv6_is_counted_by_64(client):
    for host in (1, 2, 3):
        client.get(DOCS, REMOTE_ADDR=f"2001:db8:1:2::{host}")
    assert client.get(DOCS, REMOTE_ADDR="2001:db8:1:2:ffff::9").status_code == 429
    assert client.get(DOCS, REMOTE_ADDR="2001:db8:1:3::1").status_code == 200


def test_ipv4_written_as_ipv6_is_the_same_address(client, address):
    statuses(client, 3, REMOTE_ADDR=address)
    assert client.get(DOCS, REMOTE_ADDR=f"::ffff:{address}").status_code == 429


def test_the_window_ends(client, valkey):
    assert statuses(client) == [200, 200, 200, 429]
    (key,) = valkey.keys("limit:address:*")
    assert 0 < valkey.ttl(key) <= 60

    valkey.pexpire(key, 1)
    while valkey.exists(key):
        time.sleep(0.001)

    assert client.get(DOCS).status_code == 200


def test_one_round_trip_to_the_cache_a_request(client, monkeypatch):
    trips = []
    client.get(DOCS)
    execute = Redis.execute_command
    monkeypatch.setattr(
        Redis, "execute_command", lambda self, *args, **kw: trips.append(args) or execute(self, *args, **kw)
    )
    client.get(DOCS)
    assert len(trips) == 1


class TestInProcessMemory:
    """Where there is no shared cache."""

    @pytest.fixture(autouse=True)
    def _no_cache(self, settings):
        settings.REDIS_URL = ""

    def test_it_counts_the_same(self, client):
        assert statuses(client) == [200, 200, 200, 429]

    def test_a_window_ends(self, client, settings, monkeypatch):
        assert statuses(client)[-1] == 429
        later = time.monotonic() + 61
        monkeypatch.setattr(limits.time, "monotonic", lambda: later)
        assert client.get(DOCS).status_code == 200

    def test_ended_windows_do_not_pile_up(self, monkeypatch):
        counter = limits.MemoryCounter()
        now = 1000.0
        monkeypatch.setattr(limits.time, "monotonic", lambda: now)
        for number in range(limits.MEMORY_SWEEP_SIZE):
            counter.count(f"old{number}", 60, 1)
        now += 61
        for number in range(10):
            counter.count(f"new{number}", 60, 1)
        assert len(counter._windows) == 10


def test_a_cache_that_is_gone_is_replaced_by_memory_and_logged_once(client, settings, caplog):
    settings.REDIS_URL = "redis://127.0.0.1:1"

    assert statuses(client) == [200, 200, 200, 429]
    assert len([record for record in caplog.records if "cache_unavailable" in str(record.msg)]) == 1
