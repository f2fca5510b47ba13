"""The bulk kernel: many texts in, columns out; the pandas door beside it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from outsourcing_classifier.classifier import Classifier, default_classifier
from outsourcing_classifier.results import Classification

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = (
    "label",
    "service",
    "confidence",
    "decided_by",
    "reason",
    "evidence",
    "rules",
    "basis",
    "delivery",
    "languages",
    "status",
    "rulebook",
)
PREFIX = "outsourcing_"
_TOP = 3  # pieces of evidence in the readable column


def row(text: object, classifier: Classifier, status: str = "ok") -> tuple[str, ...]:
    """One output row as strings, in the order of COLUMNS. A value that is no text gets a status."""
    book = classifier.rulebook.id
    if not isinstance(text, str):
        return ("UNKNOWN", "", "", "", "empty", "", "", "", "", "", _status_of(text), _book(book))
    c = classifier.classify(text)
    if status == "ok" and c.reason == "empty":
        status = "empty"
    return (
        str(c.label),
        c.service or "",
        format(c.confidence, ".4f"),
        c.decided_by or "",
        str(c.reason),
        _evidence(c),
        " ".join(dict.fromkeys(e.rule for e in c.evidence)),
        " ".join(dict.fromkeys(e.basis for e in c.evidence)),
        c.delivery.mode or "",
        " ".join(c.languages),
        status,
        _book(book),
    )


def _book(book: Any) -> str:
    return f"{book.name} {book.version} {book.sha256[:12]}"


def _status_of(value: object) -> str:
    if value is None or value != value or str(value) == "<NA>":
        return "missing"
    return "not_text"


def _evidence(c: Classification) -> str:
    """The weightiest pieces, one line, ready for a person."""
    top = sorted(c.evidence, key=lambda e: (-e.weight, e.start))[:_TOP]
    return "; ".join(f"{' '.join(e.text.split())[:80]} ({e.concept} {e.weight:+.2f})" for e in top)


def evidence_json(c: Classification) -> str:
    """All evidence of a classification as JSON."""
    return json.dumps(c.to_dict()["evidence"], ensure_ascii=False)


def output_columns(existing: Sequence[str], prefix: str = PREFIX) -> list[str]:
    """The names of the output columns. Raises ValueError where one exists already."""
    names = [prefix + c for c in COLUMNS]
    taken = sorted(set(names) & {str(c) for c in existing})
    if taken:
        raise ValueError(f"column {', '.join(taken)} exists already; choose another prefix")
    return names


def classify_frame(
    df: pd.DataFrame,
    text: str = "description",
    *,
    prefix: str = PREFIX,
    classifier: Classifier | None = None,
) -> pd.DataFrame:
    """Classify a column of a DataFrame.

    Returns a new frame: the input's columns first, in order, with its index, then one column for
    each of COLUMNS with ``prefix``. ``confidence`` is a float, NaN where the cell holds no text; such
    rows (None, NaN, numbers) are UNKNOWN and their ``status`` says why.

    Raises KeyError where ``text`` names no column, ValueError where an output column exists already.
    """
    import pandas as pd

    if not isinstance(df, pd.DataFrame):
        raise TypeError(f"df must be a pandas DataFrame, not {type(df).__name__}")
    if text not in df.columns:
        raise KeyError(f"no column {text!r}; there are: {', '.join(map(str, df.columns))}")
    if not isinstance(df[text], pd.Series):
        raise ValueError(f"there are several columns {text!r}")
    names = output_columns(list(map(str, df.columns)), prefix)
    chosen = classifier or default_classifier()
    rows = [row(value, chosen) for value in df[text].tolist()]
    out = df.copy()
    for i, name in enumerate(names):
        values: Iterable[Any] = [r[i] for r in rows]
        if COLUMNS[i] == "confidence":
            values = [float(v) if v else float("nan") for v in values]
        out[name] = pd.Series(list(values), index=df.index, dtype="float64" if COLUMNS[i] == "confidence" else "object")
    return out
