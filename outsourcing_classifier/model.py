"""The trained fallback: what the rules leave undecided is decided where it can be trusted.

A linear model over folded words, pairs of words and letter groups. (The rules' scores were tried as
features and made it worse where the rules abstain.) It is trained with scikit-learn and kept as plain
numbers: a JSON manifest and one file of arrays. Scoring needs neither scikit-learn nor numpy, and
nothing that runs is ever loaded.
"""

from __future__ import annotations

import hashlib
import json
import math
import sys
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

HOME = Path(__file__).with_name("fallback")
CLASSES = ("BPO", "KPO", "NEITHER")
FORMAT = 1
_MAX_BYTES = 64 << 20


class ModelError(ValueError):
    """A model file or a training set that cannot be used; the message says why."""


class Feature(NamedTuple):
    """One feature of a text: where it first stands (folded offsets) and its value."""

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
        if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
            raise ModelError(f"{home}: a model of format {FORMAT} is wanted")
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

    def features(self, data: bytes) -> list[Feature]:
        """The known features of folded text, weighed by tf-idf, all together of length one."""
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
        return [Feature(n, s, e, v / norm) for n, s, e, v in raw]

    def judge(self, data: bytes) -> Verdict:
        """Probabilities of a folded text. The scores are log-odds against NEITHER: bias plus all that moved them."""
        moved: list[tuple[Feature, dict[str, float]]] = []
        width = len(CLASSES)
        for feature in self.features(data):
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


class View(NamedTuple):
    """What the rules make of a text: ``label`` is BPO, KPO or None; ``open`` where the model is asked."""

    data: bytes
    label: str | None
    confidence: float
    open: bool


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
