"""Real runs, killed at random moments (kill -9), end with the bytes of a run that was not.

KILLS says how many kills in all; default 60.
"""

from __future__ import annotations

import gzip
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.test_files import some_csv

KILLS = int(os.environ.get("KILLS", "60"))
RUN = """
import sys
from outsourcing_classifier import Classifier, Rulebook
from outsourcing_classifier.files import score_file

if __name__ == "__main__":
    rules, source, target, workers, resume = sys.argv[1:]
    score_file(
        source, target, "description", Classifier(rulebook=Rulebook.load("article", rules), fallback=None),
        workers=int(workers), resume=resume == "resume", chunk_rows=100, checkpoint_seconds=0.0,
    )
"""


def write_input(path: Path, rows: int) -> None:
    content = some_csv(rows, ending="\r\n")
    if path.suffix == ".parquet":
        import csv
        import io

        pa = pytest.importorskip("pyarrow")
        records = list(csv.reader(io.StringIO(content.decode(), newline="")))[1:]
        pytest.importorskip("pyarrow.parquet").write_table(pa.table({"description": [r[1] for r in records]}), path)
    else:
        path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


@pytest.mark.parametrize(("name", "workers"), [("in.csv", 1), ("in.csv", 3), ("in.csv.gz", 2), ("in.parquet", 2)])
def test_kill_and_resume(name: str, workers: int, tmp_path: Path, tiny_rules: Path) -> None:
    source, whole, target = tmp_path / name, tmp_path / f"whole-{name}", tmp_path / f"out-{name}"
    script, log = tmp_path / "run.py", tmp_path.with_name(tmp_path.name + ".log")
    script.write_text(RUN)
    write_input(source, 20_000)

    def start(out: Path, n: int, resume: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, str(script), str(tiny_rules), str(source), str(out), str(n), resume]
        with log.open("wb") as stream:
            return subprocess.Popen(command, stdout=stream, stderr=subprocess.STDOUT)

    began = time.monotonic()
    first = start(whole, 1, "anew")
    assert first.wait(600) == 0, log.read_bytes()
    usual = time.monotonic() - began
    chance = random.Random(f"{name}{workers}")
    kills = finished = 0
    while kills < KILLS // 4:
        process = start(target, workers, "resume")
        try:
            code = process.wait(chance.uniform(0.05, usual * 1.5))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            kills += 1
            if target.exists():  # killed between the last byte and the end
                assert target.read_bytes() == whole.read_bytes()
            continue
        said = log.read_bytes()
        if code == 2 or b"exists; say --overwrite" in said:
            assert target.read_bytes() == whole.read_bytes()
        else:
            assert code == 0, said
        assert target.read_bytes() == whole.read_bytes()
        assert {p.name for p in tmp_path.iterdir()} == {name, whole.name, target.name, "run.py"}
        target.unlink()
        finished += 1
    assert finished or start(target, workers, "resume").wait(600) == 0
    if target.exists():
        assert target.read_bytes() == whole.read_bytes()


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs /proc to see the workers")
def test_workers_end_with_a_killed_parent(tmp_path: Path, tiny_rules: Path) -> None:
    script, source = tmp_path / "run.py", tmp_path / "in.csv"
    script.write_text(RUN)
    write_input(source, 100_000)
    process = subprocess.Popen(
        [sys.executable, str(script), str(tiny_rules), str(source), str(tmp_path / "o"), "2", "anew"]
    )

    def children() -> list[int]:
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    fields = (entry / "stat").read_text().rpartition(")")[2].split()
                except OSError:
                    continue
                if int(fields[1]) == process.pid:
                    found.append(int(entry.name))
        return found

    deadline = time.monotonic() + 60
    while len(mine := children()) < 3 and time.monotonic() < deadline:  # two workers and the resource tracker
        time.sleep(0.05)
    time.sleep(0.5)
    process.send_signal(signal.SIGKILL)
    process.wait()
    deadline = time.monotonic() + 30
    while (left := [p for p in mine if _alive(p)]) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert mine
    assert not left


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
