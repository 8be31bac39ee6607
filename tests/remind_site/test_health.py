"""Probes: alive, and ready."""

import pytest
from django.contrib.sessions.models import Session
from django.db import connection

from billing import ledger_guard
from billing.models import ModelPrice


@pytest.mark.parametrize("path", ["/health", "/health/", "/api/v1/health", "/api/v1/health/"])
def test_liveness_touches_nothing(client, path, settings):
    settings.REDIS_URL = "redis://127.0.0.1:1"
    answer = client.get(path)  # and the database is not allowed here
    assert answer.status_code == 200
    assert answer.content == b'{"status":"ok","version":"1.0.0"}'


@pytest.mark.parametrize("path", ["/health", "/api/v1/nowhere", "/api/v1/usage/stats", "/api/v1/docs"])
def test_a_cookie_of_the_consoles_asks_the_database_for_nothing(client, path, settings):
    client.cookies[settings.SESSION_COOKIE_NAME] = "0123456789abcdef"
    answer = client.get(path)  # and the database is not allowed here
    assert answer.status_code < 500
    assert not answer.cookies


@pytest.mark.django_db
def test_a_suggestion_with_such_a_cookie_keeps_no_session(client, post, settings):
    client.cookies[settings.SESSION_COOKIE_NAME] = "0123456789abcdef"
    assert post().status_code == 200
    assert not Session.objects.exists()


def test_a_probe_may_come_by_a_machines_address(client):
    assert client.get("/health", headers={"Host": "10.1.2.3:8000"}).status_code == 200
    assert client.get("/api/v1/docs", headers={"Host": "10.1.2.3:8000"}).json()["code"] == "invalid"


@pytest.mark.django_db
def test_readiness_names_each_dependency(client):
    answer = client.get("/health/ready")
    assert answer.status_code == 200
    assert answer.json() == {"status": "ok", "database": "ok", "cache": "ok", "migrations": "ok", "prices": "ok"}


@pytest.mark.django_db
def test_a_model_without_a_price_is_not_ready(client):
    ModelPrice.objects.filter(model="local").update(model="other")
    answer = client.get("/health/ready")
    assert (answer.status_code, answer.json()["prices"]) == (503, "no price for local")


@pytest.mark.django_db
def test_pending_migrations_are_not_ready(client, monkeypatch):
    from remind_site import health

    monkeypatch.setattr(health, "_all_migrated", False)
    with connection.cursor() as cursor:
        cursor.execute(
            "DELETE FROM django_migrations WHERE id = (SELECT max(id) FROM django_migrations WHERE app = 'billing')"
        )
    answer = client.get("/health/ready")
    assert (answer.status_code, answer.json()["migrations"]) == (503, "pending")


@pytest.mark.django_db
def test_a_cache_that_is_gone_is_said_but_is_no_reason_to_leave_service(client, settings):
    settings.REDIS_URL = "redis://127.0.0.1:1"
    answer = client.get("/health/ready")
    assert answer.status_code == 200
    assert answer.json()["cache"] == "unavailable, counting in process memory"


@pytest.mark.django_db
def test_the_ledgers_triggers_are_there():
    assert ledger_guard.missing() == []
