"""How the service is served: `gunicorn remind_site.wsgi` reads this file, wherever it runs.

Threads, because a request spends its time waiting for the provider: one thread for each call that is there at
once. Their number does not multiply database connections, since none is held meanwhile.
"""

import logging
import os
from typing import Any

from remind_site.metrics import process_files

# What web processes count they share in a folder, from the master's start to its end, across reloads. Before the other
# imports: some import prometheus_client, which decides at that moment where it counts.
process_files.open_folder()

from remind_site import handover, sizing, startup  # noqa: E402
from remind_site.environment import env  # noqa: E402
from remind_site.logs import configuration  # noqa: E402
from remind_site.stopping import let_nobody_in_first  # noqa: E402
from remind_site.worker import ServiceWorker  # noqa: E402

startup.forget()
machine = sizing.this_machine()
workers, threads = sizing.web(machine)
# The settings are read in each worker; only web processes are to have a connection pool.
os.environ["REMIND_WEB_PROCESS"] = "1"

bind = env.str("BIND", "") or f"0.0.0.0:{env.int('PORT', 8000)}"
worker_class = ServiceWorker  # imported, not named, so that `gunicorn --check-config` finds what is wrong with it
worker_connections = sizing.clients(machine, threads)
backlog = 2048
keepalive = 75  # seconds; longer than the usual proxy's, so that it is the proxy that closes
timeout = 60  # seconds without a sign of life from a worker's main thread
graceful_timeout = 30  # seconds for requests in flight; the longest takes 25
# Who is believed about a client's address and scheme is TRUSTED_PROXY_COUNT's to say, and no header names a path.
forwarded_allow_ips = ""
forwarder_headers = ""
secure_scheme_headers: dict[str, str] = {}
control_socket_disable = True  # signals do; a socket in a home folder is one thing more to guard
# Our own middleware writes a line about each request, without the query string, where old clients put the token.
accesslog = None
logconfig_dict = configuration(env.log_level("LOG_LEVEL", logging.INFO))
on_starting = startup.settle
when_ready = let_nobody_in_first


def on_reload(server: Any) -> None:
    startup.settle_again(server)
    handover.begin()


def pre_fork(server: Any, worker: Any) -> None:
    process_files.keep_folder()


def child_exit(server: Any, worker: Any) -> None:
    process_files.retire(worker.pid)


def on_exit(server: Any) -> None:
    process_files.close_folder()
