"""All data as a file that `loaddata` reads, on PostgreSQL and SQLite alike, and by which nobody gets in.

Rows that every database is born with (plans, prices, groups) go by their natural keys, so that they meet their like;
all others keep their numbers, by which customers, Paddle and the audit trail know them.
"""

from collections.abc import Iterator
from typing import IO, Any

from django.apps import apps
from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.hashers import UNUSABLE_PASSWORD_PREFIX
from django.core import serializers
from django.db import models

LEFT_OUT = {
    # What would let somebody in, or tell a secret
    "sessions.session",
    "otp_totp.totpdevice",
    "otp_static.staticdevice",
    "otp_static.statictoken",
    "billing.idempotencykey",  # answers to customers
    # What belongs to the database it was in
    "contenttypes.contenttype",
    "auth.permission",
    "django_q.ormq",
    "django_q.task",
    "django_q.schedule",
    "remind_site.backuprun",
}


def write(stream: IO[str]) -> None:
    """Write every row that is not left out, one JSON object a line, in an order that can be loaded."""
    serializers.serialize("jsonl", _rows(), stream=stream, use_natural_foreign_keys=True, use_natural_primary_keys=True)


def exported() -> list[type[models.Model]]:
    """The models whose rows are written, those first that others point at."""
    by_app = [
        (config, [model for model in config.get_models() if model._meta.label_lower not in LEFT_OUT])
        for config in apps.get_app_configs()
    ]
    ordered: list[type[models.Model]] = serializers.sort_dependencies(by_app, allow_cycles=True)
    return [model for model in ordered if not model._meta.proxy and model._meta.managed]


def _rows() -> Iterator[Any]:
    for model in exported():
        for row in model._default_manager.order_by(model._meta.pk.name).iterator(chunk_size=2_000):
            if isinstance(row, AbstractBaseUser):
                row.password = UNUSABLE_PASSWORD_PREFIX  # fits no password; the row itself is not saved
            yield row
