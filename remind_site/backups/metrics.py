"""How the last backup and the last verification went, for Prometheus; read from the rows of `BackupRun`, so that it
does not matter which process or machine ran them.
"""

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily, Metric

from remind_site.models import BackupRun


def from_database() -> Iterator[Metric]:
    """`remind_backup_last_success_timestamp_seconds{kind}` and `remind_backup_last_run_ok{kind}`.

    Raises:
        django.db.Error: it can't be asked.
    """
    success = GaugeMetricFamily(
        "remind_backup_last_success_timestamp_seconds",
        "When the last good run of its kind ended, in Unix seconds; 0 where there was none.",
        labels=["kind"],
    )
    ok = GaugeMetricFamily(
        "remind_backup_last_run_ok",
        "1 where the last run of its kind that ended was good, else 0.",
        labels=["kind"],
    )
    for kind in BackupRun.Kind:
        ended = BackupRun.objects.filter(kind=kind, ended_at__isnull=False).order_by("-ended_at")
        last, last_good = ended.first(), ended.filter(ok=True).first()
        success.add_metric([kind], last_good.ended_at.timestamp() if last_good and last_good.ended_at else 0)
        ok.add_metric([kind], int(last is not None and last.ok))
    yield success
    yield ok
