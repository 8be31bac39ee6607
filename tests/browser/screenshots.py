"""The pictures in docs/SUPPORT.md, taken anew: `make screenshots`. Wide and light, narrow and dark.

`make screenshots EVERY=/tmp/shots` takes every page of the console into that folder instead, to be looked at.
"""

import os
from pathlib import Path

import pytest

from tests.browser.test_pages import PAGES as EVERY_PAGE

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "images"
PAGES = {
    "home": "/admin/",
    "licenses": "/admin/licenses/license/",
    "customer": "/admin/licenses/license/2/change/",
    "customer-suspended": "/admin/licenses/license/4/change/",
    "issue": "/admin/act/issue-license/",
    "bonus": "/admin/act/grant-bonus/2/",
    "limits": "/admin/act/change-limits/2/",
    "ledger": "/admin/billing/usagerecord/",
    "event": "/admin/billing/webhookevent/1/change/",
    "mail": "/admin/billing/mail/1/change/",
    "model-price": "/admin/billing/modelprice/add/",
    "plan": "/admin/licenses/plan/1/change/",
    "trail": "/admin/licenses/auditevent/",
    "staff": "/admin/auth/user/2/change/",
    "log-ins": "/admin/remind_site/login/",
}
NARROW = ("home", "customer", "bonus", "ledger")


def take(page, name, whole=True):
    page.wait_for_load_state("networkidle")
    page.screenshot(path=FOLDER / f"{name}.jpg", type="jpeg", quality=70, full_page=whole)


EVERY = os.environ.get("EVERY", "")
LOOKS = [(360, "light"), (360, "dark"), (1280, "light"), (1440, "dark")]
for_the_handbook = pytest.mark.skipif(bool(EVERY), reason="every page is taken instead")


@pytest.mark.skipif(not EVERY, reason="only with EVERY=folder")
@pytest.mark.parametrize(("width", "scheme"), LOOKS)
def test_every_page(visit, width, scheme):
    folder = Path(EVERY)
    folder.mkdir(parents=True, exist_ok=True)
    page = visit("admin", width=width, height=900, scheme=scheme)
    for path in EVERY_PAGE:
        assert page.goto(path).status == 200
        page.wait_for_load_state("networkidle")
        name = path.removeprefix("/admin/").strip("/").replace("/", "-") or "home"
        page.screenshot(path=folder / f"{name}-{width}-{scheme}.jpg", type="jpeg", quality=60, full_page=True)


@for_the_handbook
def test_wide(visit):
    FOLDER.mkdir(exist_ok=True)
    page = visit("admin", width=1360, height=820)
    for name, path in PAGES.items():
        assert page.goto(path).status == 200
        take(page, name, whole=name in {"customer", "home", "customer-suspended"})
    page.goto("/admin/licenses/license/14/change/")
    payments = page.locator("section", has=page.get_by_role("heading", name="Payments", exact=True))
    payments.screenshot(path=FOLDER / "payments.jpg", type="jpeg", quality=70)
    page.goto("/admin/act/issue-token/5/")
    page.fill("[name=reason]", "ticket 12")
    page.get_by_role("button", name="Issue a token").click()
    page.wait_for_selector("#token")
    page.evaluate("document.getElementById('token').value = 'remind_free_…shown only here…'")
    take(page, "token", whole=False)
    page.goto("/admin/find/")
    page.fill("#main #find", "customer1")
    page.press("#main #find", "Enter")
    page.wait_for_selector("text=licenses for")
    take(page, "find", whole=False)


@for_the_handbook
def test_narrow(visit):
    page = visit("admin", width=360, height=780, scheme="dark")
    for name in NARROW:
        assert page.goto(PAGES[name]).status == 200
        take(page, f"{name}-narrow", whole=False)


@for_the_handbook
@pytest.mark.parametrize("width", [1360])
def test_door(visit, width):
    from tests.browser.conftest import log_in

    page = visit(width=width, height=820)
    page.goto("/admin/login/")
    take(page, "log-in", whole=False)
    log_in(page, "newcomer")
    page.evaluate("document.querySelector('code.key').textContent = 'ABCD EFGH …'")
    page.evaluate("document.querySelector('.qr').style.filter = 'blur(7px)'")
    take(page, "second-factor", whole=False)
