"""What the README and the change log say is so."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from outsourcing_classifier import Classification, Reason, __version__
from outsourcing_classifier.cli import CONFIGURATION, DONE, FINDINGS, INTERRUPTED, USAGE, main

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_python_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    block = re.findall(r"```python\n(.*?)```", README, re.DOTALL)[0]
    names: dict[str, object] = {}
    exec(block, names)
    checked = 0
    for expression, value in re.findall(r"^(\S+) +# (\"\w+\")$", block, re.MULTILINE):
        assert f'"{eval(expression, names)}"' == value
        checked += 1
    assert checked == 3
    assert "negation (“no inclou”)" in capsys.readouterr().out


def test_every_field_reason_and_exit_code_is_told() -> None:
    for field in dataclasses.fields(Classification):
        assert f"`{field.name}`" in README or field.name == "text_length"
    for reason in Reason:
        assert f"`{reason}`" in README
    told = {int(code) for code in re.findall(r"^\| (\d+) \|", README, re.MULTILINE)}
    assert told == {DONE, FINDINGS, USAGE, CONFIGURATION, INTERRUPTED}


def test_every_option_of_the_examples_exists(capsys: pytest.CaptureFixture[str]) -> None:
    known: set[str] = set()
    for command in ("classify", "explain", "score", "evaluate", "train", "rules"):
        with pytest.raises(SystemExit):
            main([command, "--help"])
        known |= set(re.findall(r"--[\w-]+", capsys.readouterr().out))
    assert set(re.findall(r"(?<![\w-])--[a-z][\w-]+", README)) <= known


def test_linked_files_exist() -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / target).exists(), target


def test_the_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in {*re.findall(r"\bmake (demo|test|lint|test-slow)\b", README), "demo", "test"}:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)
    assert "make test" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_the_version_is_one() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*", __version__)
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert "outsourcing_classifier.version.__version__" in project
