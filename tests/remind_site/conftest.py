"""What the attacks on the service's doors share: one service, with limits that are in nobody's way."""

import pytest

from tests.paddle import SECRET
from tests.service import Service, running


@pytest.fixture(scope="package")
def attacked(template, logs, issued):
    settings = {"AI_PROVIDER": "local", "RATE_LIMIT_REQUESTS": "1000000", "PADDLE_WEBHOOK_SECRET": SECRET}
    with running(Service(template.copy(), logs, issued, **settings)) as service:
        yield service
