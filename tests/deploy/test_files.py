"""What deployments are made of: the files name what exists, keep secrets out, and fit the times that the code needs."""

import configparser
import fnmatch
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import threading
import tomllib
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
import yaml
from django.conf import settings
from django.core.management import get_commands

from tests.service import ROOT

SETTINGS = set(re.findall(r"^#([A-Z_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))
DOCUMENTS = [ROOT / "docs" / name for name in ("DEPLOYMENT.md", "LAUNCH_CHECKLIST.md")]
UNITS = sorted((ROOT / "deploy" / "systemd").iterdir())
GRACE = int(re.search(r"^graceful_timeout = (\d+)", (ROOT / "gunicorn.conf.py").read_text(), re.MULTILINE)[1])
TASK = settings.Q_CLUSTER["timeout"]
CODE = {"billing", "licenses", "remind_site", "suggestions", "templates"}


def tracked(path):
    listed = subprocess.run(["git", "ls-files", path], cwd=ROOT, capture_output=True, text=True, check=True)
    return listed.stdout.split()


def instructions():
    """The Dockerfile's, as (name, rest) with continued lines joined."""
    text = re.sub(r"\\\n", " ", (ROOT / "Dockerfile").read_text())
    return [tuple(line.split(None, 1)) for line in text.splitlines() if line.strip() and not line.startswith("#")]


def runs(command):
    """A command line that starts something of ours starts something that exists."""
    words = command if isinstance(command, list) else shlex.split(command)
    if "manage.py" in words:
        return words[words.index("manage.py") + 1] in get_commands()
    return words[0].rpartition("/")[2] == "gunicorn" and words[-1] == "remind_site.wsgi"


def test_the_image_has_the_code_and_nothing_else():
    copied = [rest.split()[:-1] for name, rest in instructions() if name == "COPY" and "--from" not in rest]
    sources = {source for line in copied for source in line}
    assert sources == CODE | {"manage.py", "gunicorn.conf.py", "requirements.txt"}
    assert {path.parent.name for path in ROOT.glob("*/apps.py")} <= sources
    ignore = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    assert ignore[0] == "*"
    assert {line.removeprefix("!/") for line in ignore if line[0] == "!"} == sources
    kept_out = [line for line in ignore[1:] if line[0] != "!"]
    assert any(fnmatch.fnmatch("remind_site/.env", pattern) for pattern in kept_out)
    for source in sources:
        assert tracked(source), source


def test_the_image_is_pinned_and_runs_as_nobody_in_particular():
    lines = instructions()
    (python,) = [rest for name, rest in lines if name == "ARG"]
    assert re.fullmatch(r"PYTHON=3\.\d+\.\d+-slim-\w+", python)
    assert {rest.split()[0] for name, rest in lines if name == "FROM"} == {"python:${PYTHON}"}
    users = [rest for name, rest in lines if name == "USER"]
    assert users == ["10001:10001"]
    assert not SETTINGS & set(re.findall(r"(\w+)=", " ".join(rest for name, rest in lines if name in {"ENV", "ARG"})))
    assert "requirements-dev" not in (ROOT / "Dockerfile").read_text()
    assert runs(json.loads(lines[-1][1]))
    pins = [line for line in (ROOT / "requirements.txt").read_text().splitlines() if line and line[0] not in " #"]
    assert all("==" in line for line in pins)


@pytest.mark.parametrize(("status", "healthy"), [(200, True), (500, False)])
def test_the_images_health_check(status, healthy):
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(status if self.path == "/health" else 404)
            self.end_headers()

        def log_message(self, *args):
            pass

    (rest,) = [rest for name, rest in instructions() if name == "HEALTHCHECK"]
    command = json.loads(rest[rest.index("CMD ") + 4 :])
    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        env = {"PORT": str(server.server_port)}
        done = subprocess.run([sys.executable, *command[1:]], env=env, capture_output=True)  # noqa: PLW1510
    assert (done.returncode == 0) is healthy


def seconds(text):
    return int(text.removesuffix("s"))


def test_compose():
    compose = yaml.safe_load((ROOT / "compose.yaml").read_text())
    services = compose["services"]
    assert set(services) == {"postgres", "valkey", "migrate", "web", "worker"}
    for name in ("postgres", "valkey"):
        assert re.search(r":\d+\.\d+", services[name]["image"])
        assert services[name]["healthcheck"]["test"][0] == "CMD"
    for name in ("migrate", "web", "worker"):
        service = services[name]
        assert service["env_file"] == ".env"
        assert set(service["environment"]) <= SETTINGS
        assert service["read_only"] is True
        assert "command" not in service or runs(service["command"])
        for needed, how in service["depends_on"].items():
            assert how["condition"] == (
                "service_completed_successfully" if needed == "migrate" else "service_healthy"
            ), name
    assert (
        set(services["web"]["depends_on"]) == set(services["worker"]["depends_on"]) == {"migrate", "postgres", "valkey"}
    )
    assert services["migrate"]["restart"] == "no"
    assert services["web"]["ports"] == ["127.0.0.1:8000:8000"], "a proxy is in front; nobody else may write its headers"
    assert seconds(services["web"]["stop_grace_period"]) > GRACE
    assert seconds(services["worker"]["stop_grace_period"]) > TASK
    assert set(services["postgres"]["volumes"]) == {"postgres:/var/lib/postgresql/data"}
    secrets = re.findall(r"(?:PASSWORD: |remind:)(\S+?)(?:@|\n|$)", (ROOT / "compose.yaml").read_text())
    assert {secret for secret in secrets if not secret.startswith("${")} == set()


def test_the_procfile():
    lines = dict(line.split(": ", 1) for line in (ROOT / "Procfile").read_text().splitlines())
    assert set(lines) == {"release", "web", "worker"}
    assert all(runs(command) for line in lines.values() for command in line.split(" && "))
    assert "manage.py migrate" in lines["release"]


def unit(name):
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str
    parser.read(ROOT / "deploy" / "systemd" / name)
    return parser


def test_the_units_wait_for_what_is_under_way():
    web, worker = unit("remind-web.service")["Service"], unit("remind-worker.service")["Service"]
    assert web["KillMode"] == worker["KillMode"] == "mixed"
    assert int(web["TimeoutStopSec"]) > GRACE
    assert int(worker["TimeoutStopSec"]) > TASK
    for path in UNITS:
        for command in re.findall(r"^Exec\w+=(/opt/.*)", path.read_text(), re.MULTILINE):
            assert runs(command), command


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is needed (apt-get install systemd)")
def test_systemd_takes_the_units(tmp_path):
    """With this folder for the one that they name, and the drop-in where it is to be."""
    for path in UNITS:
        text = path.read_text().replace("/opt/remind/app", str(ROOT))
        if path.name == "hardening.conf":
            for name in ("remind-web", "remind-worker"):
                (tmp_path / f"{name}.service.d").mkdir()
                (tmp_path / f"{name}.service.d" / path.name).write_text(text)
        else:
            (tmp_path / path.name).write_text(text)
    units = [str(path) for path in tmp_path.glob("remind-*") if path.is_file()]
    env = {"SYSTEMD_UNIT_PATH": f"{tmp_path}:"}
    done = subprocess.run(["systemd-analyze", "verify", *units], env=env, capture_output=True, text=True)  # noqa: PLW1510
    assert (done.returncode, done.stderr) == (0, "")


def test_the_wrapper_for_commands(tmp_path):
    fake = tmp_path / "systemd-run"
    fake.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    fake.chmod(0o755)
    for release in ("", "/opt/remind/releases/v2"):
        env = {"PATH": f"{tmp_path}:/bin:/usr/bin", "RELEASE": release}
        said = subprocess.run([ROOT / "deploy" / "remind", "license", "show", "a b"], env=env, capture_output=True)  # noqa: PLW1510
        folder = release or "/opt/remind/app"
        words = said.stdout.decode().splitlines()
        assert words[-5:] == [f"{folder}/.venv/bin/python", "manage.py", "license", "show", "a b"]
        assert {"--uid=remind", "--property=EnvironmentFile=/etc/remind/env", f"--working-directory={folder}"} <= {
            *words
        }


OF_THE_MASTER = """
import importlib.util, sys
from types import SimpleNamespace
spec = importlib.util.spec_from_file_location("conf", "gunicorn.conf.py")
conf = importlib.util.module_from_spec(spec)
spec.loader.exec_module(conf)
conf.startup.settle_again(SimpleNamespace(cfg=SimpleNamespace(workers=1, threads=1)))
conf.process_files.retire(0)
conf.on_exit(None)
print(*(module.__file__ for module in list(sys.modules.values()) if getattr(module, "__file__", None)), sep="\\n")
"""


def test_what_a_reload_keeps_is_named():
    """gunicorn's master has imported it, and all that it forks inherits it."""
    done = subprocess.run([sys.executable, "-c", OF_THE_MASTER], cwd=ROOT, capture_output=True, text=True, check=True)
    kept = {
        path.removeprefix(f"{ROOT}/")
        for path in done.stdout.splitlines()
        if path.startswith(tuple(f"{ROOT / code}/" for code in CODE)) and not path.endswith("__init__.py")
    }
    (paragraph,) = [
        part for part in DOCUMENTS[0].read_text().split("\n\n") if part.startswith("`systemctl reload remind-web`")
    ]
    assert kept == set(re.findall(r"`(\w+/[\w/]+\.py)`", paragraph))


def test_a_reload_is_refused_what_a_worker_could_not_load(tmp_path):
    """By the unit's first ExecReload: in a module that only workers import, and in one that only gunicorn does."""
    for code in CODE:
        shutil.copytree(ROOT / code, tmp_path / code)
    for name in ("gunicorn.conf.py", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    text = (ROOT / "deploy" / "systemd" / "remind-web.service").read_text()
    first = re.findall(r"^ExecReload=\S+/(gunicorn .*)$", text, re.MULTILINE)[0]
    env = {**os.environ, "AI_PROVIDER": "openai", "OPENAI_API_KEY": "of-nobody"}

    def check():
        command = [sys.executable, "-m", *shlex.split(first)]
        return subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)  # noqa: PLW1510

    well = check()
    assert (well.returncode, well.stdout, well.stderr) == (0, "", "")
    for name in ("suggestions/providers/openai.py", "remind_site/worker.py"):
        module = tmp_path / name
        good = module.read_text()
        module.write_text(f"{good}\ndef broken(:\n")
        assert check().returncode != 0, name
        module.write_text(good)


def test_each_dependency_has_its_reason():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    text = (ROOT / "docs" / "ARCHITECTURE.md").read_text()
    reasons = text[text.index("## Dependencies") :].lower()
    names = {re.match(r"[\w-]+", line)[0].removesuffix("-binary") for line in declared}
    said_otherwise = {
        "djangorestframework": "drf",
        "django-stubs": "the stubs",
        "djangorestframework-stubs": "the stubs",
    }
    assert {name for name in names if said_otherwise.get(name, name) not in reasons} == set()


def commands(text):
    """What a page says to run of ours: (manage.py's commands, make's targets)."""
    return (
        re.findall(r"\bmanage\.py (\w+)|^\s*(?:sudo )?remind (\w+)", text, re.MULTILINE),
        re.findall(r"\bmake ([a-z]+)(?=`|$|\n| #)", text),
    )


def anchors(page):
    """Of its headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_command_and_path_in_the_documents_exists(path):
    text = path.read_text()
    managed, made = commands(text)
    assert managed
    assert {first or second for first, second in managed} <= set(get_commands())
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(made) <= targets
    for link, anchor in re.findall(r"\]\((?!http)([^)#]+)#?([^)]*)\)", text):
        page = path.parent / link
        assert page.exists(), link
        assert not anchor or anchor in anchors(page), f"{link}#{anchor}"
    for file in re.findall(r"(?<![\w/])(?:deploy|docs|tests)/[\w./*-]*[\w*]", text):
        assert list(ROOT.glob(file)), file
    for name in re.findall(r"^#?([A-Z_]{4,})=", text, re.MULTILINE):
        assert name in SETTINGS | {"POSTGRES_PASSWORD", "PGSSLMODE"}, name


def test_each_line_of_the_checklist_is_a_command_or_a_link():
    lines = re.findall(r"^- \[ \] (.*(?:\n  .*)*)", (ROOT / "docs" / "LAUNCH_CHECKLIST.md").read_text(), re.MULTILINE)
    assert len(lines) > 20
    assert [
        line for line in lines if not re.search(r"`(python manage|make|curl|sudo|git|python -m) ?[^`]+`|\]\(", line)
    ] == []
