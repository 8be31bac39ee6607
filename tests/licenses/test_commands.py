"""The commands: what others script against, and what support is left with when the console is out of reach."""

import json
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from django.core.management import CommandError, call_command

from licenses import tokens
from licenses.models import AuditEvent, License, LicenseToken

pytestmark = pytest.mark.django_db


@pytest.fixture
def manage(capsys):
    def manage(*args):
        call_command(*args)
        return capsys.readouterr().out

    return manage


def test_issue_license_prints_the_token_alone_as_the_last_line(manage, client):
    out = manage("issue_license", "a@example.com", "--plan", "pro")

    token = out.splitlines()[-1]
    assert tokens.is_well_formed(token)
    stats = client.get("/api/v1/usage/stats", headers={"Authorization": f"Bearer {token}"}).json()
    assert (stats["plan_tier"], stats["ai_quota_total"], stats["expires_at"]) == ("pro", 1000, None)


def test_issue_license_takes_overrides(manage):
    manage("issue_license", "a@example.com", "--plan=free", "--quota=0", "--rate=30/m", "--expires=2031-02-28")

    license = License.objects.get()
    assert (license.monthly_quota, license.rate_limit) == (0, 30)
    assert license.expires_at == datetime(2031, 3, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    "args",
    [
        ["a@example.com"],
        ["--plan", "pro"],
        ["a@example.com", "--plan", "nope"],
        ["no address", "--plan", "pro"],
        ["a@example.com", "--plan", "pro", "--quota", "-1"],
        ["a@example.com", "--plan", "pro", "--quota", "many"],
        ["a@example.com", "--plan", "pro", "--rate", "0/m"],
        ["a@example.com", "--plan", "pro", "--rate", "10"],
        ["a@example.com", "--plan", "pro", "--rate", "10/s"],
        ["a@example.com", "--plan", "pro", "--expires", "tomorrow"],
        ["a@example.com", "--plan", "pro", "--expires", "9999-12-31"],
    ],
)
def test_issue_license_refuses_what_it_can_not_use(args):
    with pytest.raises(CommandError):
        call_command("issue_license", *args)
    assert not License.objects.exists()


def test_show_tells_status_tokens_and_trail(manage, license, token):
    manage("license", "suspend", str(license.pk), "--reason", "chargeback")

    for name in (str(license.pk), license.email, license.email.upper()):
        out = manage("license", "show", name)
        assert "license_suspended" in out
        assert "chargeback" in out
        assert tokens.visible_prefix(token) in out
        assert token not in out
        assert "token issued" in out


def test_suspend_reinstate_rotate_revoke(manage, license, token, post):
    number = str(license.tokens.get().pk)

    manage("license", "suspend", license.email, "--reason", "x")
    assert post().json()["code"] == "license_suspended"
    manage("license", "reinstate", license.email)
    assert post().status_code == 200
    new = manage("license", "rotate", number).splitlines()[-1]
    assert post().status_code == post(bearer=new).status_code == 200
    manage("license", "revoke", number)
    assert post().json()["code"] == "token_revoked"
    assert post(bearer=new).status_code == 200


@pytest.mark.parametrize(
    "args",
    [
        ["show", "0"],
        ["show", "nobody@example.com"],
        ["revoke", "0"],
        ["suspend", "1"],
        ["explode", "1"],
        ["suspend", "1", "--reason", " "],
        ["suspend", "1", "--reason", "x" * 501],
    ],
)
def test_what_is_not_there_is_said(args):
    with pytest.raises(CommandError):
        call_command("license", *args)


def test_an_owner_of_several_is_asked_for_a_number(license):
    License.objects.create(email=license.email, plan=license.plan)
    with pytest.raises(CommandError, match="several"):
        call_command("license", "show", license.email)


def test_the_demonstration_is_made_once_and_mended(manage, client, tmp_path, monkeypatch):
    from remind_site.management.commands import demo

    with pytest.raises(CommandError, match="SQLite"):
        call_command("demo")

    monkeypatch.setattr(demo, "private_folder", lambda: tmp_path)
    monkeypatch.setattr(demo, "connection", SimpleNamespace(vendor="sqlite"))
    first = manage("demo")
    kept = json.loads((tmp_path / "demo.json").read_text())
    assert kept["token"] in first
    assert kept["password"] in first
    assert (tmp_path / "demo.json").stat().st_mode & 0o777 == 0o600
    assert client.login(username="admin", password=kept["password"])

    assert manage("demo") == first
    assert License.objects.count() == LicenseToken.objects.count() == 1

    (tmp_path / "demo.json").unlink()
    again = manage("demo")
    assert kept["token"] not in again
    assert License.objects.count() == 1


def test_a_user_without_a_name_is_noted_by_number(manage, monkeypatch):
    """As in a container that runs as some user of its host."""

    def unknown():
        raise KeyError("getpwuid(): uid not found: 10001")

    monkeypatch.setattr("getpass.getuser", unknown)
    manage("issue_license", "a@example.com", "--plan", "pro")
    assert AuditEvent.objects.filter(by__startswith="command:uid ").exists()
