"""Fixtures: the shipped rulebook, loaded once a session, and a tiny one where its words do not matter."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest

from outsourcing_classifier import Classifier, Rulebook
from outsourcing_classifier.classifier import default_classifier
from outsourcing_classifier.rulebook import HOME

os.environ.setdefault("HYPOTHESIS_STORAGE_DIRECTORY", str(Path(tempfile.gettempdir(), "hypothesis-storage")))

TINY_LANGUAGE = """\
code = "en"
name = "English"
head = "last"
action_gap = 5
head_joins = ["and"]

[macros]
role = "(clerk*|officer*)"

[inflect.noun]
"" = ["", "s"]

[inflect.verb]
"" = ["", "s", "ed", "ing"]

[verbs]
process = ["process~", "handle~"]
"""
TINY_RULES = """\
[[rule]]
id = "en.hr.payroll"
concept = "hr.payroll"
kind = "listed"
terms = ["payroll processing", "payroll {role}"]
yes = ["Payroll processing for all.", "A payroll clerk."]
no = ["She is on the payroll."]

[[rule]]
id = "en.market.research"
concept = "market_research.research"
kind = "listed"
terms = ["market research"]
yes = ["Market research on oats.", "We want market research."]
no = ["A market hall."]

[[action]]
id = "en.hr.payroll.do"
concept = "hr.payroll"
verbs = ["@process"]
objects = ["wage slip*"]
yes = ["Handle the wage slips.", "They processed a wage slip."]
no = ["Wage slips are paper."]

[[mask]]
id = "en.mask.scheme"
terms = ["payroll processing magazine"]
note = "a magazine"
yes = ["Read Payroll Processing Magazine."]

[[cue]]
id = "en.negate.after"
effect = "negate"
scope = "after"
terms = ["no"]
yes = ["There is no payroll processing."]
"""


def write_tiny_rules(folder: Path) -> Path:
    """A rulebook of a dozen words that loads in a moment, with the shipped concepts, sources and weights."""
    (folder / "en").mkdir(parents=True)
    for name in ("sources.toml", "concepts.toml", "weights.toml"):
        shutil.copy(HOME / name, folder / name)
    shutil.copytree(HOME / "profiles", folder / "profiles")
    (folder / "en" / "language.toml").write_text(TINY_LANGUAGE, encoding="utf-8")
    (folder / "en" / "all.toml").write_text(TINY_RULES, encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def classifier() -> Classifier:
    """The classifier behind the module's functions, shared by all tests."""
    return default_classifier()


@pytest.fixture(scope="session")
def book(classifier: Classifier) -> Rulebook:
    return classifier.rulebook


@pytest.fixture(scope="session")
def tiny_rules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny rulebook that no test changes."""
    return write_tiny_rules(tmp_path_factory.mktemp("tiny") / "rules")


@pytest.fixture
def broken_rules(tmp_path: Path) -> Path:
    """A tiny rulebook for a test to break."""
    return write_tiny_rules(tmp_path / "rules")
