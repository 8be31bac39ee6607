"""Every action by hand, as each role, and what the API says of it afterwards."""

import re
from datetime import UTC, datetime, timedelta

import pytest

from tests.faults.conftest import send
from tests.mailbox import text_of
from tests.paddle import Life, paddle_id

TODAY = datetime.now(UTC).date()
ROLES = ("support", "billing")


@pytest.fixture
def customer(site):
    """A license of its own: (number, token)."""
    token = site.issue("pro", rate="600/m")
    number = site.client.get("/api/v1/usage/stats", headers={"Authorization": f"Bearer {token}"}).json()["user_id"]
    return number, token


def stats(site, token):
    return site.client.get("/api/v1/usage/stats", headers={"Authorization": f"Bearer {token}"}).json()


def go(page, number):
    """To a customer's page by way of the box that finds them."""
    page.goto("/admin/")
    page.fill("#find", f"#{number}")
    page.press("#find", "Enter")
    page.wait_for_selector(f"text=License {number}")


def do(page, label, within="", /, **fields):
    """One action: a click, the form, a click; the message that says what happened."""
    name = re.compile(rf"^{label}: " if within else rf"(^|\s){label}$")  # beside a row, the label names the row too
    (page.locator(within) if within else page).get_by_role("link", name=name).first.click()
    page.wait_for_selector("[name=reason]")
    for name, value in {**fields, "reason": f"ticket {label}"}.items():
        control = page.locator(f"[name={name}]")
        if control.first.get_attribute("type") == "radio":
            page.locator(f"[name={name}][value={value}]").check()
        elif control.first.evaluate("element => element.tagName") == "SELECT":
            control.select_option(label=value)
        elif control.first.get_attribute("type") == "checkbox":
            control.set_checked(value)
        else:
            control.fill(value)
    page.locator("#main form[method=post]").last.get_by_role("button").first.click()
    page.wait_for_load_state()
    return page.locator("#main").inner_text()


def shown_token(site, page):
    token = page.input_value("#token")
    site._issued.add(token)
    return token


def rows(page, heading):
    return f".panel:has(h2:text-is('{heading}'))"


@pytest.mark.parametrize("role", ROLES)
def test_everything_about_a_license(role, visit, site, customer, mailbox_of_all):
    number, token = customer
    page = visit(role)
    go(page, number)

    assert "is suspended" in do(page, "Suspend")
    assert site.suggest(token).json()["code"] == "license_suspended"
    assert "may act again" in do(page, "Reinstate").lower()
    assert site.suggest(token).json()["quota_remaining"] == 999

    assert "5,000 suggestions a month" in do(page, "Change the plan", plan="Team")
    assert stats(site, token)["ai_quota_total"] == 5000
    assert "has 7 suggestions a month" in do(page, "Override quota and rate", quota="7", rate="500")
    assert stats(site, token)["ai_quota_total"] == 7
    assert "has 5 more suggestions" in do(page, "Grant bonus units", units="5")
    assert stats(site, token)["ai_quota_total"] == 12
    last_day = TODAY + timedelta(days=10)
    assert "its last day is" in do(page, "Change the end", last_day=last_day.isoformat(), is_sooner=True)
    assert stats(site, token)["expires_at"].startswith((last_day + timedelta(days=1)).isoformat())
    assert "belongs to" in do(page, "Change the owner's email", email=f"{role}{number}@example.com")
    assert "are kept" in do(page, "Edit notes", notes="Pays by invoice.")

    said = do(page, "Issue a token", label="build server", deliver="show")
    assert "shown only this once" in said
    further = shown_token(site, page)
    assert site.suggest(further).status_code == 200
    page.get_by_role("link", name="On to the license").click()

    assert "on its way" in do(page, "Issue a token", label="by mail", deliver="mail")
    assert "within a minute" in do(page, "Mail a new token")
    site.command("housekeeping")
    mailed = [
        re.search(r"remind login (\S+)", text_of(mail)).group(1) for mail in mailbox_of_all.to(f"{role}{number}@")
    ]
    assert site.suggest(mailed[-1]).status_code == 200

    trail = page.locator(rows(page, "What was done, and why")).inner_text()
    for label in ("Suspend", "Reinstate", "Change the plan", "Override quota and rate", "Grant bonus units",
                  "Change the end", "Change the owner's email", "Edit notes", "Issue a token"):  # fmt: skip
        assert f"ticket {label}" in trail
    assert f"staff:{role}" in trail
    assert site.reconcile() == ""


@pytest.mark.parametrize("role", ROLES)
def test_tokens(role, visit, site, customer):
    number, token = customer
    page = visit(role)
    go(page, number)
    assert "goes on for a day" in do(page, "Rotate", rows(page, "Tokens"), deliver="show")
    rotated = shown_token(site, page)
    page.get_by_role("button", name="Copy").click()
    page.wait_for_function("document.getElementById('copied').textContent")
    assert [site.suggest(one).status_code for one in (token, rotated)] == [200, 200]
    page.get_by_role("link", name="On to the license").click()
    assert rotated not in page.content()
    assert "is revoked" in do(page, "Revoke", rows(page, "Tokens"))
    assert sorted(site.suggest(one).status_code for one in (token, rotated)) == [200, 401]


@pytest.mark.parametrize("role", ROLES)
def test_mails_and_events(role, visit, site, customer):
    number, _ = customer
    page = visit(role)
    go(page, number)
    do(page, "Mail a new token")
    assert "is canceled" in do(page, "Cancel", rows(page, "Mails"))
    assert "canceled" in page.locator(rows(page, "Mails")).inner_text()
    assert "will leave" in do(page, "Send again", rows(page, "Mails"))

    event_id = paddle_id("evt")
    site.database.sql(
        "INSERT INTO billing_webhookevent (event_id, event_type, subject, body, state, note, tries, due_at, created_at)"
        " VALUES (%s, 'address.created', '', '{}', 'flagged', 'a note', 1, now(), now())",
        event_id,
    )
    page.goto("/admin/")
    page.get_by_role("link", name=event_id).click()
    page.wait_for_selector("text=a note")
    assert "will be tried again" in do(page, "Run again")
    site.database.sql("UPDATE billing_webhookevent SET state = 'flagged' WHERE event_id = %s", event_id)
    page.reload()
    assert "is closed" in do(page, "A person has seen to it")


def test_a_license_is_issued(visit, site):
    for role in ROLES:
        page = visit(role)
        page.goto("/admin/")
        said = do(page, "Issue a license", email=f"new-{role}@example.com", plan="Indie", quota="3")
        assert "is issued" in said
        token = shown_token(site, page)
        assert site.suggest(token).json()["quota_remaining"] == 2


def test_a_wrong_input_is_said_beside_the_field(visit, customer):
    page = visit("support")
    go(page, customer[0])
    said = do(page, "Grant bonus units", units="0")
    assert "greater than or equal to 1" in said
    assert page.input_value("[name=reason]") == "ticket Grant bonus units"


def test_a_charge_is_corrected_by_billing_and_by_nobody_else(visit, site, customer):
    number, token = customer
    site.suggest(token)
    for role in ("support", "auditor"):
        page = visit(role)
        go(page, number)
        assert page.get_by_role("link", name="Correct the charge").count() == 0
    page = visit("billing")
    go(page, number)
    assert "taken back and the unit given back" in do(page, "Correct the charge", rows(page, "Last requests"))
    found = stats(site, token)
    assert (found["ai_quota_used"], found["this_month_cost_cents"]) == (0, 0)
    assert site.reconcile() == ""


def test_plans_and_prices_by_billing(visit, site, customer):
    page = visit("billing")
    page.goto("/admin/licenses/plan/")
    page.get_by_role("link", name="Team").click()
    page.fill("[name=rate_limit]", "61")
    page.fill("[name=reason]", "as agreed")
    page.get_by_role("button", name="Save", exact=True).click()
    page.wait_for_load_state()
    assert site.database.value("SELECT rate_limit FROM licenses_plan WHERE slug = 'team'") == 61
    page.goto("/admin/billing/modelprice/add/")
    assert "never changes an entry that is settled" in page.content()
    for name, value in {"model": "gpt-6", "valid_from_0": TODAY.isoformat(), "valid_from_1": "00:00:00"}.items():
        page.fill(f"[name={name}]", value)
    for name in ("provider_input", "provider_cached_input", "provider_output", "charged_input", "charged_output"):
        page.fill(f"[name={name}]", "0.5")
    page.fill("[name=reason]", "a new model")
    page.get_by_role("button", name="Save", exact=True).click()
    page.wait_for_load_state()
    assert site.database.value("SELECT count(*) FROM billing_modelprice WHERE model = 'gpt-6'") == 1


def test_an_auditor_sees_all_and_is_offered_nothing(visit, customer):
    page = visit("auditor")
    go(page, customer[0])
    assert page.locator("a[href*='/admin/act/']").count() == 0
    assert page.goto(f"/admin/act/suspend/{customer[0]}/").status == 403


def test_in_bulk_from_the_list(visit, site):
    tokens = [site.issue("indie") for _ in range(3)]
    page = visit("support")
    page.goto("/admin/licenses/license/")
    for box in page.locator("input[name=_selected_action]").all()[:3]:
        box.check()
    page.select_option("select[name=action]", "suspend")
    page.get_by_role("button", name="Run").click()
    page.wait_for_selector("text=3 chosen")
    page.fill("[name=reason]", "abuse, ticket 9")
    page.get_by_role("button", name="Suspend").click()
    page.wait_for_selector("text=done for 3 of 3")
    assert [site.suggest(token).json()["code"] for token in tokens] == ["license_suspended"] * 3


def test_a_paying_customer_as_a_whole(visit, site, paddle_of_all):
    life = Life("pri_pro", email=f"{paddle_id('ctm')}@example.com")
    for event in (life.customer(), life.created(), life.completed()):
        assert send(site, event).status_code == 200
    site.command("housekeeping")
    page = visit("support")
    page.goto("/admin/")
    page.fill("#find", life.transaction_id)
    page.get_by_role("button", name="Find").click()
    text = page.locator("#main").inner_text()
    for said in (life.email, life.subscription_id, life.transaction_id, "your token", "completed"):
        assert said in text
    assert "whatever plan is paid for" in do(page, "Change the plan", plan="Team")
    assert "follows payments again" in do(page, "Let the plan follow payments again")


def test_a_whole_token_leads_to_its_license_and_stands_in_no_address(visit, customer):
    number, token = customer
    page = visit("support")
    page.goto("/admin/")
    addresses = []
    page.on("framenavigated", lambda frame: addresses.append(frame.url))
    page.fill("#find", token)
    page.press("#find", "Enter")
    page.wait_for_selector(f"text=License {number}")
    assert token not in page.content()
    assert not [address for address in addresses if token in address]


def test_the_second_of_two_is_told(visit, customer):
    number, _ = customer
    first, second = visit("support"), visit("billing")
    for page in (first, second):
        page.goto(f"/admin/act/change-limits/{number}/")
    for page, quota in ((first, "5"), (second, "6")):
        page.fill("[name=quota]", quota)
        page.fill("[name=reason]", "mine")
        page.locator("#main form[method=post]").last.get_by_role("button").first.click()
        page.wait_for_load_state()
    assert "limits changed by staff:support" in second.locator("[role=alert]").inner_text()


def test_the_second_factor_is_set_up_at_the_first_log_in(visit, chromium, site):
    from base64 import b32decode

    from django_otp.oath import TOTP

    from tests.browser.conftest import log_in

    page = visit()
    log_in(page, "newcomer")
    key = b32decode(page.locator("code.key").inner_text().replace(" ", ""))
    assert page.locator(".qr svg").is_visible()
    totp = TOTP(key)
    import time

    totp.time = time.time()
    page.fill("[name=code]", f"{totp.token():06d}")
    page.press("[name=code]", "Enter")
    page.wait_for_selector("text=shown only this once")
    assert page.locator(".codes code").count() == 10
    page.get_by_role("link", name="I have kept them").click()
    page.wait_for_selector("text=Needs a person")


def test_the_ledger_is_filtered_and_exported(visit, site, customer):
    number, token = customer
    site.suggest(token)
    page = visit("auditor")
    go(page, number)
    page.get_by_role("link", name="All of them, in the ledger").click()
    page.wait_for_selector("text=1 entry")
    with page.expect_download() as download:
        page.get_by_role("link", name="Export these as CSV").click()
    lines = download.value.path().read_text().splitlines()
    assert len(lines) == 2
    assert f",{number}," in lines[1]
