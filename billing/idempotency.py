"""Idempotency-Key: the same request sent again gets the answer that is kept here, and is charged once.

A key is claimed in the transaction that reserves its unit, keeps the answer from the one that settles it, and
is forgotten with a release. The claim must never be `ON CONFLICT DO NOTHING`: a duplicate has to abort the
reservation it came with, or each would leak a unit.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db import IntegrityError
from django.db.models import Exists
from django.utils import timezone

from billing.errors import IdempotencyInProgress, IdempotencyMismatch
from billing.models import IdempotencyKey, UsageRecord
from licenses.models import License

LIFETIME = timedelta(hours=24)
RETRY_AFTER = 2  # seconds
ONE_KEY = "one_key_a_license"  # the constraint that a key taken twice violates


@dataclass(frozen=True, slots=True)
class Claim:
    """A key as one license sent it, with the digest of the validated input that came along."""

    license: License
    key: str
    input_digest: str


class KeyTaken(Exception):
    """Another request claimed the key first; its row says how that one stands."""


def claim_for(license: License, key: str, validated_input: Mapping[str, Any]) -> Claim:
    """The claim for a request. The digest is bound to license and key, so that equal texts don't show."""
    material = json.dumps([license.pk, key, dict(validated_input)], sort_keys=True)
    return Claim(license, key, hashlib.sha256(material.encode()).hexdigest())


def recall(claim: Claim) -> dict[str, Any] | None:
    """The answer that was given for this key before; None where the request is to be done.

    Raises:
        IdempotencyMismatch: the key came with another input before.
        IdempotencyInProgress: the first request with it is still running.
    """
    row = IdempotencyKey.objects.filter(license=claim.license, key=claim.key).first()
    if row is None:
        return None
    now = timezone.now()
    if row.expires_at <= now:
        IdempotencyKey.objects.filter(pk=row.pk, expires_at__lte=now).delete()
        return None
    if row.input_digest != claim.input_digest:
        raise IdempotencyMismatch
    if row.answer is not None:
        return dict(row.answer)
    raise IdempotencyInProgress(retry_after=RETRY_AFTER)


def is_known(license: Any, key: str) -> Exists:
    """Whether the license sent this key before, as a piece of a query about the license."""
    return Exists(IdempotencyKey.objects.filter(license=license, key=key))


def claim(wanted: Claim, entry: UsageRecord) -> None:
    """Tie the key to an entry, inside the transaction that reserves it.

    Raises:
        KeyTaken: another request holds it. The caller's transaction must be rolled back.
    """
    try:
        IdempotencyKey.objects.create(
            license=wanted.license,
            key=wanted.key,
            input_digest=wanted.input_digest,
            entry=entry,
            expires_at=timezone.now() + LIFETIME,
        )
    except IntegrityError as error:
        if is_about_the_key(error):
            raise KeyTaken from None
        raise


def keep_answer(entry: UsageRecord, answer: Mapping[str, Any]) -> None:
    """Keep the answer of a settled entry for its key, if it has one."""
    IdempotencyKey.objects.filter(entry=entry).update(answer=dict(answer))


def forget(entry: UsageRecord) -> None:
    """Free the key of an entry that came to nothing, so that it can be used again."""
    IdempotencyKey.objects.filter(entry=entry).delete()


def delete_expired() -> int:
    """Delete the rows whose time is up; says how many."""
    return IdempotencyKey.objects.filter(expires_at__lte=timezone.now()).delete()[0]


def is_about_the_key(error: IntegrityError) -> bool:
    """Whether it was `ONE_KEY`: PostgreSQL names the constraint, SQLite its columns."""
    diagnosis = getattr(error.__cause__, "diag", None)
    if diagnosis is not None:
        return bool(diagnosis.constraint_name == ONE_KEY)
    table = IdempotencyKey._meta.db_table
    return str(error) == f"UNIQUE constraint failed: {table}.license_id, {table}.key"
