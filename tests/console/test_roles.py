"""What each role may, by permission and by page; and that nobody changes the books."""

import re
from datetime import timedelta

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group, Permission
from django.test import Client
from django.utils import timezone

from billing import mails
from billing.models import Errand, Mail, ModelPrice, PlanPrice, UsageRecord, WebhookEvent
from licenses.models import AuditEvent, License, LicenseToken
from remind_site.console.actions import ACTIONS
from tests.console.conftest import ROLES, path_of

pytestmark = pytest.mark.django_db

BILLING_ONLY = {"correct-charge", "correct-price", "withdraw-price"}
SUPERUSERS_ONLY = {"reset-second-factor"}


@pytest.fixture
def one_of_each(license, token, post):
    """A row of everything that something can be done to."""
    post(headers={"Idempotency-Key": "one"})
    mails.queue_token(license)
    event = WebhookEvent.objects.create(event_id="evt_1", event_type="subscription.created", body="{}")
    errand = Errand.objects.create(kind="fetch_customer", subject="ctm_1")
    price = ModelPrice.objects.filter(model="local").get()
    price.pk, price.valid_from = None, timezone.now() + timedelta(days=1)
    price.save()
    sold = PlanPrice.objects.create(price_id="pri_one", plan=license.plan)
    rows = [price, sold, license, license.tokens.get(), UsageRecord.objects.get(), Mail.objects.get(), event, errand]
    return {type(row): row for row in rows} | {get_user_model(): get_user_model().objects.create_user("victim")}


def may(role, action):
    if role == "Auditor" or action.slug in SUPERUSERS_ONLY:
        return False
    return role == "Billing" or action.slug not in BILLING_ONLY


@pytest.mark.parametrize("role", ROLES)
def test_each_action_is_open_to_its_roles_and_to_nobody_else(role, as_role, act, one_of_each):
    client = as_role(role)
    for action in ACTIONS:
        row = one_of_each[action.on] if action.on else None
        events = AuditEvent.objects.count()
        expected = 200 if may(role, action) else 403
        possible = 200 if action.on is None or action.fits(row) else 302
        shown = client.get(path_of(action.slug, row)).status_code
        assert shown == (possible if expected == 200 else 403), action.slug
        if expected == 403:
            assert client.post(path_of(action.slug, row), {"reason": "x"}).status_code == 403
            if row is not None:
                data = {"chosen": [row.pk], "reason": "x"}
                assert client.post(f"/admin/act-on-many/{action.slug}/", data).status_code == 403
            assert AuditEvent.objects.count() == events


@pytest.mark.parametrize("role", ROLES)
def test_the_page_offers_just_what_the_role_may(role, as_role, license, token, post):
    post()
    page = as_role(role).get(f"/admin/licenses/license/{license.pk}/change/")
    offered = set(re.findall(r"/admin/act/([a-z-]+)/\d+/", page.text))
    assert ("suspend" in offered) == (role != "Auditor")
    assert ("correct-charge" in offered) == (role == "Billing")
    assert bool(offered) == (role != "Auditor")
    assert ("/admin/act/issue-license/" in page.text) == (role != "Auditor")


@pytest.mark.parametrize("role", ROLES)
def test_every_page_opens_for_every_role(role, as_role, one_of_each):
    client = as_role(role)
    home = client.get("/admin/")
    assert "Suggestions answered" in home.text
    links = sorted(set(re.findall(r'href="(/admin/[a-z_]+/[a-z_]+/)"', home.text)))
    assert len(links) > 18
    assert "/admin/django_q/failure/" in links  # the home's to-do list leads there
    for path in links:
        assert client.get(path).status_code == 200, path
    for model, row in one_of_each.items():
        path = f"/admin/{model._meta.app_label}/{model._meta.model_name}/{row.pk}/change/"
        expected = 403 if model is get_user_model() and role != "Auditor" else 200
        assert client.get(path).status_code == expected, path


def test_an_auditor_sees_who_may_do_what_and_changes_nothing_of_it(as_role):
    victim = get_user_model().objects.create_user("victim", password="long-enough-1", is_staff=True)
    victim.groups.add(Group.objects.get(name="Billing"))
    auditor = as_role("Auditor")
    row = auditor.get("/admin/auth/user/").text.partition("victim")[2].partition("</tr>")[0]
    assert "Billing" in row
    page = auditor.get(f"/admin/auth/user/{victim.pk}/change/")
    assert page.status_code == 200
    assert "password" not in page.text.lower().replace("change password", "")
    assert 'name="_save"' not in page.text
    assert auditor.get(f"/admin/auth/group/{victim.groups.get().pk}/change/").status_code == 200
    for path in (f"{victim.pk}/change/", f"{victim.pk}/password/", "add/"):
        assert auditor.post(f"/admin/auth/user/{path}", {"username": "other"}).status_code == 403, path


def test_a_role_of_ones_own_is_ticked_together(staff):
    page = staff.get("/admin/auth/group/add/").text
    assert "Can view payment" in page
    assert "Can delete" not in page
    add_bonus = Permission.objects.get(codename="add_bonusgrant")
    staff.post("/admin/auth/group/add/", {"name": "Interns", "permissions": [add_bonus.pk]})
    assert list(Group.objects.get(name="Interns").permissions.all()) == [add_bonus]


def test_a_refusal_says_which_role_does_not_reach(as_role, staff):
    assert "with your role (Support)" in as_role("Support").get("/admin/auth/user/").text
    nobody = get_user_model().objects.create_user("nobody", is_staff=True)
    client = Client()
    client.force_login(nobody)
    assert "without a role" in client.get("/admin/auth/user/").text
    assert "Nobody may do that" in staff.get("/admin/licenses/auditevent/add/").text


@pytest.mark.parametrize("role", ROLES)
def test_plans_and_prices_are_billings(role, as_role):
    client = as_role(role)
    expected = 200 if role == "Billing" else 403
    for path in ("licenses/plan/add/", "billing/planprice/add/", "billing/modelprice/add/"):
        page = client.get(f"/admin/{path}")
        assert page.status_code == expected, path
    price = ModelPrice.objects.first()
    assert client.post(f"/admin/billing/modelprice/{price.pk}/change/", {"charged_input": "0"}).status_code == 403


def test_forms_of_prices_say_that_nothing_settled_changes(as_role):
    billing = as_role("Billing")
    assert "never changes an entry that is settled" in billing.get("/admin/billing/modelprice/add/").text
    assert "Nothing that is settled changes" in billing.get("/admin/billing/planprice/add/").text


@pytest.mark.parametrize(
    "model",
    [
        "billing/usagerecord", "billing/monthlyusage", "billing/dailyspend", "billing/idempotencykey",
        "billing/operatornotice", "billing/bonusgrant", "billing/dailyusage", "billing/dailyrefusals",
        "billing/webhookevent", "billing/mail", "billing/errand", "billing/payment", "billing/adjustment",
        "billing/subscription", "billing/customer", "licenses/auditevent", "licenses/licensetoken", "remind_site/login",
    ],
)  # fmt: skip
def test_nobody_changes_the_books(staff, one_of_each, model):
    assert staff.get(f"/admin/{model}/add/").status_code == 403
    page = staff.get(f"/admin/{model}/")
    assert page.status_code == 200
    assert "delete_selected" not in page.text
    row = page.context["cl"].queryset.first()
    if row is not None:
        for verb in ("change", "delete"):
            assert staff.post(f"/admin/{model}/{row.pk}/{verb}/", {"post": "yes"}).status_code == 403


def test_nobody_deletes_a_license(staff, license):
    assert staff.post(f"/admin/licenses/license/{license.pk}/delete/", {"post": "yes"}).status_code == 403
    assert License.objects.exists()


def test_no_digest_and_no_answer_is_shown(staff, one_of_each, license):
    token = LicenseToken.objects.get()
    assert token.digest not in staff.get(f"/admin/licenses/licensetoken/{token.pk}/change/").text


def test_staff_without_a_role_are_told_so(client):
    client.force_login(get_user_model().objects.create_user("new", is_staff=True))
    page = client.get("/admin/")
    assert "no role yet" in page.text
    assert client.get("/admin/find/").status_code == 403
    assert client.get("/admin/licenses/license/").status_code == 403
    assert client.get("/admin/licenses/license/1/change/").status_code == 403


def test_migrate_sets_the_roles_again():
    from django.core.management import call_command

    Group.objects.get(name="Auditor").permissions.add(*Group.objects.get(name="Billing").permissions.all())
    call_command("migrate", verbosity=0)
    assert not Group.objects.get(name="Auditor").permissions.exclude(codename__startswith="view_").exists()
