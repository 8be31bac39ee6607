"""Forms sent twice, reloaded, made up; tokens pasted where they don't belong; addresses made of nonsense."""

import re
import threading
from datetime import UTC, datetime

import psycopg
import pytest
from django.contrib.auth import get_user_model

from billing.models import MonthlyUsage
from licenses import tokens
from licenses.models import AuditEvent, License, LicenseToken, Plan
from tests.console.conftest import path_of, seen_in
from tests.service import wait_until

pytestmark = pytest.mark.django_db
THIS_MONTH = datetime.now(UTC).date().replace(day=1).isoformat()


def test_a_form_sent_twice_does_it_once(staff, license):
    form = staff.get(path_of("grant-bonus", license))
    values = {"units": "5", "month": THIS_MONTH, "reason": "ticket 7", **seen_in(form)}
    staff.post(path_of("grant-bonus", license), values)
    assert "This form was sent before" in staff.post(path_of("grant-bonus", license), values).text
    staff.post(path_of("grant-bonus", license), {**values, "once": ""})
    assert MonthlyUsage.objects.get().bonus_units == 5


def test_a_reloaded_page_issues_no_second_license(staff):
    form = staff.get(path_of("issue-license"))
    values = {
        "email": "b@example.com", "plan": Plan.objects.get(slug="pro").pk, "deliver": "show", "is_further": "on",
        "reason": "ticket 7", **seen_in(form),
    }  # fmt: skip
    assert "shown only this once" in staff.post(path_of("issue-license"), values).text
    assert "This form was sent before" in staff.post(path_of("issue-license"), values).text
    assert License.objects.count() == LicenseToken.objects.count() == 1


def bulk_form(staff, slug, license):
    form = staff.post("/admin/licenses/license/", {"action": slug, "_selected_action": [license.pk]})
    return {"chosen": license.pk, "reason": "x", **seen_in(form)}


def test_a_bulk_form_sent_twice_does_it_once(staff, license):
    values = {**bulk_form(staff, "grant-bonus", license), "units": "7", "month": THIS_MONTH}
    for said in ("done for 1 of 1", "This form was sent before"):
        assert said in staff.post("/admin/act-on-many/grant-bonus/", values, follow=True).text
    assert MonthlyUsage.objects.get().bonus_units == 7


def test_in_bulk_too_who_is_second_is_told(staff, as_role, act, license):
    values = bulk_form(staff, "suspend", license)
    act(as_role("Support"), "change-plan", license, plan=Plan.objects.get(slug="team").pk)
    page = staff.post("/admin/act-on-many/suspend/", values, follow=True)
    assert "plan changed by staff:support" in page.text
    assert "done for 0 of 1" in page.text
    license.refresh_from_db()
    assert license.suspended_at is None


@pytest.mark.parametrize("seen", ["²", "1" * 5000, "-", "\x00", ""])
def test_nonsense_that_a_form_carries_is_refused(staff, license, seen):
    form = seen_in(staff.get(path_of("suspend", license)))
    page = staff.post(path_of("suspend", license), {"reason": "x", **form, "seen": seen})
    assert page.status_code == 200
    page = staff.post("/admin/act-on-many/suspend/", {"reason": "x", "chosen": seen}, follow=True)
    assert page.status_code == 200
    for path in ("licenses/license", "licenses/licensetoken", "billing/mail", "auth/user"):
        chosen = {"action": "suspend", "_selected_action": seen or "x"}
        assert staff.post(f"/admin/{path}/", chosen, follow=True).status_code == 200
    license.refresh_from_db()
    assert license.suspended_at is None


def test_a_token_pasted_where_text_is_kept_is_refused(staff, act, license, token):
    for slug, fields in [
        ("suspend", {"reason": f"lost {token}!"}),
        ("change-notes", {"notes": token.upper()}),
        ("issue-token", {"label": token[:50], "deliver": "show"}),
    ]:
        assert "Leave the token out" in act(staff, slug, license, **fields).text
    assert AuditEvent.objects.filter(license=license, by="staff:anna").count() == 0


@pytest.mark.parametrize("query", [{"q": "{}"}, {"q": "Bearer {}"}, {"license__id__exact": "{}."}, {"o": "x {}"}])
@pytest.mark.parametrize("path", ["licenses/license/", "licenses/licensetoken/", "billing/mail/", "login/", "find/"])
def test_a_whole_token_in_an_address_leaves_it_at_once(staff, license, token, path, query):
    for written in (token, token[:-1], token.upper()):
        given = {name: text.format(written) for name, text in query.items()}
        answer = staff.get(f"/admin/{path}", given)
        assert answer.status_code == 302
        assert written not in answer["Location"]
        assert tokens.visible_prefix(written) in answer["Location"]


def test_nor_does_the_log_in_page_carry_it_on(client, token):
    answer = client.get(f"/admin/licenses/license/{token}/change/", follow=True)
    assert token not in answer.text
    assert token not in str(answer.redirect_chain[1:])


def test_an_address_that_no_column_holds_is_said_so(staff, act, license):
    long = "a" * 64 + "@" + ".".join(["b" * 60] * 3) + ".ccc.test"
    assert "at most 254 characters" in act(staff, "change-email", license, email=long).text


def test_a_long_name_can_act_too(client, act, license):
    client.force_login(get_user_model().objects.create_superuser("n" * 150))
    assert "is suspended" in act(client, "suspend", license).text


def test_a_change_of_a_plan_stands_in_the_trail(staff):
    team = Plan.objects.get(slug="team")
    fields = {"name": "Team", "monthly_quota": "6000", "rate_limit": "60", "price_cents": "5000", "order": "3"}
    staff.post(f"/admin/licenses/plan/{team.pk}/change/", {**fields, "is_active": "on"})
    event = AuditEvent.objects.get(action="catalog_changed")
    assert (event.by, event.changes["monthly_quota"]) == ("staff:anna", ["5000", "6000"])


def test_a_wrong_input_in_between_hides_nobodys_change(staff, as_role, act, license):
    form = staff.get(path_of("change-limits", license))
    bulk = bulk_form(staff, "suspend", license)
    act(as_role("Support"), "change-limits", license, quota="77", rate="")

    values = {"quota": "9", "rate": "", **seen_in(form)}
    page = staff.post(path_of("change-limits", license), {**values, "reason": ""})
    assert "This field is required" in page.text
    page = staff.post(path_of("change-limits", license), {**values, **seen_in(page), "reason": "x"})
    assert "limits changed by staff:support" in page.text

    page = staff.post("/admin/act-on-many/suspend/", {**bulk, "reason": ""})
    page = staff.post("/admin/act-on-many/suspend/", {**bulk, **seen_in(page)}, follow=True)
    assert "done for 0 of 1" in page.text
    license.refresh_from_db()
    assert (license.quota_override, license.suspended_at) == (77, None)


def test_what_was_chosen_and_left_the_list_meanwhile_is_said_so(staff, license):
    chosen = {"action": "reinstate", "_selected_action": [license.pk]}
    page = staff.post("/admin/licenses/license/?status=license_suspended", chosen, follow=True)
    assert "no longer in this list" in page.text


def test_an_action_and_a_request_do_not_wait_for_each_other(start, database):
    """A request holds the month's counter and names the license; whoever grants units does it the other way round."""
    service = start(database)
    service.suggest(service.issue())
    script = (
        "from django.contrib.auth import get_user_model; from django.test import Client;"
        "user = get_user_model().objects.create_superuser('bo'); client = Client(); client.force_login(user);"
        "print(client.cookies['sessionid'].value)"
    )
    session = service.command("shell", "-v0", "-c", script).stdout.split()[-1]
    number = database.value("SELECT id FROM licenses_license")
    path, headers = f"/admin/act/grant-bonus/{number}/", {"Cookie": f"sessionid={session}"}
    form = service.client.get(path, headers=headers)
    csrf = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', form.text)[1]
    values = {"units": "5", "month": THIS_MONTH, "reason": "x", "csrfmiddlewaretoken": csrf, **seen_in(form)}
    headers["Cookie"] += f"; csrftoken={form.cookies['csrftoken']}"
    answers = []

    def grant():
        answers.append(service.client.post(path, data=values, headers=headers))

    with psycopg.connect(database.url) as request:
        request.execute("UPDATE billing_monthlyusage SET used = used + 1")
        staff = threading.Thread(target=grant)
        staff.start()
        waits = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        wait_until(lambda: database.value(waits))
        request.execute("SELECT 1 FROM licenses_license FOR KEY SHARE")  # as a ledger entry's foreign key does
        request.rollback()
    staff.join()
    assert answers[0].status_code == 302, answers[0].text
    assert database.value("SELECT bonus_units FROM billing_monthlyusage") == 5
