"""The record of unanswered questions in a real PostgreSQL, which the test starts for itself."""

import getpass
import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import pytest

from chatbot.staff.gaps import GapRecord

pytestmark = pytest.mark.component
pytest.importorskip("psycopg", reason="the extra `postgres` is not installed")
INITDB, PG_CTL = shutil.which("initdb"), shutil.which("pg_ctl")


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if INITDB is None or PG_CTL is None:
        pytest.skip("no PostgreSQL on this machine")
    folder = Path("/tmp") / f"healthfaq-postgres-{os.getpid()}"  # a socket's path must be short
    folder.mkdir(mode=0o700)
    user: dict[str, object] = {}
    if os.geteuid() == 0:  # PostgreSQL refuses to run as root
        user = {"user": "nobody", "group": pwd.getpwnam("nobody").pw_gid, "extra_groups": []}
        shutil.chown(folder, "nobody")
    name = "nobody" if user else getpass.getuser()

    def run(*command: str) -> None:
        subprocess.run(command, check=True, cwd=folder, stdout=subprocess.DEVNULL, timeout=120, **user)  # type: ignore[call-overload]

    cluster = str(folder / "cluster")
    try:
        run(INITDB, "-D", cluster, "-U", name, "-A", "trust", "--no-sync")
        run(PG_CTL, "-D", cluster, "-w", "-o", f"-k {folder} -c listen_addresses=''", "-l", "log", "start")
        yield f"postgresql+psycopg://{name}@/postgres?host={folder}"
        run(PG_CTL, "-D", cluster, "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder)


def test_the_same_record_works_in_postgresql(url: str):
    days = [date(2026, 11, 1)]
    record = GapRecord(url, keep_days=30, today=lambda: days[0])
    for _ in range(3):
        record.note("My name is Anna. Are dogs allowed?", "no_answer", ["clinic/visit"])
    record.note("fire", "did_you_mean", ["a/b"])
    record.chosen("fire")
    record.settle()
    (gap,) = record.gaps()
    assert (gap.question, gap.times) == ("My name is [name]. Are dogs allowed?", 3)
    record.close()
    days[0] += timedelta(days=29)
    again = GapRecord(url, keep_days=30, today=lambda: days[0])
    assert [gap.times for gap in again.gaps()] == [3]
    days[0] += timedelta(days=1)
    assert again.gaps() == []
    again.close()
