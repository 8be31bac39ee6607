"""What must hold after a storm. Each function yields what does not, in words; none yields anything in a good run."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

from tests.service import Database
from tests.storm.clients import Attempt, Probe
from tests.storm.faults import Struck
from tests.storm.payments import Payments

PROMISED = 25.0  # seconds to any answer
RECOVERED = 5.0  # seconds after a fault within which the service answers as usual
# A reservation's time (60 s) and two sweeps, since a sweep may be killed.
RELEASED_WITHIN = 180  # seconds
ENDED = ("done", "canceled")  # a token's mail is called off where its license was refunded before it left
DATABASE_FAULTS = {"restart_postgres_fast", "restart_postgres_immediate", "cut_database", "delay_database"}
# What of a request's outcomes is not as usual, and the faults that may cause it. The cache's and the worker's may not.
CAUSES = {
    "degraded": {"wild_provider"},
    "database_unavailable": DATABASE_FAULTS,
    "broken": {"kill_web_worker"},
}
# Whoever was told so can't know whether a commit was made, and these kills can lose an answer after one.
UNCERTAIN = {"broken", "database_unavailable"}
KILLS = {"kill_web_worker", "restart_postgres_fast", "restart_postgres_immediate", "cut_database"}


class Ledger:
    """The entries of the storm, as they are in the database in the end."""

    def __init__(self, database: Database) -> None:
        rows = database.sql(
            "SELECT request_id, state, charge_cents, extract(epoch FROM closed_at - created_at)::float"
            " FROM billing_usagerecord WHERE request_id LIKE 'storm-%%'"
        )
        self.known = {request_id for request_id, *_ in rows}
        self.settled = Counter(request_id for request_id, state, *_ in rows if state == "settled")
        self.charges = {request_id: cents for request_id, state, cents, _ in rows if state == "settled"}
        self.open = [request_id for request_id, state, *_ in rows if state == "reserved"]
        self.late = {request_id: seconds for request_id, *_, seconds in rows if (seconds or 0) > RELEASED_WITHIN}


def each_answer_is_charged_once(attempts: list[Attempt], ledger: Ledger) -> Iterator[str]:
    """Every undegraded 200 that is no replay has one settled entry, over what the client was told."""
    for request_id, count in ledger.settled.items():
        if count > 1:
            yield f"{request_id} has {count} settled entries"
    for name, asked in reminders(attempts).items():
        answered = [one for one in asked if one.outcome == "answered"]
        charged = [one.request_id for one in asked if ledger.settled[one.request_id]]
        if answered and len(charged) != 1:
            yield f"{name} was answered {len(answered)} times and has the settled entries {charged}"
        # A due time is said in words that hold when it is said.
        if len({str({**one.body, "due_time_suggestion": ""}) for one in answered}) > 1:
            yield f"{name} got different answers"
        if answered and {one.body["cost_cents"] for one in answered} != {ledger.charges.get(each) for each in charged}:
            yield f"{name} was told another charge than its entry's"


def no_charge_without_an_answer(attempts: list[Attempt], struck: list[Struck], ledger: Ledger) -> Iterator[str]:
    """But of requests that were in flight when a kill could lose their answer."""
    at_risk = {one.request_id for one in in_flight_at_kills(attempts, struck)}
    told = {one.request_id: one.outcome for one in attempts}
    for request_id in charged_without_answer(attempts, ledger):
        outcome = told.get(request_id, "nothing")
        if outcome not in UNCERTAIN or request_id not in at_risk:
            yield f"{request_id} was charged and told '{outcome}', and {_where(request_id, attempts, struck)}"


def charged_without_answer(attempts: list[Attempt], ledger: Ledger) -> list[str]:
    """Settled entries of reminders that nobody was given an answer for."""
    answered = {
        one.request_id
        for asked in reminders(attempts).values()
        if any(one.outcome == "answered" for one in asked)
        for one in asked
    }
    return [request_id for request_id in ledger.settled if request_id not in answered]


def in_flight_at_kills(attempts: list[Attempt], struck: list[Struck]) -> list[Attempt]:
    kills = [one for one in struck if one.name in KILLS]
    return [one for one in attempts if any(one.began <= kill.ended and kill.began <= one.ended for kill in kills)]


def clear_answers(attempts: list[Attempt], struck: list[Struck], ledger: Ledger, ample: set[str]) -> Iterator[str]:
    """Within 25 seconds, and as usual but for 5 seconds after a fault that can cause what came instead.

    Args:
        ample: the licenses whose quota can't be used up.
    """
    keys_in_doubt = {one.key for one in attempts if one.key and one.outcome in UNCERTAIN}
    for one in attempts:
        if one.ended - one.began > PROMISED:
            yield f"{one.request_id} waited {one.ended - one.began:.1f} s for '{one.outcome}'; {_near(one, struck)}"
        if one.outcome == "answered" or (one.outcome == "quota_exhausted" and one.license not in ample):
            continue
        if one.outcome == "idempotency_in_progress" and one.key in keys_in_doubt:
            continue  # until the reservation of the request that died is over
        if _lost_its_connection(one, struck, ledger):
            continue
        late = lateness(one, struck)
        if late is None or late > RECOVERED:
            yield f"{one.request_id} was told '{one.outcome}' {one.body}; {_near(one, struck)}"


def lateness(attempt: Attempt, struck: list[Struck]) -> float | None:
    """How many seconds after a fault that explains its outcome a request began (0: before); None where none does."""
    causes = CAUSES.get(attempt.outcome, set())
    # A connection breaks with the process that held it, at once; other faults are felt for a while.
    since = attempt.held_since if attempt.outcome == "broken" else 0.0
    explaining = [one for one in struck if one.name in causes and since <= one.ended and one.began <= attempt.ended]
    return min((max(0.0, attempt.began - one.ended) for one in explaining), default=None)


def health_always_answers(probes: list[Probe], struck: list[Struck]) -> Iterator[str]:
    """/health whatever the dependencies do, readiness with a 200 or 503; only a killed process breaks off."""
    kills = [one for one in struck if one.name == "kill_web_worker"]
    for probe in probes:
        if probe.status == 0 and any(probe.began <= kill.ended and kill.began <= probe.ended for kill in kills):
            continue
        fine = {200} if probe.path == "/health" else {200, 503}
        if probe.status not in fine or probe.ended - probe.began > PROMISED:
            yield f"{probe.path} answered {probe.status}; {_near(probe, struck)}"


def no_quota_exceeded(database: Database) -> Iterator[str]:
    over = database.sql(
        "SELECT license_id, used, quota + bonus, settled FROM ("
        " SELECT m.license_id, m.used, m.bonus_units AS bonus, coalesce(l.quota_override, p.monthly_quota) AS quota,"
        "  (SELECT count(*) FROM billing_usagerecord u WHERE u.license_id = m.license_id AND u.month = m.month"
        "   AND u.state = 'settled') AS settled"
        " FROM billing_monthlyusage m JOIN licenses_license l ON l.id = m.license_id"
        " JOIN licenses_plan p ON p.id = l.plan_id) AS counted"
        " WHERE used > quota + bonus OR settled > quota + bonus OR settled <> used"
    )
    for license, used, quota, settled in over:
        yield f"license {license}: {used} counted and {settled} settled of {quota}"


def nothing_left_open(database: Database, ledger: Ledger) -> Iterator[str]:
    """Reservations, mails and errands."""
    if ledger.open:
        yield f"reservations left open: {ledger.open}"
    for request_id, seconds in ledger.late.items():
        yield f"{request_id} was reserved for {seconds:.0f} s"
    for table in ("billing_mail", "billing_errand"):
        if states := dict(
            database.sql(f"SELECT state, count(*) FROM {table} WHERE state NOT IN {ENDED} GROUP BY state")
        ):
            yield f"{table}: {states}"


def every_event_is_processed(database: Database, payments: Payments) -> Iterator[str]:
    kept = dict(database.sql("SELECT event_id, state FROM billing_webhookevent"))
    if missing := payments.sent - payments.taken:
        yield f"{len(missing)} events could not be delivered at all"
    if missing := payments.taken - set(kept):
        yield f"{len(missing)} events that were taken are not there"
    if undone := {event: state for event, state in kept.items() if state != "done"}:
        yield f"events not done: {undone}"
    if payments.unexpected:
        yield f"events were answered {dict(Counter(payments.unexpected))}"


def as_paid_for(database: Database, expected: dict[str, tuple[str, bool]]) -> Iterator[str]:
    """One license for each customer, on the plan and paid for as the events say, whatever their order was."""
    rows: dict[str, list[Any]] = defaultdict(list)
    for customer, plan, paid in database.sql(
        "SELECT c.paddle_id, p.slug, coalesce(l.paid_until > now(), false) FROM billing_customer c"
        " JOIN licenses_license l ON l.id = c.license_id JOIN licenses_plan p ON p.id = l.plan_id"
    ):
        rows[customer].append((plan, paid))
    for customer, ending in expected.items():
        if rows[customer] != [ending]:
            yield f"customer {customer} has {rows[customer]}, and should have {ending}"


def reminders(attempts: list[Attempt]) -> dict[str, list[Attempt]]:
    """The attempts of each reminder: those with one key belong together."""
    grouped = defaultdict(list)
    for one in attempts:
        grouped[one.key or one.request_id].append(one)
    return grouped


def _lost_its_connection(attempt: Attempt, struck: list[Struck], ledger: Ledger) -> bool:
    """Whether a process that ended as it should closed a kept connection just when it was to be used again.

    HTTP can't tell that apart, so the request may break off, but only before anything was done for it.
    """
    deploys = [one.began for one in struck if one.name == "deploy"]
    return (
        attempt.outcome == "broken"
        and attempt.reused
        and attempt.request_id not in ledger.known
        and any(began <= attempt.ended for began in deploys)
    )


def _where(request_id: str, attempts: list[Attempt], struck: list[Struck]) -> str:
    return next((_near(one, struck) for one in attempts if one.request_id == request_id), "nobody asked for it")


def _near(one: Attempt | Probe, struck: list[Struck]) -> str:
    near = [
        f"{fault.name} {fault.began - one.began:+.1f} s to {fault.ended - one.began:+.1f} s"
        for fault in struck
        if one.began - 10 <= fault.ended and fault.began <= one.ended
    ]
    return f"it lasted {one.ended - one.began:.1f} s; near its beginning: {', '.join(near) or 'nothing'}"
