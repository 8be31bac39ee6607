"""By keyboard alone: what unfold opens by a click is reached, opened and left with Tab, Enter and Escape."""

import re

import pytest

ACTIVE = "document.activeElement"


def tab_to(page, name, role="button"):
    """Press Tab until the keyboard is at what people who hear the page know by this name."""
    wanted = page.get_by_role(role, name=name)
    for _ in range(80):
        page.keyboard.press("Tab")
        for one in wanted.all():
            if one.evaluate(f"element => element === {ACTIVE} && element.checkVisibility()"):
                return one
    raise AssertionError(f"the keyboard does not reach {name}")


def goes_on_in(page, selector):
    page.wait_for_function(f"selector => {ACTIVE}.matches(selector)", arg=f"{selector} *")


def test_the_account_menu_and_logging_out(visit):
    page = visit("auditor")
    page.goto("/admin/")
    opener = tab_to(page, "Your account")
    page.keyboard.press("Enter")
    goes_on_in(page, "nav")
    page.keyboard.press("Escape")
    page.wait_for_selector("text=Log out", state="hidden")
    assert opener.evaluate(f"element => element === {ACTIVE}")
    page.keyboard.press("Enter")
    goes_on_in(page, "nav")
    for name in ("Light", "Dark"):
        tab_to(page, re.compile(name))
        page.keyboard.press(" ")
    assert page.evaluate("document.documentElement.classList.contains('dark')")
    assert tab_to(page, "Change password", "link")
    assert tab_to(page, re.compile("Log out"))  # not pressed: the session is the other tests' too


def test_a_section_of_the_sidebar_unfolds(visit):
    page = visit("auditor")
    page.goto("/admin/")
    assert not page.get_by_role("link", name="Log-ins").is_visible()
    tab_to(page, re.compile("Behind the scenes"))
    page.keyboard.press("Enter")
    tab_to(page, "Log-ins", "link")


def test_filters_of_a_list(visit):
    page = visit("auditor")
    page.goto("/admin/billing/usagerecord/")
    tab_to(page, re.compile("^Filters"))
    page.keyboard.press("Enter")
    goes_on_in(page, "#changelist-filter")
    page.keyboard.type("1")
    page.keyboard.press("Enter")
    page.wait_for_url("**/usagerecord/?*license__id__exact=1*")


@pytest.mark.parametrize("path", ["/admin/", "/admin/billing/usagerecord/", "/admin/licenses/license/1/change/"])
def test_the_menu_of_a_narrow_page(visit, path):
    page = visit("auditor", width=360, scheme="dark")
    page.goto(path)
    opener = tab_to(page, "Menu")
    page.keyboard.press("Enter")
    goes_on_in(page, "#nav-sidebar")
    page.keyboard.press("Escape")
    page.wait_for_selector("#nav-sidebar", state="hidden")
    assert opener.evaluate(f"element => element === {ACTIVE}")
    page.keyboard.press("Enter")
    goes_on_in(page, "#nav-sidebar")
    tab_to(page, "Licenses", "link")
    page.keyboard.press("Enter")
    page.wait_for_url("**/admin/licenses/license/")
