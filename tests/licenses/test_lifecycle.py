"""What is done to licenses, and the trail it leaves."""

from datetime import timedelta

import pytest
from django.core.exceptions import ValidationError
from django.utils import timezone

from licenses import lifecycle, tokens
from licenses.decisions import Decision, decide
from licenses.models import AuditEvent, License, LicenseToken, Plan

pytestmark = pytest.mark.django_db
WHO = {"by": "staff:anna", "reason": "ticket 7"}


def trail(license):
    return list(license.audit_events.order_by("id").values_list("action", flat=True))


def now_decides(license, token=None):
    fresh = License.objects.select_related("plan").get(pk=license.pk)
    return decide(fresh, timezone.now(), token and LicenseToken.objects.get(pk=token.pk))


def test_the_four_plans_are_there():
    assert list(Plan.objects.values_list("slug", "monthly_quota", "price_cents", "rate_limit", "is_public")) == [
        ("free", 5, 0, 10, True),
        ("indie", 100, 500, 10, True),
        ("pro", 1_000, 1_500, 10, True),
        ("team", 5_000, 5_000, 10, True),
    ]


def test_issue():
    license = lifecycle.issue("Anna@Example.com", Plan.objects.get(slug="indie"), quota=7, rate=3, **WHO)

    assert (license.email, license.monthly_quota, license.rate_limit) == ("anna@example.com", 7, 3)
    event = license.audit_events.get()
    assert (event.action, event.by, event.reason) == ("issued", "staff:anna", "ticket 7")
    assert now_decides(license) is Decision.ACTIVE


@pytest.mark.parametrize("email", ["", "x", "a b@example.com", "a@b@c"])
def test_what_is_no_email_address_is_refused(email):
    with pytest.raises(ValidationError):
        lifecycle.issue(email, Plan.objects.get(slug="indie"), **WHO)
    assert not License.objects.exists()


def test_only_a_digest_of_a_token_is_kept(license):
    token, secret = lifecycle.add_token(license, label="laptop", **WHO)

    assert tokens.is_well_formed(secret)
    assert token.digest == tokens.digest(secret)
    assert secret not in str(LicenseToken.objects.values()) + str(AuditEvent.objects.values())
    assert trail(license) == ["token_issued"]


def test_rotation_gives_the_old_token_a_day(license):
    old, _ = lifecycle.add_token(license, label="laptop", **WHO)

    new, secret = lifecycle.rotate(old, **WHO)

    old.refresh_from_db()
    assert timedelta(hours=23, minutes=59) < old.expires_at - timezone.now() <= timedelta(days=1)
    assert (new.label, new.digest) == ("laptop", tokens.digest(secret))
    assert now_decides(license, old) is now_decides(license, new) is Decision.ACTIVE
    assert decide(license, timezone.now() + timedelta(days=1), old) is Decision.TOKEN_REVOKED
    assert trail(license) == ["token_issued", "token_rotated"]


def test_a_second_rotation_never_lengthens_the_grace(license):
    token, _ = lifecycle.add_token(license, **WHO)
    lifecycle.rotate(token, grace=timedelta(minutes=1), **WHO)
    lifecycle.rotate(token, **WHO)
    token.refresh_from_db()
    assert token.expires_at < timezone.now() + timedelta(minutes=2)


def test_what_makes_no_sense_is_refused_and_leaves_no_trail(license):
    token, _ = lifecycle.add_token(license, **WHO)
    lifecycle.revoke(token, **WHO)
    lifecycle.suspend(license, **WHO)
    before = trail(license)

    for act in (
        lambda: lifecycle.revoke(token, **WHO),
        lambda: lifecycle.rotate(token, **WHO),
        lambda: lifecycle.suspend(license, **WHO),
        lambda: lifecycle.change_plan(license, license.plan, **WHO),
    ):
        with pytest.raises(lifecycle.NotPossible):
            act()
    lifecycle.reinstate(license, **WHO)
    with pytest.raises(lifecycle.NotPossible):
        lifecycle.reinstate(license, **WHO)

    assert trail(license) == [*before, "reinstated"]


def test_suspension_keeps_who_when_and_why(license):
    lifecycle.suspend(license, **WHO)
    license.refresh_from_db()
    assert (license.suspended_by, license.suspension_reason) == ("staff:anna", "ticket 7")
    assert license.suspended_at is not None
    assert now_decides(license) is Decision.SUSPENDED
    lifecycle.reinstate(license, **WHO)
    assert now_decides(license) is Decision.ACTIVE


def test_extension_is_kept_with_before_and_after(license):
    end = timezone.now() - timedelta(seconds=1)
    lifecycle.extend(license, end, **WHO)
    assert now_decides(license) is Decision.EXPIRED
    lifecycle.extend(license, None, **WHO)
    assert now_decides(license) is Decision.ACTIVE
    assert license.audit_events.first().changes == {"expires_at": [end.isoformat(), None]}


def test_a_changed_plan_moves_what_is_not_overridden(license):
    lifecycle.change_limits(license, quota=None, rate=99, **WHO)
    lifecycle.change_plan(license, Plan.objects.get(slug="team"), **WHO)
    license = License.objects.get(pk=license.pk)
    assert (license.monthly_quota, license.rate_limit) == (5_000, 99)


def test_last_use_is_written_once_a_minute(post, license, token):
    post()
    first = license.tokens.get().last_used_at
    assert first is not None
    post()
    assert license.tokens.get().last_used_at == first

    LicenseToken.objects.update(last_used_at=first - timedelta(seconds=61))
    post()
    assert license.tokens.get().last_used_at > first
