"""Django's cache in Redis or Valkey that goes on in this process's memory while the server is gone.

For what Django and its libraries keep there (log-in limits, queue statistics). The API's limits are counted in
`licenses.limits`, in one round trip.
"""

from collections.abc import Callable
from typing import Any

from django.core.cache.backends.locmem import LocMemCache
from django.core.cache.backends.redis import RedisCache
from redis import RedisError


class FailoverCache(RedisCache):
    """Each operation that fails on the server is done in memory instead."""

    def __init__(self, server: str, params: dict[str, Any]) -> None:
        memory_params = {**params, "OPTIONS": {}}
        super().__init__(server, params)
        self.memory = LocMemCache("failover", memory_params)


def _with_failover(name: str) -> Callable[..., Any]:
    operation = getattr(RedisCache, name)

    def method(self: FailoverCache, *args: Any, **kwargs: Any) -> Any:
        try:
            return operation(self, *args, **kwargs)
        except (RedisError, OSError):
            return getattr(self.memory, name)(*args, **kwargs)

    return method


OPERATIONS = (
    "add", "clear", "delete", "delete_many", "get", "get_many", "has_key", "incr", "set", "set_many", "touch",
)  # fmt: skip
for _name in OPERATIONS:
    setattr(FailoverCache, _name, _with_failover(_name))
