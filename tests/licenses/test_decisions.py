"""The decision made by the database for lists is the decision made for one license; and it is said in words."""

from datetime import UTC, datetime, timedelta
from itertools import product

import pytest

from licenses.decisions import Decision, decide, in_words, with_decision
from licenses.models import Ending, License, Plan
from tests.factories import LicenseFactory

pytestmark = pytest.mark.django_db


def test_the_database_decides_as_the_code_does():
    now = datetime.now(UTC)
    past, future = now - timedelta(days=1), now + timedelta(days=1)
    active, inactive = Plan.objects.get(slug="pro"), Plan.objects.get(slug="team")
    Plan.objects.filter(pk=inactive.pk).update(is_active=False)
    cases = product(
        (None, past), (past, future), (None, past, future), (None, past, future), ["", *Ending], (None, active),
        (active, inactive),
    )  # fmt: skip
    names = ("suspended_at", "starts_at", "expires_at", "paid_until", "paid_ending", "paid_plan", "plan")
    licenses = [
        License(email="a@example.com", created_at=past, **dict(zip(names, case, strict=True))) for case in cases
    ]
    License.objects.bulk_create(licenses)
    seen = set()
    for license in with_decision(License.objects.select_related("plan", "paid_plan"), now):
        decision = decide(license, now)
        assert license.decision == decision, vars(license)
        seen.add(decision)
        assert in_words(license, now)
    assert seen == set(Decision) - {Decision.TOKEN_REVOKED}


def test_words_say_who_when_and_why():
    now = datetime.now(UTC)
    suspended = LicenseFactory(suspended_at=now, suspended_by="staff:jo", suspension_reason="abuse")
    assert "staff:jo" in in_words(suspended, now)
    assert "abuse" in in_words(suspended, now)
    refunded = LicenseFactory(paid_plan=suspended.plan, paid_until=now, paid_ending="refunded")
    assert "refunded" in in_words(refunded, now + timedelta(seconds=1))
