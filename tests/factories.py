"""Rows for tests that need no more than a license to begin with."""

import factory

from licenses.models import License, Plan


class LicenseFactory(factory.django.DjangoModelFactory):
    class Meta:
        model = License

    email = factory.Sequence(lambda number: f"owner{number}@example.com")
    plan = factory.LazyFunction(lambda: Plan.objects.get(slug="pro"))
    rate_override = 1_000_000
