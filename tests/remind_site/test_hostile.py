"""What is sent to do harm: to the pages, the API and the server under them. A clear refusal, never a 500, no hang."""

import gzip
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import quote

import pytest
from django.contrib.auth import get_user_model
from django.core import mail
from django.test import Client
from django_otp.plugins.otp_totp.models import TOTPDevice

from billing.models import Mail
from licenses.models import License
from remind_site.models import LogIn
from tests.faults.test_bad_clients import raw

SUGGEST = "/api/v1/suggest-reminder"
FREE, CONFIRM, PRO = "/api/v1/checkout/free", "/api/v1/checkout/free/confirm", "/api/v1/checkout/pro"
NONSENSE = ["\x00", "a\x00@b.co", "\ud800", "a@b.co\r\nBcc: x@y.co", "a@b.co%0d%0aBcc:x@y.co", "{{7*7}}", "é:é:é", "²"]


def assert_refused(answer, *statuses):
    body = answer.json()
    assert answer.status_code in statuses, (answer.status_code, body)
    assert {"detail", "code", "request_id"} <= set(body)


# --- Where to


@pytest.mark.parametrize(
    "path", [SUGGEST, "/api/v1/usage/stats", "/api/v1/schema", "/webhooks/paddle", PRO, "/nowhere"]
)
@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "a b", "localhost:x", "localhost@evil.example"]
)
def test_a_host_that_is_not_ours_is_refused_in_the_contracts_form(client, path, host):
    assert_refused(client.get(path, headers={"Host": host, "X-Forwarded-Host": "localhost"}), 400)


def test_no_header_names_another_path_scheme_or_address(start):
    """As if a proxy on the same machine passed them on: gunicorn trusts that one, unless it is told not to."""
    service = start(WEB_CONCURRENCY="1", WEB_THREADS="4", RATE_LIMIT_REQUESTS="1")
    for header in ("SCRIPT_NAME: /admin", "SCRIPT_NAME: /health", "PATH_INFO: /health", "X-Forwarded-For: 10.9.8.7"):
        answer = raw(
            service,
            f"GET /api/v1/schema HTTP/1.1\r\nHost: localhost\r\n{header}\r\nConnection: close\r\n\r\n".encode(),
        )
        assert b"X-RateLimit-Limit: 1" in answer, header
    assert answer.startswith(b"HTTP/1.1 429 "), "all came from one address"


@pytest.mark.django_db
@pytest.mark.parametrize(
    "wanted", ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:alert(1)", "///evil.example"]
)
def test_the_log_in_leads_nowhere_else(client, wanted, address):
    get_user_model().objects.create_superuser("anna", password="a-long-password")
    form = {"username": "anna", "password": "a-long-password", "next": wanted}
    answer = client.post(f"/admin/login/?next={quote(wanted)}", form, REMOTE_ADDR=address)
    assert (answer.status_code, answer["Location"]) == (302, "/admin/")


def test_the_console_can_be_kept_to_some_networks(db, client, settings):
    settings.ADMIN_ALLOWED_ADDRESSES = ["10.8.0.0/24", "2001:db8::/32"]
    for inside in ("10.8.0.7", "2001:db8::7"):
        assert client.get("/admin/login/", REMOTE_ADDR=inside).status_code == 200
    for outside in ("10.9.0.1", "", "x"):
        for path in ("/admin/login/", "/admin/", "/admin", "/admin/second-factor/"):
            assert_refused(client.get(path, REMOTE_ADDR=outside), 404)
    assert client.get("/health", REMOTE_ADDR="10.9.0.1").status_code == 200


# --- Bodies


def test_a_large_form_is_refused_before_it_is_read(client, settings, db):
    settings.MAX_FORM_BYTES = 1000
    for path in (FREE, CONFIRM, "/admin/login/", "/pay"):
        for body in ({"email": "x" * 2000}, {"email": "a@b.co", "file": LargeFile(3000)}):
            answer = client.post(path, body, headers={"Accept": "application/json"})
            assert answer.status_code == 413, path


class LargeFile:
    name = "large.bin"
    content_type = "application/octet-stream"

    def __init__(self, size):
        self.left = size

    def read(self, *_):
        size, self.left = self.left, 0
        return b"x" * size


def test_a_form_of_many_fields_is_refused(client, db):
    for path in (FREE, "/admin/login/"):
        fields = "&".join(f"f{number}=1" for number in range(3000))
        answer = client.post(path, fields, content_type="application/x-www-form-urlencoded")
        assert answer.status_code == 400


@pytest.mark.django_db
@pytest.mark.parametrize(
    "body",
    [
        gzip.compress(b'{"reminder_text": "x"}', mtime=0),
        b'{"reminder_text": "x", "n": ' + b"1" * 10_000 + b"}",
        b'{"reminder_text": "\\u0000"}',
        b'{"reminder_text": "\xc3\x28"}',
        b'{"reminder_text": "x", "\\u0000": 1, "__proto__": {"a": 1}, "timezone": {"$ne": 1}}',
        b'{"license_token": "a", "license_token": ["b"]}',
    ],
)
def test_strange_json_is_a_400_or_a_401(client, token, body):
    for headers in (
        {"Authorization": f"Bearer {token}"},
        {"Authorization": f"Bearer {token}", "Content-Encoding": "gzip"},
    ):
        assert_refused(client.post(SUGGEST, body, content_type="application/json", headers=headers), 400, 401)


def test_of_a_key_that_stands_twice_the_last_counts(client, token):
    body = json.dumps({"reminder_text": 5})[:-1] + ', "reminder_text": "call mum"}'
    answer = client.post(SUGGEST, body, content_type="application/json", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 200


@pytest.mark.parametrize("length", ["²", "-1", "1e3", "99999999999999999999", " 5", "0x10", "5,5"])
def test_a_length_that_is_no_number(client, length, db):
    for path in ("/webhooks/paddle", FREE, "/admin/login/"):
        answer = client.post(path, {"email": "a@b.co"}, CONTENT_LENGTH=length)
        assert answer.status_code in {400, 411, 413}, (path, answer.status_code)


# --- Forms and addresses


@pytest.mark.django_db
@pytest.mark.parametrize("text", NONSENSE)
def test_nonsense_in_the_shop_is_refused_and_mailed_to_nobody(client, text, valkey):
    sent = text.encode("utf-8", "surrogatepass")
    for accept in ("text/html", "*/*"):
        for path in (FREE, CONFIRM):
            body = b"email=" + b"".join(b"%%%02x" % byte for byte in sent) + b"&proof=" + sent.hex().encode()
            answer = client.post(
                path, body, content_type="application/x-www-form-urlencoded", headers={"Accept": accept}
            )
            assert answer.status_code == 400
        query = "".join(f"%{byte:02x}" for byte in sent)
        for name in ("email", "license", "interval", "proof", "_ptxn"):
            for path in (PRO, CONFIRM, FREE, "/pay"):
                assert client.get(f"{path}?{name}={query}", headers={"Accept": accept}).status_code != 500
    assert not Mail.objects.exists()
    assert not mail.outbox


@pytest.mark.django_db
@pytest.mark.parametrize("text", NONSENSE)
def test_nonsense_in_the_consoles_search_and_log_in(client, text, address):
    sent = "".join(f"%{byte:02x}" for byte in text.encode("utf-8", "surrogatepass"))
    form = {"content_type": "application/x-www-form-urlencoded", "REMOTE_ADDR": address}
    assert client.post("/admin/login/", f"username={sent}&password={sent}", **form).status_code == 200
    client.force_login(get_user_model().objects.create_superuser("anna"))
    for path in ("licenses/license", "billing/mail", "billing/usagerecord", "auth/user", "remind_site/login"):
        for name in ("q", "p", "o", "id__exact", "e"):
            assert client.get(f"/admin/{path}/?{name}={sent}").status_code in {200, 302, 400}
    assert client.post("/admin/find/", f"term={sent}", **form).status_code == 200


@pytest.mark.django_db
def test_a_license_goes_to_no_address_with_a_second_line(client):
    from tests.console.conftest import path_of, seen_in

    client.force_login(get_user_model().objects.create_superuser("anna"))
    form = client.get(path_of("issue-license"))
    fields = {**seen_in(form), "email": "a@b.co\nBcc: x@y.co", "plan": "1", "deliver": "mail", "reason": "x"}
    assert "valid email" in client.post(path_of("issue-license"), fields).text
    assert not License.objects.exists()


# --- Who is there


@pytest.mark.django_db
def test_the_log_in_says_the_same_and_works_as_hard_for_a_name_that_nobody_has(client, address, monkeypatch):
    from django.contrib.auth.hashers import PBKDF2PasswordHasher

    hashed = []
    monkeypatch.setattr(PBKDF2PasswordHasher, "iterations", 2)
    encode = PBKDF2PasswordHasher.encode
    monkeypatch.setattr(PBKDF2PasswordHasher, "encode", lambda *args: hashed.append(1) or encode(*args))
    users = get_user_model().objects
    users.create_superuser("anna", password="a-long-password")
    users.create_user("gone", password="a-long-password", is_staff=True, is_active=False)
    users.create_user("customer", password="a-long-password")
    pages, work = set(), set()
    for name, password in (("anna", "wrong"), ("nobody", "wrong"), ("gone", "a-long-password"), ("customer", "wrong")):
        hashed.clear()
        page = client.post("/admin/login/", {"username": name, "password": password}, REMOTE_ADDR=address)
        work.add(len(hashed))
        without_secrets = re.sub('value="[^"]*"', "", page.text).replace(name, "")
        pages.add((page.status_code, without_secrets))
    assert len(pages) == 1
    assert work == {1}
    assert LogIn.objects.filter(what="failed").count() == 4


@pytest.mark.django_db
def test_codes_can_not_be_guessed_from_many_addresses(settings):
    """Each wrong code makes the device wait, wherever the guesses come from."""
    settings.ADMIN_REQUIRE_2FA = True
    anna = get_user_model().objects.create_superuser("anna")
    device = TOTPDevice.objects.create(user=anna, confirmed=True)
    browsers = [Client(REMOTE_ADDR=f"10.66.0.{number}") for number in range(1, 6)]
    pages = []
    for browser in browsers:
        browser.force_login(anna)
        pages.append(browser.post("/admin/second-factor/", {"code": "000000"}))
    assert {page.status_code for page in pages} == {200}
    assert any("Wait" in page.text for page in pages)  # the first wait is a second; a slow machine may sit it out
    device.refresh_from_db()
    assert 1 <= device.throttling_failure_count < len(browsers)


# --- What we ask of others


class Elsewhere(BaseHTTPRequestHandler):
    """Sends whoever asks on to itself, and counts."""

    def answer(self):
        self.server.paths.append(self.path)
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.send_response(self.server.status)
        self.send_header("Location", f"http://127.0.0.1:{self.server.server_address[1]}/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_POST = answer

    def log_message(self, *args):
        pass


@pytest.fixture(params=[301, 302, 303, 307, 308])
def elsewhere(request):
    server = HTTPServer(("127.0.0.1", 0), Elsewhere)
    server.paths, server.status = [], request.param
    threading.Thread(target=server.serve_forever, args=[0.01], daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def test_the_provider_sends_nobody_on(elsewhere, post, settings):
    settings.AI_PROVIDER, settings.OPENAI_API_KEY = "openai", "sk-test"
    settings.OPENAI_BASE_URL = f"http://127.0.0.1:{elsewhere.server_address[1]}/v1"
    assert post("call mum").json()["degraded"] is True
    assert elsewhere.paths == ["/v1/chat/completions"]


def test_paddle_sends_nobody_on(elsewhere, settings):
    from billing.paddle import api

    settings.PADDLE_API_KEY = "pdl_sdbx_apikey_x"
    settings.PADDLE_BASE_URL = f"http://127.0.0.1:{elsewhere.server_address[1]}"
    for call in (lambda: api.customer("ctm_01"), lambda: api.create_checkout("pri_01")):
        elsewhere.paths.clear()
        with pytest.raises((api.PaddleUnavailable, api.PaddleRefused)):
            call()
        assert len(elsewhere.paths) == 1
