"""A disk that is full in the middle: a clear message, nothing half done, and the run goes on later."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from outsourcing_classifier import Classifier, Rulebook
from outsourcing_classifier.cli import main
from outsourcing_classifier.files import StoppedError, score_file
from tests.test_files import some_csv


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MB in memory."""
    folder = tmp_path / "small"
    folder.mkdir()
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small file system")
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip(f"this machine does not let root mount: {done.stderr.decode().strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture
def tiny(tiny_rules: Path) -> Classifier:
    return Classifier(rulebook=Rulebook.load("article", tiny_rules), fallback=None)


@pytest.mark.parametrize("name", ["o.csv", "o.csv.gz", "o.parquet"])
def test_full_disk(name: str, small: Path, tmp_path: Path, tiny: Classifier) -> None:
    source = tmp_path / ("in.parquet" if name.endswith("parquet") else "in.csv")
    if name.endswith("parquet"):
        pa = pytest.importorskip("pyarrow")
        texts = [f"payroll processing {i}" for i in range(6000)]
        pytest.importorskip("pyarrow.parquet").write_table(pa.table({"description": texts}), source)
    else:
        source.write_bytes(some_csv(6000))
    (small / "ballast").write_bytes(b"x" * 980_000)
    options = {"chunk_rows": 200, "checkpoint_seconds": 0.0}
    score_file(source, tmp_path / f"whole-{name}", "description", tiny, chunk_rows=200)
    target = small / name
    with pytest.raises(StoppedError, match=r"No space left on device$"):
        score_file(source, target, "description", tiny, **options)  # type: ignore[arg-type]
    assert [p.name for p in small.iterdir()] == ["ballast"]
    for _ in range(2):
        with pytest.raises(StoppedError, match="what is done is kept, run again with --resume"):
            score_file(source, target, "description", tiny, resume=True, **options)  # type: ignore[arg-type]
        assert not target.exists()
    (small / "ballast").unlink()
    subprocess.run(["mount", "-o", "remount,size=16m", str(small)], check=True)
    tally = score_file(source, target, "description", tiny, resume=True, **options)  # type: ignore[arg-type]
    assert tally.rows == 6000
    assert target.read_bytes() == (tmp_path / f"whole-{name}").read_bytes()
    assert [p.name for p in small.iterdir()] == [name]


def test_exit_code(small: Path, tmp_path: Path, tiny_rules: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in.csv").write_bytes(some_csv(20_000))
    options = ["--rules", str(tiny_rules), "--no-fallback"]
    assert main(["score", str(tmp_path / "in.csv"), "-o", str(small / "o.csv"), *options]) == 2
    assert "No space left on device" in capsys.readouterr().err
    assert not list(small.iterdir())
