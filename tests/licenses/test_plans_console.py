"""Plans in the console: what a change means is said before and after it."""

import re

import pytest

from licenses.models import AuditEvent, Plan
from tests.console.conftest import seen_in
from tests.factories import LicenseFactory

pytestmark = pytest.mark.django_db


@pytest.fixture
def change(admin_client, db):
    """`change(monthly_quota=9)`: what the page becomes; None leaves a box unticked."""
    plan = Plan.objects.get(slug="pro")
    path = f"/admin/licenses/plan/{plan.pk}/change/"

    def change(**fields):
        plan.refresh_from_db()
        names = ("name", "monthly_quota", "rate_limit", "price_cents", "order", "is_public", "is_active")
        values = {name: getattr(plan, name) for name in names} | {"reason": "ticket 7"} | fields
        sent = {name: value for name, value in values.items() if value not in (None, False)}
        return admin_client.post(path, {**seen_in(admin_client.get(path)), **sent}, follow=True)

    return change


def test_what_a_change_changed_is_said(change):
    before = f"{Plan.objects.get(slug='pro').monthly_quota:,}"
    assert f"Monthly quota: {before} → 2,000" in change(monthly_quota=2000).text


def test_a_form_that_changes_nothing_says_so_and_leaves_no_trace(change):
    assert "Nothing was changed" in change().text
    assert not AuditEvent.objects.exists()


def test_a_plan_with_customers_is_switched_off_only_when_meant(change):
    LicenseFactory.create_batch(3)
    page = change(is_active=None)
    assert len(re.findall("3 licenses will be refused", page.text)) == 2  # beside the box, and as its error
    assert Plan.objects.get(slug="pro").is_active
    page = change(is_active=None, is_sure="on")
    assert "refused now, with &#x27;plan_inactive&#x27;: 3." in page.text
    assert "Is active: yes → no" in page.text
    event = AuditEvent.objects.get()
    assert event.changes == {"is_active": ["True", "False"]}
    assert "may act again: 3." in change(is_active="on").text
