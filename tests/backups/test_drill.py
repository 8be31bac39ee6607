"""`manage.py recovery_drill`, as it is: with pgBackRest and a server of its own. `make drill` shows its figures."""

import re
import shutil
import tempfile
from pathlib import Path

import pytest

from tests.service import run_command


@pytest.mark.skipif(shutil.which("pgbackrest") is None, reason="pgbackrest is not installed here.")
def test_all_from_before_is_there_and_nothing_from_after():
    folders = set(Path(tempfile.gettempdir()).glob("remind-drill-*"))
    done = run_command("recovery_drill", env={}, check=False)
    assert done.returncode == 0, done.stderr
    assert re.search(r"There +all [1-9]", done.stdout)
    assert re.search(r"Not there +any of the [1-9]", done.stdout)
    assert set(Path(tempfile.gettempdir()).glob("remind-drill-*")) <= folders


def test_without_pgbackrest_it_says_what_to_install(tmp_path):
    done = run_command("recovery_drill", env={"PATH": str(tmp_path)}, check=False)
    assert done.returncode == 1
    assert "apt-get install pgbackrest" in done.stderr
