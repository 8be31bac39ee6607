"""Every page: no serious violation for axe-core, nothing wider than the screen, light and dark; by keyboard alone."""

import pytest
from axe_playwright_python.sync_playwright import Axe

PAGES = [
    "/admin/", "/admin/find/", "/admin/licenses/license/", "/admin/licenses/license/3/change/",
    "/admin/licenses/license/2/change/", "/admin/act/issue-license/", "/admin/act/extend/1/", "/admin/act/suspend/1/",
    "/admin/act/grant-bonus/1/", "/admin/act/correct-charge/1/", "/admin/licenses/licensetoken/",
    "/admin/licenses/licensetoken/1/change/", "/admin/licenses/auditevent/", "/admin/licenses/plan/",
    "/admin/licenses/plan/1/change/", "/admin/billing/usagerecord/", "/admin/billing/usagerecord/1/change/",
    "/admin/billing/monthlyusage/", "/admin/billing/bonusgrant/", "/admin/billing/dailyrefusals/",
    "/admin/billing/subscription/", "/admin/billing/payment/", "/admin/billing/adjustment/", "/admin/billing/customer/",
    "/admin/billing/webhookevent/", "/admin/billing/webhookevent/1/change/", "/admin/billing/mail/",
    "/admin/billing/mail/1/change/", "/admin/billing/errand/", "/admin/billing/planprice/",
    "/admin/billing/planprice/add/", "/admin/act/correct-price/1/",
    "/admin/billing/modelprice/", "/admin/billing/modelprice/add/", "/admin/billing/dailyusage/",
    "/admin/billing/dailyspend/", "/admin/remind_site/login/", "/admin/recovery-codes/", "/admin/auth/user/",
    "/admin/auth/user/1/change/", "/admin/auth/group/", "/admin/auth/group/1/change/",
    "/admin/password_change/", "/admin/licenses/license/4/change/", "/admin/licenses/license/13/change/",
    "/admin/licenses/auditevent/1/change/", "/admin/act/issue-token/2/", "/admin/act/change-plan/2/",
    "/admin/act/change-limits/2/", "/admin/act/change-email/2/", "/admin/act/reset-second-factor/2/",
    "/admin/billing/subscription/1/change/", "/admin/billing/payment/1/change/", "/admin/billing/planprice/1/change/",
    "/admin/billing/idempotencykey/", "/admin/billing/operatornotice/", "/admin/remind_site/backuprun/",
    "/admin/django_q/failure/", "/admin/django_q/schedule/",
]  # fmt: skip
OPEN = ["/admin/login/", "/admin/nowhere/", "/api/v1/checkout/free", "/api/v1/checkout/nothing", "/pay"]
LOOKS = [(1280, "light"), (360, "dark")]


def serious(page):
    found = Axe().run(page).response["violations"]
    return [
        f"{violation['id']}: {node['target']} {node['html'][:160]}"
        for violation in found
        if violation["impact"] in {"serious", "critical"}
        for node in violation["nodes"][:3]
    ]


def overflow(page):
    return page.evaluate("document.documentElement.scrollWidth - window.innerWidth")


@pytest.mark.parametrize(("width", "scheme"), LOOKS)
def test_pages_of_the_console(visit, width, scheme):
    page = visit("admin", width=width, scheme=scheme)
    wrong = {}
    for path in PAGES:
        answer = page.goto(path)
        assert answer.status == 200, path
        page.wait_for_load_state("networkidle")
        problems = serious(page) + ([f"{overflow(page)} px too wide"] if overflow(page) > 1 else [])
        if problems:
            wrong[path] = problems
    assert not wrong, "\n".join(f"{path} {problem}" for path, problems in wrong.items() for problem in problems)


@pytest.mark.parametrize(("width", "scheme"), LOOKS)
def test_pages_that_are_open_to_all(visit, width, scheme):
    page = visit(width=width, scheme=scheme)
    wrong = {}
    for path in OPEN:
        page.goto(path)
        problems = serious(page) + ([f"{overflow(page)} px too wide"] if overflow(page) > 1 else [])
        if problems:
            wrong[path] = problems
    assert not wrong, "\n".join(f"{path} {problem}" for path, problems in wrong.items() for problem in problems)


def test_a_customer_is_found_and_suspended_by_keyboard_alone(visit, site):
    token = site.issue("pro")
    number = site.client.get("/api/v1/usage/stats", headers={"Authorization": f"Bearer {token}"}).json()["user_id"]
    page = visit("support")
    page.goto("/admin/")

    def tab_to(selector):
        for _ in range(80):
            if page.evaluate("selector => document.activeElement.matches(selector)", selector):
                return
            page.keyboard.press("Tab")
        raise AssertionError(f"the keyboard does not reach {selector}")

    tab_to("#find")
    page.keyboard.type(f"#{number}")
    page.keyboard.press("Enter")
    page.wait_for_selector(f"text=License {number}")
    tab_to("a[href*='/act/suspend/']")
    page.keyboard.press("Enter")
    page.wait_for_selector("[name=reason]")
    tab_to("[name=reason]")
    page.keyboard.type("by keyboard")
    page.keyboard.press("Enter")
    page.wait_for_selector("text=is suspended")
    assert site.suggest(token).json()["code"] == "license_suspended"


def test_a_free_license_is_claimed_in_the_shop(visit, site, mailbox_of_all):
    import re

    from tests.mailbox import text_of

    page = visit(width=360)
    page.goto("/api/v1/checkout/free")
    page.fill("input[type=email]", "free@example.com")
    page.get_by_role("button").click()
    page.wait_for_load_state()
    site.command("housekeeping")
    (mail,) = mailbox_of_all.to("free@example.com", "Confirm")
    link = re.search(r"https?://\S+", text_of(mail)).group(0)
    page.goto(link[link.index("/api/") :])
    page.get_by_role("button").click()
    page.wait_for_load_state()
    site.command("housekeeping")
    assert mailbox_of_all.to("free@example.com", "Your Remind license")
