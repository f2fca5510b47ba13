"""Plots for people who look rather than read. Matplotlib is imported when a plot is asked for.

Every function draws on the axis it is given, or on a new one, and returns the axis. Colours differ in
lightness as well as hue, and what a colour says stands in words too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from outsourcing_classifier.evaluation import ANSWERS, TRUTHS, Evaluation
from outsourcing_classifier.results import Classification

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = {
    "BPO": "#0b57a4",
    "KPO": "#c8640a",
    "NEITHER": "#8c8c8c",
    "UNKNOWN": "#8c8c8c",
    "MIXED": "#6a2c91",
    None: "#dcdcdc",
}


def confusion(evaluation: Evaluation, ax: Axes | None = None) -> Axes:
    """Rows by truth and answer; the shade is the share of the truth's rows."""
    ax = _axis(ax)
    truths = [t for t in TRUTHS if (t, ANSWERS[0]) in evaluation.confusion]
    counts = [[evaluation.confusion[t, a] for a in ANSWERS] for t in truths]
    shares = [[n / max(1, sum(row)) for n in row] for row in counts]
    ax.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for i, row in enumerate(counts):
        for j, n in enumerate(row):
            ax.text(j, i, f"{n:,}", ha="center", va="center", color="white" if shares[i][j] > 0.55 else "black")
    ax.set_xticks(range(len(ANSWERS)), ANSWERS)
    ax.set_yticks(range(len(truths)), truths)
    ax.set(xlabel="answer", ylabel="truth", title="Confusion")
    return ax


def reliability(evaluation: Evaluation, ax: Axes | None = None, *, decided: bool = False) -> Axes:
    """Share right against stated confidence, with exact 95 % bounds; ``decided``: BPO and KPO only."""
    ax = _axis(ax)
    c = evaluation.calibration_decided if decided else evaluation.calibration
    ax.plot([0, 1], [0, 1], color="black", linestyle="--", linewidth=1, label="perfectly calibrated")
    for b in c.bins:
        if b.right.low is not None and b.right.high is not None:
            ax.vlines(b.confidence, b.right.low, b.right.high, color=COLOURS["BPO"], linewidth=1.5)
    ax.plot([b.confidence for b in c.bins], [b.right.value or 0.0 for b in c.bins], "o", color=COLOURS["BPO"])
    title = f"Reliability, {c.rows:,} rows"
    if c.ece is not None and c.band.low is not None and c.band.high is not None:
        title += f"\nECE {c.ece:.3f}; if perfect {c.band.low:.3f} to {c.band.high:.3f}"
    ax.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="stated confidence", ylabel="share right", title=title)
    ax.legend(loc="upper left", frameon=False)
    return ax


def coverage_precision(evaluation: Evaluation, ax: Axes | None = None) -> Axes:
    """Precision of BPO and KPO answers as the threshold falls, with exact 95 % bounds."""
    ax = _axis(ax)
    points = [p for p in evaluation.curve if p.precision.value is not None]
    x = [p.coverage for p in points]
    ax.fill_between(
        x,
        [p.precision.low or 0.0 for p in points],
        [p.precision.high or 0.0 for p in points],
        color=COLOURS["BPO"],
        alpha=0.18,
        linewidth=0,
        label="exact 95 % bounds",
    )
    ax.plot(x, [p.precision.value or 0.0 for p in points], color=COLOURS["BPO"], label="observed")
    for target in evaluation.targets:
        ax.axhline(target.precision, color="black", linestyle="--", linewidth=0.8)
    ax.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="share of rows answered BPO or KPO", ylabel="precision")
    ax.set_title("Coverage and precision")
    ax.legend(loc="lower right", frameon=False)
    return ax


def label_mix(labels: Evaluation | Iterable[Any], ax: Axes | None = None) -> Axes:
    """How many rows got each label: of an Evaluation (beside the truth), of classifications or labels.

    A column of ``classify_frame``'s output will do.
    """
    ax = _axis(ax)
    if isinstance(labels, Evaluation):
        answers = Counter[str]()
        for (_, answer), n in labels.confusion.items():
            answers[answer] += n
        places = range(len(ANSWERS))
        ax.barh(
            [p + 0.2 for p in places],
            [labels.truths[a] for a in ANSWERS],
            0.38,
            color="#c9c9c9",
            label="truth",
        )
        bars = ax.barh(
            [p - 0.2 for p in places],
            [answers[a] for a in ANSWERS],
            0.38,
            color=[COLOURS[a] for a in ANSWERS],
            label="answer",
        )
        ax.set_yticks(list(places), ANSWERS)
        ax.legend(frameon=False)
    else:
        counts = Counter(str(x.label if isinstance(x, Classification) else x) for x in labels)
        order = [k for k in ("BPO", "KPO", "MIXED", "UNKNOWN", "NEITHER") if k in counts]
        order += sorted(set(counts) - set(order))
        bars = ax.barh(order, [counts[k] for k in order], color=[COLOURS.get(k, "#8c8c8c") for k in order])
    ax.bar_label(bars, fmt="{:,.0f}", padding=3)
    ax.invert_yaxis()
    ax.margins(x=0.12)
    ax.set(xlabel="rows", title="Labels")
    return ax


def traits_profile(classifications: Iterable[Classification], ax: Axes | None = None) -> Axes:
    """The rows of the comparison: in how many texts each points to BPO or to KPO."""
    ax = _axis(ax)
    sides: dict[str, Counter[str | None]] = {}
    total = 0
    for c in classifications:
        total += 1
        for trait in c.traits:
            sides.setdefault(trait.basis, Counter())[trait.side] += 1
    names = list(sides)
    bpo, kpo = ([sides[n][side] for n in names] for side in ("BPO", "KPO"))
    labels = [n.replace("_", " ") for n in names]
    left = ax.barh(labels, [-n for n in bpo], color=COLOURS["BPO"], label="BPO pole")
    right = ax.barh(labels, kpo, color=COLOURS["KPO"], label="KPO pole")
    ax.bar_label(left, labels=[f"{n:,}" if n else "" for n in bpo], padding=3)
    ax.bar_label(right, labels=[f"{n:,}" if n else "" for n in kpo], padding=3)
    reach = 1.2 * max([1, *bpo, *kpo])
    ax.set_xlim(-reach, reach)
    ax.xaxis.set_major_formatter(lambda value, _: f"{abs(value):,.0f}")
    ax.axvline(0, color="black", linewidth=0.8)
    ax.invert_yaxis()
    ax.set(xlabel=f"texts, of {total:,}", title="What the texts say on each row of the comparison")
    ax.legend(frameon=False, loc="lower right")
    return ax


def evidence_by_basis(classifications: Iterable[Classification], ax: Axes | None = None) -> Axes:
    """The weight of all counted evidence by row of the comparison and side."""
    ax = _axis(ax)
    weights: dict[str, dict[str, float]] = {}
    for c in classifications:
        for e in c.evidence:
            side = "NEITHER" if e.side == "OUT" else e.side
            of_basis = weights.setdefault(e.basis, {"BPO": 0.0, "KPO": 0.0, "NEITHER": 0.0})
            of_basis[side] += e.weight
    names = sorted(weights, key=lambda n: -sum(weights[n].values()))
    labels = [n.replace("_", " ") for n in names]
    start = [0.0] * len(names)
    for side in ("BPO", "KPO", "NEITHER"):
        values = [max(0.0, weights[n][side]) for n in names]  # a model's features may weigh against
        ax.barh(labels, values, left=start, color=COLOURS[side], label=side)
        start = [a + b for a, b in zip(start, values, strict=True)]
    ax.invert_yaxis()
    ax.set(xlabel="weight of the evidence", title="Evidence by row of the comparison")
    if names:
        ax.legend(frameon=False, loc="lower right")
    return ax


def _axis(ax: Axes | None) -> Axes:
    if ax is not None:
        return ax
    try:
        from matplotlib import pyplot
    except ImportError:
        raise ImportError("plots need matplotlib: pip install 'outsourcing-classifier[plot]'") from None
    return pyplot.subplots(figsize=(6, 4), layout="constrained")[1]
