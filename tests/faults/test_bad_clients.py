"""Clients that are no clients: half-sent requests, and what is no HTTP at all."""

import contextlib
import json
import socket

import pytest

from licenses import tokens
from tests.service import wait_until


def raw(service, data):
    """The whole answer to bytes as they are."""
    with socket.create_connection(("127.0.0.1", service.port), timeout=20) as connection:
        connection.sendall(data)
        answer = b""
        with contextlib.suppress(ConnectionResetError):
            while chunk := connection.recv(65536):
                answer += chunk
    return answer


@pytest.fixture
def service(start):
    return start(WEB_CONCURRENCY="1", WEB_THREADS="10")


def test_half_sent_requests_give_their_threads_back(service):
    head = b"POST /api/v1/ai HTTP/1.1\r\nHost: localhost\r\n"
    body = b"Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
    with contextlib.ExitStack() as stack:
        for number in range(40):
            stalled = stack.enter_context(socket.create_connection(("127.0.0.1", service.port)))
            stalled.sendall(head if number % 2 else head + body)
        wait_until(lambda: service.client.get("/health").status_code == 200, timeout=40)
    assert "Traceback" not in service.log.read_text()


def test_what_is_no_http_is_refused_as_json_without_repeating_it(service):
    token = tokens.mint("pro")
    cases = {
        f"GET /?license_token={token}\xff HTTP/1.1\r\n\r\n": 400,
        f"GET / HTTP/1.1\r\nAuthorization Bearer {token}\r\n\r\n": 400,
        f"GET /{'x' * 9000} HTTP/1.1\r\n\r\n": 414,
        "GET / HTTP/1.1\r\n" + "".join(f"X-{number}: 1\r\n" for number in range(200)) + "\r\n": 431,
        "POST / HTTP/1.1\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n": 400,
        "POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n": 400,
        "nonsense\r\n\r\n": 400,
    }
    for request, status in cases.items():
        answer = raw(service, request.encode("latin1"))
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 %d " % status), (request[:60], answer)
        refusal = json.loads(body)
        assert refusal["code"] in {"invalid", "too_large"}
        assert refusal["request_id"].encode() in head
        assert token.encode() not in answer
    assert token[-20:] not in service.log.read_text()


def test_a_body_that_ends_early_is_invalid_and_charged_to_nobody(service):
    token = service.issue()
    body = b'{"reminder_text": "call mum"}'
    head = (
        f"POST /api/v1/ai HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n"
        "Content-Type: application/json\r\nContent-Length: 500\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", service.port), timeout=20) as connection:
        connection.sendall(head.encode() + body)
        connection.shutdown(socket.SHUT_WR)
        answer = connection.recv(65536)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert service.database.value("SELECT count(*) FROM billing_usagerecord") == 0
