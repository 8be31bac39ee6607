"""Start-up checks, each with an id and a hint: those of every start, and those of `check --deploy`.

remind.E001 to E032, E040   settings that can't work; no process starts with them
remind.E101 to E129, E140, E142   what production needs and lacks; reported by `check --deploy`
remind.W130, W141     what an operator would miss; reported there too

`remind_site.dangers` has those from E160 on.
"""

import os
from collections.abc import Iterator
from ipaddress import ip_network
from types import NoneType
from typing import Any
from urllib.parse import urlsplit

import dj_email_url
from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage, Error, register
from django.db import Error as DatabaseError
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.utils import timezone

from billing import ledger_guard, prices
from remind_site import reporting, sizing
from remind_site.backups import sealing
from suggestions.flow import PROVIDER_DONE_BY
from suggestions.providers import configured_model

THIS_MACHINE = {"localhost", "127.0.0.1", "0.0.0.0", "::1"}  # noqa: S104  # nosec  # named, not bound to
SHORTEST_METRICS_TOKEN = 16
OURS = {"messages", "model", "response_format", "stream"}


@register
def settings_can_work(**kwargs: Any) -> list[CheckMessage]:
    return list(_impossible_settings())


@register(deploy=True)
def production_is_complete(**kwargs: Any) -> list[CheckMessage]:
    return [*_missing_settings(), *_unwatched(), *_database_state()]


def _impossible_settings() -> Iterator[CheckMessage]:
    provider, base_url = settings.AI_PROVIDER, settings.OPENAI_BASE_URL
    impossible = [
        (
            "E001",
            provider not in {"openai", "local"},
            f"AI_PROVIDER is '{provider}'.",
            "Set it to 'openai' or 'local'.",
        ),
        (
            "E002",
            provider == "openai" and not settings.OPENAI_API_KEY,
            "AI_PROVIDER is 'openai', but there is no OPENAI_API_KEY.",
            "Set OPENAI_API_KEY, or AI_PROVIDER=local to do without.",
        ),
        (
            "E003",
            not 0 < settings.AI_TIMEOUT_SECONDS <= PROVIDER_DONE_BY,
            f"AI_TIMEOUT_SECONDS is {settings.AI_TIMEOUT_SECONDS:g}.",
            f"Clients are promised an answer within 25 seconds: set more than 0, at most {PROVIDER_DONE_BY:g}.",
        ),
        (
            "E004",
            not settings.REDIS_URL and settings.WEB_CONCURRENCY > 1,
            f"WEB_CONCURRENCY is {settings.WEB_CONCURRENCY}, but there is no REDIS_URL, so each process would "
            "count limits for itself.",
            "Set REDIS_URL, or WEB_CONCURRENCY=1.",
        ),
        (
            "E005",
            not _host(base_url) or _is_link_local(_host(base_url)),
            "OPENAI_BASE_URL is no http or https address, or one that names the machine's own metadata.",
            "Correct or unset it.",
        ),
        (
            "E006",
            min(settings.RATE_LIMIT_REQUESTS, settings.RATE_LIMIT_WINDOW_SECONDS) < 1,
            "RATE_LIMIT_REQUESTS and RATE_LIMIT_WINDOW_SECONDS must be at least 1.",
            "Unset them for 10 requests in 60 seconds.",
        ),
        (
            "E007",
            settings.TRUSTED_PROXY_COUNT < 0,
            "TRUSTED_PROXY_COUNT is negative.",
            "Set how many proxies are in front.",
        ),
        (
            "E008",
            not isinstance(settings.OPENAI_PARAMETERS, dict | NoneType)
            or bool(OURS & set(settings.OPENAI_PARAMETERS or {})),
            "OPENAI_PARAMETERS is no JSON object, or names what only the service decides.",
            f'For example {{"max_tokens": 600}}; without {", ".join(sorted(OURS))}.',
        ),
        (
            "E009",
            min(settings.WEB_CONCURRENCY, settings.WEB_THREADS, settings.DATABASE_POOL_MAX) < 1,
            *sizing.AT_LEAST_ONE,
        ),
        (
            "E010",
            bool(settings.REDIS_URL) and urlsplit(settings.REDIS_URL).scheme not in {"redis", "rediss", "unix"},
            "REDIS_URL is no redis, rediss or unix address.",
            "For example redis://127.0.0.1:6379/0.",
        ),
        (
            "E011",
            settings.EMAIL_SCHEME not in {"", *dj_email_url.SCHEMES},
            "EMAIL_URL is of no known kind.",
            "For example submission://user:password@host:587.",
        ),
        (
            "E012",
            settings.PADDLE_ENVIRONMENT not in {"sandbox", "production"},
            f"PADDLE_ENVIRONMENT is '{settings.PADDLE_ENVIRONMENT}'.",
            "Set it to 'sandbox' or 'production'.",
        ),
        (
            "E013",
            not all(map(_is_network, [*settings.PADDLE_ALLOWED_ADDRESSES, *settings.ADMIN_ALLOWED_ADDRESSES])),
            "PADDLE_ALLOWED_ADDRESSES or ADMIN_ALLOWED_ADDRESSES names something that is no address and no network.",
            "For example 34.194.127.46,10.8.0.0/24; unset it to allow any address.",
        ),
        (
            "E014",
            settings.PADDLE_CLOCK_TOLERANCE_SECONDS < 1,
            "PADDLE_CLOCK_TOLERANCE_SECONDS must be at least 1: with 0 a notification could be replayed for ever.",
            "Unset it for 30 seconds.",
        ),
        ("E015", settings.PADDLE_GRACE_DAYS < 0, "PADDLE_GRACE_DAYS is negative.", "Unset it for 3 days."),
        (
            "E016",
            not all(map(_host, [settings.SITE_URL, *_paddle_base_url()]))
            or any(map(_is_link_local, map(_host, _paddle_base_url()))),
            "SITE_URL or PADDLE_BASE_URL is no http or https address, or one that names the machine's own metadata.",
            "For example SITE_URL=https://api.example.com.",
        ),
        (
            "E018",
            settings.ADMIN_IDLE_MINUTES < 1,
            "ADMIN_IDLE_MINUTES must be at least 1.",
            "Unset it for an hour.",
        ),
        (
            "E030",
            bool(settings.SENTRY_DSN) and not reporting.is_dsn(settings.SENTRY_DSN),
            "SENTRY_DSN is no Sentry address.",
            "Copy it from the project's settings there, for example https://key@o1.ingest.sentry.io/2, or unset it.",
        ),
        (
            "E031",
            not 0 <= settings.SENTRY_TRACES_SAMPLE_RATE <= 1,
            f"SENTRY_TRACES_SAMPLE_RATE is {settings.SENTRY_TRACES_SAMPLE_RATE:g}.",
            "Set the share of requests to trace: 0 to 1.",
        ),
        (
            "E032",
            not reporting.USABLE_ENVIRONMENT.fullmatch(settings.SENTRY_ENVIRONMENT),
            "SENTRY_ENVIRONMENT is no name that Sentry takes.",
            "For example production or staging: up to 64 characters, no blanks and no slashes.",
        ),
        (
            "E017",
            bool(settings.PADDLE_WEBHOOK_SECRETS) and "TEST_MODE" in os.environ,
            "TEST_MODE is set in the environment: Paddle's SDK then takes signatures of any age.",
            "Unset TEST_MODE.",
        ),
        (
            "E021",
            not all(map(_is_key, [*settings.BACKUP_AGE_RECIPIENTS, *_backup_identity()])),
            "BACKUP_AGE_RECIPIENTS or BACKUP_AGE_IDENTITY holds something that is no key of age.",
            "'manage.py backup_key' makes a pair: recipients begin age1, an identity AGE-SECRET-KEY-1.",
        ),
        (
            "E022",
            _opens_nothing(),
            "BACKUP_AGE_IDENTITY is of none of BACKUP_AGE_RECIPIENTS: it would not open what is encrypted to them.",
            "Set the two of one pair.",
        ),
        (
            "E023",
            bool(settings.BACKUP_S3_BUCKET) and not settings.BACKUP_AGE_RECIPIENTS,
            "BACKUP_S3_BUCKET is set without BACKUP_AGE_RECIPIENTS: backups would leave this machine in the clear.",
            "Set BACKUP_AGE_RECIPIENTS; 'manage.py backup_key' makes a pair of keys.",
        ),
        ("E024", settings.BACKUP_KEEP_DAYS < 1, "BACKUP_KEEP_DAYS is less than 1.", "Unset it for 30 days."),
        (
            "E040",
            0 < len(settings.METRICS_TOKEN) < SHORTEST_METRICS_TOKEN,
            f"METRICS_TOKEN is shorter than {SHORTEST_METRICS_TOKEN} characters, so it could be guessed.",
            "Make one with 'openssl rand -hex 24'; unset it to close /metrics.",
        ),
    ]
    yield from _errors(impossible)


def _missing_settings() -> Iterator[CheckMessage]:
    needed = [
        ("E101", settings.SECRET_KEY_GENERATED, "SECRET_KEY is not set.", "Set a long random SECRET_KEY."),
        (
            "E102",
            settings.DATABASES["default"]["ENGINE"] != "django.db.backends.postgresql",
            "DATABASE_URL does not name a PostgreSQL database.",
            "SQLite is for trying out: set DATABASE_URL=postgresql://…",
        ),
        (
            "E103",
            not settings.REDIS_URL,
            "REDIS_URL is not set.",
            "Limits must be counted for all processes together: set REDIS_URL to a Redis or Valkey.",
        ),
        (
            "E104",
            settings.AI_PROVIDER == "local" and not settings.AI_PROVIDER_CHOSEN,
            "There is no AI provider: neither OPENAI_API_KEY nor AI_PROVIDER is set.",
            "Set OPENAI_API_KEY, or AI_PROVIDER=local to mean the built-in suggester.",
        ),
        (
            "E105",
            not set(settings.ALLOWED_HOSTS) - {"localhost", "127.0.0.1", "[::1]"},
            "ALLOWED_HOSTS names only this machine.",
            "Set it to the names that clients use, comma-separated.",
        ),
        ("E106", "*" in settings.ALLOWED_HOSTS, "ALLOWED_HOSTS allows every host.", "Name the hosts."),
        (
            "E107",
            not settings.HTTPS_ONLY,
            "HTTPS_ONLY is off.",
            "Tokens must not travel in the clear: set HTTPS_ONLY=on, and TRUSTED_PROXY_COUNT where a proxy ends TLS.",
        ),
        (
            "E108",
            not settings.EMAIL_SCHEME,
            "EMAIL_URL is not set: mail would be written to files.",
            "Set EMAIL_URL, for example submission://user:password@host:587, and EMAIL_FROM.",
        ),
        (
            "E109",
            not settings.ADMINS,
            "OPERATOR_EMAILS is not set: nobody would be told of a spent budget.",
            "Set it to the operators' addresses, comma-separated.",
        ),
        (
            "E114",
            not settings.PADDLE_API_KEY,
            "PADDLE_API_KEY is not set: nothing can be bought.",
            "Set it to a key of PADDLE_ENVIRONMENT; docs/PADDLE.md says how to make one.",
        ),
        (
            "E115",
            not settings.PADDLE_WEBHOOK_SECRETS,
            "PADDLE_WEBHOOK_SECRET is not set: every notification from Paddle would be refused.",
            "Set it to the secret of the notification destination.",
        ),
        (
            "E116",
            not settings.PADDLE_CLIENT_TOKEN,
            "PADDLE_CLIENT_TOKEN is not set: the payment page /pay can't open a checkout.",
            "Set it to a client-side token of PADDLE_ENVIRONMENT.",
        ),
        (
            "E117",
            "TEST_MODE" in os.environ,
            "TEST_MODE is set in the environment: Paddle's SDK then takes signatures of any age.",
            "Unset TEST_MODE.",
        ),
        (
            "E119",
            not settings.ADMIN_REQUIRE_2FA,
            "ADMIN_REQUIRE_2FA is off: a stolen password opens the console.",
            "Unset it, or set ADMIN_REQUIRE_2FA=on; a lost phone is 'Take away the second factor' on the user's page.",
        ),
        (
            "E140",
            any(map(_is_in_the_clear, [settings.SITE_URL, *_paddle_base_url()])),
            "SITE_URL or PADDLE_BASE_URL is plain http: what proves an address, or our key, can be read on the way.",
            "Use https.",
        ),
        (
            "E142",
            not settings.METRICS_TOKEN,
            "METRICS_TOKEN is not set: /metrics is closed, so nobody is woken when something is wrong.",
            "Set it to a long random text, and follow docs/monitoring/README.md.",
        ),
        (
            "E118",
            _host(settings.SITE_URL) in THIS_MACHINE,
            "SITE_URL names this machine, so the links in mails would lead nowhere.",
            "Set it to the address that clients use, for example https://api.example.com.",
        ),
        (
            "E126",
            not settings.BACKUP_AGE_RECIPIENTS,
            "BACKUP_AGE_RECIPIENTS is not set: backups would not be encrypted.",
            "Set it to a public key of age; 'manage.py backup_key' makes a pair.",
        ),
        (
            "E127",
            settings.BACKUP_VERIFY and not settings.BACKUP_AGE_IDENTITY,
            "BACKUP_AGE_IDENTITY is not set: backups could not be verified.",
            "Set it, or BACKUP_VERIFY=off where verify_backup runs on another machine.",
        ),
        (
            "E128",
            not settings.BACKUP_S3_BUCKET and not settings.BACKUP_FOLDER,
            "Neither BACKUP_S3_BUCKET nor BACKUP_FOLDER is set: backups would lie on this machine's disk.",
            "Set one of them; docs/backups/README.md says how.",
        ),
    ]
    yield from _errors(needed)
    if _is_in_the_clear(settings.OPENAI_BASE_URL):
        yield checks.Warning(
            "OPENAI_BASE_URL is plain http: the key and customers' reminders can be read on the way.",
            hint="Use https, unless the network in between is all yours.",
            id="remind.W141",
        )


def _unwatched() -> Iterator[CheckMessage]:
    if not settings.SENTRY_DSN:
        yield checks.Warning(
            "SENTRY_DSN is not set: errors stand in the log only, and nobody is told of them.",
            hint="Set it to the address of a project at Sentry, or of a server that speaks its protocol.",
            id="remind.W130",
        )


def _database_state() -> Iterator[CheckMessage]:
    try:
        executor = MigrationExecutor(connection)
        if executor.migration_plan(executor.loader.graph.leaf_nodes()):
            yield Error("Migrations are pending.", hint="Run 'manage.py migrate'.", id="remind.E111")
            return
        if ledger_guard.missing():
            yield Error(
                f"The ledger's triggers are missing: {', '.join(ledger_guard.missing())}.",
                hint="Run 'manage.py migrate', which installs them.",
                id="remind.E112",
            )
        model = configured_model()
        if prices.price_at(model, timezone.now()) is None:
            yield Error(
                f"There is no price for the configured model '{model}'.",
                hint="Add a model price in the console, under Billing.",
                id="remind.E113",
            )
    except DatabaseError as error:
        yield Error(
            f"The database can't be asked: {type(error).__name__}.",
            hint="Check DATABASE_URL and that the database is up.",
            id="remind.E110",
        )


def _is_network(text: str) -> bool:
    try:
        return bool(ip_network(text))
    except ValueError:
        return False


def _host(url: str) -> str:
    """The host of an http or https address; empty where it is none."""
    try:
        parts = urlsplit(url)
        return (parts.scheme in {"http", "https"} and parts.hostname) or ""
    except ValueError:
        return ""


def _is_key(text: str) -> bool:
    try:
        return bool(sealing.recipient(text) if text.startswith("age1") else sealing.identity(text))
    except ValueError:
        return False


def _backup_identity() -> list[str]:
    return [settings.BACKUP_AGE_IDENTITY] if settings.BACKUP_AGE_IDENTITY else []


def _opens_nothing() -> bool:
    """Whether there is a key that opens no backup; not asked of what is no key at all."""
    identity, recipients = settings.BACKUP_AGE_IDENTITY, settings.BACKUP_AGE_RECIPIENTS
    if not (identity and recipients and _is_key(identity)):
        return False
    return str(sealing.identity(identity).to_public()) not in recipients


def _is_link_local(host: str) -> bool:
    """Such as 169.254.169.254, where clouds hand a machine its credentials."""
    return _is_network(host) and ip_network(host).is_link_local


def _is_in_the_clear(url: str) -> bool:
    return urlsplit(url).scheme == "http" and _host(url) not in THIS_MACHINE


def _paddle_base_url() -> list[str]:
    return [settings.PADDLE_BASE_URL] if settings.PADDLE_BASE_URL else []


def _errors(rows: list[tuple[str, bool, str, str]]) -> Iterator[CheckMessage]:
    """An error for each row (number, whether it applies, problem, hint) that applies."""
    for number, applies, problem, hint in rows:
        if applies:
            yield Error(problem, hint=hint, id=f"remind.{number}")
