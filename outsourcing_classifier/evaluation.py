"""Figures on labelled rows: how often right, how sure, where wrong and why. Standard library only.

Truth labels are BPO, KPO, NEITHER, MIXED and CONTESTED (people could not agree). The headline is
measured on rows whose truth is BPO, KPO or NEITHER. The library's UNKNOWN answers NEITHER; its MIXED
is wrong on every headline row. MIXED and CONTESTED rows are left out of the headline and reported in
the confusion table. Every figure is deterministic: one seed, one arithmetic, with or without NumPy.
"""

from __future__ import annotations

import csv
import hashlib
import math
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import accumulate, groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from outsourcing_classifier import report as _html
from outsourcing_classifier.classifier import Classifier, default_classifier
from outsourcing_classifier.explain import Explanation, explanation
from outsourcing_classifier.results import Classification, RulebookId

if TYPE_CHECKING:
    import pandas as pd

    Table: TypeAlias = pd.DataFrame | Mapping[str, Sequence[Any]] | Iterable[Mapping[str, Any]]

CLASSES = ("BPO", "KPO", "NEITHER")
TRUTHS = (*CLASSES, "MIXED", "CONTESTED")
ANSWERS = (*CLASSES, "MIXED")
LENGTHS = ((0, "empty"), (50, "1–50"), (150, "51–150"), (500, "151–500"), (2000, "501–2,000"))
TARGETS = (0.90, 0.95)
_FEW = 30  # rows below which nothing is concluded
_CURVE = 200  # points kept of the coverage-precision curve
_VALUES = 30  # values of a slice told apart
_BANDS = 500  # simulations behind the null band of the calibration error
_Cells = Sequence[int]


class EvaluationError(ValueError):
    """Labelled rows that cannot be evaluated; the message says what to change and echoes no text."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its 95 % interval; ``None`` where the rows do not define it."""

    value: float | None
    low: float | None = None
    high: float | None = None

    def __str__(self) -> str:
        if self.value is None:
            return "–"
        if self.low is None or self.high is None:
            return f"{self.value:.3f}"
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"


@dataclass(frozen=True, slots=True)
class ClassFigures:
    """One class: ``rows`` of that truth, ``answers`` of that label, and how they meet."""

    label: str
    rows: int
    answers: int
    precision: Estimate
    recall: Estimate
    f1: Estimate


@dataclass(frozen=True, slots=True)
class Slice:
    """Headline rows that share a value. ``decided``: answered BPO or KPO; intervals are exact, but
    that of ``macro_f1``, which is a bootstrap over the classes present."""

    dimension: str
    value: str
    rows: int
    accuracy: Estimate
    macro_f1: Estimate
    decided: int
    precision: Estimate


@dataclass(frozen=True, slots=True)
class Point:
    """BPO and KPO answers with ``confidence >= threshold``: ``coverage`` is their share of all headline
    rows, ``recall`` the share of BPO and KPO rows among them and right."""

    threshold: float
    accepted: int
    right: int
    coverage: float
    recall: float
    precision: Estimate


@dataclass(frozen=True, slots=True)
class Target:
    """The widest coverage at a precision. ``reached``: the observed precision is at least ``precision``;
    ``supported``: its exact one-sided 95 % lower bound is as well."""

    precision: float
    reached: Point | None
    supported: Point | None


@dataclass(frozen=True, slots=True)
class Bin:
    """Rows of neighbouring confidences; equal confidences share a bin."""

    low: float
    high: float
    rows: int
    confidence: float
    right: Estimate


@dataclass(frozen=True, slots=True)
class Calibration:
    """The stated confidence against being right. ``ece`` is the mean distance of the bins, weighted by
    rows; ``band`` is what a perfectly calibrated model would show on the same confidences (mean and
    95 % of simulations)."""

    rows: int
    brier: float | None
    log_loss: float | None
    ece: float | None
    band: Estimate
    bins: tuple[Bin, ...]


@dataclass(frozen=True, slots=True)
class Agreement:
    """The first label column against the second, all known labels counted."""

    rows: int
    agreed: int
    kappa: Estimate
    table: tuple[tuple[str, str, int], ...]


@dataclass(frozen=True, slots=True)
class RuleFigures:
    """A rule on headline rows: ``right`` where the truth is its side, ``conflict`` where evidence of
    another side counted in the same text."""

    rule: str
    concept: str
    side: str
    fired: int
    right: int
    wrong: int
    conflict: int
    precision: Estimate


@dataclass(frozen=True, slots=True)
class Outcome:
    """One labelled row. ``number`` counts rows from 1; ``length`` is in code points."""

    number: int
    row_id: str
    truth: str
    answer: str
    service: str
    true_service: str
    confidence: float
    decided_by: str
    reason: str
    language: str
    source: str
    length: int
    second: str
    rules: tuple[tuple[str, str, str], ...]
    digest: str

    @property
    def right(self) -> bool:
        """Whether the answer is the truth."""
        return self.truth == self.answer


@dataclass(frozen=True, slots=True)
class Mistake:
    """A headline row answered wrongly, with the explanation of the answer."""

    outcome: Outcome
    explanation: Explanation

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        o, c = self.outcome, self.explanation.classification.to_dict()
        skip = {"rules", "digest", "length"}
        return {k: getattr(o, k) for k in Outcome.__slots__ if k not in skip} | {
            "why": self.explanation.headline(),
            "text": self.explanation.text,
            "evidence": c["evidence"],
            "discarded": c["discarded"],
            "scores": dict(c["scores"]),
        }


@dataclass(frozen=True)
class Evaluation:
    """What :func:`evaluate` returns. ``print`` it, :meth:`to_dict` it, or write its :meth:`report`."""

    name: str
    rulebook: RulebookId
    rows: int
    headline: int
    left_out: Mapping[str, int]
    truths: Mapping[str, int]
    confusion: Mapping[tuple[str, str], int]
    accuracy: Estimate
    macro_f1: Estimate
    mcc: Estimate
    classes: tuple[ClassFigures, ...]
    service_accuracy: Estimate
    side_accuracy: Estimate
    slices: tuple[Slice, ...]
    curve: tuple[Point, ...]
    targets: tuple[Target, ...]
    aurc: float | None
    augrc: float | None
    calibration: Calibration
    calibration_decided: Calibration
    agreement: Agreement | None
    rules: tuple[RuleFigures, ...]
    mistakes: tuple[Mistake, ...] = field(repr=False)
    outcomes: tuple[Outcome, ...] = field(repr=False)
    notes: tuple[str, ...]
    resamples: int
    seed: int

    def to_dict(self, mistakes: bool = True) -> dict[str, Any]:
        """Plain lists, dictionaries, strings and numbers, ready for JSON; without the right rows.

        ``mistakes=False`` leaves out the texts.
        """
        skip = {"mistakes", "outcomes", "confusion", "rulebook", "left_out", "truths"}
        out: dict[str, Any] = {k: _plain(v) for k, v in vars(self).items() if k not in skip}
        out["rulebook"] = self.rulebook._asdict()
        out["left_out"] = dict(self.left_out)
        out["truths"] = dict(self.truths)
        out["confusion"] = [{"truth": t, "answer": a, "rows": n} for (t, a), n in self.confusion.items()]
        if mistakes:
            out["mistakes"] = [m.to_dict() for m in self.mistakes]
        return out

    def report(self, path: str | Path, comparison: Comparison | None = None) -> Path:
        """Write one self-contained HTML file, whole or not at all, and return its path."""
        return _html.write(path, _html.page(self.to_dict(), comparison.to_dict() if comparison else None))

    def __str__(self) -> str:
        return "\n".join(_lines(self))


@dataclass(frozen=True, slots=True)
class Change:
    """A row that one of two evaluations answers rightly and the other wrongly."""

    number: int
    row_id: str
    truth: str
    before: str
    after: str
    text: str


@dataclass(frozen=True)
class Comparison:
    """Two evaluations of the same rows. ``accuracy`` and ``macro_f1`` are after minus before, with paired
    bootstrap intervals; ``p_value`` is McNemar's exact two-sided test of gains against losses."""

    before: str
    after: str
    rows: int
    both_right: int
    both_wrong: int
    gains: tuple[Change, ...] = field(repr=False)
    losses: tuple[Change, ...] = field(repr=False)
    p_value: float
    accuracy: Estimate
    macro_f1: Estimate
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, dictionaries, strings and numbers, ready for JSON."""
        return {k: _plain(v) for k, v in vars(self).items()}

    def __str__(self) -> str:
        lines = [
            f"{self.before} -> {self.after}, {self.rows:,} rows",
            f"  gains {len(self.gains)}   losses {len(self.losses)}   McNemar exact p {self.p_value:.3g}",
            f"  both right {self.both_right}   both wrong {self.both_wrong}",
            f"  accuracy {_signed(self.accuracy)}   macro-F1 {_signed(self.macro_f1)}",
        ]
        for title, changes in (("Gains", self.gains), ("Losses", self.losses)):
            if changes:
                lines.append(title)
            lines += [f"  row {c.number}: {c.truth}, {c.before} -> {c.after}: {_short(c.text)}" for c in changes[:20]]
            if len(changes) > 20:
                lines.append(f"  and {len(changes) - 20} more")
        return "\n".join([*lines, *self.notes])


# ---- the doors


def evaluate(
    data: Table,
    text: str = "description",
    label: str = "label",
    *,
    service: str | None = None,
    second_label: str | None = None,
    row_id: str | None = None,
    language: str | None = None,
    source: str | None = None,
    mapping: Mapping[str, str] | None = None,
    classifier: Classifier | None = None,
    name: str = "current",
    resamples: int = 1000,
    seed: int = 1,
) -> Evaluation:
    """Classify labelled rows and measure the answers.

    Parameters
    ----------
    data
        A pandas DataFrame, a mapping of columns, or an iterable of row mappings.
    text, label, service, second_label, row_id, language, source
        Column names. A missing text counts as an empty one. ``service``, ``language`` and ``source``
        give slices; without ``language`` the languages of the evidence stand in. ``second_label`` is
        another annotator's label.
    mapping
        Your words -> one of TRUTHS, for labels written otherwise. Case and outer space do not matter.
        Rows whose label stays unknown are left out and counted in ``left_out``.
    classifier
        What to measure; the shipped one by default.
    resamples, seed
        Of the bootstrap: the rows are drawn anew ``resamples`` times, intervals are the percentiles
        2.5 and 97.5.

    Raises :class:`EvaluationError` where a column is missing or no row can be measured.
    """
    if resamples < 1:
        raise EvaluationError("resamples: want at least 1")
    chosen = classifier if classifier is not None else default_classifier()
    columns = _columns(data)
    texts = [t if isinstance(t, str) else "" for t in columns(text)]
    known = _mapping(mapping)
    truths = [_truth(v, known) for v in columns(label)]
    if len(texts) != len(truths):
        raise EvaluationError("the columns differ in length")
    empty = [""] * len(texts)

    def optional(column: str | None) -> list[str]:
        return [_cell(v) for v in columns(column)] if column is not None else empty

    seconds = [_truth(v, known) for v in columns(second_label)] if second_label is not None else None
    services, ids = optional(service), optional(row_id)
    languages, sources = optional(language), optional(source)
    left_out = Counter(v for v in truths if v not in TRUTHS)
    outcomes: list[Outcome] = []
    mistakes: list[Mistake] = []
    book: RulebookId = chosen.rulebook.id
    for i, truth in enumerate(truths):
        if truth not in TRUTHS:
            continue
        c = chosen.classify(texts[i])
        outcome = _outcome(i, texts[i], c, truth)
        outcome = _with(
            outcome,
            row_id=ids[i],
            true_service="" if services[i].casefold() == "none" else services[i],
            source=sources[i],
            language=languages[i] or outcome.language,
            second=seconds[i] if seconds is not None else "",
        )
        outcomes.append(outcome)
        if truth in CLASSES and not outcome.right:
            mistakes.append(Mistake(outcome, explanation(texts[i], c, chosen.rulebook)))
    if not any(o.truth in CLASSES for o in outcomes):
        raise EvaluationError(_no_rows(len(truths), left_out))
    used = {"service": service, "source": source, "row_id": row_id, "second_label": second_label}
    return _measured(tuple(outcomes), tuple(mistakes), left_out, book, name, resamples, seed, used)


def compare(before: Evaluation, after: Evaluation) -> Comparison:
    """Set two evaluations of the same rows side by side: which texts were gained, which lost.

    McNemar's exact test asks whether gains and losses could be fair coin tosses: two-sided binomial
    with one half. Raises :class:`EvaluationError` where the rows, their texts or labels differ.
    """
    if [(o.number, o.digest, o.truth) for o in before.outcomes] != [
        (o.number, o.digest, o.truth) for o in after.outcomes
    ]:
        raise EvaluationError("the two evaluations are not of the same rows, texts and labels")
    pairs = [(a, b) for a, b in zip(before.outcomes, after.outcomes, strict=True) if a.truth in CLASSES]
    texts = {m.outcome.number: m.explanation.text for m in (*before.mistakes, *after.mistakes)}

    def changes(wanted: Callable[[Outcome, Outcome], bool]) -> tuple[Change, ...]:
        return tuple(
            Change(a.number, a.row_id, a.truth, a.answer, b.answer, texts[a.number]) for a, b in pairs if wanted(a, b)
        )

    gains = changes(lambda a, b: b.right and not a.right)
    losses = changes(lambda a, b: a.right and not b.right)
    cells = Counter((a.truth, a.answer, b.answer) for a, b in pairs)
    keys = sorted(cells)

    def difference(stat: Callable[[_Cells], float | None], counts: Sequence[int]) -> float | None:
        tables = [[0] * 12, [0] * 12]
        for (truth, one, two), n in zip(keys, counts, strict=True):
            tables[0][_place(truth, one)] += n
            tables[1][_place(truth, two)] += n
        old, new = stat(tables[0]), stat(tables[1])
        return None if old is None or new is None else new - old

    counts = [cells[k] for k in keys]
    draws = list(_resampled(counts, before.resamples, random.Random(before.seed)))

    def estimate(stat: Callable[[_Cells], float | None]) -> Estimate:
        return _interval(difference(stat, counts), [difference(stat, d) for d in draws])

    p = mcnemar_exact(len(gains), len(losses))
    notes = []
    if not gains and not losses:
        notes.append("No row changed between right and wrong: the two cannot be told apart on these rows.")
    elif p >= 0.05:
        notes.append(
            f"{len(gains)} gains and {len(losses)} losses could be chance (p {p:.2g}): which of the two is "
            "better cannot be concluded."
        )
    both_right = sum(a.right and b.right for a, b in pairs)
    both_wrong = len(pairs) - both_right - len(gains) - len(losses)
    return Comparison(
        before.name,
        after.name,
        len(pairs),
        both_right,
        both_wrong,
        gains,
        losses,
        p,
        estimate(_accuracy),
        estimate(_macro_f1),
        tuple(notes),
    )


def read_csv(path: str | Path, delimiter: str = ",", encoding: str = "utf-8-sig") -> list[dict[str, str]]:
    """The rows of a CSV file with a header line. Raises :class:`EvaluationError`."""
    previous = csv.field_size_limit(2**31 - 1)
    try:
        with open(path, encoding=encoding, newline="") as stream:
            reader = csv.DictReader(stream, delimiter=delimiter, restval="")
            rows = [{k: v for k, v in row.items() if k is not None} for row in reader]
            header = list(reader.fieldnames or ())
    except OSError as error:
        raise EvaluationError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise EvaluationError(f"{path}: not {encoding} at byte {error.start}") from None
    except LookupError:
        raise EvaluationError(f"no encoding {encoding!r}") from None
    except csv.Error as error:
        raise EvaluationError(f"{path}: {error}") from None
    finally:
        csv.field_size_limit(previous)
    twice = sorted(n for n, k in Counter(header).items() if k > 1)
    if twice:
        raise EvaluationError(f"{path}: several columns {', '.join(twice)}")
    if not rows:
        raise EvaluationError(f"{path}: no rows; want a header line and labelled rows")
    return rows


# ---- input


def _columns(data: Any) -> Callable[[str], list[Any]]:
    """A function from a column name to its values."""
    if isinstance(data, (str, bytes)):
        raise EvaluationError("data: want a DataFrame, a mapping of columns or rows, not a text")
    if hasattr(data, "columns") and hasattr(data, "loc"):
        names = list(data.columns)

        def frame(column: str) -> list[Any]:
            _one_of(column, names)
            return list(data[column].tolist())

        return frame
    if isinstance(data, Mapping):

        def mapped(column: str) -> list[Any]:
            _one_of(column, list(data))
            return list(data[column])

        return mapped
    rows = list(data)
    if not all(isinstance(r, Mapping) for r in rows):
        raise EvaluationError("data: want a DataFrame, a mapping of columns or an iterable of row mappings")
    names = list(dict.fromkeys(k for r in rows for k in r))

    def listed(column: str) -> list[Any]:
        _one_of(column, names)
        return [r.get(column) for r in rows]

    return listed


def _one_of(column: str, names: Sequence[Any]) -> None:
    if names.count(column) != 1:
        many = "several columns" if column in names else "no column"
        raise EvaluationError(f"{many} {column!r}; there are: {', '.join(map(str, names)) or 'none'}")


def _mapping(mapping: Mapping[str, str] | None) -> dict[str, str]:
    known = {t.casefold(): t for t in TRUTHS}
    for word, target in (mapping or {}).items():
        if str(target).strip().upper() not in TRUTHS:
            raise EvaluationError(f"mapping: {target!r} is none of {', '.join(TRUTHS)}")
        known[" ".join(str(word).split()).casefold()] = str(target).strip().upper()
    return known


def _cell(value: Any) -> str:
    missing = value is None or value != value or str(value) == "<NA>"
    return "" if missing else " ".join(str(value).split())


def _truth(value: Any, known: Mapping[str, str]) -> str:
    word = _cell(value)
    short = word if len(word) <= 40 else word[:39] + "…"
    return known.get(word.casefold(), short or "(no label)")


def _no_rows(rows: int, left_out: Mapping[str, int]) -> str:
    if not rows:
        return "no rows to evaluate"
    if not left_out:
        return "no row is labelled BPO, KPO or NEITHER: nothing to measure"
    listed = ", ".join(f"{k!r} {n}" for k, n in Counter(left_out).most_common(10))
    return f"no row is labelled BPO, KPO or NEITHER; labels that need a mapping: {listed}"


def _outcome(index: int, text: str, c: Classification, truth: str) -> Outcome:
    answer = "NEITHER" if c.label == "UNKNOWN" else str(c.label)
    return Outcome(
        number=index + 1,
        row_id="",
        truth=truth,
        answer=answer,
        service=c.service or "",
        true_service="",
        confidence=min(1.0, max(0.0, float(c.confidence))),
        decided_by=str(c.decided_by) if c.decided_by else "nobody",
        reason=str(c.reason),
        language="+".join(c.languages) or "no evidence",
        source="",
        length=len(text),
        second="",
        rules=tuple(sorted({(e.rule, "" if e.kind == "feature" else e.concept, e.side) for e in c.evidence})),
        digest=hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16],
    )


def _with(outcome: Outcome, **changes: str) -> Outcome:
    values = {name: getattr(outcome, name) for name in Outcome.__slots__}
    return Outcome(**(values | changes))


# ---- exact and resampled intervals


def clopper_pearson(right: int, rows: int, level: float = 0.95) -> tuple[float, float]:
    """The exact two-sided interval of a share (Clopper & Pearson, Biometrika 26, 1934).

    Each bound is the share whose binomial tail beyond ``right`` is ``(1 - level) / 2``, by bisection.
    """
    if not 0 <= right <= rows:
        raise ValueError("want 0 <= right <= rows")
    tail = (1 - level) / 2
    low = 0.0 if right == 0 else _bisect(lambda p: binomial_tail(right, rows, p) < tail)
    high = 1.0 if right == rows else _bisect(lambda p: 1 - binomial_tail(right + 1, rows, p) > tail)
    return low, high


def binomial_tail(least: int, rows: int, share: float) -> float:
    """P(X >= least) of ``rows`` tosses, by the incomplete beta function I_share(least, rows-least+1).

    Continued fraction by the modified Lentz method (Abramowitz & Stegun 26.5.8, 6.6.2).
    """
    if least <= 0:
        return 1.0
    if least > rows or share <= 0:
        return 0.0
    if share >= 1:
        return 1.0
    a, b = float(least), float(rows - least + 1)
    front = math.exp(
        math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(share) + b * math.log1p(-share)
    )
    if share < (a + 1) / (a + b + 2):
        return front * _beta_fraction(a, b, share) / a
    return 1 - front * _beta_fraction(b, a, 1 - share) / b


def _beta_fraction(a: float, b: float, x: float) -> float:
    tiny = 1e-300
    c, d = 1.0, 1 - (a + b) * x / (a + 1)
    d = 1 / (d if abs(d) > tiny else tiny)
    value = d
    for m in range(1, 10_000):
        for up in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1 + up * d
            c = 1 + up / c
            d = 1 / (d if abs(d) > tiny else tiny)
            c = c if abs(c) > tiny else tiny
            value *= c * d
        if abs(c * d - 1) < 1e-13:
            break
    return value


def _bisect(below: Callable[[float], bool]) -> float:
    low, high = 0.0, 1.0
    for _ in range(45):
        middle = (low + high) / 2
        low, high = (middle, high) if below(middle) else (low, middle)
    return (low + high) / 2


def mcnemar_exact(gains: int, losses: int) -> float:
    """Two-sided p of McNemar's test on the discordant pairs alone (exact binomial with one half)."""
    n = gains + losses
    return min(1.0, 2 * (1 - binomial_tail(min(gains, losses) + 1, n, 0.5))) if n else 1.0


def _share(right: int, rows: int) -> Estimate:
    return Estimate(right / rows, *clopper_pearson(right, rows)) if rows else Estimate(None)


def _resampled(counts: Sequence[int], times: int, rng: random.Random) -> Iterator[list[int]]:
    """Rows drawn anew, counted by cell: a multinomial draw, one binomial after the other."""
    total = sum(counts)
    rest = list(accumulate(reversed(counts)))[::-1]
    for _ in range(times):
        left, out = total, []
        for count, remaining in zip(counts, rest, strict=True):
            drawn = 0
            if count and left:
                drawn = left if count == remaining else _binomial(left, count / remaining, rng)
            out.append(drawn)
            left -= drawn
        yield out


def _binomial(n: int, p: float, rng: random.Random) -> int:
    """An exact binomial draw: n uniform numbers are compared with p bit by bit, all at once."""
    hits = 0
    while n and p > 0:
        ones = rng.getrandbits(n).bit_count()
        p *= 2
        if p >= 1:
            p -= 1
            hits += n - ones  # a zero where p has a one: below p
            n = ones
        else:
            n -= ones  # a one where p has a zero: above p
    return hits


def _interval(value: float | None, draws: Iterable[float | None]) -> Estimate:
    kept = sorted(d for d in draws if d is not None)
    if value is None or not kept:
        return Estimate(value)
    last = len(kept) - 1
    return Estimate(value, kept[round(0.025 * last)], kept[round(0.975 * last)])


# ---- statistics of a 3 x 4 table, truth by answer, as 12 counts


def _place(truth: str, answer: str) -> int:
    return CLASSES.index(truth) * 4 + ANSWERS.index(answer)


def _tabled(outcomes: Iterable[Outcome]) -> list[int]:
    out = [0] * 12
    for (truth, answer), n in Counter((o.truth, o.answer) for o in outcomes).items():
        out[_place(truth, answer)] += n
    return out


def _accuracy(t: _Cells) -> float | None:
    total = sum(t)
    return (t[0] + t[5] + t[10]) / total if total else None


def _class_counts(t: _Cells, k: int) -> tuple[int, int, int]:
    """(right, rows of the class, answers of the class)."""
    return t[5 * k], sum(t[4 * k : 4 * k + 4]), t[k] + t[4 + k] + t[8 + k]


def _precision(t: _Cells, k: int) -> float | None:
    right, _, answers = _class_counts(t, k)
    return right / answers if answers else None


def _recall(t: _Cells, k: int) -> float | None:
    right, rows, _ = _class_counts(t, k)
    return right / rows if rows else None


def _f1(t: _Cells, k: int) -> float | None:
    right, rows, answers = _class_counts(t, k)
    return 2 * right / (rows + answers) if rows else None


def _macro_f1(t: _Cells) -> float | None:
    """The mean of F1 over the classes that have rows."""
    values = [f for k in range(3) if (f := _f1(t, k)) is not None]
    return sum(values) / len(values) if values else None


def _mcc(t: _Cells) -> float | None:
    """Matthews correlation for several classes (Gorodkin, Comput. Biol. Chem. 28, 2004, R_K)."""
    total = sum(t)
    rows = [sum(t[4 * k : 4 * k + 4]) for k in range(3)] + [0]
    answers = [t[k] + t[4 + k] + t[8 + k] for k in range(4)]
    right = t[0] + t[5] + t[10]
    spread = (total**2 - sum(a * a for a in answers)) * (total**2 - sum(r * r for r in rows))
    if spread <= 0:
        return None
    return (right * total - sum(r * a for r, a in zip(rows, answers, strict=True))) / math.sqrt(spread)


# ---- all figures


def _measured(
    outcomes: tuple[Outcome, ...],
    mistakes: tuple[Mistake, ...],
    left_out: Mapping[str, int],
    book: RulebookId,
    name: str,
    resamples: int,
    seed: int,
    used: Mapping[str, str | None],
) -> Evaluation:
    head = [o for o in outcomes if o.truth in CLASSES]
    table = _tabled(head)
    draws = list(_resampled(table, resamples, random.Random(seed)))

    def estimate(stat: Callable[[_Cells], float | None]) -> Estimate:
        return _interval(stat(table), map(stat, draws))

    classes = tuple(
        ClassFigures(
            label,
            _class_counts(table, k)[1],
            _class_counts(table, k)[2],
            estimate(partial(_precision, k=k)),
            estimate(partial(_recall, k=k)),
            estimate(partial(_f1, k=k)),
        )
        for k, label in enumerate(CLASSES)
    )
    decided = [o for o in head if o.answer in ("BPO", "KPO")]
    sided = [o for o in decided if o.truth != "NEITHER"]
    named = [o for o in sided if o.right and o.true_service and not o.true_service.startswith("other_")]
    aurc, augrc = _risk_areas(head)
    curve, targets = _curve(head, decided)
    seen = Counter(o.truth for o in outcomes)
    confusion = Counter((o.truth, o.answer) for o in outcomes)
    agreement = _agreement(outcomes, resamples, seed) if used["second_label"] else None
    evaluation = Evaluation(
        name=name,
        rulebook=book,
        rows=len(outcomes) + sum(left_out.values()),
        headline=len(head),
        left_out=dict(Counter(left_out).most_common()),
        truths={t: seen[t] for t in TRUTHS},
        confusion={(t, a): confusion[t, a] for t in TRUTHS for a in ANSWERS if t in CLASSES or seen[t]},
        accuracy=estimate(_accuracy),
        macro_f1=estimate(_macro_f1),
        mcc=estimate(_mcc),
        classes=classes,
        service_accuracy=_share(sum(o.service == o.true_service for o in named), len(named)),
        side_accuracy=_share(sum(o.right for o in sided), len(sided)),
        slices=tuple(_slices(head, used, resamples, seed)),
        curve=curve,
        targets=targets,
        aurc=aurc,
        augrc=augrc,
        calibration=_calibration(head, seed),
        calibration_decided=_calibration(decided, seed),
        agreement=agreement,
        rules=_rules(head),
        mistakes=mistakes,
        outcomes=outcomes,
        notes=(),
        resamples=resamples,
        seed=seed,
    )
    object.__setattr__(evaluation, "notes", tuple(_notes(evaluation, len(decided), used)))
    return evaluation


def _slices(head: Sequence[Outcome], used: Mapping[str, str | None], resamples: int, seed: int) -> Iterator[Slice]:
    dimensions: dict[str, Callable[[Outcome], str]] = {
        "true service": lambda o: o.true_service or "none",
        "answered service": lambda o: o.service or "none",
        "language": lambda o: o.language,
        "source": lambda o: o.source or "(none)",
        "text length": lambda o: next((n for most, n in LENGTHS if o.length <= most), "over 2,000"),
        "decided by": lambda o: o.decided_by,
        "reason": lambda o: o.reason,
    }
    if not used["service"]:
        del dimensions["true service"]
    if not used["source"]:
        del dimensions["source"]
    order = {n: i for i, n in enumerate([*(n for _, n in LENGTHS), "over 2,000"])}
    rng = random.Random(seed)
    for dimension, value_of in dimensions.items():
        groups: dict[str, list[Outcome]] = {}
        for o in head:
            groups.setdefault(value_of(o), []).append(o)
        ranked = sorted(groups, key=lambda v: (order.get(v, 99), -len(groups[v]), v))
        if len(ranked) > _VALUES:
            rest = ranked[_VALUES - 1 :]
            groups[f"{len(rest)} other values"] = [o for v in rest for o in groups[v]]
            ranked = [*ranked[: _VALUES - 1], f"{len(rest)} other values"]
        for value in ranked:
            rows = groups[value]
            table = _tabled(rows)
            decided = [o for o in rows if o.answer in ("BPO", "KPO")]
            yield Slice(
                dimension,
                value,
                len(rows),
                _share(sum(o.right for o in rows), len(rows)),
                _interval(_macro_f1(table), map(_macro_f1, _resampled(table, min(resamples, 400), rng))),
                len(decided),
                _share(sum(o.right for o in decided), len(decided)),
            )


def _curve(head: Sequence[Outcome], decided: Sequence[Outcome]) -> tuple[tuple[Point, ...], tuple[Target, ...]]:
    """A point for every confidence that occurs; equal confidences are accepted together."""
    inside = sum(o.truth != "NEITHER" for o in head)
    steps: list[tuple[float, int, int]] = []
    accepted = right = 0
    for threshold, group in groupby(sorted(decided, key=lambda o: -o.confidence), key=lambda o: o.confidence):
        for o in group:
            accepted += 1
            right += o.right
        steps.append((threshold, accepted, right))

    def point(step: tuple[float, int, int]) -> Point:
        threshold, n, k = step
        return Point(threshold, n, k, n / len(head), k / inside if inside else 0.0, _share(k, n))

    targets = []
    for target in TARGETS:
        reached = next((s for s in reversed(steps) if s[2] / s[1] >= target), None)
        supported = next(
            (s for s in reversed(steps) if s[2] / s[1] >= target and binomial_tail(s[2], s[1], target) <= 0.05),
            None,
        )
        targets.append(Target(target, point(reached) if reached else None, point(supported) if supported else None))
    every = max(1, math.ceil(len(steps) / _CURVE))
    kept = [s for i, s in enumerate(steps) if (i + 1) % every == 0 or i + 1 == len(steps)]
    return tuple(map(point, kept)), tuple(targets)


def _risk_areas(head: Sequence[Outcome]) -> tuple[float | None, float | None]:
    """(AURC, AUGRC) over all headline answers, NEITHER included; smaller is better.

    AURC is the mean over k of the error rate of the k most confident answers (Geifman & El-Yaniv,
    NeurIPS 2017); AUGRC the mean over k of their errors over all rows (Traub et al., NeurIPS 2024).
    Equal confidences count in expectation over their order.
    """
    if not head:
        return None, None
    k, wrong, risk, generalised = 0, 0.0, 0.0, 0.0
    ordered = sorted(head, key=lambda o: -o.confidence)
    for _, group in groupby(ordered, key=lambda o: o.confidence):
        members = list(group)
        share = sum(not o.right for o in members) / len(members)
        for _ in members:
            k += 1
            wrong += share
            risk += wrong / k
            generalised += wrong / len(head)
    return risk / k, generalised / k


def _calibration(rows: Sequence[Outcome], seed: int, bins: int = 10) -> Calibration:
    n = len(rows)
    if not n:
        return Calibration(0, None, None, None, Estimate(None), ())
    brier = sum((o.confidence - o.right) ** 2 for o in rows) / n
    loss = -sum(math.log(max(1e-15, o.confidence if o.right else 1 - o.confidence)) for o in rows) / n
    groups: list[list[Outcome]] = [[]]
    for _, same in groupby(sorted(rows, key=lambda o: o.confidence), key=lambda o: o.confidence):
        if len(groups[-1]) >= n / bins:
            groups.append([])
        groups[-1].extend(same)
    out = []
    ece = 0.0
    for group in groups:
        mean = sum(o.confidence for o in group) / len(group)
        right = sum(o.right for o in group)
        ece += abs(sum(o.confidence for o in group) - right) / n
        out.append(Bin(group[0].confidence, group[-1].confidence, len(group), mean, _share(right, len(group))))
    rng = random.Random(seed)
    uniform = rng.random
    repeated = [list(Counter(o.confidence for o in g).items()) for g in groups]
    sums = [sum(o.confidence for o in g) for g in groups]
    draws = []
    for _ in range(_BANDS):
        gap = 0.0
        for cells, total in zip(repeated, sums, strict=True):
            hits = 0
            for share, count in cells:
                if count > 8 and share < 1:
                    hits += _binomial(count, share, rng)
                else:
                    hits += sum(uniform() < share for _ in range(count)) if count > 1 else uniform() < share
            gap += abs(hits - total)
        draws.append(gap / n)
    return Calibration(n, brier, loss, ece, _interval(sum(draws) / _BANDS, draws), tuple(out))


def _agreement(outcomes: Sequence[Outcome], resamples: int, seed: int) -> Agreement:
    """Cohen's kappa (Educ. Psychol. Meas. 20, 1960): (observed - chance) / (1 - chance)."""
    cells = Counter((o.truth, o.second) for o in outcomes if o.second in TRUTHS)
    keys = sorted(cells, key=lambda k: (TRUTHS.index(k[0]), TRUTHS.index(k[1])))

    def kappa(counts: Sequence[int]) -> float | None:
        total = sum(counts)
        first, second = Counter[str](), Counter[str]()
        same = 0
        for (a, b), n in zip(keys, counts, strict=True):
            first[a] += n
            second[b] += n
            same += n if a == b else 0
        chance = sum(first[t] * second[t] for t in TRUTHS) / total**2 if total else 1.0
        return (same / total - chance) / (1 - chance) if chance < 1 else None

    counts = [cells[k] for k in keys]
    draws = map(kappa, _resampled(counts, resamples, random.Random(seed)))
    return Agreement(
        sum(counts),
        sum(n for (a, b), n in cells.items() if a == b),
        _interval(kappa(counts), draws),
        tuple((a, b, cells[a, b]) for a, b in keys),
    )


def _rules(head: Sequence[Outcome]) -> tuple[RuleFigures, ...]:
    fired: dict[tuple[str, str, str], list[int]] = {}
    for o in head:
        sides = {side for _, _, side in o.rules}
        for key in o.rules:
            counts = fired.setdefault(key, [0, 0, 0])
            counts[0] += 1
            counts[1] += o.truth == ("NEITHER" if key[2] == "OUT" else key[2])
            counts[2] += len(sides) > 1
    out = [
        RuleFigures(rule, concept, "NEITHER" if side == "OUT" else side, n, k, n - k, clash, _share(k, n))
        for (rule, concept, side), (n, k, clash) in fired.items()
    ]
    return tuple(sorted(out, key=lambda r: (-r.wrong, -r.fired, r.rule)))


def _notes(e: Evaluation, decided: int, used: Mapping[str, str | None]) -> Iterator[str]:
    """What these rows cannot show."""
    if e.left_out:
        n = sum(e.left_out.values())
        yield f"{_rows(n)} left out, because the label is unknown; map it to one of {', '.join(TRUTHS)}."
    if used["row_id"]:
        ids = Counter(o.row_id for o in e.outcomes)
        twice = sum(n > 1 for n in ids.values())
        if twice:
            stand = "id stands" if twice == 1 else "ids stand"
            yield f"{twice} {stand} on several rows; all rows count, told apart by their number."
    texts = Counter(o.digest for o in e.outcomes)
    again = sum(n - 1 for n in texts.values())
    if again:
        verb = "repeats" if again == 1 else "repeat"
        yield f"{_rows(again)} {verb} the text of another; the intervals are too narrow."
    blank = sum(o.reason == "empty" for o in e.outcomes)
    if blank:
        yield f"{_rows(blank)} without text; the answer is UNKNOWN, counted as NEITHER."
    if e.headline < _FEW:
        yield f"{_rows(e.headline)}: too few for any conclusion; label at least {_FEW}, better 300."
    for c in e.classes:
        if not c.rows:
            yield f"No row is {c.label}: its recall and F1 cannot be told, and macro-F1 leaves it out."
        elif c.rows < _FEW:
            yield f"Only {_rows(c.rows)} {'is' if c.rows == 1 else 'are'} {c.label}: its figures are rough."
    if not decided:
        yield "No row was answered BPO or KPO: precision, coverage and the rules' worth cannot be told."
    elif decided < 59:
        yield (
            f"{decided} answers BPO or KPO: even if all were right, fewer than 59 cannot support "
            "“95 % precise” (0.95⁵⁹ < 0.05)."
        )
    else:
        for target in e.targets:
            if target.supported is None:
                yield f"{target.precision:.0%} precise cannot be supported on these rows at any threshold."
    c10 = e.calibration
    if c10.ece is not None and c10.band.high is not None and c10.band.low is not None:
        if c10.ece <= c10.band.high:
            yield (
                f"The calibration error of {c10.ece:.3f} lies within what a perfectly calibrated model "
                "shows on "
                f"{_rows(c10.rows)} (up to {c10.band.high:.3f}): miscalibration cannot be concluded."
            )
        else:
            yield (
                f"The calibration error of {c10.ece:.3f} is above what a perfectly calibrated model shows on "
                f"{_rows(c10.rows)} ({c10.band.low:.3f} to {c10.band.high:.3f})."
            )
    if e.agreement is not None and e.agreement.rows < _FEW:
        yield f"{_rows(e.agreement.rows)} with a second label: too few to judge the annotators' agreement."
    rare = sum(r.fired < 10 for r in e.rules)
    if rare:
        yield f"{rare} of {len(e.rules)} rules fired on fewer than 10 rows: too few to judge one of them."
    yield "Thresholds were chosen on these same rows: confirm a threshold on rows not used to choose it."


# ---- text


def _rows(n: int) -> str:
    return f"{n:,} row" if n == 1 else f"{n:,} rows"


def _short(text: str, most: int = 90) -> str:
    line = " ".join(text[: 4 * most].split())
    return line if len(line) <= most else line[: most - 1] + "…"


def _signed(e: Estimate) -> str:
    if e.value is None or e.low is None or e.high is None:
        return "–"
    return f"{e.value:+.3f} ({e.low:+.3f} to {e.high:+.3f})"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


def _lines(e: Evaluation) -> Iterator[str]:
    yield f"Evaluation of {e.name}: {e.headline:,} of {_rows(e.rows)} in the headline"
    yield f"Rulebook {e.rulebook.name} {e.rulebook.version}, sha256 {e.rulebook.sha256[:12]}"
    yield ""
    yield f"  macro-F1                    {e.macro_f1}"
    yield f"  accuracy                    {e.accuracy}"
    yield f"  Matthews correlation        {e.mcc}"
    yield f"  side right when decided     {e.side_accuracy}"
    if e.service_accuracy.value is not None:
        yield f"  service right               {e.service_accuracy}"
    yield ""
    yield f"  {'class':9}{'rows':>7}{'answers':>9}   {'precision':24}{'recall':24}F1"
    for c in e.classes:
        yield f"  {c.label:9}{c.rows:7,}{c.answers:9,}   {c.precision!s:24}{c.recall!s:24}{c.f1}"
    yield ""
    yield "  truth \\ answer" + "".join(f"{a:>9}" for a in ANSWERS)
    for truth in TRUTHS:
        if (truth, "BPO") in e.confusion:
            yield f"  {truth:14}" + "".join(f"{e.confusion[truth, a]:9,}" for a in ANSWERS)
    yield ""
    for t in e.targets:
        text = "not reached"
        if t.reached:
            p = t.reached
            text = f"{p.coverage:.1%} of rows, {p.recall:.1%} of BPO and KPO, at confidence {p.threshold:.3f}"
            text += f", precision {p.precision}"
        support = f"{t.supported.coverage:.1%}" if t.supported else "none"
        yield f"  {t.precision:.0%} precise: {text}; supported by the exact bound: {support}"
    yield f"  AURC {_number(e.aurc)}   AUGRC {_number(e.augrc)}"
    c10 = e.calibration
    yield (
        f"  Brier {_number(c10.brier)}   log loss {_number(c10.log_loss)}   ECE {_number(c10.ece)} "
        f"(if perfectly calibrated: {c10.band})"
    )
    if e.agreement is not None:
        a = e.agreement
        yield f"  second annotator: {a.agreed:,} of {_rows(a.rows)} agree, kappa {a.kappa}"
    for dimension, group in groupby(e.slices, key=lambda s: s.dimension):
        yield ""
        yield f"  {dimension:24}{'rows':>7}   {'accuracy':24}{'macro-F1':24}precision when decided"
        for s in group:
            yield f"  {s.value[:22]:24}{s.rows:7,}   {s.accuracy!s:24}{s.macro_f1!s:24}{s.precision}"
    wrong = [r for r in e.rules if r.wrong][:10]
    if wrong:
        yield ""
        heads = f"{'side':>8}{'fired':>7}{'right':>7}{'wrong':>7}{'conflict':>10}"
        yield f"  {'rule, most often wrong':48}{heads}"
        for r in wrong:
            yield f"  {r.rule[:46]:48}{r.side:>8}{r.fired:7,}{r.right:7,}{r.wrong:7,}{r.conflict:10,}"
    if e.left_out:
        yield ""
        yield "  labels not known: " + ", ".join(f"{k!r} {n:,}" for k, n in list(e.left_out.items())[:20])
    yield ""
    yield "What these rows cannot show"
    for note in e.notes:
        yield f"  {note}"


def _plain(value: Any) -> Any:
    """Dataclasses and tuples as dictionaries and lists."""
    if isinstance(value, tuple):
        return [_plain(v) for v in value]
    if hasattr(value, "__dataclass_fields__"):
        return {name: _plain(getattr(value, name)) for name in value.__dataclass_fields__}
    return value
