"""The OpenAPI description is true: whatever is sent, the answer is one that it allows, and never a 500."""

import json

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    allow_header_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from tests.service import Service, run_command, running

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    allow_header_conformance,
    unsupported_method,
]
EXAMPLES = 40  # for each operation, and for each way of signing on


@pytest.fixture(scope="module")
def service(template, logs, issued):
    with running(Service(template.copy(), logs, issued, AI_PROVIDER="local", RATE_LIMIT_REQUESTS="1000000")) as service:
        yield service


@pytest.fixture(scope="module")
def description(service):
    return service.client.get("/api/v1/schema").json()


def test_it_is_openapi_3_1_and_names_every_route(description):
    assert description["openapi"].startswith("3.1")
    assert set(description["paths"]) == {
        "/api/v1/suggest-reminder", "/api/v1/ai", "/api/v1/usage/stats", "/api/v1/usage-stats",
        "/api/v1/health", "/health", "/health/ready", "/api/v1/schema",
    }  # fmt: skip


def test_it_is_made_without_a_warning():
    done = run_command("spectacular", "--validate", "--fail-on-warn", env={})
    assert "openapi: 3.1" in done.stdout


def test_the_page_needs_no_internet(service):
    page = service.client.get("/api/v1/docs")
    assert page.status_code == 200
    assert "http://" not in page.text.replace(service.url, "")
    assert "https://" not in page.text
    for asset in ("swagger-ui.css", "swagger-ui-bundle.js"):
        assert asset in page.text
        assert service.client.get(f"/static/drf_spectacular_sidecar/swagger-ui-dist/{asset}").status_code == 200


@pytest.mark.parametrize("signed_on", [True, False], ids=["with a token", "without"])
def test_schemathesis_finds_nothing(service, description, signed_on):
    token = service.issue("team") if signed_on else None
    schema = schemathesis.openapi.from_dict(json.loads(json.dumps(description)))
    schema.config.update(base_url=service.url)

    statuses = {status for operation in schema.get_all_operations() for status in _attack(operation.ok(), token)}

    if signed_on:
        assert {200, 400} <= statuses, "the attack came through to the job itself"
    assert '"status_code": 500' not in service.log.read_text()
    assert service.reconcile() == ""


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
        if token:  # a made-up one beside it would only ever be refused
            for place in (case.query, case.body):
                if isinstance(place, dict):
                    place.pop("license_token", None)
        statuses.add(case.call_and_validate(headers=headers, checks=CHECKS).status_code)

    attack()
    return statuses
