"""The environment as hosts set it: blank variables, blanks in lists, a file named .env."""

import re

import pytest
from django.core.exceptions import ImproperlyConfigured

from tests.service import ROOT, run_command

SHOW = "from django.conf import settings; print(settings.{0!s})"
NAMES = re.findall(r"^#([A-Z0-9_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE)
KEPT = {"SECRET_KEY", "DATABASE_URL"}  # blank ones would be made up here, in the working tree


def shown(expression, **env):
    return run_command("shell", "-v", "0", "-c", SHOW.format(expression), env=env).stdout.strip()


def test_a_blank_variable_is_a_missing_one(database):
    blank = dict.fromkeys(set(NAMES) - KEPT, "") | {"AI_PROVIDER": "local", "DATABASE_URL": database.url}
    done = run_command("check", env=blank, check=False)
    assert done.returncode == 0, done.stderr
    assert shown("OPENAI_BASE_URL", **blank) == "https://api.openai.com/v1"
    assert shown("AI_TIMEOUT_SECONDS", **blank) == "20.0"


def test_lists_may_have_blanks():
    assert shown("ALLOWED_HOSTS", ALLOWED_HOSTS=" a.example, b.example ,") == "['a.example', 'b.example']"


@pytest.mark.parametrize(
    ("name", "value"),
    [("DEBUG", "perhaps"), ("WEB_THREADS", "many"), ("LOG_LEVEL", "LOUD"), ("AI_DAILY_BUDGET_USD", "x")],
)
def test_what_can_not_be_read_is_named(name, value):
    done = run_command("check", env={name: value}, check=False)
    assert done.returncode != 0
    assert name in done.stderr


@pytest.mark.parametrize(
    ("query", "env", "name"),
    [
        ("", {}, "remind-command"),
        ("", {"REMIND_WEB_PROCESS": "1"}, "remind-web"),
        ("application_name=other", {"REMIND_WEB_PROCESS": "1"}, "other"),
    ],
)
def test_connections_say_whose_they_are_unless_the_url_does(query, env, name):
    said = shown('DATABASES["default"]["OPTIONS"]["application_name"]', DATABASE_URL=f"postgresql://x/y?{query}", **env)
    assert said == name


def test_where_nothing_can_be_written_it_says_what_to_set(tmp_path, monkeypatch):
    """As in a container, or under systemd: var/ is made only where a setting is missing."""
    from remind_site import settings

    (tmp_path / "app").touch()
    monkeypatch.setattr(settings, "BASE_DIR", tmp_path / "app")
    with pytest.raises(ImproperlyConfigured, match="set SECRET_KEY, DATABASE_URL and EMAIL_URL"):
        settings.private_folder("mail")


def test_every_setting_has_a_line_in_the_example():
    readers = ("remind_site/settings.py", "remind_site/sizing.py", "gunicorn.conf.py")
    settings = "".join((ROOT / name).read_text() for name in readers)
    read = set(re.findall(r"""env\.\w+\(\s*["']([A-Z0-9_]+)["']""", settings)) - {"REMIND_WEB_PROCESS"}
    assert read | {"GIT_COMMIT"} == set(NAMES)  # that one has other names at some hosts
