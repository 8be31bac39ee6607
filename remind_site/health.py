"""Is it alive, and can it do its job: for probes and load balancers.

`/health` touches nothing, so that a database that is down does not get web processes killed. `/health/ready`
looks at each dependency.
"""

from typing import Any

from django.conf import settings
from django.db import Error, connection
from django.db.migrations.executor import MigrationExecutor
from django.utils import timezone
from drf_spectacular.utils import extend_schema, inline_serializer
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing import prices
from licenses import limits
from licenses.views import ApiView
from suggestions.providers import configured_model

OK, DOWN = "ok", "unavailable"
_all_migrated = False
READINESS: dict[str, Any] = {
    name: serializers.CharField() for name in ("status", "database", "cache", "migrations", "prices")
}


class HealthView(ApiView):
    """The process answers."""

    @extend_schema(
        summary="Liveness",
        responses={
            200: inline_serializer("Health", {"status": serializers.CharField(), "version": serializers.CharField()})
        },
    )
    def get(self, request: Request) -> Response:
        return Response({"status": "ok", "version": settings.VERSION})


class ReadyView(ApiView):
    """Each dependency, and 503 where one that it can't do without is missing.

    The cache is not among those: without it each process counts in its own memory, and taking every instance
    out of service would be worse.
    """

    @extend_schema(
        summary="Readiness",
        responses={200: inline_serializer("Ready", READINESS), 503: inline_serializer("NotReady", READINESS)},
    )
    def get(self, request: Request) -> Response:
        checks = {"database": _database(), "cache": _cache(), "migrations": DOWN, "prices": DOWN}
        if checks["database"] == OK:
            checks |= {"migrations": migrations(), "prices": prices_known()}
        ready = all(checks[name] == OK for name in ("database", "migrations", "prices"))
        return Response({"status": OK if ready else DOWN, **checks}, status=200 if ready else 503)


def _database() -> str:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except Error:
        return DOWN
    return OK


def _cache() -> str:
    if not settings.REDIS_URL:
        return OK
    return OK if limits.shared_cache_answers() else "unavailable, counting in process memory"


def migrations() -> str:
    """Whether all are applied, in a word."""
    global _all_migrated  # noqa: PLW0603  # once all are applied they stay so; looking costs a hundred files
    try:
        if not _all_migrated:
            executor: Any = MigrationExecutor(connection)
            _all_migrated = not executor.migration_plan(executor.loader.graph.leaf_nodes())
    except Error:
        return DOWN
    return OK if _all_migrated else "pending"


def prices_known() -> str:
    """Whether the configured model has a price, in a word or a few."""
    try:
        model = configured_model()
        return OK if prices.price_at(model, timezone.now()) else f"no price for {model}"
    except Error:
        return DOWN
