"""`check --deploy`: clean with production's settings, naming what is missing without; and what stops any start."""

import os

import pytest
from django.db import connection
from pyrage import x25519

from tests.service import free_port, run_command

KEY, OTHER_KEY = x25519.Identity.generate(), x25519.Identity.generate()
PRODUCTION = {
    "SECRET_KEY": "a-long-enough-key-for-a-test-of-production-0123456789-abcdef",
    "ALLOWED_HOSTS": "api.remind.dev",
    "HTTPS_ONLY": "on",
    "TRUSTED_PROXY_COUNT": "1",
    "AI_PROVIDER": "",
    "OPENAI_API_KEY": "sk-production",
    "EMAIL_URL": "submission://user:password@mail.example.com:587",
    "OPERATOR_EMAILS": "ops@example.com",
    "PADDLE_ENVIRONMENT": "production",
    "PADDLE_API_KEY": "pdl_live_apikey_test",
    "PADDLE_WEBHOOK_SECRET": "pdl_ntfset_test",
    "PADDLE_CLIENT_TOKEN": "live_test",
    "SITE_URL": "https://api.remind.dev",
    "METRICS_TOKEN": "a-long-enough-token-for-prometheus",
    "ADMIN_REQUIRE_2FA": "on",
    "SENTRY_DSN": "https://0123456789abcdef@sentry.example.com/1",
    "BACKUP_S3_BUCKET": "remind-backups",
    "BACKUP_AGE_RECIPIENTS": str(KEY.to_public()),
    "BACKUP_AGE_IDENTITY": str(KEY),
    "RATE_LIMIT_REQUESTS": "10",
    "WEB_CONCURRENCY": "2",
}
MISSING = {
    "SECRET_KEY": "remind.E101",
    "DATABASE_URL": "remind.E102",
    "REDIS_URL": "remind.E103",
    "OPENAI_API_KEY": "remind.E104",
    "ALLOWED_HOSTS": "remind.E105",
    "HTTPS_ONLY": "remind.E107",
    "EMAIL_URL": "remind.E108",
    "OPERATOR_EMAILS": "remind.E109",
    "PADDLE_API_KEY": "remind.E114",
    "PADDLE_WEBHOOK_SECRET": "remind.E115",
    "PADDLE_CLIENT_TOKEN": "remind.E116",
    "SITE_URL": "remind.E118",
    "METRICS_TOKEN": "remind.E142",
    "ADMIN_REQUIRE_2FA": "remind.E119",
    "SENTRY_DSN": "remind.W130",
    "BACKUP_AGE_RECIPIENTS": "remind.E126",
    "BACKUP_AGE_IDENTITY": "remind.E127",
    "BACKUP_S3_BUCKET": "remind.E128",
}


def check(env, *flags):
    return run_command("check", "--deploy", "--fail-level", "WARNING", *flags, env=env, check=False)


@pytest.fixture
def production(database):
    """All that production needs. The tests' server commits without waiting; this connection does not."""
    separator = "&" if "?" in database.url else "?"
    url = f"{database.url}{separator}options=-c%20synchronous_commit%3Don"
    return {**PRODUCTION, "DATABASE_URL": url, "REDIS_URL": os.environ["REDIS_URL"]}


def test_productions_settings_are_clean(production):
    done = check(production)
    assert done.returncode == 0, done.stderr
    assert "no issues" in done.stdout


def test_without_any_each_is_named_with_a_hint(tmp_path):
    env = dict.fromkeys([*PRODUCTION, "DATABASE_URL", "REDIS_URL"], "")
    env |= {"RATE_LIMIT_REQUESTS": "10", "TRUSTED_PROXY_COUNT": "0", "HTTPS_ONLY": "off", "WEB_CONCURRENCY": "1"}
    env |= {"ALLOWED_HOSTS": "localhost", "DATABASE_URL": f"sqlite:///{tmp_path / 'empty.sqlite3'}"}
    env["OPERATOR_EMAILS"], env["ADMIN_REQUIRE_2FA"] = "", "off"
    env["SITE_URL"] = "http://localhost:8000"
    done = check(env)
    assert done.returncode == 1
    for name, number in MISSING.items():
        assert number in done.stderr, name
        assert name in done.stderr
    assert done.stderr.count("HINT") >= len(MISSING)


@pytest.mark.parametrize(
    ("change", "number"),
    [
        ({"OPENAI_MODEL": "gpt-unheard-of"}, "remind.E113"),
        ({"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/nothing"}, "remind.E110"),
        ({"DEBUG": "on"}, "security.W018"),
        ({"ALLOWED_HOSTS": "*"}, "remind.E106"),
        ({"TEST_MODE": "1", "PADDLE_WEBHOOK_SECRET": ""}, "remind.E117"),
    ],
)
def test_what_is_dangerous_is_named(production, change, number):
    done = check({**production, **change})
    assert done.returncode == 1
    assert number in done.stderr


# Many at once, since each process takes its time.
DANGERS = {
    "DEBUG": ("on", "remind.E160", "security.W018"),
    "TRUSTED_PROXY_COUNT": ("0", "remind.E161"),
    "EMAIL_URL": ("console:", "remind.E162"),
    "LOG_LEVEL": ("DEBUG", "remind.E163"),
    "PADDLE_API_KEY": ("pdl_sdbx_apikey_x", "remind.E164"),
    "PADDLE_CLIENT_TOKEN": ("test_x", "remind.E165"),
    "SITE_URL": ("http://api.remind.dev", "remind.E140"),
    "CORS_ORIGINS": ("https://remind.dev,http://remind.dev", "remind.E167"),
    "CSRF_TRUSTED_ORIGINS": ("http://console.remind.dev", "remind.E168"),
    "DATABASE_POOL_MAX": ("200", "remind.E172"),
    "REDIS_URL": ("redis://192.0.2.1:1/0", "remind.E174", "remind.W184"),
    "PADDLE_CLOCK_TOLERANCE_SECONDS": ("301", "remind.W181"),
    "ADMIN_IDLE_MINUTES": ("1441", "remind.W182"),
    "SECRET_KEY": ("short", "security.W009"),
    "SECRET_KEY_FALLBACKS": ("former", "security.W025"),
}


def test_dangers_are_named(production):
    url = production["DATABASE_URL"].replace("%3Don", "%3Doff")
    done = check({**production, **{name: value for name, (value, *_) in DANGERS.items()}, "DATABASE_URL": url})
    assert done.returncode == 1
    for name, (_, *numbers) in DANGERS.items():
        for number in numbers:
            assert f"({number})" in done.stderr, name
    assert "(remind.E173)" in done.stderr, "commits are not waited for"


def test_dangers_elsewhere_are_named(production):
    from redis import Redis

    from tests.servers import start_valkey

    forgetful = start_valkey()
    with Redis.from_url(forgetful.connection_url) as redis:
        redis.config_set("maxmemory", "50mb")
        redis.config_set("maxmemory-policy", "allkeys-lru")
    elsewhere = "postgresql://remind@192.0.2.1:5432/remind?connect_timeout=1"
    env = {
        **production,
        "DATABASE_URL": elsewhere,
        "REDIS_URL": forgetful.connection_url,
        "EMAIL_URL": "smtp://mail.example.com",
        "OPENAI_BASE_URL": "http://models.example.com/v1",
        "CSRF_TRUSTED_ORIGINS": "https://*.remind.dev",
        "PADDLE_ENVIRONMENT": "sandbox",
        "PADDLE_API_KEY": "pdl_sdbx_apikey_x",
    }
    found = check(env).stderr
    for number in (
        "remind.W183",
        "remind.E175",
        "remind.E169",
        "remind.E168",
        "remind.W180",
        "remind.E165",
        "remind.W141",
    ):
        assert f"({number})" in found
    assert "remind.E164" not in found
    assert "remind.W183" not in check({**env, "DATABASE_URL": f"{elsewhere}&sslmode=require"}).stderr


def test_a_clock_that_is_wrong_is_named(monkeypatch, db):
    from datetime import UTC, datetime, timedelta

    from remind_site import dangers

    class Wrong(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime.now(UTC) + timedelta(seconds=90)

    monkeypatch.setattr(dangers, "datetime", Wrong)
    (row,) = [row for row in dangers._database() if row[0] == "E170"]
    assert row[1]
    assert "90 seconds apart" in row[2]


def test_a_server_that_is_too_old_is_named(monkeypatch, db):
    from remind_site import dangers

    version = connection.pg_version // 10_000
    for oldest, applies in ((version, False), (version + 1, True)):
        monkeypatch.setattr(dangers, "OLDEST_POSTGRES", oldest)
        (row,) = [row for row in dangers._database() if row[0] == "E171"]
        assert row[1] is applies
        assert row[2] == f"The database is PostgreSQL {version}."


def test_pending_migrations_are_named(production, template):
    production["DATABASE_URL"] = template.server_url
    assert "remind.E111" in check(production).stderr


@pytest.mark.parametrize(
    ("change", "number"),
    [
        ({"AI_PROVIDER": "oracle"}, "remind.E001"),
        ({"AI_PROVIDER": "openai", "OPENAI_API_KEY": ""}, "remind.E002"),
        ({"AI_TIMEOUT_SECONDS": "21"}, "remind.E003"),
        ({"AI_TIMEOUT_SECONDS": "0"}, "remind.E003"),
        ({"REDIS_URL": ""}, "remind.E004"),
        ({"OPENAI_BASE_URL": "file:///etc/passwd"}, "remind.E005"),
        ({"RATE_LIMIT_REQUESTS": "0"}, "remind.E006"),
        ({"TRUSTED_PROXY_COUNT": "-1"}, "remind.E007"),
        ({"OPENAI_PARAMETERS": "[1]"}, "remind.E008"),
        ({"OPENAI_PARAMETERS": '{"stream": true}'}, "remind.E008"),
        ({"WEB_THREADS": "0"}, "remind.E009"),
        ({"REDIS_URL": "http://x"}, "remind.E010"),
        ({"EMAIL_URL": "carrier://pigeon"}, "remind.E011"),
        ({"PADDLE_ENVIRONMENT": "live"}, "remind.E012"),
        ({"PADDLE_ALLOWED_ADDRESSES": "34.194.127.46, paddle.com"}, "remind.E013"),
        ({"PADDLE_CLOCK_TOLERANCE_SECONDS": "0"}, "remind.E014"),
        ({"PADDLE_GRACE_DAYS": "-1"}, "remind.E015"),
        ({"SITE_URL": "api.remind.dev"}, "remind.E016"),
        ({"SITE_URL": "https://"}, "remind.E016"),
        ({"SITE_URL": "http://[::1"}, "remind.E016"),
        ({"PADDLE_BASE_URL": "ftp://x"}, "remind.E016"),
        ({"TEST_MODE": "0"}, "remind.E017"),
        ({"SENTRY_DSN": "https://sentry.example.com"}, "remind.E030"),
        ({"SENTRY_DSN": "sentry"}, "remind.E030"),
        ({"SENTRY_TRACES_SAMPLE_RATE": "1.1"}, "remind.E031"),
        ({"SENTRY_ENVIRONMENT": "a/b"}, "remind.E032"),
        ({"BACKUP_AGE_RECIPIENTS": "age1nonsense"}, "remind.E021"),
        ({"BACKUP_AGE_IDENTITY": str(OTHER_KEY)}, "remind.E022"),
        ({"BACKUP_AGE_RECIPIENTS": ""}, "remind.E023"),
        ({"BACKUP_KEEP_DAYS": "0"}, "remind.E024"),
        ({"METRICS_TOKEN": "short"}, "remind.E040"),
    ],
)
def test_settings_that_can_not_work_stop_every_start(production, change, number):
    assert number in run_command("check", env={**production, **change}, check=False).stderr


def test_the_server_itself_does_not_start_with_them(production):
    import subprocess
    import sys

    done = subprocess.run(  # noqa: PLW1510
        [sys.executable, "-m", "gunicorn", "remind_site.wsgi"],
        env={**os.environ, **production, "AI_TIMEOUT_SECONDS": "99", "BIND": f"127.0.0.1:{free_port()}"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode != 0
    assert "remind.E003" in done.stderr
    assert [line for line in (done.stdout + done.stderr).splitlines() if not line.startswith("{")] == []
