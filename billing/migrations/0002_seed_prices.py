from datetime import UTC, datetime
from decimal import Decimal

from django.db import migrations

FROM = datetime(2025, 8, 1, tzinfo=UTC)
PRICES = [
    # US dollars per million tokens. To the provider: OpenAI's list. To the customer: our own rates.
    {
        "model": "gpt-5-nano",
        "provider_input": Decimal("0.05"),
        "provider_cached_input": Decimal("0.005"),
        "provider_output": Decimal("0.40"),
        "charged_input": Decimal("0.0375"),
        "charged_output": Decimal("0.15"),
    },
    # The built-in suggester takes nothing, so that a suggestion of its own costs the minimum, one cent.
    {
        "model": "local",
        "provider_input": Decimal(0),
        "provider_cached_input": Decimal(0),
        "provider_output": Decimal(0),
        "charged_input": Decimal(0),
        "charged_output": Decimal(0),
    },
]


def seed(apps, schema_editor):
    ModelPrice = apps.get_model("billing", "ModelPrice")
    for price in PRICES:
        ModelPrice.objects.get_or_create(model=price["model"], valid_from=FROM, defaults=price)


class Migration(migrations.Migration):
    dependencies = [("billing", "0001_initial")]
    operations = [migrations.RunPython(seed, migrations.RunPython.noop)]
