from django.db import migrations

PLANS = [
    # slug, name, suggestions a month, US cents a month
    ("free", "Free", 5, 0),
    ("indie", "Indie", 100, 500),
    ("pro", "Pro", 1_000, 1_500),
    ("team", "Team", 5_000, 5_000),
]


def seed(apps, schema_editor):
    Plan = apps.get_model("licenses", "Plan")
    for order, (slug, name, quota, price) in enumerate(PLANS):
        defaults = {"name": name, "monthly_quota": quota, "rate_limit": 10, "price_cents": price, "order": order}
        Plan.objects.get_or_create(slug=slug, defaults=defaults)


class Migration(migrations.Migration):
    dependencies = [("licenses", "0001_initial")]
    operations = [migrations.RunPython(seed, migrations.RunPython.noop)]
