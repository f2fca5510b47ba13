"""Trains the fallback model: examples in, a :class:`Model` of plain numbers out.

scikit-learn fits a logistic regression; what is fitted outside each fold of whole groups gives the
temperature that calibrates it, the threshold and every figure of the manifest.
"""

from __future__ import annotations

import csv
import hashlib
import math
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from outsourcing_classifier.model import CLASSES, FORMAT, Model, ModelError, View, grams

SEED = 20240601
_LEAST_ROWS = 60
NEITHER_EXPECTED = 0.6  # of texts on which the rules abstain: real boards and portals, not our mixture
LEAST_SURE = 0.8  # below this a side is never named: on real texts such answers were wrong more often than right
_REFERENCE_WEIGHT = 0.3
_NEITHER = (  # first digits of occupations (SOC) in neither list
    *("17", "19-1", "19-2", "19-4", "21", "25", "27", "29", "31", "33", "35", "37", "39", "41-2"),
    *("45", "47", "49", "51", "53"),
)


@dataclass(frozen=True, slots=True)
class Example:
    """One labelled text. Texts of one ``group`` never straddle training and testing; ``held`` says
    that the rules were not tuned on it, so that it may tell how often an answer is right."""

    text: str
    label: str
    group: str
    weight: float = 1.0
    held: bool = True


def examples(
    files: Sequence[str | Path], text: str = "text", label: str = "label", group: str | None = None
) -> list[Example]:
    """Labelled rows of CSV files; rows labelled MIXED are left out, UNKNOWN is read as NEITHER.

    ``group`` names the column whose rows are never parted (``batch`` where there is one, else each row
    is its own); a column ``split`` marks rows that the rules were not tuned on with "held". Raises
    :class:`ModelError` naming file and row of what cannot be used.
    """
    out: list[Example] = []
    ids: set[str] = set()
    for file in files:
        try:
            with open(file, encoding="utf-8-sig", newline="") as stream:
                rows = list(csv.DictReader(stream))
        except OSError as error:
            raise ModelError(f"{file}: {error.strerror}") from None
        except (UnicodeDecodeError, csv.Error) as error:
            raise ModelError(f"{file}: cannot be read as UTF-8 CSV: {error}") from None
        there = list(rows[0]) if rows else []
        for name in (text, label, *([group] if group else [])):
            if name not in there:
                raise ModelError(f"{file}: no column {name!r}; there are: {', '.join(map(str, there))}")
        for number, row in enumerate(rows, 1):
            said, key = (row[label] or "").strip().upper(), (row.get("id") or "")
            if key and key in ids:
                raise ModelError(f"{file}: row {number}: id {key!r} is there twice")
            ids.add(key)
            if not said:
                raise ModelError(f"{file}: row {number}: no label")
            if said == "MIXED":
                continue
            said = "NEITHER" if said == "UNKNOWN" else said
            words = row[text] or ""
            if not any(c.isalpha() for c in words):
                raise ModelError(f"{file}: row {number}: column {text!r} holds no text")
            own = row.get(group or "batch") or f"{file}:{number}"
            out.append(Example(words, said, own, 1.0, row.get("split", "held") == "held"))
    return out


def references(folder: str | Path, leave_out: str | Path | None = None, most: int = 1500) -> list[Example]:
    """Labelled texts of a folder of official vocabularies, each worth a fraction of an own text.

    O*NET tasks and titles (CC BY 4.0, U.S. Department of Labor), ESCO titles, CPV labels: those whose
    occupation is clear (tier A), and as NEITHER those of occupations far from either list. ``most`` of
    each file and class, evenly spread. ``leave_out``: a CSV whose column ``text`` must not be trained on.
    """
    home = Path(folder)
    barred: set[str] = set()
    if leave_out is not None:
        barred = {" ".join(r["text"].lower().split()) for r in _table(Path(leave_out), ",")}
    out: list[Example] = []
    for name in ("onet_tasks.tsv", "onet_alternate_titles.tsv"):
        rows = [r for r in _table(home / name) if " ".join(r["text"].lower().split()) not in barred]
        clear = [(r["text"], r["label"], r["soc"]) for r in rows if r["tier"] == "A"]
        far = [(r["text"], "NEITHER", r["soc"]) for r in rows if not r["label"] and r["soc"].startswith(_NEITHER)]
        for part in (clear, far):
            step = max(1, len(part) // most)
            out += [Example(t, y, "onet " + g, _REFERENCE_WEIGHT, False) for t, y, g in part[::step][:most]]
    for name, columns in (("esco_en.tsv", ("preferred", "description")), ("esco_es.tsv", ("preferred",))):
        for row in _table(home / name):
            if row["tier"] == "A":
                texts = dict.fromkeys([*(row[c] for c in columns), *row["alt"].split("|")])
                out += [
                    Example(t, row["label"], "esco " + row["id"], _REFERENCE_WEIGHT, False)
                    for t in texts
                    if len(t.split()) > 1
                ]
    for row in _table(home / "cpv_labels.tsv"):
        if row["tier"] == "A":
            group = "cpv " + row["cpv"]
            out += [Example(row[c], row["label"], group, _REFERENCE_WEIGHT, False) for c in ("en", "es") if row[c]]
    return out


def _table(path: Path, delimiter: str = "\t") -> list[dict[str, str]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            return list(csv.DictReader(stream, delimiter=delimiter))
    except OSError as error:
        raise ModelError(f"{path}: {error.strerror}") from None


def save_joblib(model: Model, path: str | Path) -> None:
    """scikit-learn's own LogisticRegression with the model's numbers, for those who want to look at it.

    A joblib file is a pickle: loading one runs what is in it, so load none that you did not write.
    The package itself never loads one.
    """
    import joblib

    joblib.dump(estimator(model), path)


def estimator(model: Model) -> Any:
    """A fitted scikit-learn LogisticRegression whose predict_proba is the model's."""
    import numpy as np
    from sklearn.linear_model import LogisticRegression

    out = LogisticRegression()
    out.classes_ = np.array(CLASSES)
    out.coef_ = np.array(model.weights).reshape(-1, len(CLASSES)).T
    out.intercept_ = np.array(model.bias)
    out.n_features_in_ = len(model.vocabulary)
    return out


def train(
    examples: Sequence[Example],
    view: Callable[[str], View],
    rulebook_sha256: str,
    *,
    penalty: float = 6.0,
    most_features: int = 40_000,
    folds: int = 4,
    least_sure: float = LEAST_SURE,
    tell: Callable[[str], None] = lambda line: None,
) -> Model:
    """Train on labelled texts (BPO, KPO, NEITHER).

    ``view`` gives what the rules make of a text. The temperature that calibrates the probabilities and
    the threshold come from texts outside the fold trained on, those on which the rules abstain; the
    threshold is ``least_sure`` at least, 0.5 to 0.95. Same examples, same versions: same bytes.

    Needs scikit-learn. Raises :class:`ModelError` where the examples cannot support a model.
    """
    if not 0.5 <= least_sure <= 0.95:
        raise ModelError(f"least_sure: want a number from 0.5 to 0.95, not {least_sure}")
    _check(examples, folds)
    import numpy as np
    import sklearn
    from sklearn.model_selection import GroupKFold

    views = [view(e.text) for e in examples]
    truth = np.array([CLASSES.index(e.label) for e in examples])
    weight = np.array([e.weight for e in examples])
    own = weight >= 1.0
    held = np.array([e.held for e in examples]) & own
    undecided = np.array([v.open for v in views])
    groups = np.array([e.group for e in examples])
    bags = [_bag(v.data) for v in views]
    logits = np.zeros((len(examples), len(CLASSES)))
    for n, (inside, outside) in enumerate(GroupKFold(folds).split(bags, truth, groups), 1):
        part = _fit([bags[i] for i in inside], truth[inside], weight[inside], penalty, most_features)
        logits[outside] = part.logits([bags[i] for i in outside])
        right = (logits[outside].argmax(1) == truth[outside])[own[outside]]
        tell(f"fold {n} of {folds}: {right.mean():.3f} of {right.size} own texts right")
    judged = undecided & held if (undecided & held).sum() >= _LEAST_ROWS else held
    temperature = _temperature(logits[judged], truth[judged])
    shift = _shift(truth[judged])
    logits[:, -1] += temperature * shift
    chances = _softmax(logits / temperature)
    threshold = _threshold(chances[judged], truth[judged], least_sure)
    answers, confidences = _answers(views, chances, threshold)
    curve = _curve(answers[held], confidences[held], truth[held])
    figures = _figures(chances, answers, truth, held, judged)
    for line in figures:
        tell(line)
    tell(f"temperature {temperature:.3f}; threshold {threshold:.3f} on {int(judged.sum())} undecided texts")
    final = _fit(bags, truth, weight, penalty, most_features)
    checksum = hashlib.sha256()
    for e in examples:
        checksum.update(f"{e.label}\0{e.group}\0{e.weight:g}\0{e.text}\0".encode())
    manifest = {
        "format": FORMAT,
        "classes": list(CLASSES),
        "bias": (final.bias / temperature + np.array([0.0, 0.0, shift])).tolist(),
        "threshold": threshold,
        "temperature": temperature,
        "neither_expected": NEITHER_EXPECTED,
        "rulebook": rulebook_sha256,
        "scikit-learn": sklearn.__version__,
        "examples": len(examples),
        "data_sha256": checksum.hexdigest(),
        "seed": SEED,
        "figures": figures,
        "held_out": curve,
    }
    return Model(
        "\n".join(final.names).encode("ascii"),
        array("d", final.idf),
        array("d", (final.weights / temperature).ravel()),
        tuple(manifest["bias"]),
        threshold,
        manifest,
    )


def _check(examples: Sequence[Example], folds: int) -> None:
    unknown = sorted({str(e.label) for e in examples} - set(CLASSES))
    if unknown:
        raise ModelError(f"unknown label {', '.join(map(repr, unknown[:5]))}; there are: {', '.join(CLASSES)}")
    if len(examples) < _LEAST_ROWS:
        raise ModelError(f"{len(examples)} rows; at least {_LEAST_ROWS} are wanted")
    counts = {c: sum(e.label == c for e in examples) for c in CLASSES}
    few = [f"{c} {n}" for c, n in counts.items() if n < 2 * folds]
    if few:
        raise ModelError(f"too few rows of {', '.join(few)}; at least {2 * folds} of each class are wanted")
    groups = len({e.group for e in examples})
    if groups < folds:
        raise ModelError(f"{groups} groups; at least {folds} are wanted for testing on unseen ones")


@dataclass(frozen=True)
class _Fitted:
    names: list[str]
    idf: list[float]
    weights: Any
    bias: Any

    def logits(self, bags: Sequence[dict[str, int]]) -> Any:
        return _matrix(bags, self.names, self.idf) @ self.weights + self.bias


def _bag(data: bytes) -> dict[str, int]:
    counts: dict[str, int] = {}
    for name, _, _ in grams(data):
        counts[name] = counts.get(name, 0) + 1
    return counts


def _fit(bags: Sequence[dict[str, int]], truth: Any, weight: Any, penalty: float, most: int) -> _Fitted:
    import numpy as np
    from sklearn.linear_model import LogisticRegression

    frequency: dict[str, int] = {}
    for counts in bags:
        for name in counts:
            frequency[name] = frequency.get(name, 0) + 1
    kept = [n for n, f in frequency.items() if f >= 3]
    names = sorted(sorted(kept, key=lambda n: (-frequency[n], n))[:most])
    idf = [math.log((1 + len(bags)) / (1 + frequency[n])) + 1.0 for n in names]
    classes = np.bincount(truth, minlength=len(CLASSES))
    balance = len(truth) / len(CLASSES) / np.maximum(classes, 1)
    model = LogisticRegression(C=penalty, max_iter=1000, tol=1e-4, random_state=SEED)
    model.fit(_matrix(bags, names, idf), truth, sample_weight=weight * balance[truth])
    return _Fitted(names, idf, model.coef_.T.copy(), model.intercept_.copy())


def _matrix(bags: Sequence[dict[str, int]], names: Sequence[str], idf: Sequence[float]) -> Any:
    import numpy as np
    from scipy.sparse import csr_matrix

    place = {name: i for i, name in enumerate(names)}
    values: list[float] = []
    columns: list[int] = []
    starts = [0]
    for counts in bags:
        row = [(place[n], (1.0 + math.log(c)) * idf[place[n]]) for n, c in counts.items() if n in place]
        norm = math.sqrt(math.fsum(v * v for _, v in row)) or 1.0
        columns += [i for i, _ in row]
        values += [v / norm for _, v in row]
        starts.append(len(columns))
    return csr_matrix((np.array(values), np.array(columns), np.array(starts)), shape=(len(bags), len(names)))


def _softmax(logits: Any) -> Any:
    import numpy as np

    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def _temperature(logits: Any, truth: Any) -> float:
    """The one number by which logits are divided so that held-out log loss is least."""
    import numpy as np
    from scipy.optimize import minimize_scalar

    def loss(log_t: float) -> float:
        chances = _softmax(logits / math.exp(log_t))
        return float(-np.log(np.maximum(chances[np.arange(len(truth)), truth], 1e-12)).mean())

    return round(math.exp(minimize_scalar(loss, bounds=(-2, 3), method="bounded").x), 6)


def _shift(truth: Any) -> float:
    """What the log-odds of NEITHER gain where it is expected more often than among the examples.

    Prior correction (Saerens, Latinne and Decaestecker, 2002): the rules already tell most of our
    NEITHER texts, which their authors made to be told, but few of the real ones.
    """
    share = float((truth == len(CLASSES) - 1).mean())
    share = min(max(share, 0.01), 0.99)
    return round(math.log(NEITHER_EXPECTED / (1 - NEITHER_EXPECTED)) - math.log(share / (1 - share)), 6)


def _threshold(chances: Any, truth: Any, least_sure: float) -> float:
    """The least probability, from ``least_sure`` on, from which naming a side gives the best macro-F1 on held-out
    texts weighed as expected."""
    import numpy as np

    neither = truth == len(CLASSES) - 1
    weight = np.where(
        neither, NEITHER_EXPECTED / max(1, neither.sum()), (1 - NEITHER_EXPECTED) / max(1, (~neither).sum())
    )
    best, at = -1.0, least_sure
    side, top = chances[:, :2].argmax(1), chances[:, :2].max(1)
    for cut in np.arange(least_sure, 0.96, 0.01):
        answer = np.where(top >= cut, side, 2)
        f1 = [
            2
            * weight[(answer == c) & (truth == c)].sum()
            / max(1e-9, weight[answer == c].sum() + weight[truth == c].sum())
            for c in range(len(CLASSES))
        ]
        if np.mean(f1) > best + 1e-9:
            best, at = float(np.mean(f1)), float(cut)
    return round(at, 2)


def _answers(views: Sequence[View], chances: Any, threshold: float) -> tuple[Any, Any]:
    """What rules and model answer together, and how sure they are."""
    import numpy as np

    answers, confidences = np.full(len(views), 2), np.zeros(len(views))
    for i, v in enumerate(views):
        side = int(chances[i, :2].argmax())
        if v.label is not None:
            answers[i], confidences[i] = CLASSES.index(v.label), v.confidence
        elif v.open and chances[i, side] >= threshold:
            answers[i], confidences[i] = side, chances[i, side]
    return answers, confidences


def _curve(answers: Any, confidences: Any, truth: Any) -> list[list[float]]:
    """(confidence, named with at least that, right of those), for :func:`confidence_for`."""
    import numpy as np

    named = answers < 2
    out = []
    for cut in np.arange(0.5, 0.996, 0.005):
        inside = named & (confidences >= cut)
        out.append([round(float(cut), 3), int(inside.sum()), int((answers == truth)[inside].sum())])
    return out


def _figures(chances: Any, answers: Any, truth: Any, held: Any, judged: Any) -> list[str]:
    """Macro-F1 outside the fold with a bootstrap interval, on texts that the rules were not tuned on."""
    import numpy as np

    random = np.random.default_rng(SEED)
    lines = []
    for title, mask, said in (
        ("model alone", held, chances.argmax(1)),
        ("model where the rules abstain", judged, chances.argmax(1)),
        ("rules and model", held, answers),
    ):
        answer, gold = said[mask], truth[mask]

        def macro(pick: Any, answer: Any = answer, gold: Any = gold) -> float:
            a, g = answer[pick], gold[pick]
            present = [c for c in range(len(CLASSES)) if (g == c).any()]
            f1 = [2 * ((a == c) & (g == c)).sum() / ((a == c).sum() + (g == c).sum()) for c in present]
            return float(np.mean(f1))

        draws = sorted(macro(random.integers(0, len(gold), len(gold))) for _ in range(400))
        value = macro(np.arange(len(gold)))
        lines.append(f"{title}: macro-F1 {value:.3f} (95 % {draws[10]:.3f} to {draws[389]:.3f}), {len(gold)} texts")
    return lines
