"""What the logs say of a request, and what they must never hold."""

import json
import logging

import pytest
import structlog

from licenses import tokens
from remind_site.logs import configuration


@pytest.fixture
def lines(tmp_path):
    """The JSON lines that are written from here on."""
    formatter = dict(configuration(logging.INFO)["formatters"]["json"])
    handler = logging.FileHandler(tmp_path / "log")
    handler.setFormatter(formatter.pop("()")(**formatter))
    logging.getLogger().addHandler(handler)
    yield lambda: [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    logging.getLogger().removeHandler(handler)
    handler.close()


def test_each_request_is_one_line_with_its_fields(post, lines, license, token):
    answer = post("call mum", headers={"X-Request-ID": "from-the-client.1"})

    (line,) = lines()
    assert answer["X-Request-ID"] == "from-the-client.1"
    assert line["event"] == "request"
    assert (line["request_id"], line["method"], line["path"]) == (
        "from-the-client.1",
        "POST",
        "/api/v1/suggest-reminder",
    )
    assert (line["status_code"], line["outcome"], line["level"]) == (200, "answered", "info")
    assert line["duration"].endswith("s")
    assert (line["license_id"], line["token_id"]) == (license.pk, license.tokens.get().pk)
    assert line["token"] == token[:10]


def test_a_refusal_is_an_error_response_with_its_code(client, lines):
    client.get("/api/v1/usage/stats?license_token=remind_pro_secret")

    (line,) = lines()
    assert (line["event"], line["status_code"], line["outcome"]) == ("error_response", 401, "token_invalid")
    assert line["path"] == "/api/v1/usage/stats"


@pytest.mark.parametrize("path", ["/api/v1/remind_pro_bcd", "/api/v1/suggest-reminder/call+mum", "/x"])
def test_an_address_that_is_none_of_ours_is_not_repeated(client, lines, path):
    assert client.get(path).status_code == 404

    (line,) = lines()
    assert (line["path"], line["status_code"], line["outcome"]) == ("(no route)", 404, "not_found")


@pytest.mark.parametrize("given", ["", "a b", "x" * 65, "new\tline", "ü", '"}'])
def test_a_request_id_that_could_spoil_a_log_is_replaced(client, given):
    answer = client.get("/health", headers={"X-Request-ID": given})
    assert len(answer["X-Request-ID"]) == 32


def test_a_slow_request_is_said_so(client, lines, monkeypatch):
    from remind_site.middleware import error_tracking

    monkeypatch.setattr(error_tracking, "SLOW", -1)
    client.get("/health")
    assert [line["event"] for line in lines()] == ["request", "slow_request"]


def test_nothing_of_one_request_is_left_for_the_next(client, post, lines):
    post("call mum")
    client.get("/health")
    assert not {"license_id", "token", "outcome"} & set(lines()[-1])


def test_a_token_in_any_line_is_masked_whoever_wrote_it(lines):
    token = tokens.mint("team")
    try:
        int(f"bad {token}")
    except ValueError:
        structlog.get_logger("ours").exception("failed", nested={"deep": [token]}, path=f"/x/{token}")
        logging.getLogger("a.library").exception("GET /?license_token=%s", token)
        structlog.get_logger("ours").error("failed", error=ValueError(token), raw=token.encode())
        logging.getLogger("a.library").warning("/%s", token.replace("_", "%5F"))

    text = json.dumps(lines())
    assert token[:11] not in text
    assert token[-20:] not in text
    assert text.count(token[:10]) >= 5


def test_a_bug_is_logged_with_its_trace_and_without_reminder_or_query(client, token, lines, monkeypatch):
    from suggestions import flow

    client.raise_request_exception = False
    monkeypatch.setattr(flow, "suggest", lambda ask: 1 / 0)
    client.post(
        f"/api/v1/ai?license_token={token}", '{"reminder_text": "the blue harbour"}', content_type="application/json"
    )

    bug = next(line for line in lines() if "exception" in line)
    assert "ZeroDivisionError" in bug["exception"]
    assert "blue harbour" not in json.dumps(lines())
    assert token[:11] not in json.dumps(lines())
