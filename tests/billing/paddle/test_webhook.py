"""`POST /webhooks/paddle`: what is let in, what is kept, and what Paddle is told."""

import json
import time
from datetime import UTC, datetime, timedelta

import pytest
from paddle_billing.Entities.Events.EventTypeName import EventTypeName

from billing import housekeeping
from billing.models import Errand, Subscription, WebhookEvent
from billing.paddle import events
from licenses.models import License
from tests.paddle import SECRET, Life, event, signed, stamp

NOW = datetime.now(UTC)
pytestmark = pytest.mark.django_db


@pytest.fixture
def life(prices):
    return Life(prices["pro"])


@pytest.fixture
def send(client, paddle):
    """`send(body, signature)`: any bytes with any signature header."""

    def send(body, signature=None, **more):
        headers = {} if signature is None else {"Paddle-Signature": signature}
        return client.post("/webhooks/paddle", body, content_type="application/json", headers=headers, **more)

    return send


@pytest.fixture
def body(life):
    return json.dumps(life.created()).encode()


def refused(response, status=401, code="signature_invalid"):
    assert (response.status_code, response.json()["code"]) == (status, code)
    assert response.json()["request_id"] == response["X-Request-ID"]
    assert not WebhookEvent.objects.exists()
    return True


def right_hash(body):
    return signed(body, SECRET).partition("h1=")[2]


NOT_SIGNATURES = {
    "none": lambda body: None,
    "empty": lambda body: "",
    "no parts": lambda body: "nonsense",
    "an unknown key": lambda body: signed(body, SECRET) + ";h2=00",
    "no timestamp": lambda body: f"h1={right_hash(body)}",
    "a timestamp that is none": lambda body: f"ts=now;h1={right_hash(body)}",
    "a second equals sign": lambda body: signed(body, SECRET) + "=",
    "no hash": lambda body: f"ts={int(time.time())}",
    "an empty hash": lambda body: f"ts={int(time.time())};h1=",
    "half a hash": lambda body: signed(body, SECRET)[:-10],
    "a hash that is no ASCII": lambda body: f"ts={int(time.time())};h1=é",
    "another secret": lambda body: signed(body, "pdl_ntfset_other"),
    "another body": lambda body: signed(body + b" ", SECRET),
    "replayed late": lambda body: signed(body, SECRET, at=time.time() - 3600),
    "from the future": lambda body: signed(body, SECRET, at=time.time() + 3600),
    "a huge timestamp": lambda body: f"ts={'9' * 400};h1={right_hash(body)}",
}


@pytest.mark.parametrize("wrong", NOT_SIGNATURES)
@pytest.mark.parametrize("secrets", [[SECRET], [SECRET, "pdl_ntfset_new"], []], ids=["one", "two", "none known"])
def test_what_is_not_signed_is_refused_alike_and_not_kept(wrong, secrets, send, body, settings, valkey):
    settings.PADDLE_WEBHOOK_SECRETS = secrets
    assert refused(send(body, NOT_SIGNATURES[wrong](body)))


def test_a_body_that_is_no_text_is_refused(send):
    assert refused(send(b'\xff{"a": 1}', signed(b'\xff{"a": 1}', SECRET)))


def test_reordered_keys_are_another_body(send, life, body):
    reordered = json.dumps(dict(reversed(json.loads(body).items()))).encode()
    assert refused(send(reordered, signed(body, SECRET)))


def test_a_truncated_body_is_refused(send, body):
    assert refused(send(body[:-20], signed(body, SECRET)))


def test_both_secrets_count_while_one_is_being_replaced(send, life, settings):
    settings.PADDLE_WEBHOOK_SECRETS = ["pdl_ntfset_new", SECRET]
    for signers in ([SECRET], ["pdl_ntfset_new"], ["pdl_ntfset_new", SECRET], ["pdl_ntfset_older", SECRET]):
        body = json.dumps(life.updated()).encode()
        assert send(body, signed(body, *signers)).status_code == 200
    assert WebhookEvent.objects.count() == 4


def test_how_far_clocks_may_be_apart_is_a_setting(send, body, settings):
    late = signed(body, SECRET, at=time.time() - 6)
    settings.PADDLE_CLOCK_TOLERANCE_SECONDS = 5
    assert refused(send(body, late))
    settings.PADDLE_CLOCK_TOLERANCE_SECONDS = 10
    assert send(body, late).status_code == 200


def test_a_refusal_is_logged_once_without_the_signature(send, body, logs):
    log = logs / "tests.log"
    before = log.stat().st_size
    signature = signed(body, "pdl_ntfset_other")
    assert refused(send(body, signature))
    written = log.read_bytes()[before:].decode()
    assert written.count('"signature_invalid"') == 2  # the line about it, and the request's outcome
    assert signature.partition("h1=")[2] not in written


def test_forged_posts_are_limited_and_signed_ones_never(send, body, settings, valkey, deliver, life, address):
    settings.UNSIGNED_WEBHOOKS_A_MINUTE = 3
    answers = [send(body, "ts=1;h1=00", REMOTE_ADDR=address) for _ in range(5)]
    assert [answer.status_code for answer in answers] == [401, 401, 401, 429, 429]
    assert answers[-1].json()["code"] == "rate_limited"
    assert int(answers[-1]["Retry-After"]) > 0
    assert send(body, signed(body, SECRET), REMOTE_ADDR=address).status_code == 200


def test_the_address_limit_does_not_concern_paddle(deliver, life, settings, valkey):
    settings.RATE_LIMIT_REQUESTS = 1
    assert deliver(*[life.updated() for _ in range(5)]).status_code == 200
    assert "X-RateLimit-Limit" not in deliver(life.updated())


def test_a_large_body_is_refused_unread(send):
    assert refused(send(b" " * (256 * 1024 + 1), "ts=1;h1=0"), 413, "too_large")
    assert refused(send(b" " * 256 * 1024, "ts=1;h1=0"))


def test_only_posts(client, paddle):
    answer = client.get("/webhooks/paddle")
    assert (answer.status_code, answer.json()["code"], answer["Allow"]) == (405, "method_not_allowed", "POST")


def test_addresses_other_than_paddles_can_be_kept_out(send, body, settings):
    settings.PADDLE_ALLOWED_ADDRESSES = ["34.232.58.13", "10.9.0.0/16"]
    assert refused(send(body, signed(body, SECRET), REMOTE_ADDR="10.8.0.1"), 403, "forbidden")
    assert send(body, signed(body, SECRET), REMOTE_ADDR="10.9.3.4").status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        b"nonsense",
        b"[]",
        b"{}",
        b'{"event_id": "evt_1"}',
        b'{"event_id": 5, "event_type": "customer.created"}',
        b'{"event_id": "evt_\\u0000", "event_type": "customer.created"}',
        b'{"event_id": "evt_\\ud800", "event_type": "customer.created"}',
        b"[" * 100_000,
        b'{"event_id": ' + b"9" * 10_000 + b"}",
    ],
)
def test_signed_nonsense_is_refused(send, body):
    assert refused(send(body, signed(body, SECRET)), 400, "invalid")


@pytest.mark.parametrize(
    "envelope",
    [
        {},
        {"data": None},
        {"data": []},
        {"data": {}, "occurred_at": "soon"},
        {"data": {"id": "sub_1"}, "occurred_at": None},
        {"data": {"id": 7}, "occurred_at": "2026-01-01T00:00:00Z"},
        {"data": {"id": "sub_" + "1" * 100}, "occurred_at": "2026-01-01T00:00:00Z"},
    ],
)
def test_what_we_cannot_make_sense_of_is_kept_for_a_person(deliver, envelope):
    assert deliver({"event_id": "evt_odd", "event_type": "subscription.updated", **envelope}).status_code == 200
    (kept,) = WebhookEvent.objects.all()
    assert (kept.state, kept.event_id) == ("flagged", "evt_odd")
    assert kept.note


def test_an_event_is_kept_byte_for_byte_and_once(send, life):
    body = json.dumps(life.created(), indent=3).encode()
    for _ in range(3):
        assert send(body, signed(body, SECRET)).json() == {"received": True}
    (kept,) = WebhookEvent.objects.all()
    assert (kept.body.encode(), kept.state, kept.tries) == (body, "done", 1)


@pytest.mark.parametrize("event_type", sorted(EventTypeName.members().values()))
def test_every_documented_type_is_accepted(event_type, deliver, prices):
    data = {"id": "obj_1", "status": "active", "customer_id": "ctm_1", "action": "credit", "transaction_id": "txn_1"}
    data["items"] = [{"price": {"id": prices["pro"]}, "quantity": 1}]
    assert deliver(event(event_type, data, NOW)).status_code == 200
    (kept,) = WebhookEvent.objects.all()
    ours = event_type.startswith(("subscription.", "customer.", "transaction.", "adjustment."))
    assert kept.state == ("done" if ours and event_type not in events.UNPAID else "ignored"), kept.note
    assert not License.objects.exists()


@pytest.mark.parametrize("event_type", ["subscription.frozen", "customer.merged", "gift.created", "nonsense"])
def test_a_type_from_the_future_is_kept_for_a_person(event_type, deliver, life):
    assert deliver(event(event_type, life.subscription(), NOW)).status_code == 200
    (kept,) = WebhookEvent.objects.all()
    assert kept.state == "flagged"
    assert event_type in kept.note


@pytest.mark.parametrize(
    "junk",
    [
        None,
        5,
        "x" * 100_000,
        [],
        {},
        [[]],
        "\0",
        "\ud800",
        -1,
        1e400,
        "0001-01-01T00:00:00+23:59",
        "9999-12-31T23:59:59Z",
    ],
)
@pytest.mark.parametrize(
    "kind", ["subscription.updated", "customer.updated", "transaction.completed", "adjustment.updated"]
)
def test_junk_in_any_field_is_never_a_crash(kind, junk, deliver, life, prices):
    whole = {
        **life.subscription(), **life.customer()["data"], **life.completed()["data"], **life.adjusted("refund")["data"],
        "id": "obj_1",
    }  # fmt: skip
    for field in set(whole) - {"id"}:
        assert deliver(event(kind, {**whole, field: junk}, NOW)).status_code == 200
    assert not WebhookEvent.objects.filter(state="waiting").exists()


def test_what_fails_is_kept_with_its_error_and_tried_again(deliver, life, monkeypatch):
    def fail(*_):
        raise RuntimeError("the plan is on fire")

    with monkeypatch.context() as patch:
        patch.setitem(events.HANDLERS, "subscription", fail)
        assert deliver(life.created()).status_code == 200
        (kept,) = WebhookEvent.objects.all()
        assert (kept.state, kept.tries, kept.note) == ("waiting", 1, "RuntimeError: the plan is on fire")
        pauses = []
        for _ in range(4):
            pauses.append(round((WebhookEvent.objects.get().due_at - datetime.now(UTC)).total_seconds() / 60))
            WebhookEvent.objects.update(due_at=NOW)
            housekeeping.run()
        assert pauses == [1, 2, 4, 8]
        WebhookEvent.objects.update(due_at=NOW, tries=17)
        housekeeping.run()
        assert WebhookEvent.objects.get().state == "flagged"
    assert not Subscription.objects.exists()
    WebhookEvent.objects.update(state="waiting", due_at=NOW)
    housekeeping.run()
    assert WebhookEvent.objects.get().state == "done"
    assert Subscription.objects.get().status == "active"


def test_the_customer_is_asked_for_when_its_event_is_late(deliver, life, paddle, mailbox):
    paddle.add(life)
    deliver(life.created())
    assert not License.objects.exists()
    housekeeping.run()
    assert License.objects.get().email == life.email
    assert len(mailbox.to(life.email)) == 1
    assert paddle.asked("GET", f"/customers/{life.customer_id}") == [None]
    deliver(life.customer())
    housekeeping.run()
    assert len(mailbox.mails) == 1


@pytest.mark.parametrize("fault", ["too_many", "failing", "html", "reset"])
def test_a_customer_is_asked_for_again_after_a_fault(fault, deliver, life, paddle, mailbox):
    paddle.add(life)
    paddle.mode = fault
    deliver(life.created())
    housekeeping.run()
    errand = Errand.objects.get()
    assert (errand.state, errand.tries) == ("waiting", 1)
    assert errand.due_at > datetime.now(UTC) + timedelta(seconds=50)
    paddle.heal()
    Errand.objects.update(due_at=NOW)
    housekeeping.run()
    assert len(mailbox.to(life.email)) == 1


def test_a_customer_that_paddle_does_not_know_is_for_a_person(deliver, life, paddle):
    deliver(life.created())
    housekeeping.run()
    errand = Errand.objects.get()
    assert (errand.state, errand.tries) == ("flagged", 1)
    assert "not_found" in errand.note
    assert not License.objects.exists()


def test_a_price_that_we_do_not_know_gives_no_license(deliver, life):
    life.price = "pri_of_the_future"
    deliver(life.customer(), life.created(), life.completed())
    assert not License.objects.exists()
    (flagged,) = WebhookEvent.objects.filter(state="flagged")
    assert (flagged.event_type, "pri_of_the_future" in flagged.note) == ("subscription.created", True)


@pytest.mark.parametrize("email", [None, "", "no address", 5])
def test_a_customer_without_an_address_is_for_a_person(email, deliver, life, paddle):
    paddle.add(life)
    paddle.customers[life.customer_id]["email"] = email
    deliver(life.created())
    housekeeping.run()
    waiting = [*Errand.objects.filter(state="flagged"), *WebhookEvent.objects.filter(state="flagged")]
    assert len(waiting) == 1
    assert "email" in waiting[0].note
    assert not License.objects.exists()


def test_a_new_address_that_is_none_is_for_a_person(deliver, life):
    deliver(life.customer(), life.created())
    changed = {**life.customer("customer.updated", email="no address"), "occurred_at": stamp(NOW)}
    deliver(changed)
    assert License.objects.get().email == life.email
    assert "no email address" in WebhookEvent.objects.get(state="flagged").note
