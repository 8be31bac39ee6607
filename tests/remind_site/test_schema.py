"""The OpenAPI description is true: whatever is sent, the answer is one that it allows, and never a 500."""

import json
import re

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.checks import CHECKS
from schemathesis.generation import GenerationMode

from tests.service import run_command

ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Pacific/Apia"]
EXAMPLES = 40  # for each operation, and for each way of signing on


@pytest.fixture(scope="module")
def description(attacked):
    return attacked.client.get("/api/v1/schema").json()


def test_it_is_openapi_3_1_and_names_every_route(description):
    assert description["openapi"].startswith("3.1")
    assert set(description["paths"]) == {
        "/api/v1/suggest-reminder", "/api/v1/ai", "/api/v1/usage/stats", "/api/v1/usage-stats",
        "/api/v1/health", "/health", "/health/ready", "/api/v1/schema",
    }  # fmt: skip


def test_it_is_made_without_a_warning():
    done = run_command("spectacular", "--validate", "--fail-on-warn", env={})
    assert "openapi: 3.1" in done.stdout


def test_the_page_needs_no_internet(attacked):
    page = attacked.client.get("/api/v1/docs")
    assert page.status_code == 200
    assert "http://" not in page.text.replace(attacked.url, "")
    assert "https://" not in page.text
    for asset in ("swagger-ui.css", "swagger-ui-bundle.js"):
        assert asset in page.text
        assert attacked.client.get(f"/static/drf_spectacular_sidecar/swagger-ui-dist/{asset}").status_code == 200


@pytest.mark.parametrize("text", ["\x1e", "\x1f \x85", "x\x00", "\x1ex", "é"])
def test_the_descriptions_pattern_takes_what_the_service_takes(attacked, description, text):
    pattern = description["components"]["schemas"]["AskRequest"]["properties"]["reminder_text"]["pattern"]
    answer = attacked.suggest(attacked.issue("team"), text)
    # As other languages read it, whose \s is less than Python's.
    assert answer.status_code == (200 if re.search(pattern, text, re.ASCII) else 400)


@pytest.mark.parametrize("signed_on", [True, False], ids=["with a token", "without"])
def test_schemathesis_finds_nothing(attacked, description, signed_on):
    token = attacked.issue("team") if signed_on else None
    schemathesis.openapi.format("iana-timezone", st.sampled_from(ZONES))
    schema = schemathesis.openapi.from_dict(_without_token(description) if signed_on else description)
    schema.config.update(base_url=attacked.url)
    acceptance = schema.config.checks.positive_data_acceptance
    acceptance.expected_statuses = [*acceptance.expected_statuses, "422"]  # a key that came with another body before

    statuses = {status for operation in schema.get_all_operations() for status in _attack(operation.ok(), token)}

    if signed_on:
        assert {200, 400} <= statuses, "the attack came through to the job itself"
    assert '"status_code": 500' not in attacked.log.read_text()
    assert attacked.reconcile() == ""


def _without_token(description):
    """The description without the token's other places: one made up beside the header's would only be refused."""
    rest = json.loads(json.dumps(description))
    del rest["components"]["schemas"]["AskRequest"]["properties"]["license_token"]
    for operations in rest["paths"].values():
        for operation in operations.values():
            parameters = operation.get("parameters", [])
            operation["parameters"] = [one for one in parameters if one["name"] != "license_token"]
    return rest


def _attack(operation, token):
    """The statuses that an operation answered with; raises where one of them should not be."""
    strategy = operation.as_strategy(GenerationMode.POSITIVE) | operation.as_strategy(GenerationMode.NEGATIVE)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    statuses = set()

    @given(case=strategy)
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def attack(case):
        statuses.add(case.call_and_validate(headers=headers, checks=CHECKS.get_all()).status_code)

    attack()
    return statuses
