"""What the tests share: rows, an API client, the deployed service, and the log of the whole run."""

import itertools
import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.test import Client

from billing import refusals
from billing.models import PlanPrice
from licenses import lifecycle, limits, tokens
from licenses.models import License, Plan
from remind_site.logs import configuration
from suggestions import providers
from tests.factories import LicenseFactory
from tests.fake_provider import FakeProvider
from tests.mailbox import Mailbox
from tests.paddle import SECRET, FakePaddle, signed
from tests.service import Database, Service, Template, run_command, running

ISSUED: set[str] = set()  # every token that this run minted


@pytest.fixture(scope="session")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("logs")


@pytest.fixture(scope="session")
def issued() -> set[str]:
    return ISSUED


@pytest.fixture(scope="session", autouse=True)
def _log_of_this_process(logs: Path) -> Iterator[None]:
    config = configuration(logging.DEBUG)
    logging.config.dictConfig({**config, "root": {"handlers": [], "level": "INFO"}})
    handler = logging.FileHandler(logs / "tests.log")
    formatter = dict(config["formatters"]["json"])
    handler.setFormatter(formatter.pop("()")(**formatter))
    logging.getLogger().addHandler(handler)
    yield
    handler.close()


@pytest.fixture(scope="session", autouse=True)
def _no_token_is_in_any_log(logs: Path, _log_of_this_process: None) -> Iterator[None]:
    """When all is over: every line that this process and its services wrote, for every token that was issued."""
    yield
    text = "".join(path.read_text(errors="replace") for path in logs.glob("*.log"))
    for token in ISSUED:
        secret = token.rpartition("_")[2]
        for piece in (secret[:8], secret[8:18], secret[-10:]):
            assert piece not in text, f"a token of {token[:10]} is in the log"


@pytest.fixture(scope="session", autouse=True)
def _remember_tokens() -> Iterator[None]:
    mint = tokens.mint
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tokens, "mint", lambda slug: ISSUED.add(token := mint(slug)) or token)
        yield


@pytest.fixture(autouse=True)
def _fresh_process(settings: Any) -> Iterator[None]:
    """Nothing that a process keeps goes from one test to the next."""
    limits._memory = limits.MemoryCounter()
    refusals.gathered._counts.clear()
    yield
    if limits._make_shared.cache_info().currsize and (shared := limits._shared()):
        shared._redis.connection_pool.disconnect()
    if providers.configured.cache_info().currsize:
        client = getattr(providers.configured().provider, "client", None)
        if client is not None:
            client.close()
    limits._make_shared.cache_clear()
    providers.configured.cache_clear()


@pytest.fixture
def valkey() -> Iterator[Any]:
    """The shared cache, empty."""
    from redis import Redis

    client = Redis.from_url(django_settings.REDIS_URL)
    client.flushdb()
    yield client
    client.close()


@pytest.fixture
def license(db: None) -> License:
    return LicenseFactory()


@pytest.fixture
def token(license: License) -> str:
    return lifecycle.add_token(license, by="test")[1]


@pytest.fixture(params=[True, False], ids=["one statement", "several statements"])
def either_way(request: pytest.FixtureRequest, settings: Any) -> bool:
    """Each way in which the ledger reserves and settles on PostgreSQL."""
    settings.LEDGER_IN_ONE_STATEMENT = request.param
    return bool(request.param)


Post = Callable[..., Any]


@pytest.fixture
def post(client: Client, token: str) -> Post:
    """`post(text, **more)`: ask for a suggestion as the license; the response has `.json()`."""

    def post(text: Any = "call mum", *, bearer: str | None = token, headers: Any = None, **fields: Any) -> Any:
        authorization = {"Authorization": f"Bearer {bearer}"} if bearer else {}
        return client.post(
            "/api/v1/suggest-reminder",
            json.dumps({"reminder_text": text, **fields}),
            content_type="application/json",
            headers={**authorization, **(headers or {})},
        )

    return post


@pytest.fixture
def provider() -> Iterator[FakeProvider]:
    fake = FakeProvider()
    yield fake
    fake.close()


@pytest.fixture
def openai(settings: Any, provider: FakeProvider) -> FakeProvider:
    """The fake provider, as the one that this process is configured to ask."""
    settings.AI_PROVIDER = "openai"
    settings.OPENAI_API_KEY = "sk-test"
    settings.OPENAI_BASE_URL = provider.base_url
    return provider


@pytest.fixture(scope="session")
def template() -> Template:
    return Template(run_url())


def run_url() -> str:
    import os

    return os.environ["DATABASE_URL"]


@pytest.fixture
def database(template: Template) -> Database:
    return template.copy()


@pytest.fixture
def start(
    template: Template, logs: Path, issued: set[str], provider: FakeProvider, valkey: Any
) -> Iterator[Callable[..., Service]]:
    """`start(**env)`: the service on PostgreSQL and Valkey, asking the fake provider, with settings of its own."""
    started = []

    def start(database: Database | None = None, **env: str) -> Service:
        valkey.flushdb()  # licenses are numbered alike in every copy
        asking = {"AI_PROVIDER": "openai", "OPENAI_API_KEY": "sk-test", "OPENAI_BASE_URL": provider.base_url}
        manager = running(Service(database or template.copy(), logs, issued, **{**asking, **env}))
        started.append(manager)
        return manager.__enter__()

    yield start
    for manager in started:
        manager.__exit__(None, None, None)


@pytest.fixture
def sqlite(tmp_path: Path) -> Database:
    """A migrated SQLite file."""
    database = Database(f"sqlite:///{tmp_path / 'remind.sqlite3'}")
    run_command("migrate", "--verbosity", "0", env={"DATABASE_URL": database.url})
    return database


_addresses = (f"10.{a}.{b}.{c}" for a, b, c in itertools.product(range(256), range(256), range(1, 255)))


@pytest.fixture
def address() -> str:
    """A client address that no other test uses."""
    return next(_addresses)


@pytest.fixture
def paddle(settings: Any) -> Iterator[FakePaddle]:
    """Paddle, as this process is configured to know it."""
    fake = FakePaddle()
    settings.PADDLE_API_KEY = "pdl_sdbx_apikey_test"
    settings.PADDLE_WEBHOOK_SECRETS = [SECRET]
    settings.PADDLE_BASE_URL = fake.base_url
    yield fake
    fake.close()


@pytest.fixture
def mailbox(settings: Any) -> Iterator[Mailbox]:
    """The mail server that this process sends to."""
    box = Mailbox()
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", box.port
    yield box
    box.close()


@pytest.fixture
def deliver(client: Client, paddle: FakePaddle) -> Callable[..., Any]:
    """`deliver(event, ...)`: Paddle's notifications, signed, over HTTP; the last response."""

    def deliver(*events: dict[str, Any]) -> Any:
        for event in events:
            body = json.dumps(event).encode()
            response = client.post(
                "/webhooks/paddle",
                body,
                content_type="application/json",
                headers={"Paddle-Signature": signed(body, SECRET)},
            )
        return response

    return deliver


@pytest.fixture
def prices(db: None) -> dict[str, str]:
    """Paddle's price ids of indie, pro and team a month, and of pro a year."""
    known = {"indie": "pri_indie_month", "pro": "pri_pro_month", "team": "pri_team_month"}
    for slug, price_id in known.items():
        PlanPrice.objects.create(price_id=price_id, plan=Plan.objects.get(slug=slug))
    PlanPrice.objects.create(price_id="pri_pro_year", plan=Plan.objects.get(slug="pro"), interval="year")
    return {**known, "pro_year": "pri_pro_year"}
