"""Each action, and that the next call of the API feels it, that it is said, and that it stands in the trail."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth import get_user_model
from django.contrib.sessions.models import Session
from django.test import Client

from billing import housekeeping, mails
from billing.models import BonusGrant, Errand, Mail, MonthlyUsage, UsageRecord, WebhookEvent
from licenses import lifecycle, tokens
from licenses.models import AuditEvent, License, LicenseToken, Plan
from remind_site.console import acting
from tests.billing.paddle.outcome import license_of
from tests.console.conftest import path_of, seen_in
from tests.factories import LicenseFactory
from tests.paddle import Life

pytestmark = pytest.mark.django_db
LICENSES = "/admin/licenses/license/"
TODAY = datetime.now(UTC).date()


def shown_token(page):
    (token,) = re.findall(r'value="(remind_[^"]+)"', page.text)
    assert tokens.is_well_formed(token)
    assert "no-store" in page["Cache-Control"]
    return token


def assert_kept_nowhere(token):
    for model in (License, LicenseToken, AuditEvent, LogEntry, Mail):
        assert token not in str(list(model.objects.values()))
    assert not [session for session in Session.objects.all() if token in str(session.get_decoded())]


def last_event(**about):
    event = AuditEvent.objects.filter(**about).first()
    return event and (event.action, event.by, event.reason)


def plan(slug):
    return Plan.objects.get(slug=slug)


# --- Licenses


def issue(**fields):
    return {"email": "B@Example.com", "plan": plan("pro").pk, "quota": "3", "deliver": "show", **fields}


def test_a_license_is_issued_and_its_token_shown_once(staff, act, post):
    page = act(staff, "issue-license", **issue())

    token = shown_token(page)
    license = License.objects.get(email="b@example.com")
    assert "is issued" in page.text
    assert list(license.audit_events.values_list("by", "reason")) == [("staff:anna", "ticket 7")] * 2
    assert_kept_nowhere(token)
    assert token not in staff.get(f"/admin/licenses/license/{license.pk}/change/").text
    assert post(bearer=token).json()["quota_remaining"] == 2


def test_a_license_is_issued_and_its_token_mailed(staff, act, mailbox):
    page = act(staff, "issue-license", **issue(deliver="mail"))
    assert "A token is on its way to b@example.com" in page.text
    assert "remind_pro" not in page.text
    housekeeping.run()
    assert len(mailbox.to("b@example.com")) == 1


YESTERDAY = (TODAY - timedelta(days=1)).isoformat()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"email": "x"}, "Enter a valid email address"),
        ({"email": "a\x00b@example.com"}, "Null characters are not allowed"),
        ({"plan": "999"}, "Select a valid choice"),
        ({"quota": "-1"}, "greater than or equal to 0"),
        ({"quota": "9" * 30}, "less than or equal to"),
        ({"rate": "0"}, "greater than or equal to 1"),
        ({"last_day": "x"}, "Enter a valid date"),
        ({"last_day": YESTERDAY}, "Choose today or a day after it"),
        ({"last_day": "9999-12-31"}, "Choose a day before 2200"),
        ({"reason": " "}, "This field is required"),
        ({"reason": "x" * 501}, "at most 500 characters"),
        ({"deliver": "shout"}, "Select a valid choice"),
    ],
)
def test_a_wrong_input_is_said_beside_its_field_and_issues_nothing(staff, act, wrong, said):
    page = act(staff, "issue-license", **issue(**wrong))
    assert page.status_code == 200
    assert said in page.text
    assert not License.objects.exists()


def test_everything_that_the_form_asks_for_is_kept(staff, act):
    asked = issue(rate="7", last_day=TODAY.isoformat(), notes="pays by invoice", sends_notices="")
    act(staff, "issue-license", **asked)
    license = License.objects.get()
    tomorrow = datetime.combine(TODAY + timedelta(days=1), datetime.min.time(), UTC)
    assert (license.quota_override, license.rate_override, license.expires_at) == (3, 7, tomorrow)
    assert (license.notes, license.sends_notices) == ("pays by invoice", False)
    act(staff, "issue-license", **issue(email="other@example.com", sends_notices="on"))
    assert License.objects.get(email="other@example.com").sends_notices
    act(staff, "issue-token", license, label="laptop", deliver="show")
    assert license.tokens.first().label == "laptop"


def test_an_event_that_somebody_saw_to_meanwhile_is_not_run_again(staff, as_role, act):
    event = WebhookEvent.objects.create(event_id="evt_1", event_type="address.created", body="{}", state="flagged")
    form = staff.get(path_of("run-event", event))
    act(as_role("Support"), "close-event", event)
    page = staff.post(path_of("run-event", event), {**seen_in(form), "reason": "x"})
    assert "seen to by a person by staff:support" in page.text
    event.refresh_from_db()
    assert event.state == "done"


def test_an_address_that_has_a_license_gets_a_further_one_only_when_meant(staff, act, license):
    assert f"has license {license.pk} already" in act(staff, "issue-license", **issue(email=license.email)).text
    assert License.objects.count() == 1
    act(staff, "issue-license", **issue(email=license.email, is_further="on"))
    assert License.objects.count() == 2


def test_suspend_and_reinstate(staff, act, license, post):
    page = act(staff, "suspend", license)
    assert "its next call is refused with &#x27;license_suspended&#x27;" in page.text
    assert "Suspended by staff:anna" in page.text
    assert post().json()["code"] == "license_suspended"
    assert "&#x27;Suspend&#x27; is not possible" in act(staff, "suspend", license).text
    assert last_event() == ("suspended", "staff:anna", "ticket 7")

    assert "It may act again." in act(staff, "reinstate", license).text
    assert post().status_code == 200


def test_the_plan_is_changed(staff, act, license, post):
    page = act(staff, "change-plan", license, plan=plan("team").pk)
    assert "is on Team now: 5,000 suggestions a month" in page.text
    assert post().json()["quota_remaining"] == 4999
    assert "is on Team already" in act(staff, "change-plan", license, plan=plan("team").pk).text


def test_the_plan_follows_payments_again(staff, act, deliver, prices):
    life = Life(prices["pro"])
    deliver(life.customer(), life.created())
    assert "whatever plan is paid for" in act(staff, "change-plan", license_of(life), plan=plan("team").pk).text
    act(staff, "follow-paid-plan", license_of(life))
    assert license_of(life).plan.slug == "pro"


def test_quota_and_rate_are_overridden_and_given_back_to_the_plan(staff, act, license, post):
    act(staff, "change-limits", license, quota="9", rate="2")
    assert [post().status_code for _ in range(3)] == [200, 200, 429]
    assert UsageRecord.objects.count() == 2
    assert 'value="9"' in staff.get(path_of("change-limits", license)).text
    act(staff, "change-limits", license, quota="", rate="")
    license.refresh_from_db()
    assert (license.quota_override, license.rate_override) == (None, None)


def test_the_end_is_changed(staff, act, license, post):
    act(staff, "extend", license, last_day=TODAY.isoformat(), is_sooner="on")
    license.refresh_from_db()
    assert license.ends_at == datetime.combine(TODAY + timedelta(days=1), datetime.min.time(), UTC)
    assert f'value="{TODAY.isoformat()}"' in staff.get(path_of("extend", license)).text
    last = (TODAY + timedelta(days=9)).isoformat()
    assert (
        f"its last day is {TODAY + timedelta(days=9):%-d %b %Y} (UTC)"
        in act(staff, "extend", license, last_day=last).text
    )
    assert "it never ends." in act(staff, "extend", license, last_day=last, never_ends="on").text
    license.refresh_from_db()
    assert license.ends_at is None
    assert post().status_code == 200


def day(days):
    return TODAY + timedelta(days=days)


def in_short(days):
    return f"{day(days):%-d %b %Y}"


def test_an_end_that_gets_earlier_is_asked_about_and_said(staff, act, license):
    page = act(staff, "extend", license, last_day=day(9).isoformat())
    assert f"never → {in_short(9)}" in page.context["form"].errors["is_sooner"][0]
    license.refresh_from_db()
    assert license.ends_at is None
    page = act(staff, "extend", license, last_day=day(9).isoformat(), is_sooner="on")
    assert f"Changed: never → {in_short(9)}" in page.text
    assert "is_sooner" in act(staff, "extend", license, last_day=day(8).isoformat()).context["form"].errors
    page = act(staff, "extend", license, last_day=day(20).isoformat())
    assert f"Changed: {in_short(9)} → {in_short(20)}" in page.text


def test_in_bulk_licenses_whose_end_would_get_earlier_are_named_and_left_out(staff, in_bulk):
    late, early = (LicenseFactory(expires_at=datetime.combine(day(days), datetime.min.time(), UTC)) for days in (30, 3))
    page = in_bulk(staff, "extend", [late, early], last_day=day(9).isoformat()).text
    assert "done for 1 of 2" in page
    assert f"{late}: It would end sooner than now" in page
    assert f"{in_short(29)} → {in_short(9)}" in page
    assert "done for 1 of 1" in in_bulk(staff, "extend", [late], last_day=day(9).isoformat(), is_sooner="on").text


def test_on_a_paid_license_it_is_said_which_end_counts(staff, act, deliver, prices):
    life = Life(prices["pro"])
    deliver(life.customer(), life.created(), life.completed())
    license = license_of(life)
    paid = f"{license.paid_until - timedelta(microseconds=1):%-d %b %Y}"
    page = act(staff, "extend", license, last_day=day(1).isoformat()).text
    assert f"What is paid for counts, until {paid}: it is later than {in_short(1)}" in page
    assert f"Changed: {paid} → {paid}" in page
    assert f"Changed: {paid} → {in_short(900)}." in act(staff, "extend", license, last_day=day(900).isoformat()).text
    page = act(staff, "extend", license, never_ends="on", is_sooner="on").text
    assert "a paid license has no end but that" in page
    lifecycle.set_payments(license, plan=license.plan, until=license.paid_until, ending="refunded", by="x")
    assert "no extension helps" in act(staff, "extend", license, last_day=day(900).isoformat()).text


def test_a_form_that_changes_nothing_says_so_and_leaves_no_trace(staff, act, license):
    license.refresh_from_db()
    before = AuditEvent.objects.count()
    for slug, values in [
        ("extend", {"never_ends": "on"}),
        ("change-limits", {"quota": license.quota_override or "", "rate": license.rate_override or ""}),
        ("change-email", {"email": license.email.upper()}),
        ("change-notes", {"notes": license.notes, "sends_notices": "on"}),
    ]:
        assert "Nothing was changed" in act(staff, slug, license, **values).text, slug
    assert AuditEvent.objects.count() == before


def test_a_token_that_opens_nothing_now_is_shown_with_a_warning(staff, act, license):
    assert "is refused now" not in act(staff, "issue-token", license, deliver="show").text
    lifecycle.suspend(license, by="x", reason="abuse")
    for slug, row in [("issue-token", license), ("rotate-token", license.tokens.first())]:
        page = act(staff, slug, row, deliver="show")
        assert "This token is refused now, with &#x27;license_suspended&#x27;. Suspended by x" in page.text, slug


def test_what_is_not_possible_says_why(staff, act, license, post):
    post()
    entry = UsageRecord.objects.get()
    assert "That takes nothing back." in act(staff, "correct-charge", entry, cents="0").text
    act(staff, "correct-charge", entry, cents="1")
    correction = UsageRecord.objects.get(corrects=entry)
    for row, why in [
        (entry, f"It was taken back by entry {correction.pk}"),
        (correction, f"It is itself what took entry {entry.pk} back"),
    ]:
        assert why in act(staff, "correct-charge", row, cents="1").text
    assert "It is not suspended by staff. May act" in act(staff, "reinstate", license).text
    act(staff, "revoke-token", license.tokens.get())
    assert "It was revoked" in act(staff, "rotate-token", license.tokens.get()).text


def test_a_change_of_plan_says_that_an_override_holds(staff, act, license):
    lifecycle.change_limits(license, quota=1234, rate=None, by="x")
    said = "The override of 1,234 suggestions a month holds, whatever the plan"
    assert said in staff.get(path_of("change-plan", license)).text
    assert said in act(staff, "change-plan", license, plan=plan("team").pk).text
    lifecycle.change_limits(license, quota=None, rate=None, by="x")
    assert "The override" not in act(staff, "change-plan", license, plan=plan("pro").pk).text


def test_an_end_that_was_not_chosen_is_not_taken_for_never(staff, act, in_bulk, license):
    act(staff, "extend", license, last_day=TODAY.isoformat(), is_sooner="on")
    assert "Choose a day, or tick" in act(staff, "extend", license, last_day="").text
    assert "Choose a day, or tick" in in_bulk(staff, "extend", [license]).text
    license.refresh_from_db()
    assert license.ends_at is not None


def test_in_bulk_the_message_says_what_became_of_each(staff, in_bulk):
    licenses = [LicenseFactory() for _ in range(6)]
    last = TODAY + timedelta(days=3)
    page = in_bulk(staff, "extend", licenses, last_day=last.isoformat(), is_sooner="on").text
    assert "done for 6 of 6" in page
    assert page.count(f"its last day is {last:%-d %b %Y} (UTC)") == 5
    assert "And 1 more." in page


def test_as_many_as_may_be_chosen_at_once_are_done(staff, in_bulk, django_assert_max_num_queries):
    licenses = LicenseFactory.create_batch(acting.MOST_AT_ONCE)
    with django_assert_max_num_queries(20):
        form = staff.post(LICENSES, {"action": "suspend", "_selected_action": [license.pk for license in licenses]})
    assert f"{len(licenses)} licenses" in form.text
    assert f"done for {len(licenses)} of {len(licenses)}" in in_bulk(staff, "suspend", licenses).text
    in_bulk(staff, "reinstate", [*licenses, LicenseFactory()])
    page = staff.get(LICENSES)
    assert f"{acting.MOST_AT_ONCE} at most at once" in page.text
    assert f"({acting.MOST_AT_ONCE} at most)" in page.text  # said at the choice, too


def test_in_bulk_what_would_take_too_long_is_left_and_said(staff, in_bulk, monkeypatch):
    licenses = LicenseFactory.create_batch(3)
    monkeypatch.setattr(acting, "BULK_SECONDS", -1)
    page = in_bulk(staff, "suspend", licenses).text
    assert "3 of them were not tried" in page
    assert "done for 0 of 3" in page
    assert not License.objects.filter(suspended_at__isnull=False).exists()


def test_bonus_units_are_granted(staff, act, license, post):
    month = TODAY.replace(day=1).isoformat()
    assert "has 5 more suggestions" in act(staff, "grant-bonus", license, units="5", month=month).text
    assert BonusGrant.objects.get().by == "staff:anna"
    assert post().json()["quota_remaining"] == 1004


@pytest.mark.parametrize("wrong", [{"month": "2020-01-01"}, {"month": "x"}, {"units": "0"}, {"units": "9999999"}])
def test_a_bonus_that_helps_nobody_or_is_a_slip_is_refused(staff, act, license, wrong):
    values = {"month": TODAY.replace(day=1).isoformat(), "units": "5", **wrong}
    assert act(staff, "grant-bonus", license, **values).status_code == 200
    assert not BonusGrant.objects.exists()


def test_email_and_notes_are_changed(staff, act, license):
    act(staff, "change-email", license, email="New@Example.com")
    page = act(staff, "change-notes", license, notes="<script>alert(1)</script>")
    license.refresh_from_db()
    assert (license.email, license.sends_notices) == ("new@example.com", False)
    assert "<script>alert(1)" not in page.text
    assert "&lt;script&gt;alert(1)" in page.text
    assert last_event()[0] == "notes_changed"


# --- Tokens


def test_tokens_are_issued_rotated_and_revoked(staff, act, license, token, post):
    further = shown_token(act(staff, "issue-token", license, label="laptop", deliver="show"))
    old = LicenseToken.objects.get(digest=tokens.digest(token))
    rotated = shown_token(act(staff, "rotate-token", old, deliver="show"))
    assert [post(bearer=secret).status_code for secret in (token, further, rotated)] == [200] * 3

    page = act(staff, "revoke-token", old)

    assert "is revoked" in page.text
    assert [post(bearer=secret).status_code for secret in (token, further, rotated)] == [401, 200, 200]
    assert "&#x27;Revoke&#x27; is not possible" in act(staff, "revoke-token", old).text
    for secret in (further, rotated):
        assert_kept_nowhere(secret)


def test_a_token_is_rotated_by_mail_and_nobody_here_sees_it(staff, act, license, token, post, mailbox):
    page = act(staff, "rotate-token", license.tokens.get(), deliver="mail")
    assert "goes on for a day" in page.text
    housekeeping.run()
    assert len(mailbox.to(license.email)) == 1
    assert post().status_code == 200
    assert license.tokens.order_by("id").first().expires_at is not None


def test_a_new_token_is_mailed(staff, act, license, mailbox):
    assert "within a minute" in act(staff, "mail-token", license).text
    housekeeping.run()
    assert len(mailbox.to(license.email)) == 1
    assert AuditEvent.objects.filter(action="mail_queued", by="staff:anna").exists()


def test_each_machine_of_a_team_is_mailed_a_token_with_its_label(staff, act, license, mailbox):
    for label in ("laptop", "build server", ""):
        assert "on its way" in act(staff, "issue-token", license, label=label, deliver="mail").text
    act(staff, "send-mail-again", Mail.objects.get(words__label="laptop"))  # leaves the others alone
    housekeeping.run()
    assert len(mailbox.to(license.email)) == 3
    usable = license.tokens.filter(revoked_at=None, is_unsent=False)
    assert sorted(usable.values_list("label", flat=True)) == ["build server", "laptop", "mailed"]
    act(staff, "rotate-token", usable.get(label="laptop"), deliver="mail")
    housekeeping.run()
    assert usable.filter(label="laptop").count() == 2


def test_a_new_token_by_mail_takes_the_place_of_those_that_have_not_left(staff, act, license, mailbox):
    act(staff, "issue-token", license, label="laptop", deliver="mail")
    act(staff, "mail-token", license)
    housekeeping.run()
    assert len(mailbox.to(license.email)) == 1


def test_no_token_is_mailed_for_a_license_that_may_not_act(staff, act, license, token):
    lifecycle.suspend(license, by="x", reason="y")
    for slug, row, more in [
        ("mail-token", license, {}),
        ("issue-token", license, {"deliver": "mail"}),
        ("rotate-token", license.tokens.get(), {"deliver": "mail"}),
    ]:
        assert "refused, with &#x27;license_suspended&#x27;" in act(staff, slug, row, **more).text
    assert not Mail.objects.exists()
    assert license.tokens.get().expires_at is None


# --- Mails, events, errands


def test_mails_are_canceled_and_sent_again(staff, act, license, mailbox):
    mails.queue_token(license)
    mail = Mail.objects.get()
    assert "is canceled" in act(staff, "cancel-mail", mail).text
    assert last_event(license=license) == ("mail_canceled", "staff:anna", "ticket 7")
    assert "&#x27;Cancel&#x27; is not possible" in act(staff, "cancel-mail", mail).text
    housekeeping.run()
    assert not mailbox.mails
    act(staff, "send-mail-again", mail)
    housekeeping.run()
    assert len(mailbox.to(license.email)) == 1


@pytest.fixture
def failed(deliver, prices, monkeypatch):
    """An event that failed, and works by now."""
    from billing.paddle import events

    life = Life(prices["pro"])
    with monkeypatch.context() as patch:
        patch.setitem(events.HANDLERS, "subscription", lambda *_: 1 / 0)
        deliver(life.customer(), life.created())
    WebhookEvent.objects.filter(state="waiting").update(state="flagged")
    return WebhookEvent.objects.get(state="flagged")


def test_a_failed_event_is_run_again(staff, act, failed):
    page = staff.get(f"/admin/billing/webhookevent/{failed.pk}/change/")
    assert "ZeroDivisionError" in page.text
    assert "&quot;event_type&quot;: &quot;subscription.created&quot;" in page.text
    assert path_of("run-event", failed) in page.text
    assert str(failed).replace("&", "&amp;") in staff.get("/admin/").text
    assert "will be tried again" in act(staff, "run-event", failed).text
    housekeeping.run()
    failed.refresh_from_db()
    assert failed.state == "done"
    assert License.objects.count() == 1
    assert last_event(license=None) == ("tried_again", "staff:anna", "ticket 7")


def test_a_person_has_seen_to_it(staff, act, failed):
    assert "is closed" in act(staff, "close-event", failed).text
    failed.refresh_from_db()
    assert (failed.state, failed.note.endswith("Seen to by staff:anna: ticket 7")) == ("done", True)
    assert "is not possible" in act(staff, "close-event", failed).text


def test_a_mail_that_a_person_has_seen_to_is_not_called_sent(staff, act, license):
    mails.queue_token(license)
    Mail.objects.update(state="flagged", note="mailbox full", done_at=datetime.now(UTC))
    act(staff, "close-mail", Mail.objects.get())
    page = staff.get(f"/admin/licenses/license/{license.pk}/change/").text
    assert "mailbox full Seen to by staff:anna" in page
    assert "sent <time" not in page


def test_an_errand_that_waits_already_is_not_doubled(staff, act):
    failed = Errand.objects.create(kind="fetch_customer", subject="ctm_1", state="flagged")
    Errand.objects.create(kind="fetch_customer", subject="ctm_1")
    assert "The same waits to be done already" in act(staff, "run-errand", failed).text
    assert Errand.objects.filter(state="waiting").count() == 1


def test_an_errand_is_tried_again(staff, act, deliver, prices, paddle):
    life = Life(prices["pro"])
    deliver(life.created())
    housekeeping.run()
    errand = Errand.objects.get()
    assert errand.state == "flagged"
    paddle.add(life)
    act(staff, "run-errand", errand)
    housekeeping.run()
    assert License.objects.get().email == life.email


# --- Corrections


def test_a_charge_is_taken_back_by_a_further_entry(staff, act, license, post):
    post()
    entry = UsageRecord.objects.get()
    page = act(staff, "correct-charge", entry, cents="1", gives_back_unit="on")
    assert "$0.01 of entry" in page.text
    counter = MonthlyUsage.objects.get()
    assert (counter.used, counter.charged_cents) == (0, 0)
    assert post().json()["quota_remaining"] == 999
    entry.refresh_from_db()
    assert (entry.charge_cents, entry.correction.charge_cents) == (1, -1)
    assert last_event(license=license, action="charge_corrected") == ("charge_corrected", "staff:anna", "ticket 7")
    assert "is not possible" in act(staff, "correct-charge", entry, cents="1").text
    post()
    assert "more can" in act(staff, "correct-charge", UsageRecord.objects.first(), cents="2").text


def test_each_form_says_who_it_is_about(staff, license, token, post):
    post()
    entry, old = UsageRecord.objects.get(), license.tokens.get()
    for slug, row, more in [
        ("change-plan", license, []), ("revoke-token", old, [old.prefix]),
        ("correct-charge", entry, [entry.request_id, "charged $0.01"]),
    ]:  # fmt: skip
        page = staff.get(path_of(slug, row)).text
        for said in (f"{license.email}, license {license.pk}", "active. May act", "1 of 1,000 used", "Pro", *more):
            assert said in page, (slug, said)


def test_the_owners_new_address_is_said_to_have_another_license(staff, act, license):
    other = LicenseFactory(email="two@example.com")
    page = act(staff, "change-email", license, email="two@example.com")
    assert f"belongs to two@example.com now. So does license {other.pk}." in page.text


# --- Several at once, and two at one


def test_in_bulk_with_counts(staff, in_bulk, license, post):
    other = LicenseFactory()
    lifecycle.suspend(other, by="x", reason="before")
    page = in_bulk(staff, "suspend", [license, other])
    assert "done for 1 of 2" in page.text
    assert "suspended already" in page.text
    assert post().json()["code"] == "license_suspended"
    assert "done for 2 of 2" in in_bulk(staff, "reinstate", [license, other]).text
    month = TODAY.replace(day=1).isoformat()
    assert "done for 2 of 2" in in_bulk(staff, "grant-bonus", [license, other], units="7", month=month).text
    assert set(MonthlyUsage.objects.values_list("bonus_units", flat=True)) == {7}


def test_in_bulk_several_rows_of_one_license_are_all_done(staff, in_bulk, license, token, post):
    for _ in range(2):
        lifecycle.add_token(license, by="x")
    page = in_bulk(staff, "revoke-token", list(license.tokens.all()))
    assert "done for 3 of 3" in page.text
    assert post().json()["code"] == "token_revoked"


def test_in_bulk_a_wrong_input_is_said_and_does_nothing(staff, in_bulk, license):
    page = in_bulk(staff, "suspend", [license], reason="")
    assert "This field is required" in page.text
    license.refresh_from_db()
    assert license.suspended_at is None


def test_the_second_of_two_staff_is_told_what_the_first_did(staff, as_role, act, license):
    form = staff.get(path_of("change-limits", license))
    act(as_role("Support"), "change-plan", license, plan=plan("team").pk, reason="upgrade as agreed")

    values = {"quota": "9", "rate": "", "reason": "ticket 7", **seen_in(form)}
    page = staff.post(path_of("change-limits", license), values)

    assert "plan changed by staff:support" in page.text
    assert "upgrade as agreed" in page.text
    assert "Nothing of yours was done" in page.text
    license.refresh_from_db()
    assert (license.quota_override, license.plan.slug) == (None, "team")
    again = staff.post(path_of("change-limits", license), {**values, **seen_in(page)}, follow=True)
    assert "has 9 suggestions a month" in again.text


@pytest.mark.parametrize(
    "path", ["act/nope/", "act/nope/1/", "act/suspend/", "act/suspend/999/", "act/issue-license/1/"]
)
def test_what_is_not_there_is_a_page(staff, path):
    answer = staff.get(f"/admin/{path}")
    assert answer.status_code == 404
    assert answer["Content-Type"].startswith("text/html")


def test_a_lost_second_factor_is_taken_away(staff, act):
    from django_otp.plugins.otp_totp.models import TOTPDevice

    user = get_user_model().objects.create_user("bob", is_staff=True)
    TOTPDevice.objects.create(user=user)
    assert path_of("reset-second-factor", user) in staff.get(f"/admin/auth/user/{user.pk}/change/").text
    thief = Client()
    thief.force_login(user)
    assert "has no second factor any more" in act(staff, "reset-second-factor", user).text
    assert not TOTPDevice.objects.exists()
    assert thief.get("/admin/second-factor/").status_code == 302  # out, and asked for the password again
    assert staff.get("/admin/").status_code == 200
