"""What is refused, with which code, in which order, and that nothing is written."""

import json
from datetime import timedelta

import pytest
from django.utils import timezone

from billing.models import MonthlyUsage, UsageRecord
from licenses import lifecycle, tokens
from licenses.models import License, LicenseToken
from remind_site.middleware import license_token

SUGGEST = "/api/v1/suggest-reminder"
STATS = "/api/v1/usage/stats"


@pytest.fixture(autouse=True)
def _nothing_is_written(db):
    yield
    assert UsageRecord.objects.count() == MonthlyUsage.objects.filter(used__gt=0).count() == 0


def send(client, body, token=None, **extra):
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return client.generic("POST", SUGGEST, raw, content_type="application/json", headers=headers, **extra)


def assert_refused(answer, status, code):
    body = answer.json()
    assert (answer.status_code, body["code"]) == (status, code), body
    assert body["detail"]
    assert body["request_id"] == answer["X-Request-ID"]
    assert answer["Content-Type"] == "application/json"
    return body


@pytest.mark.parametrize(
    "body",
    [
        b"{", b"", b"nonsense", b"[]", b'"text"', b"5", b"null", b"\xff\xfe{}", b'\xef\xbb\xbf{"reminder_text": "x"}',
        b'{"reminder_text": NaN}', b"[" * 15_000, b'{"a":' * 3_000, b'{"reminder_text": ' + b"9" * 5_000 + b"}",
    ],
)  # fmt: skip
def test_what_is_no_json_object_is_invalid(client, token, body):
    assert "body" in assert_refused(send(client, body, token), 400, "invalid")["errors"]


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({}, "reminder_text"),
        ({"reminder_text": ""}, "reminder_text"),
        ({"reminder_text": "  \n "}, "reminder_text"),
        ({"reminder_text": "x" * 1001}, "reminder_text"),
        ({"reminder_text": 5}, "reminder_text"),
        ({"reminder_text": True}, "reminder_text"),
        ({"reminder_text": None}, "reminder_text"),
        ({"reminder_text": ["x"]}, "reminder_text"),
        ({"reminder_text": {"x": 1}}, "reminder_text"),
        ({"reminder_text": "a\x00b"}, "reminder_text"),
        ({"reminder_text": "a\ud800b"}, "reminder_text"),
        ({"reminder_text": "x", "timezone": "Mars/Olympus"}, "timezone"),
        ({"reminder_text": "x", "timezone": "../etc/passwd"}, "timezone"),
        ({"reminder_text": "x", "timezone": "localtime"}, "timezone"),
        ({"reminder_text": "x", "timezone": ""}, "timezone"),
        ({"reminder_text": "x", "timezone": 3}, "timezone"),
        ({"reminder_text": "x", "timezone": None}, "timezone"),
        ({"reminder_text": "x", "timezone": "UTC\x00"}, "timezone"),
    ],
)
def test_each_bad_field_is_named(client, token, fields, named):
    assert list(assert_refused(send(client, fields, token), 400, "invalid")["errors"]) == [named]


def test_all_bad_fields_are_named_at_once(client, token):
    body = assert_refused(send(client, {"reminder_text": 5, "timezone": 5}, token), 400, "invalid")
    assert set(body["errors"]) == {"reminder_text", "timezone"}


@pytest.mark.parametrize("length", [1, 1000])
def test_the_text_is_counted_after_trimming(client, token, length, license):
    answer = send(client, {"reminder_text": " " + "x" * length + "\n", "timezone": "Nowhere"}, token)
    assert list(answer.json()["errors"]) == ["timezone"]


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "QUERY"])
def test_other_methods_are_refused(client, method):
    answer = client.generic(method, SUGGEST)
    assert answer.status_code == 405
    assert answer["Allow"] == "POST"
    if method != "HEAD":
        assert_refused(answer, 405, "method_not_allowed")


def test_stats_is_for_reading(client):
    answer = client.post(STATS)
    assert_refused(answer, 405, "method_not_allowed")
    assert answer["Allow"] == "GET, HEAD"


@pytest.mark.parametrize("media_type", ["text/plain", "application/x-www-form-urlencoded", "application/xml", ""])
def test_other_media_types_are_refused(client, token, media_type):
    answer = client.generic("POST", SUGGEST, b'{"reminder_text": "x"}', content_type=media_type)
    assert_refused(answer, 415, "unsupported_media_type")


def test_a_media_type_may_have_parameters(client, token):
    answer = client.generic(
        "POST", SUGGEST, b'{"reminder_text": 5}', content_type="Application/JSON; charset=utf-8",
        headers={"Authorization": f"Bearer {token}"},
    )  # fmt: skip
    assert_refused(answer, 400, "invalid")


def test_a_body_over_16_kib_is_refused(client, token):
    padding = "x" * (16 * 1024 - len(b'{"p": ""}'))
    assert_refused(send(client, {"p": padding}, token), 400, "invalid")
    assert_refused(send(client, {"p": padding + "x"}, token), 413, "too_large")


def test_accept_is_ignored(client, token):
    answer = client.get(STATS, headers={"Authorization": f"Bearer {token}", "Accept": "text/html, image/png"})
    assert answer.status_code == 200
    assert answer["Content-Type"] == "application/json"


@pytest.mark.parametrize("path", ["/", "/nope", "/api/v1/nope", "/api/v1/suggest-reminder/x", "/api/v2/ai", "//"])
def test_unknown_addresses_are_not_found(client, path):
    answer = client.get(path)
    assert_refused(answer, 404, "not_found")
    assert "X-RateLimit-Limit" not in answer


@pytest.mark.parametrize("path", [SUGGEST, STATS, "/api/v1/ai", "/api/v1/usage-stats"])
class TestTokens:
    def ask(self, client, path, token=None, query=""):
        headers = {"Authorization": f"Bearer {token}"} if token is not None else {}
        if "usage" in path:
            return client.get(path + query, headers=headers)
        return client.post(path + query, b"{}", content_type="application/json", headers=headers)

    def test_missing(self, client, path):
        answer = self.ask(client, path)
        assert_refused(answer, 401, "token_missing")
        assert answer["WWW-Authenticate"] == "Bearer"
        assert "X-RateLimit-Limit" not in answer

    @pytest.mark.parametrize(
        "wrong", ["x", "remind_pro_abc", "remind_pro_" + "b" * 33, "remind_", "Ü", "a" * 5000, "null"]
    )
    def test_malformed_is_refused_without_a_query(self, client, path, wrong, django_assert_num_queries):
        with django_assert_num_queries(0):
            answer = self.ask(client, path, wrong)
        assert assert_refused(answer, 401, "token_invalid")["detail"].startswith("Invalid license token")
        assert answer["WWW-Authenticate"] == "Bearer"

    def test_unknown(self, client, path):
        answer = self.ask(client, path, tokens.mint("pro"))
        assert assert_refused(answer, 401, "token_invalid")["detail"].startswith("Invalid license token")
        assert answer["X-RateLimit-Limit"]

    def test_each_reason_in_its_order(self, client, path, license, token):
        now = timezone.now()
        steps = [
            (lambda: license.plan.__class__.objects.update(is_active=False), "plan_inactive"),
            (lambda: LicenseToken.objects.update(revoked_at=now), "token_revoked"),
            (lambda: License.objects.update(expires_at=now), "license_expired"),
            (lambda: License.objects.update(starts_at=now + timedelta(days=1)), "license_not_started"),
            (lambda: lifecycle.suspend(license, by="test", reason="x"), "license_suspended"),
        ]
        for break_it, code in steps:
            break_it()
            assert_refused(self.ask(client, path, token), 401, code)

    def test_a_replaced_token_is_refused_after_its_grace(self, client, path, license, token):
        old = license.tokens.get()
        lifecycle.rotate(old, by="test", grace=timedelta(0))
        assert_refused(self.ask(client, path, token), 401, "token_revoked")


def test_a_token_may_stand_in_body_header_or_query(client, token):
    bad = {"reminder_text": 5}
    assert_refused(send(client, {**bad, "license_token": token}), 400, "invalid")
    assert_refused(send(client, bad, token), 400, "invalid")
    answer = client.post(f"{SUGGEST}?license_token={token}", json.dumps(bad), content_type="application/json")
    assert_refused(answer, 400, "invalid")
    assert client.get(f"{STATS}?license_token={token}").status_code == 200
    assert client.get(STATS, headers={"Authorization": f"bearer {token}"}).status_code == 200


def test_of_several_tokens_the_body_counts_first_then_the_header(client, token):
    other = tokens.mint("pro")
    query = f"{STATS}?license_token={other}"
    assert client.get(query, headers={"Authorization": f"Bearer {token}"}).status_code == 200
    assert_refused(send(client, {"license_token": other}, token), 401, "token_invalid")
    assert_refused(send(client, {"license_token": token}, other), 400, "invalid")
    for empty in ("", None):
        answer = send(client, {"license_token": empty}, token)
        assert list(assert_refused(answer, 400, "invalid")["errors"]) == ["reminder_text"]


@pytest.mark.parametrize("wrong", [5, ["x"], {"a": 1}, True, "x\x00"])
def test_a_token_of_another_type_is_malformed(client, wrong):
    assert_refused(send(client, {"license_token": wrong}), 401, "token_invalid")


class TestOrder:
    """Where several apply, the first of the contract's list."""

    def test_method_before_media_type(self, client):
        answer = client.put(SUGGEST, b"{", content_type="text/plain")
        assert_refused(answer, 405, "method_not_allowed")

    def test_length_before_media_type(self, client):
        answer = client.post(
            SUGGEST, b"", content_type="text/plain", headers={"Transfer-Encoding": "chunked"}, CONTENT_LENGTH=""
        )
        assert_refused(answer, 411, "length_required")

    def test_media_type_before_size(self, client):
        answer = client.post(SUGGEST, b"x" * 20_000, content_type="text/plain")
        assert_refused(answer, 415, "unsupported_media_type")

    def test_size_before_json(self, client):
        assert_refused(send(client, b"x" * 20_000), 413, "too_large")

    def test_json_before_token(self, client):
        assert_refused(send(client, b"{"), 400, "invalid")

    def test_token_form_before_the_address_limit(self, client, settings, address, valkey):
        settings.RATE_LIMIT_REQUESTS = 1
        unknown = tokens.mint("pro")
        send(client, {}, unknown, REMOTE_ADDR=address)
        assert_refused(send(client, {}, unknown, REMOTE_ADDR=address), 429, "rate_limited")
        assert_refused(send(client, {}, REMOTE_ADDR=address), 401, "token_missing")

    def test_the_address_limit_before_the_license_and_fields(self, client, settings, address, token, license, valkey):
        settings.RATE_LIMIT_REQUESTS = 1
        lifecycle.suspend(license, by="test", reason="x")
        assert_refused(send(client, {}, token, REMOTE_ADDR=address), 401, "license_suspended")
        assert_refused(send(client, {}, token, REMOTE_ADDR=address), 429, "rate_limited")

    def test_the_license_before_fields(self, client, token, license):
        lifecycle.suspend(license, by="test", reason="x")
        assert_refused(send(client, {}, token), 401, "license_suspended")

    def test_fields_before_the_licenses_rate_and_quota(self, client, token, license, valkey):
        lifecycle.change_limits(license, quota=0, rate=1, by="test")
        for _ in range(3):
            assert_refused(send(client, {}, token), 400, "invalid")

    def test_rate_before_quota(self, client, token, license, valkey):
        lifecycle.change_limits(license, quota=0, rate=1, by="test")
        assert_refused(send(client, {"reminder_text": "x"}, token), 429, "quota_exhausted")
        assert_refused(send(client, {"reminder_text": "x"}, token), 429, "rate_limited")


def test_a_bug_is_an_internal_error_without_details(client, token, monkeypatch):
    from suggestions import flow

    client.raise_request_exception = False
    monkeypatch.setattr(flow, "suggest", lambda ask: 1 / 0)

    answer = send(client, {"reminder_text": "x"}, token)

    assert_refused(answer, 500, "internal_error")
    assert b"division" not in answer.content


def test_a_body_that_trickles_in_is_refused_before_anything_is_asked_for_it(post, monkeypatch):
    monkeypatch.setattr(license_token, "ARRIVES_WITHIN", -1.0)
    answer = post()
    assert (answer.status_code, answer.json()["errors"]) == (400, {"body": ["This took too long to arrive."]})
