"""Rate limits: fixed windows, counted atomically in the shared cache, or in this process while that is gone.

A window begins with its first request and lasts its whole length, by the cache's clock, so several machines
agree on it. Where no shared cache is configured, or it does not answer, each process counts in its own memory:
never an error, never unlimited. Which limit guards what is decided by the callers; the monthly quota is no rate
limit and lives in `billing.quota`.
"""

import threading
import time
from dataclasses import dataclass
from functools import cache
from math import ceil

import structlog
from django.conf import settings
from redis import BlockingConnectionPool, Redis, RedisError
from redis import ConnectionError as RedisConnectionError
from redis.backoff import NoBackoff
from redis.retry import Retry

from licenses import metrics

CACHE_TIMEOUT = 0.5  # seconds; a slow cache must not make the service slow
RETRY_AFTER_FAILURE = 2.0  # seconds during which a failed cache is not asked again
ONCE_SECONDS = 5  # for how long the same request, sent again, is not counted again
LOG_INTERVAL = 60.0  # seconds between two log lines about a cache that stays away
MEMORY_SWEEP_SIZE = 10_000  # windows in memory before the ended ones are first swept out

# A window begins with its first request. One that lost its end (restored from a backup, say) gets a new one, or it
# would refuse for ever.
SCRIPT = """
local amount = tonumber(ARGV[2])
if amount > 0 and ARGV[3] ~= '0' and not redis.call('SET', KEYS[2], 1, 'NX', 'EX', ARGV[3]) then
    amount = 0
end
if amount > 0 then redis.call('INCRBY', KEYS[1], amount) end
local left = redis.call('PTTL', KEYS[1])
if left == -1 then
    redis.call('EXPIRE', KEYS[1], ARGV[1])
    left = ARGV[1] * 1000
end
return {redis.call('GET', KEYS[1]) or 0, math.max(left, 0)}
"""

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Window:
    """A limit's state after a request was counted (or only looked at)."""

    limit: int
    used: int
    resets_at: float  # Unix seconds

    @property
    def remaining(self) -> int:
        return max(0, self.limit - self.used)

    @property
    def exceeded(self) -> bool:
        return self.used > self.limit

    @property
    def retry_after(self) -> int:
        """Whole seconds until the window ends, at least 1."""
        return max(1, ceil(self.resets_at - time.time()))


def hit(name: str, who: str, limit: int, seconds: int, once: str = "") -> Window:
    """Count one request of `who` against a limit of `limit` requests in `seconds`.

    Args:
        once: names a request that may be sent several times at once, and then counts once, until `forget`.
    """
    window = _window(name, who, limit, seconds, 1, once)
    if window.exceeded:
        metrics.LIMIT_HITS.labels(name).inc()
    return window


def forget(name: str, who: str, once: str) -> None:
    """Count the next request of `who` that is named so: the one that was counted came to nothing."""
    key = f"limit:{name}:{who}"
    if shared := _shared():
        shared.forget(key, once)
    _memory.forget(key, once)


def peek(name: str, who: str, limit: int, seconds: int) -> Window:
    """The same window without counting a request."""
    return _window(name, who, limit, seconds, 0)


def shared_cache_answers() -> bool:
    """Whether the shared cache, where one is configured, answers now."""
    shared = _shared()
    return shared is None or shared.ping()


def _window(name: str, who: str, limit: int, seconds: int, amount: int, once: str = "") -> Window:
    key = f"limit:{name}:{who}"
    shared = _shared()
    counted = shared.count(key, seconds, amount, once) if shared else None
    if shared and counted is None and amount:
        metrics.CACHE_FALLBACKS.inc()
    used, ends_in = counted or _memory.count(key, seconds, amount, once)
    return Window(limit, used, time.time() + ends_in)


class MemoryCounter:
    """Windows in this process's memory."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._windows: dict[str, tuple[int, float]] = {}
        self._sweep_at_size = MEMORY_SWEEP_SIZE

    def count(self, key: str, seconds: int, amount: int, once: str = "") -> tuple[int, float]:
        """Requests so far in the window, this one included, and the seconds until it ends."""
        with self._lock:
            if amount and once and self._add(f"{key}:{once}", ONCE_SECONDS, 1)[0] > 1:
                amount = 0
            return self._add(key, seconds, amount)

    def forget(self, key: str, once: str) -> None:
        with self._lock:
            self._windows.pop(f"{key}:{once}", None)

    def _add(self, key: str, seconds: int, amount: int) -> tuple[int, float]:
        now = time.monotonic()
        used, ends = self._windows.get(key, (0, 0.0))
        if ends <= now:
            used, ends = 0, now + seconds
        used += amount
        if amount:
            self._windows[key] = (used, ends)
            self._sweep(now)
        return used, (ends - now if used else 0.0)

    def _sweep(self, now: float) -> None:
        if len(self._windows) > self._sweep_at_size:
            self._windows = {key: window for key, window in self._windows.items() if window[1] > now}
            self._sweep_at_size = max(MEMORY_SWEEP_SIZE, 2 * len(self._windows))


class SharedCounter:
    """Windows in Redis or Valkey, one round trip each; None while it does not answer."""

    def __init__(self, url: str) -> None:
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=settings.REDIS_MAX_CONNECTIONS,
            timeout=CACHE_TIMEOUT,
            socket_timeout=CACHE_TIMEOUT,
            socket_connect_timeout=CACHE_TIMEOUT,
            # A connection that the cache closed while idle is worth a second try, a slow answer is not.
            retry=Retry(NoBackoff(), 1, supported_errors=(RedisConnectionError,)),
        )
        self._redis = Redis(connection_pool=pool)
        self._script = self._redis.register_script(SCRIPT)
        self._not_before = 0.0
        self._logged_at = float("-inf")

    def count(self, key: str, seconds: int, amount: int, once: str = "") -> tuple[int, float] | None:
        """Requests so far in the window and the seconds until it ends; None when the cache is gone."""
        if time.monotonic() < self._not_before:
            return None
        try:
            used, milliseconds = self._script(
                keys=[key, f"{key}:{once}"], args=[seconds, amount, ONCE_SECONDS if once else 0]
            )
            return int(used), int(milliseconds) / 1000
        except (RedisError, OSError) as error:
            self._give_up(error)
            return None

    def forget(self, key: str, once: str) -> None:
        if time.monotonic() < self._not_before:
            return
        try:
            self._redis.delete(f"{key}:{once}")
        except (RedisError, OSError) as error:
            self._give_up(error)

    def ping(self) -> bool:
        try:
            return bool(self._redis.ping())
        except (RedisError, OSError):
            return False

    def _give_up(self, error: Exception) -> None:
        now = time.monotonic()
        self._not_before = now + RETRY_AFTER_FAILURE
        if now - self._logged_at >= LOG_INTERVAL:
            self._logged_at = now
            logger.error("cache_unavailable", error=type(error).__name__, counting="in process memory")


_memory = MemoryCounter()
_making = threading.Lock()


def _shared() -> SharedCounter | None:
    with _making:  # threads that come first at the same moment must not each make one
        return _make_shared(settings.REDIS_URL)


@cache
def _make_shared(url: str) -> SharedCounter | None:
    return SharedCounter(url) if url else None
