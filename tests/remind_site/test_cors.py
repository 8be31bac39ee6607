"""Browsers: who may call, what they may send, and that they can read refusals too."""

import pytest

SUGGEST = "/api/v1/suggest-reminder"
ORIGIN = "https://remind.dev"


def preflight(client, origin):
    return client.options(
        SUGGEST,
        headers={
            "Origin": origin,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization, idempotency-key, x-request-id, content-type",
        },
    )


@pytest.mark.parametrize("origin", [ORIGIN, "http://localhost:3000", "http://localhost:8000"])
def test_known_origins_may_call_with_credentials(client, origin):
    answer = preflight(client, origin)
    assert answer.status_code == 200
    assert answer["Access-Control-Allow-Origin"] == origin
    assert answer["Access-Control-Allow-Credentials"] == "true"
    allowed = answer["Access-Control-Allow-Headers"].split(", ")
    assert {"authorization", "idempotency-key", "x-request-id", "content-type"} <= set(allowed)


@pytest.mark.parametrize("origin", ["https://evil.example", "https://remind.dev.evil.example", "null"])
def test_unknown_origins_may_not(client, origin):
    assert "Access-Control-Allow-Origin" not in preflight(client, origin)


def test_a_refusal_can_be_read(client, settings, valkey):
    settings.RATE_LIMIT_REQUESTS = 0
    for path, status in (("/api/v1/docs", 429), ("/api/v1/nope", 404), ("/api/v1/usage/stats", 401)):
        answer = client.get(path, headers={"Origin": ORIGIN})
        assert answer.status_code == status
        assert answer["Access-Control-Allow-Origin"] == ORIGIN
        exposed = answer["Access-Control-Expose-Headers"]
        for name in ("X-Request-ID", "X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset", "Retry-After"):
            assert name in exposed
