"""Plots draw on the axis they are given and say what the figures say."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from outsourcing_classifier import Classification, Classifier
from outsourcing_classifier.evaluation import Evaluation, evaluate

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")

from matplotlib import pyplot as plt  # noqa: E402

from outsourcing_classifier import plots  # noqa: E402

TEXTS = (
    ("Payroll processing for 300 employees, rules and a pre-defined process", "BPO"),
    ("Market research on oat drinks, which needs judgement and expert knowledge", "KPO"),
    ("Supply of salt", "NEITHER"),
    ("Payroll processing", "KPO"),
    ("Market research and payroll processing", "MIXED"),
    ("", "NEITHER"),
)


def width(bar: Any) -> float:
    return float(bar.get_width())


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    """The rules alone: what the tests expect does not hang on a trained model."""
    return Classifier(fallback=None)


@pytest.fixture(scope="module")
def evaluation(classifier: Classifier) -> Evaluation:
    return evaluate([{"description": t, "label": x} for t, x in TEXTS], classifier=classifier)


@pytest.fixture(scope="module")
def answers(classifier: Classifier) -> list[Classification]:
    return [classifier.classify(t) for t, _ in TEXTS]


@pytest.mark.parametrize("plot", [plots.confusion, plots.reliability, plots.coverage_precision, plots.label_mix])
def test_plots_of_an_evaluation(plot: Callable[..., Any], evaluation: Evaluation) -> None:
    _, ax = plt.subplots()
    assert plot(evaluation, ax) is ax
    ax.figure.canvas.draw()
    assert ax.get_title()
    new = plot(evaluation)
    assert new is not ax
    new.figure.canvas.draw()


@pytest.mark.parametrize("plot", [plots.label_mix, plots.traits_profile, plots.evidence_by_basis])
def test_plots_of_classifications(plot: Callable[..., Any], answers: list[Classification]) -> None:
    _, ax = plt.subplots()
    assert plot(iter(answers), ax) is ax
    ax.figure.canvas.draw()
    empty = plot([])
    empty.figure.canvas.draw()


def test_the_numbers_are_the_figures(evaluation: Evaluation, answers: list[Classification]) -> None:
    told = [t.get_text() for t in plots.confusion(evaluation).texts]
    assert told == [f"{n:,}" for n in evaluation.confusion.values()]
    widths = [width(bar) for bar in plots.label_mix(answers).patches]
    assert sum(widths) == len(answers)
    total = sum(width(bar) for bar in plots.evidence_by_basis(answers).patches)
    assert total == pytest.approx(sum(e.weight for c in answers for e in c.evidence))


def test_label_mix_of_a_column() -> None:
    ax = plots.label_mix(["KPO", "BPO", "KPO", "other"])
    assert [t.get_text() for t in ax.get_yticklabels()] == ["BPO", "KPO", "other"]


def test_reliability_of_the_decided(evaluation: Evaluation) -> None:
    title = plots.reliability(evaluation, decided=True).get_title()
    assert title.startswith(f"Reliability, {evaluation.calibration_decided.rows:,} rows")


def test_matplotlib_is_imported_late_and_named_when_missing() -> None:
    code = """
import sys
sys.modules["matplotlib"] = None
from outsourcing_classifier import plots
try:
    plots.label_mix(["BPO"])
except ImportError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "plots need matplotlib: pip install 'outsourcing-classifier[plot]'"
