"""What arrives at Sentry: from the deployed web, its worker and a command, with a server that speaks its protocol.

One service has all the accidents (`accidents`), with secrets planted wherever somebody could put one; the tests read
what came of it. Accidents are made by the database: a trigger raises what an exception would say, secrets included.
"""

import contextlib
import json
import os
import secrets
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from remind_site import scrubber
from tests.fake_provider import FakeProvider
from tests.fake_sentry import FakeSentry
from tests.paddle import Life, signed
from tests.service import (
    ROOT,
    Database,
    Service,
    codes,
    free_port,
    kill_all,
    run_command,
    running,
    start_worker,
    wait_until,
)  # fmt: skip

COMMIT = "0a1b2c3d4e5f60718293a4b5c6d7e8f901234567"  # pragma: allowlist secret
BOOM = """
CREATE OR REPLACE FUNCTION boom() RETURNS trigger AS $$
BEGIN RAISE EXCEPTION USING ERRCODE = TG_ARGV[1], MESSAGE = TG_ARGV[0]; END $$ LANGUAGE plpgsql
"""
BUG, OUTAGE = "22023", "57014"


def word() -> str:
    return "".join(secrets.choice("bcdfghjkmnpqrstvwxz") for _ in range(12))


@dataclass
class Planted:
    """Texts that must be in no report; made up anew, so that no line of source holds one."""

    token: str = ""
    reminder: str = field(default_factory=lambda: f"call {word()} about {word()}")
    email: str = field(default_factory=lambda: f"{word()}@{word()}.example.com")
    name: str = field(default_factory=lambda: f"Jo {word()}")
    api_key: str = field(default_factory=lambda: f"sk-proj-{word()}-{word()}")
    webhook_secret: str = field(default_factory=lambda: f"pdl_ntfset_{word()}{word()}")
    django_key: str = field(default_factory=lambda: f"{word()}{word()}{word()}{word()}{word()}")
    query: str = field(default_factory=word)
    header: str = field(default_factory=word)
    cookie: str = field(default_factory=word)
    idempotency_key: str = field(default_factory=word)
    path: str = field(default_factory=word)
    trace: str = field(default_factory=word)

    def found_in(self, text: str) -> list[str]:
        pieces = {name: [value] for name, value in vars(self).items()}
        pieces["token"] = [self.token[12:24], self.token[-12:]]
        pieces["reminder"] = self.reminder.split()[1::2]
        pieces["email"] = [self.email, self.email.partition("@")[0]]
        pieces["name"] = [self.name.split()[1]]
        return [name for name, values in pieces.items() if any(value in text for value in values)]


def break_table(database: Database, table: str, when: str, message: str, kind: str = BUG) -> None:
    """From here on the database raises this when the table is written to."""
    database.sql(BOOM)
    quoted = message.replace("'", "''")
    database.sql(
        f"CREATE OR REPLACE TRIGGER boom BEFORE {when} ON {table} FOR EACH ROW"
        f" EXECUTE FUNCTION boom('{quoted}', '{kind}')"
    )


def mend_table(database: Database, table: str) -> None:
    database.sql(f"DROP TRIGGER boom ON {table}")


@dataclass
class Accidents:
    """What happened, and what is known of it on both sides."""

    sentry: FakeSentry
    service: Service
    provider: FakeProvider
    planted: Planted
    worker_log: Path
    command: subprocess.CompletedProcess[str]
    answers: dict[str, Any]

    def lines(self, path: Path | None = None) -> list[dict[str, Any]]:
        return json_lines((path or self.service.log).read_text())


def json_lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


@pytest.fixture(scope="module")
def accidents(template, logs, issued):
    from redis import Redis

    with contextlib.closing(Redis.from_url(os.environ["REDIS_URL"])) as valkey:
        valkey.flushdb()
    planted, fake, provider = Planted(), FakeSentry(), FakeProvider()
    service = Service(
        template.copy(),
        logs,
        issued,
        SENTRY_DSN=fake.dsn,
        SENTRY_TRACES_SAMPLE_RATE="1",
        SENTRY_ENVIRONMENT="staging",
        GIT_COMMIT=COMMIT,
        SECRET_KEY=planted.django_key,
        AI_PROVIDER="openai",
        OPENAI_API_KEY=planted.api_key,
        OPENAI_BASE_URL=provider.base_url,
        PADDLE_WEBHOOK_SECRET=planted.webhook_secret,
        PADDLE_API_KEY=f"pdl_sdbx_apikey_{word()}",
    )
    with running(service):
        planted.token = service.issue()
        answers = {
            "well": service.suggest(planted.token, planted.reminder, **sent_along(planted)),
            "no token": service.client.get("/api/v1/usage/stats"),
            "no route": service.client.get(f"/api/v1/{planted.path}?email={planted.email}"),
            "ready": service.client.get("/health/ready"),
            "unsigned": service.client.post("/webhooks/paddle", content=b"{}"),
            "not set up": service.client.get("/api/v1/checkout/pro", headers={"X-Request-ID": "not-set-up"}),
        }
        answers["outage"] = outage(service, planted)
        answers["view"] = raise_in_the_view(service, planted)
        answers["webhook"] = raise_in_the_webhook(service, planted)
        command = raise_in_a_command(service, planted)
        worker_log = raise_in_a_task(service, planted, fake, logs / f"sentry-{service.port}-worker.log")
        wait_until(lambda: len(fake.events) >= 5, what=f"five events: {[one['tags'] for one in fake.events]}")
        wait_until(lambda: len(fake.transactions) >= 7, what="the transactions")
        yield Accidents(fake, service, provider, planted, worker_log, command, answers)
    fake.close()
    provider.close()


def sent_along(planted: Planted) -> dict[str, str]:
    """Headers with something in each; those of a foreign trace too."""
    return {
        "X-Secret": planted.header,
        "Cookie": f"sessionid={planted.cookie}",
        "Idempotency-Key": planted.idempotency_key,
        "Referer": f"https://example.com/{planted.path}?q={planted.query}",
        "sentry-trace": "0123456789abcdef0123456789abcdef-0123456789abcdef-1",
        "baggage": f"sentry-user_segment={planted.trace},sentry-trace_id=0123456789abcdef0123456789abcdef",
    }


def raise_in_the_view(service: Service, planted: Planted) -> Any:
    said = (
        f"no place for {planted.token} with {planted.reminder} of {planted.email}, {planted.api_key},"
        f' {planted.django_key}, value "{planted.header} {planted.cookie}" at https://x/y?q={planted.query}'
    )
    break_table(service.database, "billing_usagerecord", "INSERT", said)
    along = {**sent_along(planted), "Idempotency-Key": f"{planted.idempotency_key}-again"}
    answer = service.client.post(
        f"/api/v1/ai?license_token={planted.token}&q={planted.query}",
        json={"reminder_text": planted.reminder},
        headers={"X-Request-ID": "in-the-view", "User-Agent": "remind-cli/1.3.0", **along},
    )
    mend_table(service.database, "billing_usagerecord")
    return answer


def outage(service: Service, planted: Planted) -> Any:
    break_table(service.database, "billing_usagerecord", "INSERT", f"cancelled {planted.email}", OUTAGE)
    answer = service.suggest(planted.token, planted.reminder)
    mend_table(service.database, "billing_usagerecord")
    return answer


def raise_in_the_webhook(service: Service, planted: Planted) -> Any:
    break_table(service.database, "billing_customer", "INSERT OR UPDATE", f"not {planted.name} {planted.email}")
    told = Life("pri_pro", email=planted.email).customer(name=planted.name)
    body = json.dumps(told).encode()
    headers = {"Paddle-Signature": signed(body, planted.webhook_secret), "X-Request-ID": "in-the-webhook"}
    return service.client.post("/webhooks/paddle", content=body, headers=headers)


def raise_in_a_command(service: Service, planted: Planted) -> subprocess.CompletedProcess[str]:
    break_table(service.database, "licenses_license", "INSERT", f"no {planted.email} with {planted.api_key}")
    done = service.command("issue_license", planted.email, "--plan", "pro", check=False)
    mend_table(service.database, "licenses_license")
    return done


def raise_in_a_task(service: Service, planted: Planted, fake: FakeSentry, log: Path) -> Path:
    """The event that failed is tried again, and its row can't be claimed."""
    service.database.sql("UPDATE billing_webhookevent SET due_at = now()")
    break_table(service.database, "billing_webhookevent", "UPDATE", f"locked by {planted.email} {planted.token}")
    run_command("shell", "-c", "from billing import outbox; outbox.wake()", env=service.env)
    worker = start_worker(log, service.env)
    try:
        fake.event(task="billing.housekeeping.run_outbox")
        wait_until(lambda: "task_failed" in log.read_text(), what="the worker's own line")
    finally:
        kill_all(worker)
    return log


def test_each_bug_arrives_once_and_no_refusal_does(accidents):
    assert {name: answer.status_code for name, answer in accidents.answers.items()} == {
        "well": 200,
        "no token": 401,
        "no route": 404,
        "ready": 200,
        "unsigned": 401,
        "not set up": 503,
        "outage": 503,
        "view": 500,
        "webhook": 200,
    }
    told = [
        (one.get("logger"), (one.get("exception") or {"values": [{}]})["values"][-1].get("type"))
        for one in accidents.sentry.events
    ]
    assert sorted(told, key=str) == [
        ("billing.checkout", None),
        ("billing.housekeeping", "DataError"),
        ("billing.outbox", "DataError"),
        ("remind_site.sentry", "DataError"),
        (None, "DataError"),
    ]


def test_an_event_and_our_own_line_name_each_other(accidents):
    seen = {"request_id": "in-the-view"}
    event = accidents.sentry.event(**seen)
    lines = [line for line in accidents.lines() if line.get("request_id") == "in-the-view"]
    assert {line["event"] for line in lines} >= {"error_response"}
    assert {line["sentry_event_id"] for line in lines if line["level"] == "error"} == {event["event_id"]}
    assert accidents.answers["view"].json()["request_id"] == "in-the-view"


def test_nothing_of_one_request_names_the_next_ones_event(accidents):
    lines = [line for line in accidents.lines() if line.get("path") == "/health/ready"]
    assert lines
    assert all("sentry_event_id" not in line for line in lines)


def test_a_logged_error_arrives_with_its_harmless_fields(accidents):
    event = accidents.sentry.event(request_id="not-set-up")
    assert event["logentry"]["message"] == "checkout_not_set_up"
    assert event["contexts"]["log"] == {"plan": "pro", "interval": "month", "has_price": False}
    (line,) = [line for line in accidents.lines() if line["event"] == "checkout_not_set_up"]
    assert line["sentry_event_id"] == event["event_id"]


def test_a_bug_in_the_webhook_arrives_though_paddle_got_its_200(accidents):
    event = accidents.sentry.event(request_id="in-the-webhook")
    assert event["logentry"]["message"] == "try_failed"
    assert event["exception"]["values"][-1]["type"] == "DataError"
    (line,) = [line for line in accidents.lines() if line["event"] == "try_failed"]
    assert line["sentry_event_id"] == event["event_id"]


def test_a_bug_in_a_task_arrives_once_with_the_tasks_name(accidents):
    event = accidents.sentry.event(task="billing.housekeeping.run_outbox")
    assert event["tags"]["request_id"]
    lines = {line["event"]: line for line in accidents.lines(accidents.worker_log)}
    assert lines["housekeeping_failed"]["sentry_event_id"] == event["event_id"]
    assert lines["task_failed"]["sentry_event_id"] == event["event_id"]


def test_a_bug_in_a_command_arrives_with_its_name_and_without_its_arguments(accidents):
    event = accidents.sentry.event(command="issue_license")
    assert accidents.command.returncode == 1
    (line,) = [line for line in json_lines(accidents.command.stderr) if line["event"] == "process_failed"]
    assert line["sentry_event_id"] == event["event_id"]
    assert "Traceback" not in accidents.command.stderr.replace(json.dumps(line), "").split("\n{")[0]


def test_release_environment_and_place_are_said(accidents):
    event = accidents.sentry.event(request_id="in-the-view")
    assert event["release"] == f"remind-service@1.0.0+{COMMIT[:12]}"
    assert event["environment"] == "staging"
    assert event["transaction"] == "/api/v1/ai/"
    assert event["request"]["method"] == "POST"
    assert event["request"]["headers"]["User-Agent"] == "remind-cli/1.3.0"
    functions = [frame["function"] for frame in event["exception"]["values"][-1]["stacktrace"]["frames"]]
    assert "suggest" in functions
    assert event["exception"]["values"][-1]["value"].startswith("no place for […] with […]")


def test_the_trail_before_an_error_is_there(accidents):
    trail = accidents.sentry.event(request_id="in-the-view")["breadcrumbs"]["values"]
    assert any("licenses_licensetoken" in crumb.get("message", "") for crumb in trail)


def test_no_planted_secret_is_in_any_envelope(accidents):
    text = accidents.sentry.text
    assert len(accidents.sentry.envelopes) >= 12
    assert accidents.planted.found_in(text) == []
    assert "127.0.0.1:5" not in text


def test_no_local_variable_body_query_or_cookie_is_in_any_envelope(accidents):
    for one in [*accidents.sentry.events, *accidents.sentry.transactions]:
        assert set(one.get("request", {})) <= {"method", "url", "headers"}
        assert set(one.get("request", {}).get("headers", {})) <= set(scrubber.HEADERS)
        assert not {"user", "extra", "modules"} & set(one)
    for name in ('"vars"', "query_string", "cookies", "license_token=", "Authorization", "db.params"):
        assert name not in accidents.sentry.text, name


def test_no_planted_secret_is_in_any_log(accidents):
    text = accidents.service.log.read_text() + accidents.command.stderr + accidents.worker_log.read_text()
    ours = "\n".join(json.dumps(line) for line in json_lines(text) if line["logger"] != "django-q")
    assert "task_failed" in ours
    # A path is in its request's line, and a header of any name is only known to be private where it is quoted.
    assert set(accidents.planted.found_in(ours)) <= {"path", "header"}


def test_traces_have_routes_statements_and_calls_but_no_probes(accidents):
    routes = {one["transaction"] for one in accidents.sentry.transactions}
    assert {"/api/v1/suggest-reminder/", "/api/v1/ai/", "(no route)"} <= routes
    assert not any("health" in route for route in routes)
    (well,) = [
        one
        for one in accidents.sentry.transactions
        if one["transaction"] == "/api/v1/suggest-reminder/" and one["contexts"]["trace"]["status"] == "ok"
    ]
    assert well["tags"]["request_id"] == accidents.answers["well"].headers["X-Request-ID"]
    spans = {(span["op"], span.get("description", "")) for span in well["spans"]}
    assert any(op == "db" and "licenses_licensetoken" in text for op, text in spans)
    assert ("http.client", f"POST {accidents.provider.base_url.removesuffix('/v1')}") in spans


def test_no_trace_is_taken_from_outside_nor_given_away(accidents):
    assert "0123456789abcdef0123456789abcdef-" not in accidents.sentry.text
    traces = {one["contexts"]["trace"]["trace_id"] for one in accidents.sentry.transactions}
    assert "0123456789abcdef0123456789abcdef" not in traces  # pragma: allowlist secret
    assert accidents.provider.calls >= 1
    assert not any({"sentry-trace", "baggage", "traceparent"} & set(headers) for headers in accidents.provider.headers)


PROBED = ("body", "query", "cookie", "header", "local", "address")


def probe(**changes: Any) -> set[str]:
    """What of the planted arrives when a process fails with these options changed (see `tests.sentry_probe`)."""
    planted = {name: word() for name in PROBED} | {"address": f"203.0.113.{secrets.randbelow(250) + 1}"}
    fake = FakeSentry()
    with contextlib.closing(fake):
        done = subprocess.run(
            [sys.executable, "-m", "tests.sentry_probe", json.dumps(changes)],
            cwd=ROOT,
            env={**os.environ, "SENTRY_DSN": fake.dsn, "PLANTED": json.dumps(planted)},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        assert len(fake.events) == 1, done.stderr
        return {name for name, text in planted.items() if text in fake.text}


GUARDS_OFF = {"send_default_pii": True, "include_local_variables": True, "max_request_body_size": "always"}


def test_either_net_holds_without_the_other():
    """The query string alone is collected whatever we say; the scrubber takes it out."""
    assert probe(scrubber=False) <= {"query"}
    assert probe(**GUARDS_OFF) == set()


def test_without_any_net_all_of_it_would_arrive():
    assert probe(scrubber=False, **GUARDS_OFF) == set(PROBED)


def test_every_secret_among_the_settings_is_known(settings):
    given = [word() for _ in range(9)]
    settings.SECRET_KEY, settings.OPENAI_API_KEY, settings.PADDLE_API_KEY, settings.METRICS_TOKEN, *_ = given
    settings.BACKUP_AGE_IDENTITY, settings.EMAIL_HOST_PASSWORD = given[4:6]
    settings.BACKUP_SCRATCH_URL = f"postgresql://verify:{given[6]}@db.example.com/postgres"
    settings.REDIS_URL = f"rediss://:{given[7]}@cache.example.com/0"
    settings.STORAGES = {**settings.STORAGES, "backups": {"BACKEND": "x", "OPTIONS": {"secret_key": given[8]}}}

    assert set(given) <= set(scrubber.private())


@pytest.mark.parametrize("trouble", ["hangs", "is not there"])
def test_a_sentry_in_trouble_costs_requests_nothing(start, trouble):
    with contextlib.closing(FakeSentry(hangs=True)) as fake:
        dsn = fake.dsn if trouble == "hangs" else f"http://{word()}@127.0.0.1:{free_port()}/1"
        service = start(SENTRY_DSN=dsn, SENTRY_TRACES_SAMPLE_RATE="1", WEB_CONCURRENCY="1")
        token = service.issue()
        break_table(service.database, "billing_usagerecord", "INSERT", "boom")
        bugs = service.at_once(120, lambda: service.suggest(token))  # more than the SDK's queue holds
        mend_table(service.database, "billing_usagerecord")
        well = service.at_once(10, lambda: service.suggest(token))
        service.stop()

        assert codes(bugs) == {"internal_error": 120}
        assert codes(well) == {"ok": 10}
        # Each call to it takes 30 seconds; had the requests made them, there would be as many.
        assert (0 < fake.connections < 10) == (trouble == "hangs")


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("no Bearer abcdefgh12345", "no […]"),
        ("postgresql://user:password@db.example.com/x", "postgresql://[…]db.example.com/x"),
        ("mail to jo.brown+x@mail.example.com failed", "mail to […] failed"),
        ("key pdl_live_apikey_01gtgztp8f4kek3yd4g1wrksa3", "key […]"),  # pragma: allowlist secret
        ("client token live_7d279f61a3499fed520f7cd8c08", "client token […]"),
        ("AGE-SECRET-KEY-1QQQQQQQQ opens nothing", "[…] opens nothing"),
        ("sk-proj-abcdef_123-XYZ was refused", "[…] was refused"),
        ("bad value 'call mum at noon'", "bad value […]"),
        ('column "licenses_license"."email" does not exist', 'column "licenses_license"."email" does not exist'),
        ("'NoneType' object has no attribute 'quota'", "'NoneType' object has no attribute 'quota'"),
        ("duplicate key\nDETAIL: Key (x)=(y)", "duplicate key"),
        ("GET https://a.b/c?q=jo&x=1 failed", "GET https://a.b/c?[…] failed"),
        ("secret AbCdEfGhIjKlMnOpQrStUvWxYz0123456789", "secret […]"),
        ("request 0123456789abcdef0123456789abcdef", "request 0123456789abcdef0123456789abcdef"),
        ("x" * 1000, "x" * 300),
    ],
)
def test_texts_of_others_are_cleaned_by_pattern(given, kept):
    assert scrubber.clean(given) == kept


def test_an_address_of_no_sentry_stops_every_start_with_a_hint(database):
    done = run_command(
        "check", env={"DATABASE_URL": database.url, "SENTRY_DSN": "https://sentry.io/secret1"}, check=False
    )
    assert done.returncode == 1
    assert "remind.E030" in done.stderr
    assert "HINT" in done.stderr
    assert "secret1" not in done.stderr
