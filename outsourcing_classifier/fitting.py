"""Fits the rulebook's weights on labelled texts: few, positive, readable.

The model is the decision's own: the score of a side is the sum over its evidence of
``kind * zone * decay ** repetition``, and the three scores (BPO, KPO, and ``neither`` with its
constant and the outside evidence) go through a softmax. Kind and zone weights are fitted by
maximum likelihood under the constraint that none is negative, each class counting alike; a weak
pull towards the start values keeps what the data does not speak of where it was. The standard
error of each weight comes from refitting on resampled groups of texts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from outsourcing_classifier.index import Index
from outsourcing_classifier.matcher import Matcher
from outsourcing_classifier.rulebook import Rulebook
from outsourcing_classifier.scoring import repetitions

SIDES = ("BPO", "KPO", "OUT")
CLASSES = ("BPO", "KPO", "NEITHER")
FIXED_ZONES = ("body", "benefits", "boilerplate")  # body is the unit; the others count nothing
FREE_KINDS = ("listed", "synonym", "narrower", "title", "head", "action", "hint", "model")
FREE_ZONES = ("title", "modifier", "mention", "duties", "requirements", "sole_requirements", "employer")
PULL = 2.0  # of the start values, in texts


@dataclass(frozen=True, slots=True)
class Fit:
    """Fitted values with standard errors, by name (``kind.listed``, ``zone.title``, ``neither``, ``outside``)."""

    values: dict[str, float]
    errors: dict[str, float]
    texts: int
    log_loss: float
    accuracy: float


def fit(
    rulebook: Rulebook,
    texts: Sequence[str],
    labels: Sequence[str],
    groups: Sequence[str],
    resamples: int = 20,
    seed: int = 0,
) -> Fit:
    """Fit the weights. ``labels`` are BPO, KPO or NEITHER; texts of one group are resampled together.

    Needs numpy and scipy.
    """
    import numpy as np

    wrong = sorted(set(labels) - set(CLASSES))
    if wrong:
        raise ValueError(f"labels: want {', '.join(CLASSES)}; got {', '.join(wrong)}")
    tensor, aside = _tensor(rulebook, texts)
    truth = np.array([CLASSES.index(x) for x in labels])
    start = _start(rulebook)
    best, loss, accuracy = _minimise(tensor, aside, truth, start)
    random = np.random.default_rng(seed)
    names = sorted(set(groups))
    members = {name: np.flatnonzero(np.array(groups) == name) for name in names}
    draws = []
    for _ in range(resamples):
        chosen = np.concatenate([members[names[i]] for i in random.integers(0, len(names), len(names))])
        draws.append(_minimise(tensor[chosen], aside[chosen], truth[chosen], start)[0])
    spread = np.std(np.exp(draws), axis=0, ddof=1) if resamples > 1 else np.zeros(len(start))
    keys = _keys()
    return Fit(
        dict(zip(keys, np.exp(best).round(3).tolist(), strict=True)),
        dict(zip(keys, spread.round(3).tolist(), strict=True)),
        len(texts),
        loss,
        accuracy,
    )


def _keys() -> list[str]:
    return [*(f"kind.{k}" for k in FREE_KINDS), *(f"zone.{z}" for z in FREE_ZONES), "neither", "outside"]


def _start(rulebook: Rulebook) -> Any:
    import numpy as np

    w = rulebook.weights
    values = [*(w.kinds[k] for k in FREE_KINDS), *(w.zones[z] for z in FREE_ZONES)]
    return np.log(np.maximum([*values, w.decision["neither"], w.decision["outside"]], 1e-3))


def _tensor(rulebook: Rulebook, texts: Sequence[str]) -> tuple[Any, Any]:
    """texts x sides x kinds x zones: how much each hit still counts, summed; and what length adds to NEITHER."""
    import numpy as np

    matcher = Matcher(Index.build(rulebook))
    zones = (*FREE_ZONES, "body")
    out = np.zeros((len(texts), len(SIDES), len(FREE_KINDS), len(zones)))
    for row, text in enumerate(texts):
        hits = matcher.read(text).hits
        for hit, share in zip(hits, repetitions(hits, rulebook), strict=True):
            side = rulebook.side(hit.entry.concept)
            if side in SIDES and hit.entry.kind in FREE_KINDS and hit.zone in zones:
                out[row, SIDES.index(side), FREE_KINDS.index(hit.entry.kind), zones.index(hit.zone)] += share
    aside = rulebook.weights.decision["aside"] * np.log1p(np.array([len(t) for t in texts]) / 400)
    return out, aside


def _minimise(tensor: Any, aside: Any, truth: Any, start: Any) -> tuple[Any, float, float]:
    import numpy as np
    from scipy.optimize import minimize

    kinds, zones = len(FREE_KINDS), len(FREE_ZONES)
    counts = np.bincount(truth, minlength=3)
    weight = (len(truth) / 3 / np.maximum(counts, 1))[truth]

    def scores(x: Any) -> Any:
        kind, zone = np.exp(x[:kinds]), np.append(np.exp(x[kinds : kinds + zones]), 1.0)
        sums = np.einsum("nskz,k,z->ns", tensor, kind, zone)
        neither = np.exp(x[-2]) + aside + np.exp(x[-1]) * sums[:, 2]
        return np.column_stack([sums[:, 0], sums[:, 1], neither])

    def loss(x: Any) -> float:
        s = scores(x)
        s = s - s.max(axis=1, keepdims=True)
        chosen = s[np.arange(len(truth)), truth] - np.log(np.exp(s).sum(axis=1))
        return float(-(weight * chosen).sum() + PULL * ((x - start) ** 2).sum())

    result = minimize(loss, start, method="L-BFGS-B", bounds=[(s - 4, s + 2.5) for s in start])
    s = scores(result.x)
    return result.x, float(result.fun / len(truth)), float((s.argmax(axis=1) == truth).mean())
