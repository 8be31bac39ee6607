"""Reserve and settle as `billing.steps` has them, each in one PostgreSQL statement and so in one round trip.

A statement outside a transaction is one by itself: all of its clauses hold, or none. They see the database as it was
before; what one tells another goes through RETURNING, and that also fixes the order in which locks are taken: entry,
counter, key, the day's spend. A row that changed meanwhile is looked at again by UPDATE and ON CONFLICT DO UPDATE, as
it is once its lock is free, so no condition here is judged by an old state.

There are no decisions here: what the rows mean is said in Python, for both ways alike.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.db import IntegrityError, connection, transaction
from psycopg.types.json import Jsonb
from psycopg.types.numeric import Int8

from billing import budget, idempotency
from billing.models import ModelPrice, UsageRecord
from billing.steps import Taken
from licenses.connections import execute_prepared

RESERVE = """
WITH counter AS (
    -- One unit, if one is left; the month's first request makes the counter. What exists is never inserted, so it is
    -- let through here whatever the quota is: bonus units count too.
    INSERT INTO billing_monthlyusage AS c (license_id, month, used, bonus_units, charged_cents, misfires, warned)
    SELECT %(license)s, %(month)s, 1, 0, 0, 0, 0
    WHERE %(quota)s > 0
       OR EXISTS (SELECT FROM billing_monthlyusage WHERE license_id = %(license)s AND month = %(month)s)
    ON CONFLICT (license_id, month) DO UPDATE SET used = c.used + 1 WHERE c.used < c.bonus_units + %(quota)s
    RETURNING CASE WHEN misfires_on = %(today)s THEN misfires ELSE 0 END AS misfires
),
price AS (
    SELECT * FROM billing_modelprice
    WHERE model = %(model)s AND valid_from <= %(now)s ORDER BY valid_from DESC LIMIT 1
),
entry AS (
    INSERT INTO billing_usagerecord (
        license_id, token_id, plan_id, month, state, outcome, request_id, model, price_id, created_at,
        input_tokens, cached_tokens, output_tokens, usage_missing, provider_cost_usd, charge_cents, units
    )
    SELECT %(license)s, %(token)s, %(plan)s, %(month)s, 'reserved', '', %(request_id)s, %(model)s, price.id, %(now)s,
        0, 0, 0, false, 0, 0, 1
    FROM counter LEFT JOIN price ON true
    RETURNING id
),
claimed AS (
    -- Never ON CONFLICT DO NOTHING: a key that is taken must undo the unit and the entry too.
    INSERT INTO billing_idempotencykey (license_id, key, input_digest, entry_id, expires_at)
    SELECT %(license)s, %(key)s::text, %(input_digest)s::text, entry.id, %(expires_at)s
    FROM entry WHERE %(key)s::text IS NOT NULL
)
SELECT
    entry.id AS entry,
    counter.misfires,
    CASE WHEN %(limited)s THEN (SELECT sum(cost_usd) FROM billing_dailyspend WHERE day = %(today)s) END AS spent,
    price.id, price.model, price.valid_from, price.provider_input, price.provider_cached_input, price.provider_output,
    price.charged_input, price.charged_output
FROM entry CROSS JOIN counter LEFT JOIN price ON true
"""

SETTLE = """
WITH settled AS (
    UPDATE billing_usagerecord
    SET state = 'settled', outcome = 'answered', input_tokens = %(input_tokens)s, cached_tokens = %(cached_tokens)s,
        output_tokens = %(output_tokens)s, usage_missing = %(usage_missing)s, closed_at = %(closed_at)s,
        provider_cost_usd = %(provider_cost_usd)s, charge_cents = %(charge_cents)s
    WHERE id = %(entry)s AND state = 'reserved'
    RETURNING license_id, month
),
counter AS (
    UPDATE billing_monthlyusage AS c SET charged_cents = charged_cents + %(charge_cents)s
    FROM settled WHERE c.license_id = settled.license_id AND c.month = settled.month
    RETURNING greatest(0, %(quota)s + bonus_units - used) AS remaining
),
kept AS (
    UPDATE billing_idempotencykey
    SET answer = %(answer)s || jsonb_build_object('cost_cents', %(charge_cents)s, 'quota_remaining', remaining)
    FROM counter WHERE entry_id = %(entry)s
    RETURNING entry_id
),
spent AS (
    -- Joined with what there may be in `kept` only to come after it.
    INSERT INTO billing_dailyspend AS s (day, slot, cost_usd)
    SELECT %(day)s, %(slot)s, %(provider_cost_usd)s
    FROM counter LEFT JOIN kept ON true WHERE %(provider_cost_usd)s > 0
    ON CONFLICT (day, slot) DO UPDATE SET cost_usd = s.cost_usd + excluded.cost_usd
)
SELECT remaining FROM counter
"""


def is_available() -> bool:
    """Whether the database can do it in one statement, and is meant to."""
    return connection.vendor == "postgresql" and settings.LEDGER_IN_ONE_STATEMENT


def reserve(entry: UsageRecord, monthly_quota: int, key: idempotency.Claim | None) -> Taken | None:
    """As `steps.reserve`."""
    now = entry.created_at
    parameters = {
        "license": entry.license_id,
        "token": entry.token_id,
        "plan": entry.plan_id,
        "month": entry.month,
        "request_id": entry.request_id,
        "model": entry.model,
        "now": now,
        "today": now.date(),
        "quota": monthly_quota,
        "limited": budget.is_limited(),
        "key": key and key.key,
        "input_digest": key and key.input_digest,
        "expires_at": now + idempotency.LIFETIME,
    }
    try:
        with _in_a_savepoint_if_in_a_transaction():
            row = _row(RESERVE, parameters)
    except IntegrityError as error:
        if idempotency.is_about_the_key(error):
            raise idempotency.KeyTaken from None
        raise
    if row is None:
        return None
    entry.pk = row.pop("entry")
    misfires, spent = row.pop("misfires"), row.pop("spent")
    entry.price = ModelPrice(**row) if row["id"] is not None else None
    return Taken(entry.price, misfires, spent or Decimal(0))


def settle(
    entry: UsageRecord, closing: Mapping[str, Any], monthly_quota: int, answer: Mapping[str, Any]
) -> dict[str, Any] | None:
    """As `steps.settle`."""
    parameters = {
        **closing,
        "entry": entry.pk,
        "quota": monthly_quota,
        "answer": Jsonb(dict(answer)),
        **budget.slot_of(entry),
    }
    row = _row(SETTLE, parameters)
    return row and {**answer, "cost_cents": closing["charge_cents"], "quota_remaining": row["remaining"]}


def _row(statement: str, parameters: Mapping[str, Any]) -> dict[str, Any] | None:
    """The only row of a statement's result, None where it has none."""
    # The driver types a number by its size, and a statement is planned anew for each combination of types.
    typed = {name: Int8(value) if type(value) is int else value for name, value in parameters.items()}
    with execute_prepared(statement, typed) as cursor:
        row = cursor.fetchone()
        return row and dict(zip((column.name for column in cursor.description), row, strict=True))


def _in_a_savepoint_if_in_a_transaction() -> AbstractContextManager[Any]:
    """So that a statement that fails undoes itself alone there too; outside, it does anyway."""
    return transaction.atomic() if connection.in_atomic_block else nullcontext()
