"""Notices that no event calls for: most or all of the month's quota is used, a license is about to end.

Looked for every minute among the rows concerned, and queued once each (`billing.mails`).
"""

from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from billing import mails, quota
from billing.models import Mail, MonthlyUsage, Subscription
from billing.months import month_of
from licenses.models import Ending, License

ENDS_SOON = timedelta(days=7)
BATCH = 1000
LEVELS = ((100, Mail.Kind.QUOTA_100), (80, Mail.Kind.QUOTA_80))


def queue_due() -> int:
    """Queue what is due; says how many mails."""
    return _quota_used() + _ending_soon()


def _quota_used() -> int:
    month = month_of(timezone.now())
    counters = MonthlyUsage.objects.filter(month=month).select_related("license__plan")
    queued = 0
    for level, kind in LEVELS:
        for counter in quota.with_used(counters.filter(warned__lt=level), level)[:BATCH]:
            with transaction.atomic():
                if MonthlyUsage.objects.filter(pk=counter.pk, warned__lt=level).update(warned=level):
                    mails.queue(kind, counter.license, once=f"{kind}:{counter.license_id}:{month:%Y-%m}")
                    queued += 1
    return queued


def _ending_soon() -> int:
    """Licenses that end within a week and will not be renewed; each end is told once."""
    now = timezone.now()
    soon = (now, now + ENDS_SOON)
    by_staff = Q(paid_plan=None, expires_at__range=soon)
    by_payments = Q(paid_ending=Ending.CANCELED, paid_until__range=soon)
    scheduled = Q(
        subscriptions__scheduled_action="cancel",
        subscriptions__scheduled_at__range=soon,
        subscriptions__superseded_by=None,
        subscriptions__status__in=[Subscription.Status.ACTIVE, Subscription.Status.TRIALING],
    )
    ending = License.objects.filter(by_staff | by_payments | scheduled, suspended_at=None).distinct()[:BATCH]
    names = {f"expiring:{license.pk}:{_end(license):%Y-%m-%d}": license for license in ending}
    told = set(Mail.objects.filter(once__in=names).values_list("once", flat=True))
    for name, license in names.items():
        if name not in told:
            mails.queue(Mail.Kind.EXPIRING, license, once=name, ends=f"{_end(license):%d %B %Y}")
    return len(names) - len(told)


def _end(license: License) -> datetime | None:
    """The end of a license without the grace that only a late renewal is given."""
    scheduled = license.subscriptions.filter(scheduled_action="cancel").order_by("-scheduled_at").first()
    return (scheduled and scheduled.scheduled_at) or license.ends_at
