"""`manage.py ...` in a process of its own, for tests: forked from one that has the large libraries loaded already.

Each process still reads the settings anew from the environment that it is given; only what no setting changes is
shared. So a command starts in a third of the time, and the tests start some hundreds.

    run_command   what tests call
    the rest      the process that forks: `python -m tests.commands SOCKET`, until its standard input ends
"""

import atexit
import importlib
import json
import os
import runpy
import socket
import socketserver
import subprocess
import sys
import tempfile
import threading
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PATIENCE = 120.0  # seconds
LARGE = [
    "django.contrib.admin", "django.core.management", "django.db.models", "environs", "httpx2", "paddle_billing",
    "psycopg", "psycopg_pool", "redis", "rest_framework.serializers", "structlog",
]  # fmt: skip


def run_command(*args: str, env: dict[str, str], check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run a command with some variables added to this environment; what it said and its exit code."""
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as asked:
        said = [f"{folder}/out", f"{folder}/err"]
        asked.settimeout(PATIENCE)
        asked.connect(_server())
        asked.sendall(json.dumps({"args": args, "env": {**os.environ, **env}, "said": said}).encode() + b"\n")
        code = asked.makefile().read()
        out, err = (Path(path).read_text() for path in said)
    done = subprocess.CompletedProcess(args, int(code or -1), out, err)
    assert not check or done.returncode == 0, f"{args}: {done.stdout}\n{done.stderr}"
    return done


@cache
def _server() -> str:
    """The socket of a server that ends with this process."""
    folder = tempfile.TemporaryDirectory(prefix="remind-commands-")
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.commands", f"{folder.name}/socket"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdin
    assert process.stdout
    atexit.register(folder.cleanup)
    atexit.register(process.wait)
    atexit.register(process.stdin.close)
    process.stdout.readline()
    return f"{folder.name}/socket"


class Command(socketserver.StreamRequestHandler):
    """Runs one command, in a process that was forked for it."""

    def handle(self) -> None:
        asked = json.loads(self.rfile.readline())
        for number, path in enumerate(asked["said"], 1):
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), number)
        os.environ.clear()
        os.environ.update(asked["env"])
        code = _run(["manage.py", *asked["args"]])
        self.wfile.write(str(code).encode())


def _run(args: list[str]) -> int:
    """As `manage.py` would, and all that a process does when it ends."""
    sys.argv = args
    code = 0
    try:
        runpy.run_path("manage.py", run_name="__main__")
    except SystemExit as exit:
        code = exit.code if isinstance(exit.code, int) else int(exit.code is not None)
    except BaseException:  # noqa: BLE001  # whatever it is, a process would say it and end
        sys.excepthook(*sys.exc_info())
        code = 1
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    return code


class Server(socketserver.ForkingMixIn, socketserver.UnixStreamServer):
    max_children = 100
    request_queue_size = 100


def main() -> None:
    for name in LARGE:
        importlib.import_module(name)
    server = Server(sys.argv[1], Command)
    print("ready", flush=True)  # noqa: T201  # to the one who started it
    threading.Thread(target=server.serve_forever, args=[0.05], daemon=True).start()
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    main()
