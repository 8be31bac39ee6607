"""`manage.py smoke`: a service that is well, and what it says of one that is not."""

import contextlib
import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx2
import pytest
from django.conf import settings

from licenses import tokens
from remind_site import smoke as smoke_module
from tests.fake_provider import FakeProvider
from tests.service import Service, free_port, run_command, running, wait_until

WELL = 13  # checks


@pytest.fixture(scope="module")
def deployed(template, logs, issued):
    """A service as it is deployed, its provider, and a file with a license's token."""
    provider = FakeProvider()
    env = {"AI_PROVIDER": "openai", "OPENAI_API_KEY": "sk-test", "OPENAI_BASE_URL": provider.base_url}
    service = Service(template.copy(), logs, issued, WEB_CONCURRENCY="1", **env)
    with running(service):
        service.provider = provider
        yield service
    provider.close()


@pytest.fixture(scope="module")
def licensed(deployed, tmp_path_factory):
    """A file with a token that the service knows."""
    path = tmp_path_factory.mktemp("smoke") / "token"
    path.write_text(deployed.issue("free") + "\n")
    return path


@pytest.fixture
def token_file(tmp_path):
    """A file with a token of the right form."""
    path = tmp_path / "token"
    path.write_text(tokens.mint("free"))
    return path


def smoke(url, *args, env=None):
    """The command's output; nothing of a token is in it."""
    done = run_command("smoke", url, *map(str, args), env=env or {}, check=False)
    done.text = done.stdout + done.stderr
    assert "Traceback" not in done.text
    for given in [*args, *(env or {}).values()]:
        secret = given.read_text().strip() if hasattr(given, "read_text") else given
        assert not tokens.is_well_formed(str(secret)) or secret[12:] not in done.text
    return done


def used(service):
    return service.database.value("SELECT coalesce(sum(used), 0) FROM billing_monthlyusage")


def test_a_service_that_is_well_is_told_line_by_line(deployed, licensed):
    before = used(deployed)
    done = smoke(deployed.url, "--token-file", licensed)
    assert done.returncode == 0, done.text
    lines = done.stdout.splitlines()
    assert [line[0] for line in lines[:-1]] == ["✓"] * WELL
    assert "is well" in lines[-1]
    assert "the quota went down by exactly one" in done.stdout
    assert used(deployed) == before + 1


def test_the_token_may_come_by_variable_or_argument(deployed, licensed):
    token = licensed.read_text().strip()
    assert smoke(deployed.url, env={"SMOKE_TOKEN": token}).returncode == 0
    assert smoke(deployed.url, "--token", token, env={"PYTHONIOENCODING": "ascii"}).returncode == 0
    assert "list of processes" in " ".join(smoke(deployed.url, "--help").stdout.split())


def test_what_is_broken_is_told_with_the_next_step(deployed, licensed):
    deployed.database.sql("UPDATE billing_modelprice SET valid_from = now() + interval '1 day'")
    deployed.provider.mode = "failing"
    try:
        done = smoke(deployed.url, "--token-file", licensed, "--origin", "https://elsewhere.example")
    finally:
        deployed.provider.heal()
        deployed.database.sql("UPDATE billing_modelprice SET valid_from = '2025-01-01'")
    assert done.returncode == 1
    assert "✗ not ready (503): prices" in done.stdout
    assert "manage.py check --deploy" in done.stdout
    assert "✗ browsers at https://elsewhere.example are not let in" in done.stdout
    assert "– replay: not looked at" in done.stdout


def test_a_database_that_takes_no_writes_is_told_in_one_line(deployed, licensed):
    name = deployed.database.value("SELECT current_database()")
    deployed.database.sql(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    cut = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid()"

    def reconnect():
        deployed.database.sql(cut, name)
        wait_until(lambda: httpx2.get(f"{deployed.url}/health/ready").status_code == 200)

    reconnect()
    try:
        done = smoke(deployed.url, "--token-file", licensed)
    finally:
        deployed.database.sql(f"BEGIN READ WRITE; ALTER DATABASE {name} RESET ALL; COMMIT")
        reconnect()
    assert done.returncode == 1
    assert done.stdout.count("✗") == 1
    assert "✗ it can't use its database (503 database_unavailable): /api/v1/" in done.stdout
    assert "docs/runbooks/database-down.md" in done.stdout
    assert "bug" not in done.stdout


def test_a_name_that_is_not_allowed_is_told_in_one_line(deployed, licensed):
    done = smoke(deployed.url.replace("127.0.0.1", "0.0.0.0"), "--allow-http", "--token-file", licensed)
    assert done.returncode == 1
    assert done.stdout.count("✗") == 1
    assert "✗ it does not answer to the name 0.0.0.0 (400): /api/v1/" in done.stdout
    assert "Add the name to ALLOWED_HOSTS" in done.stdout


def test_a_database_that_is_away_is_told_in_one_line():
    bodies = {"/health": {"status": "ok", "version": settings.VERSION}}
    away = {"status": "unavailable", "database": "unavailable", "migrations": "unavailable"}

    def answer(request):
        body = bodies.get(request.url.path)
        return httpx2.Response(200, json=body) if body else httpx2.Response(503, json=away)

    service = smoke_module.Service("http://127.0.0.1", "", origin="")
    service.client = httpx2.Client(transport=httpx2.MockTransport(answer))
    with service.client:
        said = [outcome for outcome in smoke_module.run(service) if outcome[0] != "ok"]
    assert said == [("bad", "not ready (503): its database can't be reached", smoke_module.LOOK_THERE)]


def test_a_license_that_may_not_act_is_told(deployed, licensed):
    deployed.database.sql("UPDATE licenses_license SET suspended_at = now(), suspension_reason = 'test'")
    try:
        done = smoke(deployed.url, "--token-file", licensed)
    finally:
        deployed.database.sql("UPDATE licenses_license SET suspended_at = NULL, suspension_reason = ''")
    assert done.returncode == 1
    assert "✗ the token is refused: 401 license_suspended" in done.stdout


def test_a_provider_that_fails_is_told(deployed, licensed):
    deployed.provider.mode = "failing"
    try:
        done = smoke(deployed.url, "--token-file", licensed)
    finally:
        deployed.provider.heal()
    assert done.returncode == 1
    assert "✗ the provider failed, and the built-in suggester answered" in done.stdout


def test_a_service_that_is_down_is_told_at_once(token_file):
    done = smoke(f"http://127.0.0.1:{free_port()}", "--token-file", token_file)
    assert done.returncode == 1
    assert "✗ it can't be reached (Connection refused): http://127.0.0.1:" in done.stdout
    assert done.stdout.count("✗") == 1


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("unable to get local issuer certificate", "unable to get local issuer certificate"),
        ("IP address mismatch, certificate is not valid for '10.0.0.1'.", "certificate is not valid for '10.0.0.1'."),
    ],
)
def test_a_certificate_that_is_not_believed_is_told(words, reason):
    def refuse(request):
        raise httpx2.ConnectError(f"[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: {words} (_ssl.c:1006)")

    service = smoke_module.Service("https://10.0.0.1", "", origin="")
    service.client = httpx2.Client(transport=httpx2.MockTransport(refuse))
    with service.client, pytest.raises(smoke_module.Unreachable) as raised:
        smoke_module.health(service)
    assert reason in raised.value.found
    assert raised.value.found.endswith("https://10.0.0.1/health")


def test_a_service_that_hangs_is_given_up(token_file, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        done = smoke(f"http://127.0.0.1:{listener.getsockname()[1]}", "--token-file", token_file)
    assert done.returncode == 1
    assert "✗ no answer in time" in done.stdout


class Something(BaseHTTPRequestHandler):
    """Answers everything with the same, in the way of a web server that is not ours."""

    body, kind = b"<html>welcome</html>", "text/html"

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", self.kind)
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.do_GET()

    do_OPTIONS = do_GET

    def log_message(self, *args):
        pass


@contextlib.contextmanager
def answering(body, kind):
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Other", (Something,), {"body": body, "kind": kind}))
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("body", "kind", "expected"),
    [
        (b"<html>welcome</html>", "text/html", "no JSON object"),
        (json.dumps({"status": "ok", "version": "0.9.9"}).encode(), "application/json", "another version"),
        (b"[1, 2]", "application/json", "no JSON object"),
        (b'{"ai_quota_remaining": "many"}', "application/json", "/health answered with another body"),
    ],
)
def test_another_web_server_is_not_taken_for_the_service(token_file, body, kind, expected):
    with answering(body, kind) as url:
        done = smoke(url, "--token-file", token_file)
    assert done.returncode == 1
    assert expected in done.stdout
    assert "✗ an unsigned notification was answered 200" in done.stdout
    assert "✗ /metrics answered 200 without its token" in done.stdout
    assert "is well" not in done.text


@pytest.mark.parametrize(
    "url", ["remind.dev", "ftp://x", "https://user:password@x", "http://[::1", "https://x?license_token=y"]
)
def test_an_address_that_is_none_is_refused(token_file, url):
    done = smoke(url, "--token-file", token_file)
    assert done.returncode == 1
    assert "must be http or https" in done.stderr


@pytest.mark.parametrize(
    ("given", "said"), [(None, "A license's token is needed"), ("remind_pro_x", "no license token"), ("", "is needed")]
)
def test_a_token_that_is_none_is_refused_and_not_repeated(tmp_path, given, said):
    flags = []
    if given is not None:
        path = tmp_path / "token"
        path.write_text(given)
        flags = ["--token-file", path]
    done = smoke("http://localhost:1", *flags)
    assert done.returncode == 1
    assert said in done.stderr
    assert "remind_pro_x" not in done.text


def test_a_token_is_not_sent_in_the_clear(token_file):
    """Even where a proxy would take it there: names of other machines need https."""
    seen = []

    class Proxy(Something):
        body = json.dumps({"status": "ok", "version": "1.0.0"}).encode()

        def do_GET(self):
            seen.append(self.headers.get("Authorization", ""))
            super().do_GET()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    proxy = {
        "HTTP_PROXY": f"http://127.0.0.1:{server.server_port}",
        "http_proxy": f"http://127.0.0.1:{server.server_port}",
    }
    try:
        done = smoke(
            "http://api.remind.invalid", "--token-file", token_file, env={**proxy, "NO_PROXY": "", "no_proxy": ""}
        )
    finally:
        server.shutdown()
        server.server_close()
    assert "✗ the token was not sent" in done.stdout
    assert seen
    assert token_file.read_text().strip() not in "".join(seen)


def answer(status, **headers):
    return smoke_module.Answer(status, {name.replace("_", "-"): value for name, value in headers.items()}, b"")


@pytest.mark.parametrize(
    ("plain", "secure", "said"),
    [
        (answer(301, Location="https://x/"), answer(200, Strict_Transport_Security="max-age=31536000; preload"), ""),
        (answer(200), answer(200), "plain http answered 200 in place of a redirect"),
        (answer(301, Location="http://x/"), answer(200), "plain http answered 301 in place of a redirect"),
        (answer(308, Location="https://x/"), answer(200), "HSTS is missing"),
        (answer(301, Location="https://x/"), answer(200, Strict_Transport_Security="max-age=60"), "HSTS is missing"),
    ],
)
def test_https_is_looked_at(plain, secure, said, monkeypatch):
    """Without a server: ports 80 and 443 are not a test's to take."""
    service = smoke_module.Service("https://x", "", origin="")
    with service.client:
        monkeypatch.setattr(service, "get", lambda path: plain if path.startswith("http://x/") else secure)
        if not said:
            assert "HSTS is on" in smoke_module.https(service)
            return
        with pytest.raises(smoke_module.Problem, match=said):
            smoke_module.https(service)


def test_plain_http_may_be_shut(monkeypatch):
    secure = answer(200, Strict_Transport_Security="max-age=31536000")

    def get(path):
        if path.startswith("http://"):
            raise smoke_module.Unreachable("it can't be reached", "")
        return secure

    service = smoke_module.Service("https://x", "", origin="")
    with service.client:
        monkeypatch.setattr(service, "get", get)
        assert smoke_module.https(service) == "plain http (http://x/api/v1/docs) is not answered, and HSTS is on"
