"""The headers that tell browsers what an answer may do: on every answer, each area with its own policy."""

import re

import pytest

EVERYWHERE = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
API, CONSOLE, SHOP, DOCS = {}, {"script-src", "style-src"}, {"style-src"}, {"script-src", "style-src"}
ANSWERS = [
    ("GET", "/health", API), ("GET", "/health/ready", API), ("GET", "/api/v1/schema", API),
    ("GET", "/api/v1/usage/stats", API), ("PUT", "/api/v1/ai", API), ("OPTIONS", "/api/v1/ai", API),
    ("POST", "/webhooks/paddle", API), ("GET", "/nowhere", API), ("GET", "/static/remind/pages.css", API),
    ("GET", "/static/nowhere.js", API), ("GET", "/admin/login/", CONSOLE), ("GET", "/admin/", CONSOLE),
    ("GET", "/admin/nowhere/", CONSOLE), ("POST", "/admin/login/", CONSOLE), ("GET", "/api/v1/docs", DOCS),
    ("GET", "/api/v1/checkout/free", SHOP), ("GET", "/api/v1/checkout/nothing", SHOP),
]  # fmt: skip


def policy_of(answer):
    parts = [part.split() for part in answer.headers["Content-Security-Policy"].split(";")]
    return {name: sources for name, *sources in parts}


@pytest.fixture(scope="module")
def site(template, logs, issued):
    from tests.service import Service, running

    https = {"HTTPS_ONLY": "on", "TRUSTED_PROXY_COUNT": "1", "WEB_CONCURRENCY": "1", "PADDLE_CLIENT_TOKEN": "test_x"}
    with running(Service(template.copy(), logs, issued, **https)) as service:
        service.client.headers["X-Forwarded-Proto"] = "https"
        yield service


@pytest.mark.parametrize(("method", "path", "loads"), ANSWERS)
def test_every_answer_has_them(site, method, path, loads):
    preflight = {"Origin": "https://remind.dev", "Access-Control-Request-Method": "POST"} if method == "OPTIONS" else {}
    answer = site.client.request(method, path, headers={"Accept": "text/html", **preflight})
    assert {name: answer.headers.get(name) for name in EVERYWHERE} == EVERYWHERE
    assert answer.headers["Strict-Transport-Security"].startswith("max-age=31536000")
    assert "camera=()" in answer.headers["Permissions-Policy"]
    policy = policy_of(answer)
    assert policy["default-src"] == policy["base-uri"] == policy["frame-ancestors"] == ["'none'"]
    assert {name for name in policy if name in {"script-src", "style-src"}} == set(loads)
    assert not re.search("unsafe|\\*|https?:", answer.headers["Content-Security-Policy"])


def test_the_payment_page_opens_up_for_paddle_alone(site):
    answer = site.client.get("/pay")
    policy = policy_of(answer)
    assert policy["script-src"] == ["'self'", "https://cdn.paddle.com"]
    assert all(source.endswith(".paddle.com") for source in policy["frame-src"])
    unsafe = {name: sources for name, sources in policy.items() if "unsafe" in str(sources)}
    assert unsafe == {"style-src-attr": ["'unsafe-inline'"]}, "the attribute that Paddle.js sets on its own frame"
    assert answer.headers["Cross-Origin-Opener-Policy"] == "same-origin-allow-popups"
    assert answer.headers["Permissions-Policy"].startswith('payment=(self "https://')


def test_cookies_are_bound_to_this_host_and_to_tls(site):
    page = site.client.get("/admin/login/")
    form = {"csrfmiddlewaretoken": re.search('csrfmiddlewaretoken" value="([^"]+)', page.text)[1]}
    site.command("shell", "-c", "from tests.remind_site.test_security_headers import make_staff; make_staff()")
    cookie = page.headers["Set-Cookie"].split(";")[0]
    assert cookie.startswith("__Host-csrftoken=")
    entered = site.client.post(
        "/admin/login/",
        data={**form, "username": "cookie", "password": "a-Long-pass-9"},
        headers={
            "Cookie": f"{cookie}; __Host-sessionid=planted",
            "Referer": f"https://127.0.0.1:{site.port}/admin/login/",
        },
    )
    assert entered.status_code == 302
    cookies = {text.split("=")[0]: text for text in entered.headers.get_list("Set-Cookie")}
    assert set(cookies) == {"__Host-csrftoken", "__Host-sessionid"}
    for text in cookies.values():
        assert {"Secure", "HttpOnly", "SameSite=Lax", "Path=/"} <= set(text.split("; "))
        assert "Domain" not in text
    assert "planted" not in cookies["__Host-sessionid"], "a session that somebody else chose is not the one logged in"


def make_staff():
    from django.contrib.auth.models import User

    User.objects.create_user("cookie", password="a-Long-pass-9", is_staff=True)
