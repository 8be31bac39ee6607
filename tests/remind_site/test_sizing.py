"""How large the web is, by the machine and the database: a table, and the files that containers' limits are in."""

import subprocess

import psutil
import pytest

from remind_site import sizing
from remind_site.sizing import Machine

GB = 10**9
ROOMY = Machine(cores=2, memory=8 * GB, files=2**20)
POSTGRES, REDIS = "postgresql://remind@localhost/remind", "redis://localhost"


@pytest.mark.parametrize(
    ("cores", "memory", "database", "redis", "expected"),
    [
        (1, 8 * GB, POSTGRES, REDIS, 2),
        (2, 8 * GB, POSTGRES, REDIS, 2),
        (3, 8 * GB, "postgres://remind@localhost/remind", REDIS, 3),
        (64, 256 * GB, POSTGRES, REDIS, 8),
        (8, GB, POSTGRES, REDIS, 3),
        (2, GB // 4, POSTGRES, REDIS, 1),
        (2, GB // 10, POSTGRES, REDIS, 1),
        (8, 8 * GB, POSTGRES, "", 1),
        (8, 8 * GB, "", REDIS, 1),
        (8, 8 * GB, "sqlite:////tmp/remind.sqlite3", REDIS, 1),
    ],
)
def test_processes(cores, memory, database, redis, expected):
    assert sizing.processes(Machine(cores, memory, 1024), database, redis) == expected


@pytest.mark.parametrize(
    ("files", "threads", "clients"),
    [(2**20, 100, 2000), (4096, 100, 2000), (1024, 100, 674), (512, 90, 182), (256, 26, 54), (64, 8, 8)],
)
def test_what_may_be_open_at_once(files, threads, clients):
    machine = Machine(2, GB, files)
    assert sizing.threads(machine) == threads
    assert sizing.clients(machine, threads) == clients


@pytest.mark.parametrize(
    ("processes", "threads", "takes", "expected"),
    [
        (2, 100, 297, 30),
        (2, 100, 97, 22),
        (8, 100, 97, 5),
        (2, 100, 20, 3),
        (8, 100, 20, 1),
        (2, 8, 297, 8),
        (8, 100, None, 30),
    ],
)
def test_connections_of_a_process(processes, threads, takes, expected):
    assert sizing.connections(processes, threads, takes) == expected


def test_what_is_worked_out_fits_even_while_a_reload_lasts():
    for takes in range(25, 400, 7):
        for processes in range(1, 9):
            most = sizing.connections(processes, 100, takes)
            assert sizing.needed(2 * processes, most) <= takes


@pytest.mark.parametrize(("most", "fits"), [(45, True), (46, False)])
def test_the_last_connection_may_be_used(most, fits):
    assert (sizing.excess(2, most, 98) is None) is fits


@pytest.fixture
def system(tmp_path):
    """`system(own, files)`: the folder of a system where this process is in a control group and these files are."""

    def system(own, files):
        (tmp_path / "proc/self").mkdir(parents=True)
        (tmp_path / "proc/self/cgroup").write_text(own)
        for name, text in files.items():
            path = tmp_path / "sys/fs/cgroup" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path

    return system


@pytest.mark.parametrize(
    ("own", "files", "cores", "memory"),
    [
        ("0::/\n", {}, 64, None),
        ("0::/\n", {"cpu.max": "max 100000\n", "memory.max": "max\n"}, 64, None),
        ("0::/\n", {"cpu.max": "200000 100000\n", "memory.max": "536870912\n"}, 2, 536870912),
        ("0::/\n", {"cpu.max": "150000 100000\n"}, 2, None),
        ("0::/\n", {"cpu.max": "10000 100000\n"}, 1, None),
        ("0::/\n", {"cpu.max": "9900000 100000\n"}, 64, None),
        ("0::/\n", {"cpu.max": "nonsense"}, 64, None),
        (
            "0::/system.slice/remind-web.service\n",
            {"system.slice/remind-web.service/cpu.max": "300000 100000"},
            3,
            None,
        ),
        ("0::/a/b\n", {"a/cpu.max": "100000 100000", "a/b/cpu.max": "300000 100000", "a/memory.max": "1000"}, 1, 1000),
        ("4:memory:/x\n1:cpu:/\n0::/\n", {"cpu.max": "200000 100000"}, 2, None),
        ("4:memory:/x\n", {}, 64, None),
    ],
)
def test_what_a_container_may_use(system, monkeypatch, own, files, cores, memory):
    monkeypatch.setattr(sizing.os, "sched_getaffinity", lambda pid: set(range(64)), raising=False)
    found = sizing.this_machine(system(own, files))
    assert found.cores == cores
    assert found.memory == (memory or sizing.this_machine().memory)


def test_this_machine():
    """A container may have less than the machine, and never more."""
    found = sizing.this_machine()
    assert 1 <= found.cores <= psutil.cpu_count()
    assert GB // 4 < found.memory <= psutil.virtual_memory().total
    files = subprocess.run(["sh", "-c", "ulimit -n"], capture_output=True, text=True, check=True).stdout.strip()
    assert str(found.files) == files.replace("unlimited", str(2**20))
