"""Mails to customers over a real mail server: what they say, when they don't leave, and what becomes of the token."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone

from billing import housekeeping, mails, outbox, quota
from billing.models import Mail
from licenses import lifecycle
from licenses.models import AuditEvent, Ending, License, LicenseToken, Plan
from tests.mailbox import html_of, text_of

pytestmark = pytest.mark.django_db
STAFF = {"by": "staff:jo", "reason": "ticket 7"}
NOW = datetime.now(UTC)


def leave():
    """Have everything sent that waits, as if its time had come."""
    Mail.objects.filter(state="waiting").update(due_at=NOW - timedelta(seconds=1))
    housekeeping.run()


def token_in(mail):
    return re.search(r"remind login (remind_\S+)", text_of(mail)).group(1)


def test_a_token_mail_says_all_that_is_needed(license, mailbox, post):
    mails.queue_token(license)
    leave()
    (mail,) = mailbox.to(license.email)
    text = text_of(mail)
    for words in ("Your plan: Pro, 1000 suggestions a month", "remind login remind_pro_", "support@localhost"):
        assert words in text
    assert token_in(mail) in html_of(mail)
    assert (mail["From"], mail["Auto-Submitted"]) == ("Remind <support@localhost>", "auto-generated")
    assert post(bearer=token_in(mail)).status_code == 200
    assert not license.tokens.get(label="mailed").is_unsent
    assert Mail.objects.get().state == "done"


def test_the_token_is_stored_nowhere(license, mailbox, logs):
    mailbox.refusal = "554 no"
    mails.queue_token(license)
    leave()
    mailbox.refusal = ""
    leave()
    token = token_in(mailbox.mails[0])
    for model in (Mail, LicenseToken, License, AuditEvent):
        assert token not in str(list(model.objects.values()))
    assert token not in (logs / "tests.log").read_text()


@pytest.mark.parametrize("refusal", ["451 try later", "554 no such user"])
def test_a_mail_that_does_not_leave_revokes_its_token_and_is_tried_with_a_new_one(refusal, license, mailbox, post):
    mailbox.refusal = refusal
    mails.queue_token(license)
    pauses = []
    for _ in range(3):
        leave()
        mail = Mail.objects.get()
        assert (mail.state, mail.note.split(":")[0]) == ("waiting", "MailNotSent")
        pauses.append(round((mail.due_at - datetime.now(UTC)).total_seconds() / 60))
    assert pauses == [1, 2, 4]
    mailed = license.tokens.filter(label="mailed")
    assert mailed.count() == mailed.exclude(revoked_at=None).count() == 3
    mailbox.refusal = ""
    leave()
    (mail,) = mailbox.mails
    assert post(bearer=token_in(mail)).status_code == 200
    assert mailed.filter(revoked_at=None, is_unsent=False).count() == 1


def test_no_server_at_all(license, mailbox, settings):
    settings.EMAIL_PORT = 1
    mails.queue_token(license)
    leave()
    assert "MailNotSent: ConnectionRefusedError" in Mail.objects.get().note
    assert not license.tokens.filter(revoked_at=None).exists()


def test_after_a_day_of_tries_a_person_is_asked(license, mailbox):
    mailbox.refusal = "554 no"
    mails.queue_token(license)
    for _ in range(18):
        leave()
    mail = Mail.objects.get()
    assert (mail.state, mail.tries) == ("flagged", 18)
    leave()
    assert Mail.objects.get().tries == 18


def test_a_try_that_was_cut_off_leaves_no_second_token(license, mailbox, monkeypatch):
    def killed(*_):
        raise KeyboardInterrupt

    mails.queue_token(license)
    with monkeypatch.context() as patch:
        patch.setattr(mails, "_message", killed)
        with pytest.raises(KeyboardInterrupt):
            leave()
    (first,) = license.tokens.all()
    assert (first.is_unsent, first.revoked_at) == (True, None)
    leave()
    first.refresh_from_db()
    assert first.revoked_at is not None
    assert license.tokens.filter(revoked_at=None, is_unsent=False).count() == 1
    assert len(mailbox.mails) == 1


def test_two_that_saw_the_same_mail_send_it_once(license, mailbox):
    mails.queue_token(license)
    one, other = Mail.objects.get(), Mail.objects.get()
    assert outbox.attempt(one, mails.send)
    assert not outbox.attempt(other, mails.send)
    assert len(mailbox.mails) == 1


def test_sending_anew_revokes_what_has_not_left_and_keeps_what_has(license, mailbox):
    mails.queue_token(license)
    leave()
    lifecycle.add_token(license, by="mail", is_unsent=True)
    mails.resend_token(license, **STAFF)
    leave()
    assert len(mailbox.mails) == 2
    states = [(token.revoked_at is None, token.is_unsent) for token in license.tokens.order_by("pk")]
    assert states == [(True, False), (False, True), (True, False)]


def test_a_license_that_may_not_act_is_sent_no_token_until_it_may(license, mailbox):
    lifecycle.suspend(license, **STAFF)
    mails.queue_token(license, once=f"token:{license.pk}")
    leave()
    assert (Mail.objects.get().state, mailbox.mails) == ("canceled", [])
    lifecycle.reinstate(license, **STAFF)
    mails.queue_token(license, once=f"token:{license.pk}")
    leave()
    assert len(mailbox.mails) == 1
    mails.queue_token(license, once=f"token:{license.pk}")
    leave()
    assert len(mailbox.mails) == 1


def test_a_plan_change_is_told_once_it_has_settled(license, mailbox):
    pro, team = license.plan, Plan.objects.get(slug="team")
    lifecycle.change_plan(license, team, **STAFF)
    license.refresh_from_db()
    mails.queue_plan_changed(license, pro)
    housekeeping.run()
    assert not mailbox.mails
    leave()
    (mail,) = mailbox.to(license.email, "Your Remind plan is now Team")
    assert "from Pro to Team" in text_of(mail)
    assert "5000 suggestions" in text_of(mail)
    mails.queue_plan_changed(license, pro)
    lifecycle.change_plan(license, pro, **STAFF)
    leave()
    assert len(mailbox.mails) == 1


@pytest.mark.parametrize("ending", Ending)
def test_a_license_that_payments_ended_says_why_and_what_to_do(ending, license, mailbox):
    ended = lifecycle.set_payments(license, plan=license.plan, until=NOW, ending=ending, by="paddle")
    mails.queue_stopped(ended)
    mails.queue_stopped(ended)
    leave()
    (mail,) = mailbox.to(license.email, "has stopped")
    assert ending.label in text_of(mail)
    assert ending.label in html_of(mail)
    assert re.search(r"(support|Paddle's mails|buy a plan)", text_of(mail))


def test_a_license_that_goes_on_again_is_not_told_that_it_stopped(license, mailbox):
    ended = lifecycle.set_payments(license, plan=license.plan, until=NOW, ending="past_due", by="paddle")
    mails.queue_stopped(ended)
    lifecycle.set_payments(license, plan=license.plan, until=NOW + timedelta(days=9), ending="", by="paddle")
    leave()
    assert not mailbox.mails


@pytest.mark.parametrize("kind", [kind for kind in Mail.Kind if kind not in {"token", "confirm_free"}])
def test_notices_can_be_switched_off(kind, license, mailbox):
    License.objects.update(sends_notices=False)
    license.refresh_from_db()
    mails.queue(kind, license)
    mails.queue_token(license)
    leave()
    assert [mail["Subject"] for mail in mailbox.mails] == ["Your Remind license"]


def test_what_a_mail_says_does_not_run_as_markup(license, mailbox):
    Plan.objects.update(name="<b>Pro</b>")
    license.refresh_from_db()
    mails.queue_merged(license, ended_plan=Plan(name="<i>x</i>"), ends_at=NOW, key="sub_1")
    leave()
    (mail,) = mailbox.mails
    assert "&lt;b&gt;Pro&lt;/b&gt;" in html_of(mail)
    assert "&lt;i&gt;x" in html_of(mail)
    assert "<b>Pro</b>" in text_of(mail)


def test_a_mail_can_be_canceled_before_it_leaves_and_not_after(license, mailbox):
    mails.queue_token(license)
    mail = Mail.objects.get()
    assert mails.cancel(mail, note="by staff:jo")
    leave()
    assert (mailbox.mails, Mail.objects.get().note) == ([], "by staff:jo")
    mails.queue_token(license)
    leave()
    assert not mails.cancel(Mail.objects.first(), note="too late")


def test_a_mail_that_is_leaving_is_not_said_to_be_canceled(license, mailbox):
    mails.queue_token(license)
    told = []

    def fail_meanwhile(mail):
        told.append(mails.cancel(mail, note="by staff:jo"))
        raise mails.MailNotSent("SMTPServerDisconnected")

    outbox.do_due(Mail.objects.all(), fail_meanwhile)
    assert told == [False]
    Mail.objects.update(due_at=timezone.now())
    outbox.do_due(Mail.objects.all(), fail_meanwhile)
    assert told == [False, False], "in a second try neither"
    assert mails.cancel(Mail.objects.get(), note="by staff:jo"), "between tries it can be"
    assert Mail.objects.get().state == "canceled"


def test_a_quota_mail_that_is_no_longer_true_stays_here(license, mailbox):
    mails.queue(Mail.Kind.QUOTA_100, license)
    assert quota.state_of(license).used == 0
    leave()
    assert (mailbox.mails, Mail.objects.get().state) == ([], "canceled")
