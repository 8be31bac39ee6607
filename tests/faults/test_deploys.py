"""Deploys under load: a reload and a stop drop no request that was taken, whatever kind of client sent it."""

import contextlib
import http.client
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import psutil
import pytest
from gunicorn.workers.gthread import STOP_KEEPALIVE_LINGER

from tests.faults.conftest import send as send_event
from tests.faults.test_mail_server_gone import SlowMailbox, token_in
from tests.paddle import Life
from tests.service import LIVELY, ROOT, kill_all, wait_until

PATIENCE = 2 * LIVELY  # of a client; it shares the machine with all others


class Traffic:
    """Clients that ask again and again until the service takes no more connections, and what each was told."""

    def __init__(self, service, token):
        self.service, self.token = service, token
        self.answers, self.broken = [], []
        self.refused = threading.Event()
        self._threads = []

    def start(self, clients, *, keep_alive, pause=0.0):
        for number in range(clients):
            thread = threading.Thread(target=self._client, args=(keep_alive, pause * (1 + number / clients)))
            self._threads.append(thread)
            thread.start()

    def join(self):
        for thread in self._threads:
            thread.join(PATIENCE)
            assert not thread.is_alive(), "a client got no answer"

    def wait_for_more(self, count):
        wanted = len(self.answers) + count
        wait_until(lambda: len(self.answers) >= wanted, what=f"{count} more answers; broken: {self.broken}")

    def _client(self, keep_alive, pause):
        connection = None
        for number in itertools.count():
            if connection is None:
                connection = http.client.HTTPConnection("127.0.0.1", self.service.port, timeout=PATIENCE)
                try:
                    connection.connect()
                except OSError:  # the service is gone, and said so before anything was asked of it
                    self.refused.set()
                    return
            try:
                response = self._ask(connection, keep_alive)
            except (http.client.HTTPException, OSError) as error:
                self.broken.append((keep_alive, pause, number, repr(error)))
                return
            if response.will_close:
                connection.close()
                connection = None
            time.sleep(pause)

    def _ask(self, connection, keep_alive):
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        headers["Connection"] = "keep-alive" if keep_alive else "close"
        connection.request("POST", "/api/v1/ai", json.dumps({"reminder_text": "call mum"}), headers)
        response = connection.getresponse()
        body = json.loads(response.read())
        self.answers.append((response.status, body.get("degraded"), response.headers["X-Request-ID"]))
        return response


@pytest.fixture
def traffic(start, provider):
    provider.delay = 0.8
    service = start()
    traffic = Traffic(service, service.issue(quota=100_000))
    traffic.start(8, keep_alive=False)
    traffic.start(8, keep_alive=True)
    traffic.start(8, keep_alive=True, pause=0.2)
    yield traffic
    service.kill()
    traffic.join()


def workers(service):
    """The numbers of the worker processes that have started, in order."""
    lines = service.log.read_text().splitlines()
    return [line for line in lines if "Booting worker" in line]


def test_a_reload_and_a_stop_under_load_drop_nothing(traffic):
    service = traffic.service
    traffic.wait_for_more(40)

    service.process.send_signal(signal.SIGHUP)
    wait_until(lambda: len(workers(service)) == 4, what="new workers")
    # They serve on until the new ones do, and these start beside all the traffic.
    wait_until(lambda: service.log.read_text().count("Worker exiting") == 2, PATIENCE, "the old workers to end")
    traffic.wait_for_more(80)
    service.process.terminate()
    traffic.join()

    assert service.process.wait(LIVELY) == 0
    assert traffic.refused.is_set()
    assert traffic.broken == []
    assert {(status, degraded) for status, degraded, _ in traffic.answers} == {(200, False)}
    entries = service.database.sql("SELECT state, request_id FROM billing_usagerecord")
    assert {state for state, _ in entries} == {"settled"}
    assert sorted(request_id for _, request_id in entries) == sorted(told for _, _, told in traffic.answers)
    assert service.reconcile() == ""
    assert "Traceback" not in service.log.read_text()


@pytest.fixture
def lone(start, provider):
    """A service of one process, and a token."""
    service = start(WEB_CONCURRENCY="1", WEB_THREADS="8")
    return service, service.issue()


def connect(service):
    return socket.create_connection(("127.0.0.1", service.port), timeout=PATIENCE)


def is_ignored(service):
    """Whether the system lets an attempt to connect go unanswered; a refusal would be an error here."""
    try:
        socket.create_connection(("127.0.0.1", service.port), timeout=0.3).close()
    except TimeoutError:
        return True
    return False


def send(connection, token):
    body = json.dumps({"reminder_text": "call mum"})
    connection.sendall(
        f"POST /api/v1/ai HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()
    )


def read(connection):
    """The status, and whether the connection closes with this answer."""
    response = http.client.HTTPResponse(connection)
    response.begin()
    response.read()
    return response.status, response.will_close


def test_at_a_reload_the_old_process_serves_until_the_new_one_does(lone):
    """The new one is frozen while it starts, for longer than the old one would linger at a stop."""
    service, token = lone
    master = psutil.Process(service.process.pid)

    new = reload_frozen(service)
    frozen = time.monotonic()
    while time.monotonic() - frozen < 2 * STOP_KEEPALIVE_LINGER:
        assert service.suggest(token).status_code == 200
    new.resume()

    wait_until(lambda: master.children() == [new], what="the old process to end")
    assert service.suggest(token).status_code == 200


def reload_frozen(service):
    """The new process of a reload, which does not get on with starting."""
    master = psutil.Process(service.process.pid)
    before = master.children()
    service.process.send_signal(signal.SIGHUP)
    (new,) = wait_until(lambda: [one for one in master.children() if one not in before], what="the new process")
    new.suspend()
    return new


@pytest.fixture
def full(start, provider):
    """A service of one process that keeps 16 connections, 8 of them being answered; its token and those 8."""
    service = start(WEB_CONCURRENCY="1", WEB_THREADS="8", GUNICORN_CMD_ARGS="--worker-connections 16")
    token = service.issue()
    provider.hold()
    with contextlib.ExitStack() as stack:

        def ask(count):
            asked = [stack.enter_context(connect(service)) for _ in range(count)]
            for connection in asked:
                send(connection, token)
            return asked

        busy = ask(8)
        provider.wait_for_calls(8)
        yield service, busy, ask
        provider.heal()


def test_a_process_that_waits_for_the_new_one_takes_no_more_than_it_may(full, provider):
    """Else it would run out of files, and die with all it has begun. Nor does it wait for a queue to empty forever."""
    service, busy, ask = full
    (old,) = psutil.Process(service.process.pid).children()
    files = old.num_fds() + 40  # enough for those 16, not for all who are about to come
    old.rlimit(psutil.RLIMIT_NOFILE, (files, files))

    new = reload_frozen(service)
    asked = busy + ask(80)
    wait_until(lambda: taken(service, old) == 16, what="the old process to be full")
    new.resume()
    wait_until(lambda: taken(service, new) == 16, what="the new process to be full")
    wait_until(lambda: not listens(old), what="the old process to leave the queue to the new one")
    assert taken(service, old) <= 16
    provider.heal()

    assert {status for status, _ in map(hang_up, asked)} == {200}
    assert service.reconcile() == ""


def test_a_process_that_is_full_answers_what_is_in_the_queue_at_a_stop(full, provider):
    service, busy, ask = full
    asked = busy + ask(16)
    (only,) = psutil.Process(service.process.pid).children()
    wait_until(lambda: taken(service, only) == 16, what="the process to be full")
    service.process.terminate()
    wait_until(lambda: is_ignored(service), what="no new connection to come to be")
    time.sleep(STOP_KEEPALIVE_LINGER)  # when it has lingered, there still is a queue
    provider.heal()
    assert {status for status, _ in map(hang_up, asked)} == {200}
    assert service.process.wait(LIVELY) == 0


def hang_up(connection):
    """Read, and close as clients do, for which the service would wait."""
    with connection:
        return read(connection)


def taken(service, process):
    """How many clients' connections a process has."""
    states = [one.status for one in process.net_connections("tcp") if one.laddr.port == service.port]
    return states.count(psutil.CONN_ESTABLISHED)


def listens(process):
    return any(one.status == psutil.CONN_LISTEN for one in process.net_connections("tcp"))


def test_a_stop_answers_all_that_was_sent_and_soon(lone, provider):
    service, token = lone
    with contextlib.ExitStack() as stack:
        idle, _silent, *busy = [stack.enter_context(connect(service)) for _ in range(12)]
        send(idle, token)
        assert read(idle) == (200, False)
        provider.hold()
        for connection in busy:  # two more than there are threads: those wait in the worker's own queue
            send(connection, token)
        provider.wait_for_calls(1 + 8)

        service.process.terminate()
        wait_until(lambda: "Handling signal: term" in service.log.read_text(), what="the stop")
        send(idle, token)  # on a connection that the worker had promised to keep
        wait_until(lambda: is_ignored(service), what="no new connection to come to be")
        provider.heal()

        assert {status for status, _ in map(read, busy)} == {200}
        assert read(idle) == (200, True)
        assert service.process.wait(LIVELY) == 0, "a client that never sends holds nothing up"
        with pytest.raises(ConnectionRefusedError):
            connect(service)


AS_SYSTEMD_STARTS_IT = """
import fcntl, os, sys
for number, given in enumerate([fcntl.fcntl(int(given), fcntl.F_DUPFD, 100) for given in sys.argv[1:]], 3):
    os.dup2(given, number)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(sys.argv) - 1))
os.execv(sys.executable, [sys.executable, "-m", "gunicorn", "remind_site.wsgi"])
"""


@pytest.fixture
def unit(start, provider, tmp_path):
    """The service, a token, two sockets that stay as remind-web.socket's do, and what starts the service on them."""
    provider.delay = 0.3
    service, processes = start(), []
    token = service.issue(quota=100_000)
    service.stop()
    with socket.socket(socket.AF_UNIX) as near, socket.socket() as far, service.log.open("ab") as log:
        near.bind(str(tmp_path / "web.sock"))
        far.bind(("127.0.0.1", 0))
        listeners = [near, far]
        for listener in listeners:
            listener.listen(2048)
        handed_over = [listener.fileno() for listener in listeners]

        def start_again():
            command = [sys.executable, "-c", AS_SYSTEMD_STARTS_IT, *map(str, handed_over)]
            env = {**os.environ, **service.env}
            processes.append(
                subprocess.Popen(
                    command, cwd=ROOT, env=env, stdout=log, stderr=log, start_new_session=True,
                    pass_fds=handed_over,
                )
            )  # fmt: skip
            return processes[-1]

        yield service, token, listeners, start_again
        for process in processes:
            kill_all(process)


def test_a_restart_under_systemds_socket_refuses_nobody(unit):
    service, token, listeners, start_again = unit
    answers, broken, enough = [], [], threading.Event()

    def client(listener):
        while not enough.is_set():
            try:
                with socket.socket(listener.family) as connection:
                    connection.settimeout(PATIENCE)
                    connection.connect(listener.getsockname())
                    send(connection, token)
                    answers.append(read(connection)[0])
            except (http.client.HTTPException, OSError) as error:
                broken.append(repr(error))
                return

    def wait_for_more(count):
        wanted = len(answers) + count
        wait_until(lambda: broken or len(answers) >= wanted, PATIENCE, f"{count} more answers")

    process = start_again()
    clients = [threading.Thread(target=client, args=[listeners[number % 2]]) for number in range(12)]
    for thread in clients:
        thread.start()
    wait_for_more(40)
    process.terminate()
    assert process.wait(LIVELY) == 0
    start_again()
    wait_for_more(40)
    enough.set()
    for thread in clients:
        thread.join(PATIENCE)

    assert broken == []
    assert set(answers) == {200}
    assert service.reconcile() == ""
    assert service.database.value("SELECT count(*) FROM billing_usagerecord") == len(answers)


def test_clients_that_do_not_hang_up_hold_up_nobody_else(start):
    """gunicorn waits up to 2 s for each, one after another, in the loop that takes new connections."""
    service = start(WEB_CONCURRENCY="1", WEB_THREADS="50")
    with contextlib.ExitStack() as stack:
        lingering = [stack.enter_context(connect(service)) for _ in range(40)]
        for connection in lingering:
            connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        started = time.monotonic()
        assert {read(connection) for connection in lingering} == {(200, True)}
        assert time.monotonic() - started < LIVELY


@pytest.fixture
def slow_box(issued):
    """A mail server that keeps the first sender waiting until its gate opens."""
    box = SlowMailbox()
    yield box
    box.gate.set()
    box.close()
    issued.update(token_in(mail) for mail in box.mails)


def test_the_worker_finishes_its_task_when_told_to_stop(serve, start_worker, slow_box, logs):
    """Even where the host tells each of its processes, not only the first."""
    service, log = serve(), logs / "worker.log"
    life = Life("pri_pro")
    for event in (life.customer(), life.created(), life.completed()):
        assert send_event(service, event).status_code == 200
    worker = start_worker(service.database, EMAIL_URL=slow_box.url)
    assert slow_box.reached.wait(90)

    before = len(log.read_text())
    os.killpg(worker.pid, signal.SIGTERM)
    wait_until(lambda: "stopping" in log.read_text()[before:], what="the stop")
    slow_box.gate.set()

    assert worker.wait(LIVELY) == 0
    assert service.database.sql("SELECT state, tries FROM billing_mail") == [("done", 1)]
    assert len(slow_box.mails) == 1
