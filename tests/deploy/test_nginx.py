"""deploy/nginx in front of the service: whole, and with nothing between but what a test must change."""

import http.client
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
from pathlib import Path

import pytest

from tests.service import LIVELY, ROOT, free_port, wait_until

NGINX = shutil.which("nginx") or shutil.which("/usr/sbin/nginx")
pytestmark = pytest.mark.skipif(
    not (NGINX and shutil.which("openssl")), reason="nginx and openssl are needed (apt-get install nginx-light openssl)"
)
EXAMPLE = (ROOT / "deploy" / "nginx" / "remind.conf").read_text()


class Proxy:
    """nginx with the example, its ports, paths and upstream changed to the test's."""

    def __init__(self, folder, service):
        self.folder, self.http, self.https = folder, free_port(), free_port()
        (folder / "temp").mkdir()
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days",
             "1", "-subj", "/CN=api.example.com", "-addext", "subjectAltName=DNS:api.example.com",
             "-keyout", folder / "privkey.pem", "-out", folder / "fullchain.pem"],
            check=True, capture_output=True,
        )  # fmt: skip
        changes = {
            "unix:/run/remind/web.sock": f"127.0.0.1:{service.port}",
            "/etc/letsencrypt/live/api.example.com": str(folder),
            "/var/log/nginx": str(folder),
            r"listen 80\b": f"listen 127.0.0.1:{self.http}",
            r"listen 443\b": f"listen 127.0.0.1:{self.https}",
            r"listen \[::\]:80\b": f"listen [::1]:{self.http}",
            r"listen \[::\]:443\b": f"listen [::1]:{self.https}",
        }
        site = EXAMPLE
        for pattern, ours in changes.items():
            site, count = re.subn(pattern, ours, site)
            assert count, pattern
        if not socket.has_ipv6 or not Path("/proc/net/if_inet6").exists():
            site = re.sub(r"\n.*listen \[::1\].*", "", site)
        temp = "".join(f"{name}_temp_path {folder}/temp/{name};\n" for name in ("client_body", "proxy", "fastcgi"))
        temp += f"uwsgi_temp_path {folder}/temp/uwsgi;\nscgi_temp_path {folder}/temp/scgi;\n"
        user = "user root;" if os.geteuid() == 0 else ""
        (folder / "nginx.conf").write_text(
            f"{user} daemon off; worker_processes 1; pid {folder}/nginx.pid;\n"
            f"events {{ worker_connections 512; }}\nhttp {{\n{temp}\n{site}\n}}\n"
        )
        self.command = [NGINX, "-p", folder, "-c", folder / "nginx.conf", "-e", folder / "start.log"]

    def start(self):
        tested = subprocess.run([*self.command, "-t"], capture_output=True, text=True)  # noqa: PLW1510
        assert tested.returncode == 0, tested.stderr
        assert "warn" not in tested.stderr
        self.process = subprocess.Popen(self.command, stderr=subprocess.DEVNULL)
        wait_until(self._listens, what="nginx to listen")

    def ask(self, method, path, body=None, *, source="127.0.0.1", **headers):
        """The status, headers and body that the service's own name answers with over TLS."""
        context = ssl.create_default_context(cafile=self.folder / "fullchain.pem")
        connection = http.client.HTTPSConnection("127.0.0.1", self.https, timeout=2 * LIVELY)
        with socket.create_connection(("127.0.0.1", self.https), 2 * LIVELY, (source, 0)) as plain:
            connection.sock = context.wrap_socket(plain, server_hostname="api.example.com")
            connection.request(method, path, body, {"Host": "api.example.com", **headers})
            response = connection.getresponse()
            answer = response.status, response.headers, response.read().decode()
            connection.close()
        return answer

    def log(self):
        return "".join(path.read_text() for path in self.folder.glob("*.log"))

    def stop(self):
        self.process.terminate()
        self.process.wait(LIVELY)

    def _listens(self):
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.https)) == 0


@pytest.fixture
def behind(start, tmp_path):
    """The service, nginx in front of it, and a token."""
    service = start(
        WEB_CONCURRENCY="1",
        ALLOWED_HOSTS="api.example.com",
        HTTPS_ONLY="on",
        TRUSTED_PROXY_COUNT="1",
        RATE_LIMIT_REQUESTS="4",
    )
    proxy = Proxy(tmp_path, service)
    proxy.start()
    yield service, proxy, service.issue()
    proxy.stop()


def test_the_service_behind_it(behind):
    service, proxy, token = behind
    bearer = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    body = json.dumps({"reminder_text": "call mum"})

    # Clients are known by their own address, whatever they claim.
    for number in range(4):
        status, _, text = proxy.ask("POST", "/api/v1/ai", body, **bearer, **{"X-Forwarded-For": f"198.51.100.{number}"})
        assert (status, json.loads(text)["degraded"]) == (200, False)
    status, _, text = proxy.ask("POST", "/api/v1/ai", body, **bearer, **{"X-Forwarded-For": "198.51.100.9"})
    assert (status, json.loads(text)["code"]) == (429, "rate_limited")
    assert proxy.ask("GET", f"/api/v1/usage/stats?license_token={token}", source="127.0.0.2")[0] == 200

    # HTTPS is known as such: no redirect, and HSTS; plain HTTP is sent there.
    status, headers, _ = proxy.ask("GET", "/admin/login/")
    assert status == 200
    assert headers["Strict-Transport-Security"]
    plain = http.client.HTTPConnection("127.0.0.1", proxy.http, timeout=LIVELY)
    plain.request("POST", f"/api/v1/ai?license_token={token}", body, {"Host": "api.example.com"})
    redirect = plain.getresponse()
    assert (redirect.status, redirect.headers["Location"].partition("?")[0]) == (
        308,
        "https://api.example.com/api/v1/ai",
    )
    assert redirect.headers["Server"] == "nginx"
    plain.close()

    # Sizes: the service's own words, then nginx's in the same form.
    status, _, text = proxy.ask("POST", "/api/v1/ai", "x" * 20_000, **bearer)
    assert (status, json.loads(text)["code"]) == (413, "too_large")
    status, headers, text = proxy.ask("POST", "/api/v1/ai", "x" * 600_000, **bearer)
    assert (status, json.loads(text)["code"]) == (413, "too_large")
    assert json.loads(text)["request_id"] == headers["X-Request-ID"]

    # What nginx itself does not understand, in that form too, and without its version.
    for method, path, more, expected in (
        ("GET", "/" + "x" * 9_000, {}, (414, "too_large")),
        ("GET", "/health", {"X-Long": "x" * 9_000}, (431, "too_large")),
        ("TRACE", "/health", {}, (405, "method_not_allowed")),
        ("GET", "/health", {"Content-Length": "many"}, (400, "invalid")),
    ):
        status, headers, text = proxy.ask(method, path, **more)
        assert (status, json.loads(text)["code"]) == expected
        assert (headers["Content-Type"], headers["Server"]) == ("application/json", "nginx")
        assert json.loads(text)["request_id"] == headers["X-Request-ID"]
    in_the_clear = http.client.HTTPConnection("127.0.0.1", proxy.https, timeout=LIVELY)
    in_the_clear.request("GET", "/health", headers={"Host": "api.example.com"})
    refused = in_the_clear.getresponse()
    assert (refused.status, json.loads(refused.read())["code"]) == (400, "invalid")
    in_the_clear.close()

    # Figures are not for the public.
    for path in ("/metrics", "/metrics/"):
        status, _, text = proxy.ask("GET", path, source="127.0.0.2")
        assert (status, json.loads(text)["code"]) == (404, "not_found")

    # Another name gets nothing, not even a certificate.
    with pytest.raises(ssl.SSLError), socket.create_connection(("127.0.0.1", proxy.https), LIVELY) as other:
        ssl.create_default_context().wrap_socket(other, server_hostname="other.example.com")

    # Away: in the form of a refusal; and no log has a token, this error's neither.
    service.kill()
    status, headers, text = proxy.ask("GET", f"/api/v1/usage/stats?license_token={token}")
    assert (status, json.loads(text)["code"], headers["Retry-After"]) == (503, "service_unavailable", "5")
    wait_until(lambda: '"GET /api/v1/usage/stats" 503' in proxy.log(), what="the line about it")
    log = proxy.log()
    assert "license_token" not in log
    assert "remind_pro_" not in log
