"""The console: what support can do with licenses, what nobody can change, and that tokens are shown once."""

import re

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth import get_user_model
from django.contrib.sessions.models import Session

from billing.models import BonusGrant, ModelPrice, MonthlyUsage, UsageRecord
from licenses import tokens
from licenses.models import AuditEvent, License, LicenseToken, Plan

pytestmark = pytest.mark.django_db
LICENSES = "/admin/licenses/license/"
TOKENS = "/admin/licenses/licensetoken/"


@pytest.fixture
def staff(client):
    user = get_user_model().objects.create_superuser("anna", "anna@example.com", "a-long-password")
    client.force_login(user)
    return client


def fields(license=None, **changed):
    """What the license's form sends."""
    inlines = {
        f"{prefix}-{name}": "0" for prefix in ("tokens", "audit_events") for name in ("TOTAL_FORMS", "INITIAL_FORMS")
    }
    values = {
        "email": "b@example.com", "plan": Plan.objects.get(slug="pro").pk, "starts_at_0": "2026-01-01",
        "starts_at_1": "00:00:00", "expires_at_0": "", "expires_at_1": "", "quota_override": "", "rate_override": "",
        "notes": "", "reason": "ticket 7",
    }  # fmt: skip
    return {**inlines, **values, **changed}


def act(staff, action, *rows, path=LICENSES, reason="ticket 7"):
    data = {"action": action, "_selected_action": [row.pk for row in rows], "reason": reason}
    return staff.post(path, data, follow=True)


def shown_token(page):
    (token,) = re.findall(r'value="(remind_[^"]+)"', page.content.decode())
    assert tokens.is_well_formed(token)
    return token


def assert_kept_nowhere(token):
    for model in (License, LicenseToken, AuditEvent, LogEntry):
        assert token not in str(list(model.objects.values()))
    assert not [session for session in Session.objects.all() if token in str(session.get_decoded())]


def test_every_list_and_form_opens(staff, post, license):
    post()
    home = staff.get("/admin/")
    assert home.status_code == 200
    for path in sorted(set(re.findall(r'href="(/admin/[a-z_]+/[a-z_]+/(?:add/)?)"', home.content.decode()))):
        assert staff.get(path).status_code == 200, path
    for path in (
        f"{LICENSES}{license.pk}/change/",
        f"/admin/billing/usagerecord/{UsageRecord.objects.get().pk}/change/",
    ):
        assert staff.get(path).status_code == 200
    for path in (
        LICENSES,
        TOKENS,
        "/admin/billing/usagerecord/",
        "/admin/billing/monthlyusage/",
        "/admin/licenses/auditevent/",
    ):
        assert staff.get(path, {"q": license.email}).status_code == 200


def test_a_license_is_issued_and_its_token_shown_once(staff, post):
    page = staff.post(f"{LICENSES}add/", fields(quota_override="3", email="B@Example.com"))

    token = shown_token(page)
    assert "no-store" in page["Cache-Control"]
    license = License.objects.get(email="b@example.com")
    assert license.monthly_quota == 3
    assert list(license.audit_events.values_list("by", "reason")) == [("staff:anna", "ticket 7")] * 2
    assert_kept_nowhere(token)
    assert token not in staff.get(f"{LICENSES}{license.pk}/change/").content.decode()
    assert post(bearer=token).json()["quota_remaining"] == 2


@pytest.mark.parametrize(
    "wrong",
    [
        {"email": "x"},
        {"plan": "999"},
        {"quota_override": "-1"},
        {"rate_override": "0"},
        {"reason": ""},
        {"expires_at_0": "x"},
    ],
)
def test_a_wrong_input_is_said_beside_its_field_and_issues_nothing(staff, wrong):
    page = staff.post(f"{LICENSES}add/", fields(**wrong))
    assert page.status_code == 200
    assert 'class="errorlist"' in page.content.decode()
    assert not License.objects.exists()


def test_each_change_is_felt_by_the_next_call_and_in_the_trail(staff, license, post):
    team = Plan.objects.get(slug="team")
    change = fields(
        plan=team.pk,
        quota_override="9",
        rate_override="500",
        notes="VIP",
        expires_at_0="2040-01-01",
        expires_at_1="00:00",
    )

    assert staff.post(f"{LICENSES}{license.pk}/change/", change).status_code == 302

    assert post().json()["quota_remaining"] == 8
    license = License.objects.get()
    assert (license.plan, license.rate_limit, license.notes) == (team, 500, "VIP")
    actions = set(license.audit_events.values_list("action", flat=True))
    assert {"plan_changed", "limits_changed", "extended"} <= actions


def test_suspend_and_reinstate_with_counts_and_reason(staff, license, post):
    page = act(staff, "suspend", license, reason=" ")
    assert "Give a reason" in page.content.decode()
    assert post().status_code == 200

    assert "1 of 1 licenses suspended" in act(staff, "suspend", license).content.decode()
    assert post().json()["code"] == "license_suspended"
    again = act(staff, "suspend", license).content.decode()
    assert "suspended already" in again
    assert "0 of 1 licenses suspended" in again

    act(staff, "reinstate", license)
    assert post().status_code == 200


def test_tokens_are_issued_rotated_and_revoked(staff, license, token, post):
    further = shown_token(act(staff, "issue_token", license))
    old = LicenseToken.objects.get(digest=tokens.digest(token))
    rotated = shown_token(act(staff, "rotate", old, path=TOKENS))
    assert [post(bearer=secret).status_code for secret in (token, further, rotated)] == [200] * 3

    page = act(staff, "revoke", old, path=TOKENS)

    assert "1 of 1 tokens revoked" in page.content.decode()
    assert [post(bearer=secret).status_code for secret in (token, further, rotated)] == [401, 200, 200]
    for secret in (further, rotated):
        assert_kept_nowhere(secret)


def test_a_bonus_is_granted_by_adding_one(staff, license, post):
    from datetime import UTC, datetime

    today = datetime.now(UTC).date().isoformat()
    staff.post(
        "/admin/billing/bonusgrant/add/", {"license": license.pk, "month": today, "units": "5", "reason": "sorry"}
    )

    assert BonusGrant.objects.get().by == "staff:anna"
    assert MonthlyUsage.objects.get().bonus_units == 5
    assert post().json()["quota_remaining"] == 1004


@pytest.mark.parametrize(
    "wrong", [{"month": "2020-01-01"}, {"month": "9999-12-01"}, {"units": "0"}, {"units": "9999999"}]
)
def test_a_bonus_that_helps_nobody_or_is_a_slip_is_refused(staff, license, wrong):
    from datetime import UTC, datetime

    today = datetime.now(UTC).date().isoformat()
    values = {"license": license.pk, "month": today, "units": "5", "reason": "sorry", **wrong}
    page = staff.post("/admin/billing/bonusgrant/add/", values)
    assert 'class="errorlist"' in page.content.decode()
    assert not BonusGrant.objects.exists()


@pytest.mark.parametrize("model", ["usagerecord", "monthlyusage", "dailyspend", "idempotencykey", "operatornotice"])
def test_nobody_changes_the_books(staff, post, model):
    post(headers={"Idempotency-Key": "one"})
    assert staff.get(f"/admin/billing/{model}/add/").status_code == 403
    assert b"delete_selected" not in staff.get(f"/admin/billing/{model}/").content
    entry = UsageRecord.objects.get()
    for verb in ("change", "delete"):
        assert staff.post(f"/admin/billing/usagerecord/{entry.pk}/{verb}/", {"charge_cents": 0}).status_code == 403
    assert UsageRecord.objects.get().charge_cents == 1


def test_nobody_changes_the_trail_or_deletes_a_license(staff, license, token):
    event = AuditEvent.objects.first()
    for path in (
        f"/admin/licenses/auditevent/{event.pk}/change/", f"/admin/licenses/auditevent/{event.pk}/delete/",
        f"{LICENSES}{license.pk}/delete/", f"{TOKENS}{license.tokens.get().pk}/delete/",
    ):  # fmt: skip
        assert staff.post(path, {}).status_code == 403
    price = ModelPrice.objects.first()
    assert staff.post(f"/admin/billing/modelprice/{price.pk}/change/", {}).status_code == 403


def test_a_reader_can_look_and_do_nothing(client, license, token):
    from django.contrib.auth.models import Permission

    reader = get_user_model().objects.create_user("eve", password="a-long-password", is_staff=True)
    reader.user_permissions.set(Permission.objects.filter(codename__startswith="view_"))
    client.force_login(reader)

    assert client.get(LICENSES).status_code == 200
    for action, row, path in (
        ("suspend", license, LICENSES), ("reinstate", license, LICENSES), ("issue_token", license, LICENSES),
        ("rotate", license.tokens.get(), TOKENS), ("revoke", license.tokens.get(), TOKENS),
    ):  # fmt: skip
        before = AuditEvent.objects.count()
        act(client, action, row, path=path)
        assert AuditEvent.objects.count() == before, action


def test_tries_to_log_in_are_limited_by_address(client, address, valkey, settings):
    def attempt(**meta):
        return client.post("/admin/login/", {"username": "anna", "password": "wrong"}, **meta)

    statuses = [attempt(REMOTE_ADDR=address).status_code for _ in range(11)]
    assert statuses == [200] * 10 + [429]
    refused = attempt(REMOTE_ADDR=address)
    assert "Too many tries" in refused.content.decode()
    assert int(refused["Retry-After"]) > 0
    assert attempt().status_code == 200

    settings.REDIS_URL = ""
    assert client.get("/admin/login/", REMOTE_ADDR=address).status_code == 200


def test_an_unknown_page_of_the_console_is_a_page(staff):
    answer = staff.get("/admin/nope/")
    assert answer.status_code == 404
    assert answer["Content-Type"].startswith("text/html")
