"""What the runbooks name exists: pages, commands and their options, alerts, panels, log events, settings."""

import json
import re
import shlex

import pytest
import yaml
from django.core.management import get_commands, load_command_class

from tests.service import ROOT

DOCS = ROOT / "docs"
PAGES = sorted((DOCS / "runbooks").glob("*.md"))
DOCUMENTS = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
SECTIONS = ["**You notice:**", "**Customers see:**", "## Do", "## It is over when", "## Tell customers"]
RULES = yaml.safe_load((DOCS / "monitoring" / "alerts.yml").read_text())
ALERTS = {rule["alert"]: rule for group in RULES["groups"] for rule in group["rules"] if "alert" in rule}
DASHBOARD = json.loads((DOCS / "monitoring" / "dashboard.json").read_text())
SOURCE = "\n".join(
    path.read_text()
    for app in ("remind_site", "suggestions", "billing", "licenses")
    for path in (ROOT / app).rglob("*.py")
)

of_each_page = pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)


def panels(board):
    for panel in board["panels"]:
        yield panel["title"]
        yield from panels(panel) if "panels" in panel else ()


def noticed(page):
    """The paragraph on how one notices."""
    return re.search(r"\*\*You notice:\*\*(.*?)\n\n", page.read_text(), re.DOTALL)[1]


def commands(text):
    """The arguments of each `manage.py ...` in a document."""
    for line in re.findall(r"manage\.py ([^\n`]+)", text):
        if line.startswith('"$@"'):  # a wrapper for any command
            continue
        plain = re.sub(r" +#.*| *\[[^\]]*\]|\\\|\w+", "", line)  # without comments, options in brackets, alternatives
        yield shlex.split(re.split(r"[|>]|&&", plain)[0])


@of_each_page
def test_a_page_says_all_that_is_needed_and_is_found(page):
    text = page.read_text()
    positions = [text.find(section) for section in SECTIONS]
    assert -1 not in positions
    assert positions == sorted(positions)
    assert f"(runbooks/{page.name})" in (DOCS / "INCIDENT_RESPONSE.md").read_text()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.stem)
def test_its_commands_exist_and_take_what_they_are_given(document):
    for name, *arguments in commands(document.read_text()):
        assert name in get_commands(), f"{document.name}: manage.py {name}"
        command = load_command_class(get_commands()[name], name)
        parser = command.create_parser("manage.py", name)
        assert "usage: " in parser.format_help()
        command._called_from_command_line = True
        if arguments:
            try:
                parser.parse_args(arguments)
            except SystemExit:
                pytest.fail(f"{document.name}: manage.py {name} {' '.join(arguments)}")


@of_each_page
def test_alerts_and_pages_name_each_other(page):
    named = {name for name in re.findall(r"`([A-Z][A-Za-z]+)`", noticed(page)) if not name.isupper()}
    assert named == {name for name, rule in ALERTS.items() if rule["annotations"]["runbook"].endswith(f"/{page.name}")}


def test_each_alert_leads_to_a_page():
    assert {rule["annotations"]["runbook"] for rule in ALERTS.values()} <= {
        f"docs/runbooks/{path.name}" for path in PAGES
    }


@of_each_page
def test_its_panels_are_on_the_dashboard(page):
    named = re.findall(r"panels? (?:\*[^*]+\*(?:, | and )?)+", page.read_text().replace("\n", " "))
    for title in re.findall(r"\*([^*]+)\*", " ".join(named)):
        assert title in set(panels(DASHBOARD)), title


@of_each_page
def test_its_log_events_are_in_the_code(page):
    words = re.findall(r"`([a-z]+_[a-z_]+)`", noticed(page))
    for word in words:
        assert f'"{word}"' in SOURCE, word


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.stem)
def test_its_settings_exist(document):
    known = (ROOT / ".env.example").read_text() + SOURCE
    for name in re.findall(r"`([A-Z][A-Z0-9]+(?:_[A-Z0-9]+)+)[=`]", document.read_text()):
        assert f"{name}=" in known or f'"{name}"' in known, name


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.stem)
def test_its_links_lead_somewhere(document):
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text()):
        assert (document.parent / target).exists(), target
