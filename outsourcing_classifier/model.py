"""The trained fallback: what the rules leave undecided is decided where it can be trusted.

A linear model over folded words, pairs of words and letter groups. (The rules' scores were tried as
features and made it worse where the rules abstain.) It is trained with scikit-learn and kept as plain
numbers: a JSON manifest and one file of arrays. Scoring needs neither scikit-learn nor numpy, and
nothing that runs is ever loaded.
"""

from __future__ import annotations

import json
import math
import re
import sys
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property, reduce
from heapq import nsmallest
from operator import add, mul, sub
from pathlib import Path
from typing import Any, NamedTuple

HOME = Path(__file__).with_name("fallback")
CLASSES = ("BPO", "KPO", "NEITHER")
FORMAT = 1
_MOST_WORDS = 100_000  # whose features are kept
_WORD = re.compile(rb"[a-z0-9~]+")


class ModelError(ValueError):
    """A model file or a training set that cannot be used; the message says why."""


class Feature(NamedTuple):
    """One feature of a text: where it first stands (folded offsets) and its value."""

    name: str
    start: int
    end: int
    value: float


class Verdict(NamedTuple):
    """Probabilities by class, and log-odds against NEITHER."""

    probabilities: dict[str, float]
    scores: dict[str, float]


def grams(data: bytes) -> Iterator[tuple[str, int, int]]:
    """Words, pairs of words and letter groups of folded text, with their places."""
    previous: tuple[int, int] | None = None
    for match in _WORD.finditer(data):
        start, end = match.span()
        yield from ((name, start, end) for name in _of_word(match.group()))
        if previous is not None and start - previous[1] == 1:
            yield _pair(data[previous[0] : previous[1]], match.group()), previous[0], end
        previous = (start, end)


def _of_word(word: bytes) -> Iterator[str]:
    """The word itself and the groups of four and five letters that are less than all of it."""
    text = word.decode("ascii")
    yield "w " + text
    padded = f"<{text}>"
    for size in (4, 5):
        if len(padded) > size:
            yield from ("c " + padded[k : k + size] for k in range(len(padded) - size + 1))


def _pair(first: bytes, second: bytes) -> str:
    return f"p {first.decode('ascii')} {second.decode('ascii')}"


@dataclass(frozen=True)
class Model:
    """A loaded model. Make one with :meth:`open`; ``names`` holds the feature of each row, one a line, in ASCII."""

    names: bytes
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
        if _checksum(names + data) != manifest.get("sha256"):
            raise ModelError(f"{home}: the files are not those that were trained (SHA-256 differs)")
        if rulebook_sha256 is not None and manifest["rulebook"] != rulebook_sha256:
            raise ModelError(
                f"{home}: trained with another rulebook ({manifest['rulebook'][:12]}, now "
                f"{rulebook_sha256[:12]}); train again"
            )
        numbers = array("d")
        numbers.frombytes(data)
        if sys.byteorder == "big":
            numbers.byteswap()
        size = names.count(b"\n") + 1
        if len(numbers) != size * (1 + len(CLASSES)):
            raise ModelError(f"{home}: {len(numbers)} numbers for {size} features")
        if not names.isascii():
            raise ModelError(f"{home / 'vocabulary.txt'}: not ASCII")
        if not math.isfinite(sum(numbers)):
            raise ModelError(f"{home}: a number that is none (NaN or infinite)")
        return cls(
            names,
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
        numbers = array("d", [*self.idf, *self.weights])
        if sys.byteorder == "big":
            numbers.byteswap()
        data = numbers.tobytes()
        manifest = {**self.manifest, "sha256": _checksum(self.names + data)}
        (home / "vocabulary.txt").write_bytes(self.names)
        (home / "arrays.bin").write_bytes(data)
        text = json.dumps(manifest, indent=1, ensure_ascii=False, sort_keys=True)
        (home / "manifest.json").write_text(text + "\n", "utf-8")

    def weightiest(self, data: bytes, side: str, most: int) -> list[tuple[Feature, float]]:
        """The features of folded text that move the score of ``side`` most, either way, and by how much.

        Features are weighed by tf-idf, all together of length one; bias plus what all of them move it by is
        what :meth:`judge` gives.
        """
        counts, names, against = self._counts(data), self._names, self._against_neither[side]
        raw = self._raw(counts)
        norm = _length(raw)
        values = {row: value / norm for row, value in zip(counts, raw, strict=True)}
        moved = {row: value * against[row] for row, value in values.items()}
        top = nsmallest(most, moved, key=lambda row: (-abs(moved[row]), names[row]))
        places: dict[int, tuple[int, int]] = {}
        for row, start, end in self._placed(data):
            if row in top and row not in places:
                places[row] = (start, end)
                if len(places) == len(top):
                    break
        return [(Feature(names[row], *places[row], values[row]), moved[row]) for row in top]

    def judge(self, data: bytes) -> Verdict:
        """Probabilities of a folded text."""
        counts = self._counts(data)
        raw = self._raw(counts)
        norm = _length(raw)
        scores = {}
        for c, bias, against in zip(CLASSES, self.bias, self._against_neither.values(), strict=False):
            scores[c] = bias - self.bias[-1] + _total(map(mul, raw, map(against.__getitem__, counts))) / norm
        scores[CLASSES[-1]] = 0.0
        top = max(scores.values())
        powers = {c: math.exp(s - top) for c, s in scores.items()}
        total = _total(powers.values())
        return Verdict({c: p / total for c, p in powers.items()}, scores)

    def _counts(self, data: bytes) -> dict[int, int]:
        """How often each known feature stands in folded text, by row."""
        counts: dict[int, int] = {}
        for row, _, _ in self._placed(data):
            counts[row] = counts.get(row, 0) + 1
        return counts

    def __getstate__(self) -> dict[str, Any]:
        return {f.name: getattr(self, f.name) for f in fields(self)}  # the rest is made anew where it is needed

    def _raw(self, counts: Mapping[int, int]) -> list[float]:
        """What each feature weighs before all are brought to length one."""
        raw = list(map(self._idf.__getitem__, counts))
        for i, count in enumerate(counts.values()):
            if count > 1:
                raw[i] *= 1.0 + math.log(count)
        return raw

    def _placed(self, data: bytes) -> Iterator[tuple[int, int, int]]:
        """The known ones of :func:`grams`, by row."""
        if len(self._rows_of) > _MOST_WORDS:
            self._rows_of.clear()
        known, rows_of = self.vocabulary, self._rows_of
        before, reached = b"", -2
        for match in _WORD.finditer(data):
            word = match.group()
            start, end = match.span()
            rows = rows_of.get(word)
            if rows is None:
                rows = rows_of[word] = [known[name] for name in _of_word(word) if name in known]
            for row in rows:
                yield row, start, end
            if start - reached == 1:
                pair = known.get(_pair(before, word))
                if pair is not None:
                    yield pair, reached - len(before), end
            before, reached = word, end

    @cached_property
    def _rows_of(self) -> dict[bytes, list[int]]:
        """The rows of the known features of a word met before."""
        return {}

    @cached_property
    def vocabulary(self) -> dict[str, int]:
        """The row of each feature."""
        return {name: row for row, name in enumerate(self._names)}

    @cached_property
    def _names(self) -> list[str]:
        return self.names.decode("ascii").split("\n")

    @cached_property
    def _idf(self) -> list[float]:
        return list(self.idf)  # faster to look up in

    @cached_property
    def _against_neither(self) -> dict[str, list[float]]:
        """The weights of each row for BPO and for KPO, less the one for NEITHER."""
        neither = self.weights[len(CLASSES) - 1 :: len(CLASSES)]
        return {c: list(map(sub, self.weights[i :: len(CLASSES)], neither)) for i, c in enumerate(CLASSES[:-1])}


def _checksum(data: bytes) -> str:
    from hashlib import sha256  # loads OpenSSL: not before it is wanted

    return sha256(data).hexdigest()


def _total(numbers: Iterable[float]) -> float:
    """Added one after the other, as C does it; sum() adds otherwise from Python 3.12 on."""
    return reduce(add, numbers, 0.0)


def _length(raw: Sequence[float]) -> float:
    return math.sqrt(_total(map(mul, raw, raw))) or 1.0


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
