"""What we sign into links, so that it comes back unchanged: a license that a purchase is for, an address to confirm."""

from datetime import timedelta

from django.conf import settings
from django.core import signing

from licenses.models import License, Plan

LICENSE, ADDRESS = "checkout-license", "free-address"  # salts: one can't stand for the other
CONFIRM_WITHIN = timedelta(days=2)


def license_reference(license: License) -> str:
    """What names a license in a link and in a checkout's custom data, where buyers could write any number."""
    return signing.dumps(license.pk, salt=LICENSE)


def license_of(reference: str) -> License | None:
    """The license that a reference names, None where we never signed it."""
    try:
        return License.objects.filter(pk=signing.loads(reference, salt=LICENSE)).first()
    except signing.BadSignature:
        return None


def address_proof(email: str) -> str:
    """What proves, for `CONFIRM_WITHIN`, that somebody reads mail to this address."""
    return signing.dumps(email, salt=ADDRESS)


def proven_address(proof: str) -> str | None:
    """The address that a proof stands for; None where it is too old or not ours."""
    try:
        return str(signing.loads(proof, salt=ADDRESS, max_age=CONFIRM_WITHIN))
    except signing.BadSignature:
        return None


def upgrade_url(license: License) -> str:
    """Where the next better plan is bought for this license; empty where there is none."""
    better = Plan.objects.filter(is_public=True, is_active=True, monthly_quota__gt=license.plan.monthly_quota)
    plan = better.order_by("monthly_quota", "price_cents").first()
    return buy_url(plan, license) if plan else ""


def buy_url(plan: Plan, license: License) -> str:
    """Where a plan is bought for a license; empty where it is not for sale."""
    if not (plan.is_public and plan.is_active and plan.price_cents):
        return ""
    return f"{settings.SITE_URL}/api/v1/checkout/{plan.slug}?license={license_reference(license)}"


def confirm_url(email: str) -> str:
    """The page on which the reader of a mail asks for the free license."""
    return f"{settings.SITE_URL}/api/v1/checkout/free/confirm?proof={address_proof(email)}"
