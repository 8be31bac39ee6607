"""How often the deployed service waits for the database and the cache: counted on the wire, request by request.

Whatever is sent counts: the pool's check of a connection, BEGIN and COMMIT too.
"""

import asyncio
import re
from threading import Thread
from urllib.parse import urlsplit

import pytest
from django.conf import settings as django_settings
from psycopg.conninfo import conninfo_to_dict

from tests.service import codes
from tests.storm.proxy import Proxy

KEY = {"Idempotency-Key": "order-66"}


class Counter(Proxy):
    """Counts round trips: each time that a client speaks first, or again after it was answered."""

    def __init__(self, connect):
        self.trips = []  # what was asked, for those who wonder what it was
        self._answered = {}
        super().__init__(connect)

    def notice(self, connection, *, from_client, piece):
        if from_client and self._answered.get(connection, True):
            self.trips.append(re.sub(rb"[^\x20-\x7e]+", b" ", piece[:4000]).decode())
        self._answered[connection] = not from_client


class Counted:
    """The service between two counters, and what its requests cost."""

    def __init__(self, service, database, cache, provider):
        self.service, self.provider = service, provider
        self.log = []  # what was asked, by which request
        self._database, self._cache = database, cache

    def __call__(self, name, call):
        """The outcome of a call; its round trips to the database before and after the provider; and to the cache."""
        self._database.trips.clear()
        self._cache.trips.clear()
        self.provider.hold()
        asked, answers = self.provider.calls, []
        caller = Thread(target=lambda: answers.append(call()))
        caller.start()
        while caller.is_alive() and self.provider.calls == asked:
            caller.join(0.01)
        before = len(self._database.trips)
        self.provider.heal()
        caller.join()
        (outcome,) = codes(answers)
        self.log += [f"{name}: {trip}" for trip in (*self._database.trips, *self._cache.trips)]
        return outcome, before, len(self._database.trips) - before, len(self._cache.trips)


@pytest.fixture
def counted(start, database, provider):
    where = conninfo_to_dict(database.url)
    cache_url = urlsplit(django_settings.REDIS_URL)

    async def reach_database():
        port = where.get("port", 5432)
        if where["host"].startswith("/"):
            return await asyncio.open_unix_connection(f"{where['host']}/.s.PGSQL.{port}")
        return await asyncio.open_connection(where["host"], port)

    async def reach_cache():
        return await asyncio.open_connection(cache_url.hostname, cache_url.port)

    database_counter, cache_counter = Counter(reach_database), Counter(reach_cache)
    password = f":{where['password']}" if "password" in where else ""
    service = start(
        database,
        DATABASE_URL=f"postgresql://{where['user']}{password}@127.0.0.1:{database_counter.port}/{where['dbname']}"
        "?sslmode=disable&gssencmode=disable",
        REDIS_URL=cache_url._replace(netloc=f"127.0.0.1:{cache_counter.port}").geturl(),
        WEB_CONCURRENCY="1",
        DATABASE_POOL_MIN="1",
        DATABASE_POOL_MAX="1",
        AI_DAILY_BUDGET_USD="1000",
    )
    service.env["DATABASE_URL"] = database.url  # commands go past the counter
    yield Counted(service, database_counter, cache_counter, provider)
    database_counter.close()
    cache_counter.close()


def test_a_paid_request_asks_the_database_three_times_and_the_cache_twice_at_most(counted):
    service, database = counted.service, counted.service.database
    for key in ({}, KEY):  # what a process does once is done, and each statement is known to the only connection
        assert codes([service.suggest(service.issue(), **key)]) == {"ok": 1}
    token = service.issue(quota=4)

    def a_minute_later():
        database.sql("UPDATE licenses_licensetoken SET last_used_at = last_used_at - interval '1 minute'")

    def with_key():
        return service.suggest(token, **KEY)

    def without():
        return service.suggest(token)

    costs = {
        "first of a month": counted("first of a month", without),
        "usual": counted("usual", without),
        "with a key, after a minute": a_minute_later() or counted("with a key, after a minute", with_key),
        "replay": counted("replay", with_key),
        "last": counted("last", without),
        "refused": counted("refused", without),
    }

    assert costs == {
        # outcome, database before the provider and after it, cache
        "first of a month": ("ok", 3, 1, 2),  # its counter costs nothing; the third notes when the token was used
        "usual": ("ok", 2, 1, 2),
        "with a key, after a minute": ("ok", 3, 1, 2),
        "replay": ("ok", 2, 0, 1),
        "last": ("ok", 2, 1, 2),
        "refused": ("quota_exhausted", 6, 0, 2),
    }, "\n".join(counted.log)
    assert service.reconcile() == ""
