"""A purchase as it happens, on the deployed service: checkout, notification, mail, token, upgrade, refund."""

import re
from datetime import UTC, datetime, timedelta

import pytest

from tests.faults.conftest import PRICES, do_what_waits, send
from tests.mailbox import Mailbox, text_of
from tests.paddle import FakePaddle, Life
from tests.service import wait_until


@pytest.fixture
def paddle_api():
    fake = FakePaddle()
    yield fake
    fake.close()


@pytest.fixture
def box(issued):
    box = Mailbox()
    yield box
    issued.update(token for mail in box.mails for token in re.findall(r"remind login (\S+)", text_of(mail)))
    box.close()


def test_from_the_checkout_to_the_refund(serve, start_worker, paddle_api, box):
    env = {"PADDLE_API_KEY": "pdl_sdbx_apikey_x", "PADDLE_BASE_URL": paddle_api.base_url, "EMAIL_URL": box.url}
    service = serve(**env)
    start_worker(service.database, **service.env)

    answer = service.client.get("/api/v1/checkout/pro", params={"email": "jo@example.com"})
    assert answer.status_code == 303
    (transaction,) = paddle_api.transactions.values()
    assert answer.headers["Location"] == f"https://pay.example.com/pay?_ptxn={transaction['id']}"

    life = Life(PRICES["pro"], customer=transaction["customer_id"], email="jo@example.com")
    life.transaction_id = transaction["id"]
    for event in (life.created(), life.completed()):  # the customer's own event never comes: Paddle's API has it
        assert send(service, event).status_code == 200
    wait_until(lambda: box.to("jo@example.com", "Your Remind license"), timeout=90, what="the mail with the token")
    token = re.search(r"remind login (\S+)", text_of(box.mails[0])).group(1)
    suggestion = service.suggest(token)
    assert (suggestion.status_code, suggestion.json()["quota_remaining"]) == (200, 999)

    # The client's upgrade opens a plain checkout: a second subscription of the same customer.
    paddle_api.add(life)
    better = Life(
        PRICES["team"], customer=life.customer_id, email=life.email, began=datetime.now(UTC) - timedelta(hours=5)
    )
    for event in (better.created(), better.completed(5000)):
        assert send(service, event).status_code == 200
    assert service.suggest(token).json()["quota_remaining"] == 4998
    cancel = f"/subscriptions/{life.subscription_id}/cancel"
    wait_until(lambda: paddle_api.asked("POST", cancel), timeout=90, what="the lesser subscription to be cancelled")
    wait_until(lambda: box.to("jo@example.com", "became one"), timeout=90)

    for one in (better, life):
        assert send(service, one.adjusted("refund", kind="full")).status_code == 200
    refusal = service.suggest(token)
    assert (refusal.status_code, refusal.json()["code"]) == (401, "license_suspended")
    assert "refunded" in refusal.json()["detail"]
    do_what_waits(service.database, "billing_mail")
    wait_until(lambda: box.to("jo@example.com", "has stopped"), timeout=90)
    assert service.reconcile() == ""
    assert service.database.value("SELECT count(*) FROM licenses_license") == 1
    assert (
        service.database.value("SELECT count(*) FROM billing_webhookevent WHERE state NOT IN ('done', 'flagged')") == 0
    )
