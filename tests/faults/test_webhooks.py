"""Paddle's notifications at the deployed service: many at once, forged ones, a kill, no database."""

import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Event

import psycopg

from tests.faults.conftest import PRICES, do_what_waits, send
from tests.paddle import Life
from tests.servers import restart_postgres, start_postgres, stop_postgres
from tests.service import Template, wait_until


def new_life():
    return Life(PRICES["pro"], began=datetime.now(UTC).replace(microsecond=0) - timedelta(days=2))


def six_events(life):
    first = [life.created(), life.activated(), life.customer(), life.completed()]
    life.price = PRICES["team"]
    return [*first, life.updated(), life.canceled()]


def test_thirty_lives_interleaved_by_sixteen_senders(serve):
    service = serve()
    lives = [new_life() for _ in range(30)]
    deliveries = [event for life in lives for event in six_events(life)] * 2
    random.Random(7).shuffle(deliveries)
    with ThreadPoolExecutor(16) as senders:
        answers = list(senders.map(lambda event: send(service, event), deliveries))
    assert Counter(answer.status_code for answer in answers) == {200: 360}
    # What two events of one customer could not do at once is tried again.
    wait_until(lambda: _all_processed(service), what="every event to be processed")

    outcomes = service.database.sql(
        "SELECT s.status, p.slug, l.paid_ending, l.paid_until - %s, c.email = l.email,"
        " (SELECT count(*) FROM billing_payment WHERE subscription_id = s.id AND status = 'completed'),"
        " (SELECT count(*) FROM billing_mail WHERE license_id = l.id AND kind = 'token')"
        " FROM billing_subscription s JOIN licenses_license l ON l.id = s.license_id"
        " JOIN licenses_plan p ON p.id = l.plan_id JOIN billing_customer c ON c.license_id = l.id",
        lives[0].began,
    )
    assert len(outcomes) == 30
    assert {(*row[:3], *row[4:]) for row in outcomes} == {("canceled", "team", "canceled", True, 1, 1)}
    assert all(timedelta(days=29) < row[3] < timedelta(days=31) for row in outcomes)
    assert service.database.value("SELECT count(*) FROM licenses_license") == 30


def test_two_purchases_of_one_customer_at_once_are_one_license(serve):
    service = serve()
    firsts = [new_life() for _ in range(25)]
    seconds = [Life(PRICES["team"], began=one.began, customer=one.customer_id, email=one.email) for one in firsts]
    with ThreadPoolExecutor(16) as senders:
        list(senders.map(lambda life: send(service, life.customer()), firsts))
        pairs = [life.created() for pair in zip(firsts, seconds, strict=True) for life in pair]
        answers = list(senders.map(lambda event: send(service, event), pairs))
    assert Counter(answer.status_code for answer in answers) == {200: 50}
    wait_until(lambda: _all_processed(service), what="every event to be processed")
    assert service.database.value("SELECT count(*) FROM licenses_license") == 25
    assert service.database.value("SELECT count(DISTINCT license_id) FROM billing_subscription") == 25
    assert service.database.value("SELECT count(*) FROM billing_mail WHERE kind = 'token'") == 25
    assert service.database.value("SELECT count(*) FROM billing_errand WHERE kind = 'cancel_subscription'") == 25


def _all_processed(service):
    service.database.sql("UPDATE billing_webhookevent SET due_at = now() WHERE state = 'waiting'")
    waiting = service.database.value("SELECT count(*) FROM billing_webhookevent WHERE state <> 'done'")
    if waiting:
        service.command("housekeeping")
    return not waiting


def test_killed_between_storing_and_processing_the_worker_finishes_it(serve, start_worker):
    service = serve()
    life = new_life()
    assert send(service, life.customer()).status_code == 200
    with psycopg.connect(service.database.url) as blocker, ThreadPoolExecutor(1) as sender:
        blocker.execute("SELECT 1 FROM billing_customer FOR UPDATE")
        sending = sender.submit(send, service, life.created())
        being_done = "SELECT count(*) FROM billing_webhookevent WHERE state = 'waiting' AND tries = 1"
        wait_until(lambda: service.database.value(being_done) == 1)
        service.kill()
        assert sending.exception() is not None
    rows = "SELECT state, tries FROM billing_webhookevent ORDER BY id DESC LIMIT 1"
    assert service.database.sql(rows) == [("waiting", 1)]
    assert service.database.value("SELECT count(*) FROM licenses_license") == 0

    start_worker(service.database)
    do_what_waits(service.database, "billing_webhookevent")
    wait_until(lambda: service.database.sql(rows) == [("done", 2)], timeout=90, what="the worker to process it")
    assert service.database.value("SELECT count(*) FROM billing_mail WHERE kind = 'token'") == 1


def test_without_a_database_paddle_is_told_to_send_again(serve):
    postgres = start_postgres()
    service = serve(Template(postgres.get_uri("postgres")).copy())
    life = new_life()
    stop_postgres(postgres)
    refusal = send(service, life.created())
    assert (refusal.status_code, refusal.json()["code"]) == (503, "database_unavailable")
    restart_postgres(postgres)
    wait_until(lambda: send(service, life.created()).status_code == 200)
    assert service.database.value("SELECT count(*) FROM billing_webhookevent WHERE state = 'done'") >= 1


def test_ten_thousand_forged_posts_leave_nothing_and_slow_nobody(serve):
    service = serve()
    token = service.issue()
    forged = new_life().created()
    over = Event()

    def forge(count):
        return Counter(send(service, forged, secret="wrong").status_code for _ in range(count))

    with ThreadPoolExecutor(9) as senders:
        floods = [senders.submit(forge, 1250) for _ in range(8)]
        meanwhile = []
        while not all(flood.done() for flood in floods):
            meanwhile.append(service.suggest(token).status_code)
            assert send(service, new_life().customer()).status_code == 200
        over.set()
    told = sum((flood.result() for flood in floods), Counter())
    assert told.total() == 10_000
    assert set(told) == {401, 429}
    assert set(meanwhile) == {200}
    assert len(meanwhile) > 20
    types = service.database.sql("SELECT DISTINCT event_type FROM billing_webhookevent")
    assert types == [("customer.created",)]
    assert service.log.read_text().count('"event": "signature_invalid"') <= 20
