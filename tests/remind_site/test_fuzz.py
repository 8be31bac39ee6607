"""Made-up tokens, signatures and bodies, through HTTP: each gets a clear refusal, soon, and never a 500."""

import json

import httpx2
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from licenses import tokens
from tests.paddle import SECRET, signed
from tests.service import LIVELY

ASK = "/api/v1/suggest-reminder"
JSON = {"Content-Type": "application/json"}
fuzz = settings(
    max_examples=60,
    deadline=None,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
values = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=10)
# What a header may hold at all, by HTTP; httpx refuses to send anything else.
header_text = st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_characters="\x7f")).map(str.strip)
nearly_tokens = st.builds(
    lambda token, at, put: token[:at] + put + token[at + 1 :],
    st.sampled_from([tokens.mint("pro"), tokens.mint("team")]),
    st.integers(0, 50),
    st.text(max_size=3),
)


@pytest.fixture(scope="module")
def call(attacked):
    """`call(path, ...)`: the answer, which must be a clear one."""
    with httpx2.Client(base_url=attacked.url, timeout=LIVELY) as client:

        def call(path, *, method="POST", **request):
            answer = client.request(method, path, **request)
            assert answer.status_code < 500, answer.text
            if answer.status_code >= 400:
                assert {"detail", "code", "request_id"} <= set(answer.json())
            return answer

        yield call


@given(token=st.text() | nearly_tokens)
@fuzz
def test_any_token_in_the_body_or_the_address_is_refused(call, token):
    assert call(ASK, json={"reminder_text": "x", "license_token": token}).status_code == 401
    assert call("/api/v1/usage/stats", method="GET", params={"license_token": token}).status_code == 401


@given(header=header_text | header_text.map("Bearer {}".format) | nearly_tokens.map("Bearer {}".format))
@fuzz
def test_any_authorization_header_is_refused(call, header):
    value = b"".join(header.encode("latin1", "replace").split(b"\0")).strip()
    headers = {**JSON, "Authorization": b" ".join(value.split())}
    assert call(ASK, content=b"{}", headers=headers).status_code in {400, 401}


@given(header=header_text | st.lists(header_text).map(";".join), stamp=st.integers(), hash_=header_text)
@fuzz
def test_any_signature_header_is_refused(call, header, stamp, hash_):
    for text in (header, f"ts={stamp};h1={hash_}", f"ts={hash_};h1={hash_};h1="):
        headers = {"Paddle-Signature": text.strip().encode("latin1")}
        assert call("/webhooks/paddle", content=b"{}", headers=headers).status_code in {401, 429}


@given(body=st.binary())
@fuzz
def test_what_is_no_text_is_no_notification(call, body):
    answer = call("/webhooks/paddle", content=body, headers={"Paddle-Signature": signed(body, SECRET)})
    assert answer.status_code in {400, 401, 429}


@given(body=st.binary() | values.map(lambda value: json.dumps(value).encode()) | st.just(b"[" * 9000))
@fuzz
def test_any_body_is_refused_or_asked(call, pro, body):
    assert call(ASK, content=body, headers={**JSON, "Authorization": f"Bearer {pro}"}).status_code in {200, 400}


@given(fields=st.dictionaries(st.sampled_from(["reminder_text", "timezone", "other"]), values))
@fuzz
def test_any_fields_are_refused_or_asked(call, pro, fields):
    answer = call(ASK, content=json.dumps(fields).encode(), headers={**JSON, "Authorization": f"Bearer {pro}"})
    assert answer.status_code in {200, 400}


@given(
    body=values.map(lambda value: json.dumps(value).encode())
    | st.fixed_dictionaries(
        {"event_id": values, "event_type": values},
        optional={"occurred_at": values, "data": values | st.dictionaries(st.just("id"), values)},
    ).map(lambda event: json.dumps(event).encode())
    | st.builds(
        lambda event_id, kind, data: json.dumps(
            {"event_id": event_id, "event_type": kind, "occurred_at": "2026-11-25T10:00:00Z", "data": data}
        ).encode(),
        st.text(min_size=1),
        st.sampled_from(["subscription.created", "customer.created", "transaction.completed", "adjustment.updated"]),
        st.dictionaries(st.sampled_from(["id", "status", "items", "customer_id", "custom_data", "totals"]), values),
    )
)
@fuzz
def test_any_genuine_notification_is_kept_or_refused(call, body):
    answer = call("/webhooks/paddle", content=body, headers={"Paddle-Signature": signed(body, SECRET)})
    assert answer.status_code in {200, 400}


@pytest.fixture(scope="module")
def pro(attacked):
    return attacked.issue(quota=100_000)
