"""Any order and any number of deliveries of the same events end in the same facts, license, payments and mails."""

import itertools
import random
from datetime import UTC, datetime, timedelta

import pytest

from billing import housekeeping
from billing.models import Mail, WebhookEvent
from tests.billing.paddle.outcome import outcome, taken_back
from tests.paddle import Life

BEGAN = datetime.now(UTC).replace(microsecond=0) - timedelta(days=2)


def six_events(prices):
    """Created, activated, customer, completed, updated to a higher price, canceled."""
    life = Life(prices["pro"], began=BEGAN)
    first = [life.created(), life.activated(), life.customer(), life.completed()]
    life.price = prices["team"]
    return life, [*first, life.updated(), life.canceled()]


@pytest.fixture
def expected(prices, deliver):
    life, events = six_events(prices)
    deliver(*events)
    return outcome(life)


def test_what_the_six_events_come_to(expected):
    assert expected["facts"]["status"] == "canceled"
    assert expected["license"] == {
        "plan__slug": "team",
        "paid_plan__slug": "team",
        "paid_until": BEGAN + timedelta(days=30),
        "paid_ending": "canceled",
        "suspended_at": None,
        "expires_at": None,
    }
    assert expected["owner"] == "the buyer"
    assert [payment["amount"] for payment in expected["payments"]] == [1500]
    assert expected["token_mails"] == 1


def each_order(deliver, events, order=()):
    """Every order of the events that begins like this, delivered; orders share what they have in common."""
    if len(order) == len(events):
        yield order
    for index in set(range(len(events))).difference(order):
        with taken_back():
            deliver(events[index])
            yield from each_order(deliver, events, (*order, index))


@pytest.mark.parametrize("first", range(6))  # so that several processes share the 720
def test_every_permutation(prices, deliver, expected, first):
    life, events = six_events(prices)
    deliver(events[first])
    tried = 0
    for order in each_order(deliver, events, (first,)):
        assert outcome(life) == expected, order
        assert set(WebhookEvent.objects.values_list("state", flat=True)) == {"done"}
        tried += 1
    assert tried == 120


def test_every_event_five_times(prices, deliver, expected):
    mix = random.Random(1)
    for order in list(itertools.permutations(range(6)))[::7]:
        with taken_back():
            life, events = six_events(prices)
            deliver(*[events[index] for index in order], *mix.sample(events * 4, 24))
            assert outcome(life) == expected, order
            assert WebhookEvent.objects.count() == 12


def test_the_token_leaves_once_however_events_arrive(prices, deliver, mailbox):
    life, events = six_events(prices)
    for event in reversed(events):
        deliver(event, event)
        housekeeping.run()
    assert len(mailbox.to(life.email, "Your Remind license")) == 1
    assert Mail.objects.filter(kind="token", state="done").count() == 1
