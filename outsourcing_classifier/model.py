"""The trained fallback: what the rules leave undecided is decided where it can be trusted.

A linear model over folded words, pairs of words and letter groups, with the rules' own scores as
features. It is trained with scikit-learn and kept as plain numbers: a JSON manifest and one file of
arrays. Scoring needs neither scikit-learn nor numpy, and nothing that runs is ever loaded.
"""

from __future__ import annotations

import hashlib
import json
import math
import sys
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

HOME = Path(__file__).with_name("fallback")
CLASSES = ("BPO", "KPO", "NEITHER")
SEED = 20240601
_FORMAT = 1
_LEAST_ROWS = 60
_MAX_BYTES = 64 << 20


class ModelError(ValueError):
    """A model file or a training set that cannot be used; the message says why."""


class Feature(NamedTuple):
    """One feature of a text: its place (folded offsets; -1 where it has none) and its value."""

    name: str
    start: int
    end: int
    value: float


class Verdict(NamedTuple):
    """Probabilities by class and, for the best of BPO and KPO, what moved its log-odds against NEITHER."""

    probabilities: dict[str, float]
    scores: dict[str, float]
    moved: list[tuple[Feature, dict[str, float]]]
    bias: dict[str, float]


def grams(data: bytes) -> Iterator[tuple[str, int, int]]:
    """Words, pairs of words and letter groups of folded text, with their places."""
    text = data.decode("ascii")
    previous: tuple[int, int] | None = None
    start = -1
    for i, char in enumerate(text + " "):
        if char.isalnum() or char == "~":
            if start < 0:
                start = i
            continue
        if start >= 0:
            word = text[start:i]
            yield "w " + word, start, i
            if previous is not None and start - previous[1] == 1:
                yield "p " + text[previous[0] : previous[1]] + " " + word, previous[0], i
            padded = f"<{word}>"
            for size in (4, 5):
                for k in range(len(padded) - size + 1):
                    if len(padded) > size:
                        yield "c " + padded[k : k + size], start, i
            previous = (start, i)
            start = -1


def signals(scores: Mapping[str, float], services: Mapping[str, float]) -> Iterator[tuple[str, float]]:
    """The rules' view of a text: its scores and service lines, on a logarithmic scale."""
    for side, score in scores.items():
        yield "r " + side, math.log1p(max(score, 0.0))
    for service, weight in services.items():
        yield "s " + service, math.log1p(weight)


@dataclass(frozen=True)
class Model:
    """A loaded model. Make one with :meth:`open`; ``vocabulary`` maps a feature to its row."""

    vocabulary: Mapping[str, int]
    idf: array[float]
    weights: array[float]  # rows of len(CLASSES)
    bias: tuple[float, ...]
    threshold: float
    manifest: Mapping[str, Any]

    @classmethod
    def open(cls, path: str | Path | None = None, rulebook_sha256: str | None = None) -> Model:
        """Load a folder written by :meth:`save` (the shipped one by default).

        Raises :class:`ModelError` where it is missing, cut short, altered, made of other rules than
        ``rulebook_sha256``, or holds numbers that are none.
        """
        home = Path(path) if path is not None else HOME
        try:
            manifest = json.loads((home / "manifest.json").read_text("utf-8"))
            names = (home / "vocabulary.txt").read_bytes()
            data = (home / "arrays.bin").read_bytes()
        except OSError as error:
            raise ModelError(f"{error.filename}: {error.strerror}") from None
        except ValueError as error:
            raise ModelError(f"{home / 'manifest.json'}: not JSON: {error}") from None
        if not isinstance(manifest, dict) or manifest.get("format") != _FORMAT:
            raise ModelError(f"{home}: a model of format {_FORMAT} is wanted")
        if hashlib.sha256(names + data).hexdigest() != manifest.get("sha256"):
            raise ModelError(f"{home}: the files are not those that were trained (SHA-256 differs)")
        if rulebook_sha256 is not None and manifest["rulebook"] != rulebook_sha256:
            raise ModelError(
                f"{home}: trained with another rulebook ({manifest['rulebook'][:12]}, now "
                f"{rulebook_sha256[:12]}); train again"
            )
        vocabulary = {name: i for i, name in enumerate(names.decode("utf-8").split("\n"))}
        numbers = array("d")
        numbers.frombytes(data)
        if sys.byteorder == "big":
            numbers.byteswap()
        size = len(vocabulary)
        if len(numbers) != size * (1 + len(CLASSES)):
            raise ModelError(f"{home}: {len(numbers)} numbers for {size} features")
        if not all(map(math.isfinite, numbers)):
            raise ModelError(f"{home}: a number that is none (NaN or infinite)")
        return cls(
            vocabulary,
            numbers[:size],
            numbers[size:],
            tuple(manifest["bias"]),
            float(manifest["threshold"]),
            manifest,
        )

    def save(self, path: str | Path) -> None:
        """Write the model as ``manifest.json``, ``vocabulary.txt`` and ``arrays.bin``."""
        home = Path(path)
        home.mkdir(parents=True, exist_ok=True)
        names = "\n".join(self.vocabulary).encode("utf-8")
        numbers = array("d", [*self.idf, *self.weights])
        if sys.byteorder == "big":
            numbers.byteswap()
        data = numbers.tobytes()
        manifest = {**self.manifest, "sha256": hashlib.sha256(names + data).hexdigest()}
        (home / "vocabulary.txt").write_bytes(names)
        (home / "arrays.bin").write_bytes(data)
        text = json.dumps(manifest, indent=1, ensure_ascii=False, sort_keys=True)
        (home / "manifest.json").write_text(text + "\n", "utf-8")

    def features(self, data: bytes, rules: Mapping[str, float], services: Mapping[str, float]) -> list[Feature]:
        """The known features of a text: letter and word groups weighed by tf-idf to length one, and signals."""
        counts: dict[str, list[int]] = {}
        known = self.vocabulary
        for name, start, end in grams(data):
            if name in known:
                slot = counts.get(name)
                if slot is None:
                    counts[name] = [1, start, end]
                else:
                    slot[0] += 1
        raw = [(n, s, e, (1.0 + math.log(c)) * self.idf[known[n]]) for n, (c, s, e) in counts.items()]
        norm = math.sqrt(math.fsum(v * v for *_, v in raw)) or 1.0
        out = [Feature(n, s, e, v / norm) for n, s, e, v in raw]
        out += [Feature(n, -1, -1, v) for n, v in signals(rules, services) if n in known and v]
        return out

    def judge(self, data: bytes, rules: Mapping[str, float], services: Mapping[str, float]) -> Verdict:
        """Probabilities of a folded text. The scores are log-odds against NEITHER: bias plus all that moved them."""
        moved: list[tuple[Feature, dict[str, float]]] = []
        width = len(CLASSES)
        for feature in self.features(data, rules, services):
            at = self.vocabulary[feature.name] * width
            row = self.weights[at : at + width]
            moved.append((feature, {c: feature.value * (row[i] - row[-1]) for i, c in enumerate(CLASSES[:-1])}))
        bias = {c: self.bias[i] - self.bias[-1] for i, c in enumerate(CLASSES[:-1])}
        scores = {c: bias[c] + math.fsum(m[c] for _, m in moved) for c in CLASSES[:-1]}
        scores[CLASSES[-1]] = 0.0
        top = max(scores.values())
        powers = {c: math.exp(s - top) for c, s in scores.items()}
        total = math.fsum(powers.values())
        return Verdict({c: p / total for c, p in powers.items()}, scores, moved, bias)


@dataclass(frozen=True, slots=True)
class Example:
    """One labelled text. Texts of one ``group`` never straddle training and testing; ``held`` says
    that the rules were not tuned on it, so that it may tell how often an answer is right."""

    text: str
    label: str
    group: str
    weight: float = 1.0
    held: bool = True


class View(NamedTuple):
    """What the rules make of a text; ``label`` is BPO, KPO or None where they leave it to the model."""

    data: bytes
    scores: Mapping[str, float]
    services: Mapping[str, float]
    label: str | None
    confidence: float
    open: bool


def train(
    examples: Sequence[Example],
    view: Callable[[str], View],
    rulebook_sha256: str,
    *,
    penalty: float = 6.0,
    most_features: int = 40_000,
    folds: int = 5,
    tell: Callable[[str], None] = lambda line: None,
) -> Model:
    """Train on labelled texts (BPO, KPO, NEITHER).

    ``view`` gives what the rules make of a text. The temperature that calibrates the probabilities and the threshold come from texts outside the
    fold trained on, those on which the rules abstain. Same examples, same versions: same bytes.

    Needs scikit-learn. Raises :class:`ModelError` where the examples cannot support a model.
    """
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
    bags = [_bag(v) for v in views]
    logits = np.zeros((len(examples), len(CLASSES)))
    for n, (inside, outside) in enumerate(GroupKFold(folds).split(bags, truth, groups), 1):
        part = _fit([bags[i] for i in inside], truth[inside], weight[inside], penalty, most_features)
        logits[outside] = part.logits([bags[i] for i in outside])
        right = (logits[outside].argmax(1) == truth[outside])[own[outside]]
        tell(f"fold {n} of {folds}: {right.mean():.3f} of {right.size} own texts right")
    judged = undecided & held if (undecided & held).sum() >= _LEAST_ROWS else held
    temperature = _temperature(logits[judged], truth[judged])
    chances = _softmax(logits / temperature)
    threshold = _threshold(chances[judged], truth[judged])
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
        "format": _FORMAT,
        "classes": list(CLASSES),
        "bias": (final.bias / temperature).tolist(),
        "threshold": threshold,
        "temperature": temperature,
        "rulebook": rulebook_sha256,
        "scikit-learn": sklearn.__version__,
        "examples": len(examples),
        "data_sha256": checksum.hexdigest(),
        "seed": SEED,
        "figures": figures,
        "held_out": curve,
    }
    return Model(
        {name: i for i, name in enumerate(final.names)},
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

    def logits(self, bags: Sequence[tuple[dict[str, int], dict[str, float]]]) -> Any:
        return _matrix(bags, self.names, self.idf) @ self.weights + self.bias


def _bag(view: View) -> tuple[dict[str, int], dict[str, float]]:
    counts: dict[str, int] = {}
    for name, _, _ in grams(view[0]):
        counts[name] = counts.get(name, 0) + 1
    return counts, dict(signals(view[1], view[2]))


def _fit(bags: Sequence[Any], truth: Any, weight: Any, penalty: float, most: int) -> _Fitted:
    import numpy as np
    from sklearn.linear_model import LogisticRegression

    frequency: dict[str, int] = {}
    for counts, _ in bags:
        for name in counts:
            frequency[name] = frequency.get(name, 0) + 1
    kept = [n for n, f in frequency.items() if f >= 3]
    kept = sorted(sorted(kept, key=lambda n: (-frequency[n], n))[:most])
    marks = sorted({name for _, marks in bags for name in marks})
    names = kept + marks
    idf = [math.log((1 + len(bags)) / (1 + frequency[n])) + 1.0 for n in kept] + [1.0] * len(marks)
    classes = np.bincount(truth, minlength=len(CLASSES))
    balance = len(truth) / len(CLASSES) / np.maximum(classes, 1)
    model = LogisticRegression(C=penalty, max_iter=3000, tol=1e-6, random_state=SEED)
    model.fit(_matrix(bags, names, idf), truth, sample_weight=weight * balance[truth])
    return _Fitted(names, idf, model.coef_.T.copy(), model.intercept_.copy())


def _matrix(bags: Sequence[Any], names: Sequence[str], idf: Sequence[float]) -> Any:
    import numpy as np
    from scipy.sparse import csr_matrix

    place = {name: i for i, name in enumerate(names)}
    values: list[float] = []
    columns: list[int] = []
    starts = [0]
    for counts, marks in bags:
        row = [(place[n], (1.0 + math.log(c)) * idf[place[n]]) for n, c in counts.items() if n in place]
        norm = math.sqrt(math.fsum(v * v for _, v in row)) or 1.0
        row = [(i, v / norm) for i, v in row] + [(place[n], v) for n, v in marks.items() if n in place]
        columns += [i for i, _ in row]
        values += [v for _, v in row]
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


def _threshold(chances: Any, truth: Any) -> float:
    """Where naming a side gives the best macro-F1 on held-out texts, a half at least."""
    import numpy as np

    best, at = -1.0, 0.5
    sides = chances[:, :2]
    top, side = sides.max(1), sides.argmax(1)
    for cut in np.arange(0.5, 0.96, 0.01):
        answer = np.where(top >= cut, side, 2)
        f1 = [
            2 * ((answer == c) & (truth == c)).sum() / max(1, (answer == c).sum() + (truth == c).sum())
            for c in range(len(CLASSES))
        ]
        if np.mean(f1) > best:
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


def lower_bound(right: int, of: int, level: float = 0.95) -> float:
    """The exact (Clopper-Pearson, 1934) one-sided lower bound of a proportion at ``level``."""
    if right == 0:
        return 0.0
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        if _tail(right, of, middle) > 1 - level:
            high = middle
        else:
            low = middle
    return low


def _tail(right: int, of: int, chance: float) -> float:
    """P(X >= right) for X ~ Binomial(of, chance)."""
    if chance <= 0.0:
        return 0.0
    if chance >= 1.0:
        return 1.0
    total = 0.0
    for k in range(right, of + 1):
        log = math.lgamma(of + 1) - math.lgamma(k + 1) - math.lgamma(of - k + 1)
        total += math.exp(log + k * math.log(chance) + (of - k) * math.log1p(-chance))
    return total


def confidence_for(curve: Sequence[Sequence[float]], target: float, level: float = 0.95) -> float:
    """The least confidence from which answers are right with ``target`` precision, by held-out texts.

    Raises :class:`ModelError` where the held-out texts support no such claim.
    """
    if not 0.5 <= target < 1:
        raise ModelError(f"target_precision: want a number from 0.5 to below 1, not {target}")
    bounds = [(lower_bound(int(right), int(named), level), cut) for cut, named, right in curve if named]
    for bound, cut in bounds:
        if bound >= target:
            return cut
    best = max(bounds, default=(0.0, 0.0))[0]
    raise ModelError(
        f"target_precision {target}: the held-out texts support at most {best:.3f} "
        f"(exact lower bound at {level:.0%}); ask for less or bring more labelled texts"
    )
