"""Settings that work and are dangerous in production; `check --deploy` names each, with an id and a hint.

remind.E160 to E169   settings and networks; E170 to E178 what the database and the cache say of themselves
remind.W180 to W189   what is safe in some networks only, or by intention

What production lacks altogether, and what can't work at all, is in `remind_site.checks`; Django's own warnings
(a weak SECRET_KEY, cookies, HSTS) stand beside these.
"""

import logging
from collections.abc import Iterator
from datetime import UTC, datetime
from ipaddress import ip_address
from os import environ
from typing import Any
from urllib.parse import urlsplit

import psycopg
from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage
from django.db import Error as DatabaseError
from django.db import connection
from redis import Redis, RedisError

from remind_site import sizing

Row = tuple[str, bool, str, str]  # number, whether it applies, problem, hint

OLDEST_POSTGRES = 15
CLOCK_MAY_DIFFER = 2.0  # seconds
NOT_SENT = {"console", "file", "memory", "dummy"}


@checks.register(deploy=True)
def nothing_is_dangerous(**kwargs: Any) -> list[CheckMessage]:
    rows = (_settings(), _networks(), _database(), _pooler(), _cache())
    return [message for found in rows for message in _messages(found)]


def _settings() -> Iterator[Row]:
    yield (
        "E160",
        settings.DEBUG,
        "DEBUG is on: bugs would show code and settings to everybody.",
        "Unset DEBUG.",
    )
    yield (
        "E161",
        settings.HTTPS_ONLY and not settings.TRUSTED_PROXY_COUNT,
        "HTTPS_ONLY is on and TRUSTED_PROXY_COUNT is 0: the service itself speaks no TLS, so every request would be"
        " sent to https for ever, and the address limit would count the proxy.",
        "Set TRUSTED_PROXY_COUNT to how many proxies are in front.",
    )
    yield (
        "E162",
        settings.EMAIL_SCHEME in NOT_SENT,
        f"EMAIL_URL is of the kind '{settings.EMAIL_SCHEME}': no mail would leave, and the console's would put tokens"
        " into the log.",
        "For example EMAIL_URL=submission://user:password@host:587.",
    )
    yield (
        "E163",
        settings.LOG_LEVEL < logging.INFO,
        "LOG_LEVEL is DEBUG: libraries would log what they send, reminder texts included.",
        "Unset LOG_LEVEL.",
    )
    yield (
        "E164",
        bool(settings.PADDLE_API_KEY)
        and _paddle_world(settings.PADDLE_API_KEY) not in {"", settings.PADDLE_ENVIRONMENT},
        f"PADDLE_API_KEY is not one of PADDLE_ENVIRONMENT, which is '{settings.PADDLE_ENVIRONMENT}'.",
        "Set PADDLE_ENVIRONMENT to where the key was made.",
    )
    yield (
        "E165",
        bool(settings.PADDLE_CLIENT_TOKEN)
        and _paddle_world(settings.PADDLE_CLIENT_TOKEN) not in {"", settings.PADDLE_ENVIRONMENT},
        f"PADDLE_CLIENT_TOKEN is not one of PADDLE_ENVIRONMENT, which is '{settings.PADDLE_ENVIRONMENT}'.",
        "Set it to a client-side token that was made there.",
    )
    yield (
        "W180",
        bool(settings.PADDLE_API_KEY) and settings.PADDLE_ENVIRONMENT == "sandbox",
        "PADDLE_ENVIRONMENT is sandbox: licenses are given for play money.",
        "Set PADDLE_ENVIRONMENT=production, with that account's keys, before anything is sold.",
    )
    yield (
        "W181",
        settings.PADDLE_CLOCK_TOLERANCE_SECONDS > 300,
        "PADDLE_CLOCK_TOLERANCE_SECONDS is above 300: a notification that was overheard could be sent again for long.",
        "Unset it for 30 seconds, and keep the clock right.",
    )
    yield (
        "W182",
        settings.ADMIN_IDLE_MINUTES > 24 * 60,
        "ADMIN_IDLE_MINUTES is above a day: a computer left alone stays logged in.",
        "Unset it for an hour.",
    )


def _networks() -> Iterator[Row]:
    """What would cross a network that others may listen on."""
    open_origins = [origin for origin in settings.CORS_ALLOWED_ORIGINS if _is_http(origin)]
    yield (
        "E167",
        bool(open_origins),
        f"CORS_ORIGINS lets in a page that came without TLS: {', '.join(open_origins)}.",
        "Name https origins only; http is for this machine.",
    )
    trusted = [origin for origin in settings.CSRF_TRUSTED_ORIGINS if _is_http(origin) or "*" in origin]
    yield (
        "E168",
        bool(trusted),
        f"CSRF_TRUSTED_ORIGINS trusts more than it names, or a page that came without TLS: {', '.join(trusted)}.",
        "Name each origin, with https.",
    )
    yield (
        "E169",
        settings.EMAIL_SCHEME == "smtp"
        and not (settings.EMAIL_USE_TLS or settings.EMAIL_USE_SSL)
        and _is_remote(f"smtp://{settings.EMAIL_HOST}"),
        "EMAIL_URL sends mail, and with it tokens, to another machine without TLS.",
        "Use submission://user:password@host:587.",
    )
    yield (
        "W183",
        connection.vendor == "postgresql"
        and _is_remote(f"postgresql://{_database_host()}")
        and not _database_has_tls(),
        "DATABASE_URL names another machine and does not insist on TLS.",
        "Add ?sslmode=require (or verify-full) to DATABASE_URL, or set PGSSLMODE, unless that network is yours alone.",
    )
    yield (
        "W184",
        urlsplit(settings.REDIS_URL).scheme == "redis" and _is_remote(settings.REDIS_URL),
        "REDIS_URL names another machine and uses no TLS.",
        "Use rediss://, unless that network is yours alone.",
    )


def _database() -> Iterator[Row]:
    if connection.vendor != "postgresql":
        return
    try:
        with connection.cursor() as cursor:
            before = datetime.now(UTC)
            cursor.execute(
                "SELECT clock_timestamp(), current_setting('server_version_num')::int / 10000,"
                f" ({sizing.CONNECTIONS_SQL}), current_setting('synchronous_commit')"
            )
            now, version, takes, commits = cursor.fetchone()
            after = datetime.now(UTC)
    except DatabaseError:
        return  # remind.E110 says so
    apart = max((before - now).total_seconds(), (now - after).total_seconds())
    yield (
        "E170",
        apart > CLOCK_MAY_DIFFER,
        f"This machine's clock and the database's are {apart:.0f} seconds apart.",
        "Let both keep time by NTP: months, reservations and signatures depend on it.",
    )
    yield (
        "E171",
        version < OLDEST_POSTGRES,
        f"The database is PostgreSQL {version}.",
        f"Use {OLDEST_POSTGRES} or newer.",
    )
    pool = sizing.pool(settings.WEB_CONCURRENCY, settings.WEB_THREADS, takes)
    if not settings.DATABASE_POOLER_URL and (problem := sizing.excess(settings.WEB_CONCURRENCY, pool, takes)):
        yield "E172", True, *problem
    yield (
        "E173",
        commits == "off",
        "The database's synchronous_commit is off: a charge could be answered for and then be lost in a crash.",
        "Switch it on.",
    )


def _pooler() -> Iterator[Row]:
    """What web processes find behind DATABASE_POOLER_URL."""
    if not settings.DATABASE_POOLER_URL:
        return
    names = list(settings.DATABASE_TIMEOUTS)
    here = "SELECT current_database(), pg_postmaster_start_time()"
    try:
        with psycopg.connect(settings.DATABASE_POOLER_URL, connect_timeout=2, prepare_threshold=None) as pooled:
            shown = [pooled.execute("SELECT current_setting(%s)", [name]).fetchone() for name in names]
            there = pooled.execute(here).fetchone()
        with connection.cursor() as cursor:
            cursor.execute(here)
            elsewhere = cursor.fetchone() != there
    except psycopg.Error as error:
        hint = "Check DATABASE_POOLER_URL and that PgBouncer is up: web processes reach the database only through it."
        yield "E176", True, f"The database can't be asked through the pooler: {type(error).__name__}.", hint
        return
    except DatabaseError:
        return  # remind.E110 says so
    unset = [name for name, row in zip(names, shown, strict=True) if row in {None, ("0",)}]
    yield (
        "E177",
        bool(unset),
        f"Connections of DATABASE_POOLER_URL have no {', '.join(unset)}: one statement that hangs could hold up all.",
        "Set them in the pooler's connect_query, as deploy/pgbouncer/pgbouncer.ini does.",
    )
    yield (
        "E178",
        elsewhere,
        "DATABASE_POOLER_URL leads to another database than DATABASE_URL.",
        "Let both name the same database of the same server.",
    )


def _cache() -> Iterator[Row]:
    if not settings.REDIS_URL:
        return  # remind.E103 says so
    try:
        with Redis.from_url(settings.REDIS_URL, socket_timeout=2, socket_connect_timeout=2) as redis:
            memory: Any = redis.info("memory")
    except (RedisError, OSError, ValueError) as error:
        hint = "Check REDIS_URL and that the server is up; without it each process counts limits for itself."
        yield "E174", True, f"The cache can't be asked: {type(error).__name__}.", hint
        return
    policy = memory.get("maxmemory_policy", "noeviction")
    yield (
        "E175",
        bool(memory.get("maxmemory")) and policy != "noeviction",
        f"The cache's maxmemory-policy is '{policy}': once it is full it forgets counters, and limits with them.",
        "Set maxmemory-policy to noeviction: then it refuses, and the service counts in its own memory and says so.",
    )


def _paddle_world(key: str) -> str:
    """Which of Paddle's environments a key or client-side token says it is of; empty where it does not say."""
    if "_sdbx_" in key or key.startswith("test_"):
        return "sandbox"
    return "production" if "_live_" in key or key.startswith("live_") else ""


def _is_http(origin: str) -> bool:
    return urlsplit(origin).scheme == "http" and _is_remote(origin)


def _is_remote(url: str) -> bool:
    """Whether the way there may lead through a network of others. A name without a dot is one of a private network's
    own, such as compose's; no name at all is a unix socket."""
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:
        return False  # remind.E016 says so
    try:
        return not ip_address(host).is_loopback
    except ValueError:
        return "." in host and not host.endswith(".localhost")


def _database_host() -> str:
    host = str(settings.DATABASES["default"].get("HOST") or "")
    return "" if host.startswith("/") else host


def _database_has_tls() -> bool:
    asked = settings.DATABASES["default"].get("OPTIONS", {}).get("sslmode") or environ.get("PGSSLMODE", "")
    return asked in {"require", "verify-ca", "verify-full"}


def _messages(rows: Iterator[Row]) -> Iterator[CheckMessage]:
    for number, applies, problem, hint in rows:
        if applies:
            kind = checks.Error if number.startswith("E") else checks.Warning
            yield kind(problem, hint=hint, id=f"remind.{number}")
