"""Forms sent twice, reloaded, made up; tokens pasted where they don't belong; addresses made of nonsense."""

import re
import threading
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import psycopg
import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.contrib.sessions.models import Session
from django.db import OperationalError

from billing.models import Errand, Mail, ModelPrice, MonthlyUsage, PlanPrice
from licenses import lifecycle, tokens
from licenses.models import AuditEvent, License, LicenseToken, Plan
from tests.console.conftest import path_of, seen_in
from tests.factories import LicenseFactory
from tests.load.filling import copy
from tests.service import wait_until

pytestmark = pytest.mark.django_db
TEAM = {
    "name": "Team", "monthly_quota": "5000", "rate_limit": "60", "price_cents": "5000", "order": "3", "is_active": "on",
}  # fmt: skip
THIS_MONTH = datetime.now(UTC).date().replace(day=1).isoformat()


def test_a_form_sent_twice_does_it_once(staff, license):
    form = staff.get(path_of("grant-bonus", license))
    values = {"units": "5", "month": THIS_MONTH, "reason": "ticket 7", **seen_in(form)}
    staff.post(path_of("grant-bonus", license), values)
    page = staff.post(path_of("grant-bonus", license), values)
    assert "This form was sent before. Since then you did: bonus granted" in page.text
    staff.post(path_of("grant-bonus", license), {**values, "once": ""})
    assert MonthlyUsage.objects.get().bonus_units == 5


def test_a_reloaded_page_issues_no_second_license(staff):
    form = staff.get(path_of("issue-license"))
    values = {
        "email": "b@example.com", "plan": Plan.objects.get(slug="pro").pk, "deliver": "show", "is_further": "on",
        "reason": "ticket 7", **seen_in(form),
    }  # fmt: skip
    assert "shown only this once" in staff.post(path_of("issue-license"), values).text
    page = staff.post(path_of("issue-license"), {**values, "is_further": ""})
    assert f"Since then you did: issued: License {License.objects.get().pk} (b@example.com)" in page.text
    assert "Tick the box" not in page.text
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
    path = f"/admin/licenses/plan/{team.pk}/change/"
    fields = {**TEAM, "monthly_quota": "6000", **seen_in(staff.get(path))}
    assert "This field is required" in staff.post(path, fields).text
    assert "Leave the token out" in staff.post(path, {**fields, "reason": tokens.mint("pro")}).text
    assert not AuditEvent.objects.exists()
    staff.post(path, {**fields, "reason": "ticket 9"})
    event = AuditEvent.objects.get(action="catalog_changed")
    assert (event.by, event.reason, event.changes["monthly_quota"]) == ("staff:anna", "ticket 9", ["5000", "6000"])


def test_the_second_who_changes_a_plan_is_told_and_overwrites_nothing(staff, as_role):
    team = Plan.objects.get(slug="team")
    path = f"/admin/licenses/plan/{team.pk}/change/"
    mine, theirs = seen_in(staff.get(path)), as_role("Billing")
    theirs.post(path, {**TEAM, **seen_in(theirs.get(path)), "monthly_quota": "7000", "reason": "spring offer"})
    page = staff.post(path, {**TEAM, **mine, "rate_limit": "99", "reason": "x"}, follow=True)
    assert "it was changed by staff:billing" in page.text
    assert "(spring offer). Nothing of yours was done" in page.text
    assert 'value="7000"' in page.text
    team.refresh_from_db()
    assert (team.monthly_quota, team.rate_limit) == (7000, 60)
    staff.post(path, {**TEAM, **seen_in(page), "monthly_quota": "7000", "rate_limit": "99", "reason": "x"})
    team.refresh_from_db()
    assert (team.monthly_quota, team.rate_limit) == (7000, 99)


MODEL_PRICE = {
    "model": "gpt-5-nano", "provider_input": "1", "provider_cached_input": "1", "provider_output": "1",
    "charged_input": "1", "charged_output": "1", "reason": "new list",
}  # fmt: skip


def add_model_price(staff, day, time="00:00:00"):
    return staff.post(
        "/admin/billing/modelprice/add/", {**MODEL_PRICE, "valid_from_0": day, "valid_from_1": time}, follow=True
    )


@pytest.mark.parametrize("day", ["0001-01-01", "2020-01-01", "9999-12-31"])
def test_a_models_price_holds_neither_from_the_past_nor_from_far_ahead(staff, day):
    before = ModelPrice.objects.count()
    assert "a year ahead at most" in add_model_price(staff, day).text
    assert ModelPrice.objects.count() == before


def test_a_charge_below_the_providers_price_is_asked_about(staff):
    today = datetime.now(UTC).date().isoformat()
    values = {**MODEL_PRICE, "charged_output": "0.5", "valid_from_0": today, "valid_from_1": "00:00:00"}
    before = ModelPrice.objects.count()
    assert "For output less is charged" in staff.post("/admin/billing/modelprice/add/", values).text
    assert ModelPrice.objects.count() == before
    page = staff.post("/admin/billing/modelprice/add/", {**values, "is_sure": "on", "model": "gpt-other"}, follow=True)
    assert "is not the model that is configured" in page.text
    assert ModelPrice.objects.get(model="gpt-other").charged_output == Decimal("0.5")


def test_a_price_that_does_not_hold_yet_is_withdrawn(staff, act):
    before = ModelPrice.objects.count()
    today = datetime.now(UTC).date()
    for day in (today, today + timedelta(days=2)):
        assert "was added successfully" in add_model_price(staff, day.isoformat()).text
    later, holds = ModelPrice.objects.filter(model="gpt-5-nano").order_by("-valid_from")[:2]
    assert "is not possible" in act(staff, "withdraw-price", holds).text
    page = act(staff, "withdraw-price", later)
    assert "is withdrawn" in page.text
    assert page.request["PATH_INFO"] == "/admin/billing/modelprice/"
    assert ModelPrice.objects.count() == before + 1
    event = AuditEvent.objects.first()
    assert (event.action, event.reason, event.about.endswith("withdrawn")) == ("catalog_changed", "ticket 7", True)


def plan_price(staff, price_id):
    fields = {"price_id": price_id, "plan": Plan.objects.get(slug="pro").pk, "interval": "month", "is_offered": "on"}
    return staff.post("/admin/billing/planprice/add/", {**fields, "reason": "raise"}, follow=True)


def test_a_new_price_at_paddle_takes_the_other_off(staff):
    plan_price(staff, "pri_old")
    page = plan_price(staff, "pri_new")
    assert "pri_old is no longer offered" in page.text
    assert dict(PlanPrice.objects.values_list("price_id", "is_offered")) == {"pri_old": False, "pri_new": True}
    path = f"/admin/billing/planprice/{PlanPrice.objects.get(price_id='pri_old').pk}/change/"
    staff.post(path, {**seen_in(staff.get(path)), "is_offered": "on", "reason": "back"})
    assert dict(PlanPrice.objects.values_list("price_id", "is_offered")) == {"pri_old": True, "pri_new": False}


@pytest.mark.parametrize("price_id", ["nonsense", "pri_ é", "pri_", "PRI_1", "pri_a\nb"])
def test_a_price_at_paddle_has_the_form_of_one(staff, price_id):
    assert "Copy it from Paddle" in plan_price(staff, price_id).text
    assert not PlanPrice.objects.exists()


def test_what_changes_staff_and_roles_stands_in_the_trail(staff):
    fields = {
        "username": "eve",
        "password1": "a-long-password",
        "password2": "a-long-password",
        "usable_password": "true",
    }
    staff.post("/admin/auth/user/add/", fields)
    eve = get_user_model().objects.get(username="eve")
    role = Group.objects.get(name="Support")
    change = {"username": "eve", "is_staff": "on", "is_active": "on", "groups": [role.pk]}
    staff.post(f"/admin/auth/user/{eve.pk}/change/", change)
    passwords = {"password1": "another-password", "password2": "another-password", "usable_password": "true"}
    staff.post(f"/admin/auth/user/{eve.pk}/password/", passwords)
    added, changed, password = AuditEvent.objects.filter(action="staff_changed").order_by("pk")
    assert (added.by, added.about) == ("staff:anna", f"user {eve.pk}: eve")
    assert changed.changes == {"is_staff": ["False", "True"], "groups": ["", "Support"]}
    assert password.changes == {"password": ["", "set anew"]}
    assert "a-long" not in str(list(AuditEvent.objects.values()))


def test_a_role_that_is_taken_away_leaves_its_members_in_the_trail(staff):
    role = Group.objects.create(name="Interns")
    get_user_model().objects.create_user("ida").groups.add(role)
    staff.post(f"/admin/auth/group/{role.pk}/delete/", {"post": "yes"})
    assert not Group.objects.filter(name="Interns").exists()
    event = AuditEvent.objects.get(action="staff_changed")
    assert (event.by, event.changes) == ("staff:anna", {"role": ["Interns", ""], "members": ["ida", ""]})
    assert "Interns" in event.about


def test_ones_own_new_password_stands_in_the_trail(staff):
    anna = get_user_model().objects.get(username="anna")
    anna.set_password("long-enough-for-us-1")
    anna.save()
    staff.force_login(anna)
    new = "another-long-one-2"
    form = {"old_password": "wrong", "new_password1": new, "new_password2": new}
    assert staff.post("/admin/password_change/", form).status_code == 200
    assert not AuditEvent.objects.exists()
    assert staff.post("/admin/password_change/", {**form, "old_password": "long-enough-for-us-1"}).status_code == 302
    event = AuditEvent.objects.get()
    assert (event.action, event.by, event.changes) == ("staff_changed", "staff:anna", {"password": ["", "set anew"]})


def test_only_what_a_list_offers_is_done_in_bulk(staff, license):
    data = {"chosen": [license.pk], "reason": "x", "deliver": "show", "email": "x@example.com"}
    for slug in ("issue-token", "change-email"):
        assert staff.post(f"/admin/act-on-many/{slug}/", data).status_code == 404, slug
    assert not license.tokens.exists()


def test_a_bulk_form_holds_nothing_of_the_first_row(staff, license):
    license.expires_at = datetime.now(UTC) + timedelta(days=9)
    license.save()
    chosen = {"action": "extend", "_selected_action": [license.pk, LicenseFactory().pk]}
    page = staff.post("/admin/licenses/license/", chosen)
    assert page.context["form"]["last_day"].value() is None
    page = staff.post("/admin/licenses/license/", {**chosen, "action": "change-plan"})
    assert "stands above" not in page.text


def test_what_was_done_in_bulk_before_a_failure_is_said(staff, in_bulk, monkeypatch):
    one, two, three = (LicenseFactory() for _ in range(3))
    suspend = lifecycle.suspend

    def fail(license, **who):
        if License.objects.filter(suspended_at__isnull=False).exists():
            raise OperationalError("the database is gone")
        suspend(license, **who)

    monkeypatch.setattr(lifecycle, "suspend", fail)
    page = in_bulk(staff, "suspend", [three, two, one]).text
    assert "Suspend: done for 1 of 3" in page
    assert "did not confirm it. Look at the audit trail before you do it again. 1 after it were" in page
    assert License.objects.filter(suspended_at__isnull=False).count() == 1


def test_an_errand_that_is_done_is_not_done_again(staff, act, in_bulk):
    errand = Errand.objects.create(kind="cancel_subscription", subject="sub_1", state="done")
    assert "It is done" in act(staff, "run-errand", errand).text
    assert "It is done" in in_bulk(staff, "run-errand", [errand]).text
    errand.refresh_from_db()
    assert errand.state == "done"


def test_a_mail_that_is_no_longer_true_is_not_sent_again(staff, act, license):
    mail = Mail.objects.create(kind="quota_80", license=license, state="done", sent_to="old@example.com")
    assert "It would say what is no longer so: There is more quota now." in act(staff, "send-mail-again", mail).text
    mail.refresh_from_db()
    assert mail.state == "done"


def test_the_three_roles_stay(staff):
    own = Group.objects.create(name="Interns")
    for group in Group.objects.all():
        staff.post(f"/admin/auth/group/{group.pk}/delete/", {"post": "yes"})
    chosen = list(Group.objects.values_list("pk", flat=True))
    staff.post("/admin/auth/group/", {"action": "delete_selected", "_selected_action": chosen, "post": "yes"})
    assert set(Group.objects.values_list("name", flat=True)) == {"Support", "Billing", "Auditor"}
    assert not Group.objects.filter(pk=own.pk).exists()


def test_what_is_sent_after_the_session_ended_is_said_to_be_lost(staff, license):
    form = seen_in(staff.get(path_of("suspend", license)))
    Session.objects.all().delete()
    page = staff.post(path_of("suspend", license), {**form, "reason": "x"}, follow=True)
    assert "What you sent was not done" in page.text
    assert path_of("suspend", license) in page.redirect_chain[-1][0]
    assert "What you sent" not in staff.get("/admin/", follow=True).text


def test_a_row_that_is_held_is_said_so_and_the_form_can_be_sent_again(start, database):
    """On the deployed service, whose database connections give up waiting."""
    service = start(database)
    service.issue()
    client = Browser(service)
    path = f"/admin/act/suspend/{database.value('SELECT id FROM licenses_license')}/"
    form = seen_in(client.get(path))
    with psycopg.connect(database.url) as other:
        other.execute("SELECT 1 FROM licenses_license FOR UPDATE")
        page = client.post(path, **form, reason="x")
        assert "Something else holds this" in page.text
        assert page.status_code == 200
        assert "nothing was changed by it" in client.post(path, **form, reason="x").text
    assert client.post(path, **seen_in(page), reason="x").status_code == 302
    assert "Since then you did: suspended" in client.post(path, **seen_in(page), reason="x").text


class Browser:
    """A superuser's, at a deployed service."""

    def __init__(self, service):
        script = (
            "from django.contrib.auth import get_user_model; from django.test import Client;"
            "user = get_user_model().objects.create_superuser('bo'); client = Client(); client.force_login(user);"
            "print(client.cookies['sessionid'].value)"
        )
        session = service.command("shell", "-v0", "-c", script).stdout.split()[-1]
        self.client, self.cookies = service.client, f"sessionid={session}"

    def get(self, path):
        page = self.client.get(path, headers={"Cookie": self.cookies})
        self.csrf = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.text)[1]
        self.cookies += f"; csrftoken={page.cookies['csrftoken']}"
        return page

    def post(self, path, **values):
        return self.client.post(
            path, data={**values, "csrfmiddlewaretoken": self.csrf}, headers={"Cookie": self.cookies}
        )


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


def test_whoever_is_second_waits_for_the_first_and_is_told(start, database):
    """The first is in the middle of it, and has committed nothing, when the second sends a form."""
    service = start(database, WEB_CONCURRENCY="1")
    service.issue()
    license = database.value("SELECT id FROM licenses_license")
    mail = database.value(
        "INSERT INTO billing_mail (kind, license_id, state, due_at, tries, note, created_at, \"to\", words)"
        " VALUES ('expiring', %s, 'flagged', now(), 1, '', now(), '', '{}') RETURNING id", license,
    )  # fmt: skip
    client = Browser(service)

    def sent_meanwhile(path, first, **values):
        """What the form says that is sent while the first is under way, and waits for it."""
        values, answers = {"reason": "x", **seen_in(client.get(path)), **values}, []
        second = threading.Thread(target=lambda: answers.append(client.post(path, **values)))
        with psycopg.connect(database.url) as connection:
            first(connection)
            second.start()
            waits = (
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
            )
            wait_until(lambda: database.value(waits))
        second.join()
        return answers[0].text

    hold = f"SELECT 1 FROM licenses_license WHERE id = {license} FOR NO KEY UPDATE"

    def change_limits(connection):
        connection.execute(hold)
        connection.execute("UPDATE licenses_license SET quota_override = 77")
        copy(connection, "licenses_auditevent", 1, {"action": "'limits_changed'", "by": "'staff:bob'", "at": "now()"})

    page = sent_meanwhile(f"/admin/act/change-limits/{license}/", change_limits, quota="9", rate="")
    assert "limits changed by staff:bob" in page
    assert database.value("SELECT quota_override FROM licenses_license") == 77

    def send_the_mail(connection):
        connection.execute(hold)
        connection.execute("UPDATE billing_mail SET state = 'done'")  # the worker's, which leaves no line in the trail

    page = sent_meanwhile(f"/admin/act/close-mail/{mail}/", send_the_mail)
    assert "it is now &#x27;done&#x27;" in page
    assert database.value("SELECT count(*) FROM licenses_auditevent WHERE action = 'seen_to'") == 0

    def issue(connection):
        connection.execute("SELECT 1 FROM licenses_plan ORDER BY id LIMIT 1 FOR NO KEY UPDATE")
        copy(connection, "licenses_license", 1, {"email": "'new@example.com'"})

    plan = database.value("SELECT max(id) FROM licenses_plan")
    page = sent_meanwhile("/admin/act/issue-license/", issue, email="New@example.com", plan=plan, deliver="show")
    assert "This address has license" in page
    assert database.value("SELECT count(*) FROM licenses_license WHERE email = 'new@example.com'") == 1


def test_an_action_and_a_request_do_not_wait_for_each_other(start, database):
    """A request holds the month's counter and names the license; whoever grants units does it the other way round."""
    service = start(database)
    service.suggest(service.issue())
    client = Browser(service)
    path = f"/admin/act/grant-bonus/{database.value('SELECT id FROM licenses_license')}/"
    values = {"units": "5", "month": THIS_MONTH, "reason": "x", **seen_in(client.get(path))}
    answers = []

    def grant():
        answers.append(client.post(path, **values))

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
