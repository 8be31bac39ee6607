"""A browser at the deployed service: Debian's chromium, driven by Playwright. Skipped where there is none."""

import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django_otp.oath import TOTP

from tests.browser.seed import KEY, PASSWORD
from tests.mailbox import Mailbox, text_of
from tests.paddle import SECRET, FakePaddle
from tests.service import Service, Template, running

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if CHROMIUM is None and "browser" in str(item.path.parent.name):
            item.add_marker(pytest.mark.skip(reason="no chromium here: install Debian's, or name one in CHROMIUM"))


@pytest.fixture(scope="session")
def mailbox_of_all(issued: set[str]) -> Iterator[Mailbox]:
    box = Mailbox()
    yield box
    issued.update(token for mail in box.mails for token in re.findall(r"remind login (\S+)", text_of(mail)))
    box.close()


@pytest.fixture(scope="session")
def paddle_of_all() -> Iterator[FakePaddle]:
    fake = FakePaddle()
    yield fake
    fake.close()


@pytest.fixture(scope="session")
def site(
    template: Template, logs: Path, issued: set[str], mailbox_of_all: Mailbox, paddle_of_all: FakePaddle
) -> Iterator[Service]:
    """The service with its seed, both factors asked for."""
    env = {
        "ADMIN_REQUIRE_2FA": "on", "AI_PROVIDER": "local", "EMAIL_URL": mailbox_of_all.url,
        "PADDLE_API_KEY": "pdl_sdbx_apikey_x", "PADDLE_CLIENT_TOKEN": "test_x",
        "PADDLE_BASE_URL": paddle_of_all.base_url, "PADDLE_WEBHOOK_SECRET": SECRET,
    }  # fmt: skip
    service = Service(template.copy(), logs, issued, **env)
    with running(service):
        service.command("shell", "-c", "from tests.browser.seed import seed; seed()")
        yield service


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


def code_now() -> str:
    """What an authenticator app with the seed's key shows now."""
    totp = TOTP(bytes.fromhex(KEY))
    totp.time = time.time()
    return f"{totp.token():06d}"


def log_in(page: Any, username: str) -> None:
    page.goto("/admin/login/")
    page.fill("[name=username]", username)
    page.fill("[name=password]", PASSWORD)
    page.click("#login-form button[type=submit]")
    if username != "newcomer":
        page.fill("[name=code]", code_now())
        page.click("text=Go on")
        page.wait_for_selector("text=Needs a person")


def complaint(message: Any) -> list[str]:
    """An error or warning in the browser's console; not that an answer was a refusal, or the internet not there."""
    harmless = message.type not in {"error", "warning"} or message.text.startswith("Failed to load resource")
    return [] if harmless else [f"{message.location.get('url')}: {message.text}"]


@pytest.fixture(scope="session")
def sessions() -> dict[str, Any]:
    return {}


@pytest.fixture
def visit(chromium: Any, site: Service, sessions: dict[str, Any]) -> Iterator[Callable[..., Any]]:
    """`visit("support", width=360, scheme="dark")`: a page of somebody who is logged in; "" for nobody.

    What goes wrong in the page's scripts fails the test, and so does what its Content-Security-Policy refuses.
    """
    contexts, errors = [], []

    def visit(username: str = "", width: int = 1280, height: int = 900, scheme: Any = "light") -> Any:
        options = {"base_url": site.url, "viewport": {"width": width, "height": height}, "color_scheme": scheme}
        if username and username != "newcomer" and username not in sessions:
            first = chromium.new_context(**options)
            log_in(first.new_page(), username)
            sessions[username] = first.storage_state()
            first.close()
        context = chromium.new_context(**options, storage_state=sessions.get(username))
        context.set_default_timeout(10_000)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda message: errors.extend(complaint(message)))
        return page

    visit.complaints = errors  # for a test that provokes some
    yield visit
    for context in contexts:
        context.close()
    assert not errors, "\n".join(dict.fromkeys(errors))
