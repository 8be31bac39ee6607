from datetime import UTC, datetime, time, timedelta

from django.db import migrations

NIGHTLY = {  # UTC
    "backup": (time(2, 30), "remind_site.backups.schedule.backup"),
    "verify_backup": (time(3, 30), "remind_site.backups.schedule.verify"),
}


def schedule(apps, schema_editor):
    tomorrow = datetime.now(UTC).date() + timedelta(days=1)
    for name, (at, function) in NIGHTLY.items():
        defaults = {"func": function, "schedule_type": "D", "next_run": datetime.combine(tomorrow, at, UTC)}
        apps.get_model("django_q", "Schedule").objects.get_or_create(name=name, defaults=defaults)


class Migration(migrations.Migration):
    dependencies = [
        ("remind_site", "0002_backups"),
        ("django_q", "0019_alter_task_options_alter_ormq_key_alter_ormq_lock_and_more"),
    ]
    operations = [migrations.RunPython(schedule, migrations.RunPython.noop)]
