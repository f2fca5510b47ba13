"""A wheel holds all that classifying needs, and works where nothing else of ours is."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LEFT_OUT = shutil.ignore_patterns(".*", "build", "dist", "*.egg-info", "__pycache__", "__compiled__", "training_data")


def run(*command: str | Path, cwd: Path) -> str:
    alone = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    done = subprocess.run(
        [str(c) for c in command], cwd=cwd, env=alone, capture_output=True, encoding="utf-8", check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    shutil.copytree(ROOT, folder / "source", ignore=LEFT_OUT)
    stale = folder / "source" / "outsourcing_classifier" / "rules" / "__compiled__" / "stale.bin"
    stale.parent.mkdir()
    stale.write_bytes(b"of another time")
    run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", folder, folder / "source", cwd=folder)
    (built,) = folder.glob("*.whl")
    return built


def test_what_is_in_it(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    package = ROOT / "outsourcing_classifier"
    wanted = {"py.typed", *(p.name for p in package.glob("*.py"))}
    wanted |= {p.relative_to(package).as_posix() for p in package.glob("rules/**/*.toml")}
    wanted |= {f"fallback/{name}" for name in ("manifest.json", "vocabulary.txt", "arrays.bin")}
    assert {f"outsourcing_classifier/{name}" for name in wanted} <= names
    compiled = [n for n in names if "/__compiled__/" in n and not n.endswith("/")]
    assert len(compiled) == 1
    assert compiled[0].endswith(".bin")
    assert not any(n.endswith("stale.bin") or n.startswith("tests") for n in names)


def test_it_works_from_another_folder(wheel: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "venv", with_pip=True, symlinks=os.name != "nt")
    bin_ = tmp_path / "venv" / ("Scripts" if os.name == "nt" else "bin")
    run(bin_ / "python", "-m", "pip", "install", "-q", "--no-index", wheel, cwd=tmp_path)
    where = run(bin_ / "python", "-c", "import outsourcing_classifier as o; print(o.__file__)", cwd=tmp_path)
    rules = Path(where.strip()).parent / "rules" / "__compiled__"
    before = {p.name: p.stat().st_mtime_ns for p in rules.iterdir()}
    assert len(before) == 1
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    out = run(bin_ / "outsourcing-classifier", "classify", "payroll clerk", cwd=elsewhere)
    assert out.startswith("BPO\thr\t")
    out = run(bin_ / "outsourcing-classifier", "explain", "gestió de nòmines", cwd=elsewhere)
    assert "Diferència entre BPO i KPO" in out
    assert {p.name: p.stat().st_mtime_ns for p in rules.iterdir()} == before  # the compiled rules were used
