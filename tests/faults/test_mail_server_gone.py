"""A mail server that refuses, and a worker killed in the middle: the buyer ends up with one token that works."""

import asyncio
import os
import re
import signal
from threading import Event

import pytest

from tests.faults.conftest import do_what_waits, send
from tests.mailbox import Mailbox, text_of
from tests.paddle import Life
from tests.service import wait_until

pytestmark = pytest.mark.usefixtures("_no_tokens_in_logs")


class SlowMailbox(Mailbox):
    """Keeps the first mail's sender waiting, after it has all of the mail."""

    def __init__(self):
        self.reached, self.gate = Event(), Event()
        super().__init__()

    async def handle_DATA(self, server, session, envelope):
        answer = await super().handle_DATA(server, session, envelope)
        if not self.reached.is_set():
            self.reached.set()
            await asyncio.to_thread(self.gate.wait, 60)
        return answer


@pytest.fixture
def box():
    box = SlowMailbox()
    box.reached.set()
    yield box
    box.gate.set()
    box.close()


@pytest.fixture
def _no_tokens_in_logs(box, issued):
    yield
    issued.update(token_in(mail) for mail in box.mails)


def token_in(mail):
    return re.search(r"remind login (remind_\S+)", text_of(mail)).group(1)


@pytest.fixture
def bought(serve):
    """The service, with a purchase whose token is still to be mailed."""
    service = serve()
    life = Life("pri_pro")
    for event in (life.customer(), life.created(), life.completed()):
        assert send(service, event).status_code == 200
    return service


def test_refused_then_healed(bought, box, start_worker):
    box.refusal = "451 try later"
    start_worker(bought.database, EMAIL_URL=box.url)
    failed = "SELECT count(*) FROM billing_mail WHERE note <> ''"
    wait_until(lambda: bought.database.value(failed), timeout=90, what="a first try to fail")
    box.refusal = ""
    do_what_waits(bought.database, "billing_mail")
    wait_until(lambda: box.mails, timeout=90, what="the mail")
    wait_until(lambda: bought.database.value("SELECT state FROM billing_mail") == "done")
    (mail,) = box.mails
    assert bought.suggest(token_in(mail)).status_code == 200
    assert bought.database.value("SELECT count(*) FROM licenses_licensetoken WHERE revoked_at IS NULL") == 1
    assert bought.database.value("SELECT count(*) FROM licenses_licensetoken") > 1


def test_killed_while_the_server_has_the_mail(bought, box, start_worker):
    box.reached.clear()
    worker = start_worker(bought.database, EMAIL_URL=box.url)
    assert box.reached.wait(90)
    os.killpg(worker.pid, signal.SIGKILL)
    worker.wait()
    box.gate.set()
    assert bought.database.sql("SELECT state, tries FROM billing_mail") == [("waiting", 1)]
    start_worker(bought.database, EMAIL_URL=box.url)
    do_what_waits(bought.database, "billing_mail")
    wait_until(lambda: bought.database.value("SELECT state FROM billing_mail") == "done", timeout=90)
    first, second = (token_in(mail) for mail in box.mails)
    assert bought.suggest(first).json()["code"] == "token_revoked"
    assert bought.suggest(second).status_code == 200
