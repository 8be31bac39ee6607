"""`make secrets` finds a key that was left in a file; and what docs/SECURITY.md points to is there."""

import re
import secrets
import shutil
import string
import subprocess
import sys
from pathlib import Path

import pytest

from licenses import tokens
from tests.service import ROOT

DETECT = Path(sys.executable).with_name("detect-secrets-hook")


def some(length, alphabet=string.ascii_letters + string.digits):
    return "".join(secrets.choice(alphabet) for _ in range(length))


KEYS = {
    "license token": lambda: tokens.mint("pro"),
    "Paddle key": lambda: f"pdl_live_apikey_{some(26, string.ascii_lowercase)}_{some(22)}",
    "Paddle secret": lambda: f"pdl_ntfset_{some(26, string.ascii_lowercase)}_{some(32)}",
    "OpenAI key": lambda: f"sk-{some(20)}T3BlbkFJ{some(20)}",
    "AWS key": lambda: f"AKIA{some(16, string.ascii_uppercase)}",
    "database": lambda: f"postgresql://remind:{some(16)}@db.example.com/remind",
    "private key": lambda: "-----BEGIN RSA " + "PRIVATE KEY-----",
}


def scan_command():
    """How the Makefile calls the scanner for tests, where it looks for the fewest kinds."""
    scan = re.search(r"^SCAN := detect-secrets-hook (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[1]
    return f"{DETECT} {scan.replace('$$', '$')} --disable-plugin KeywordDetector"


def scan(folder, name):
    return subprocess.run(
        f"{scan_command()} {name}", shell=True, cwd=folder, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("kind", KEYS)
def test_a_planted_key_is_found(tmp_path, kind):
    shutil.copytree(ROOT / ".ci", tmp_path / ".ci")
    planted = tmp_path / "planted.py"
    planted.write_text(f'X = "{KEYS[kind]()}"\n')
    done = scan(tmp_path, "planted.py")
    assert (done.returncode, "planted.py:1" in done.stdout) == (1, True), done.stdout + done.stderr


def test_an_ordinary_line_is_not(tmp_path):
    shutil.copytree(ROOT / ".ci", tmp_path / ".ci")
    (tmp_path / "plain.py").write_text('PASSWORD_FIELD = "password"\nTOKEN = "remind_pro_abc"\n')
    done = scan(tmp_path, "plain.py")
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_test_that_the_threats_name_exists():
    named = set(re.findall(r"`(tests/[\w/]+\.py)`", (ROOT / "docs" / "SECURITY.md").read_text()))
    assert len(named) > 15
    assert not [path for path in named if not (ROOT / path).exists()]
