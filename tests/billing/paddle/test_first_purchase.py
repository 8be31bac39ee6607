"""From the notifications of a first purchase to a mailed token that works."""

import re

import pytest

from billing import housekeeping
from tests.mailbox import html_of, text_of
from tests.paddle import Life


@pytest.fixture
def life(prices):
    return Life(prices["pro"])


def emailed_token(mail):
    return re.search(r"remind login (remind_\S+)", text_of(mail)).group(1)


def test_a_buyer_is_mailed_a_token_that_works(life, deliver, mailbox, post, issued):
    assert deliver(life.created(), life.activated(), life.customer(), life.completed()).status_code == 200
    housekeeping.run()
    (mail,) = mailbox.to(life.email)
    token = emailed_token(mail)
    assert token in html_of(mail)
    answer = post(bearer=token)
    assert answer.status_code == 200
    assert answer.json()["quota_remaining"] == 999
