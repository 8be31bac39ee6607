from django.db import migrations

SCHEDULE = {"func": "billing.housekeeping.run", "schedule_type": "I", "minutes": 1}


def schedule(apps, schema_editor):
    apps.get_model("django_q", "Schedule").objects.get_or_create(name="housekeeping", defaults=SCHEDULE)


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0002_seed_prices"),
        ("django_q", "0019_alter_task_options_alter_ormq_key_alter_ormq_lock_and_more"),
    ]
    operations = [migrations.RunPython(schedule, migrations.RunPython.noop)]
