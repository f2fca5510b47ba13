"""The bulk kernel: many texts in, columns out. Doors beside it: iterables, pandas, polars, Arrow.

Every door, and files.py and engines.py, go through :func:`classify_texts`, which goes through
``Classifier.rows`` or ``classify``; so a text has one answer wherever it stands.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from numbers import Number
from typing import TYPE_CHECKING, Any

from outsourcing_classifier.classifier import Classifier, default_classifier
from outsourcing_classifier.results import Classification, Reason, Row, plain
from outsourcing_classifier.version import __version__

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa

COLUMNS = (*Row._fields, "rulebook", "version")
EVIDENCE = "evidence_json"  # the column that ``evidence=True`` adds
PREFIX = "outsourcing_"
STATUSES = ("ok", "empty", "missing", "not_text", "ragged")
ROW_ERRORS = frozenset({"missing", "not_text", "ragged"})
_NAMED = 20  # columns that a message names at most
_ROWS = 1000  # texts taken at a time
_KNOWN = 5000  # answers kept at most
_MADE = (*Row._fields, EVIDENCE)
_NO_TEXT = Row("UNKNOWN", "", None, "", str(Reason.EMPTY), "", "", "", "", "", "")


def evidence_json(c: Classification) -> str:
    """All evidence of a classification as JSON, as in ``c.to_dict()["evidence"]``."""
    return json.dumps(plain(c.evidence), ensure_ascii=False)


def classify_texts(
    texts: Iterable[object],
    *,
    columns: Sequence[str] = COLUMNS,
    evidence: bool = False,
    classifier: Classifier | None = None,
) -> dict[str, list[Any]]:
    """Classify texts and return the answers as columns: name (without prefix) -> a list as long as ``texts``.

    Where a classification says None there is an empty string. ``confidence`` is a float, the very one
    of ``classify``, and None where the value is no text; such a value (None, NaN, a number) is UNKNOWN
    and ``status`` says why. ``evidence`` adds the column ``evidence_json``.

    Raises ValueError where ``columns`` names one that is not in COLUMNS, TypeError for a bare string.
    """
    if isinstance(texts, str | bytes):
        raise TypeError("texts must be many, not one; for a single text there is classify(text)")
    names = chosen_columns(columns, evidence)
    chosen = classifier or default_classifier()
    book = chosen.rulebook.id
    same = {"rulebook": _line(f"{book.name} {book.version} {book.sha256[:12]}"), "version": __version__}
    out: dict[str, list[Any]] = {name: [] for name in names}
    known: dict[str, tuple[Any, ...]] = {}  # a text met before has its answer
    source = iter(texts)
    while some := list(islice(source, _ROWS)):
        if len(known) > _KNOWN:
            known.clear()
        new = list(dict.fromkeys([t for t in some if isinstance(t, str) and t not in known]))
        answers = map(_with_evidence, map(chosen.classify, new)) if evidence else chosen.rows(new)
        known.update(zip(new, answers, strict=True))
        rows = [known[t] if isinstance(t, str) else _odd(t, evidence) for t in some]
        columns_ = dict(zip(_MADE, zip(*rows, strict=True), strict=False))
        for name, values in out.items():
            values += [same[name]] * len(some) if name in same else columns_[name]
    return out


def _with_evidence(c: Classification) -> tuple[Any, ...]:
    return (*Row.of(c), evidence_json(c))


def _odd(value: object, evidence: bool) -> tuple[Any, ...]:
    """The row of a value that is no text."""
    row = _NO_TEXT._replace(status=_status_of(value))
    return (*row, "[]") if evidence else row


def classify_rows(
    texts: Iterable[object],
    *,
    columns: Sequence[str] = COLUMNS,
    evidence: bool = False,
    classifier: Classifier | None = None,
) -> Iterator[dict[str, Any]]:
    """The same row by row, for streams too long to hold: one dictionary a text, in order.

    Takes up to 1,000 texts ahead. See :func:`classify_texts` for what is in it and what is raised.
    """
    source = iter(texts)
    while some := list(islice(source, _ROWS)):
        table = classify_texts(some, columns=columns, evidence=evidence, classifier=classifier)
        for values in zip(*table.values(), strict=True):
            yield dict(zip(table, values, strict=True))


def chosen_columns(columns: Sequence[str], evidence: bool) -> tuple[str, ...]:
    """The columns to make. Raises ValueError where one is unknown, twice there or none is asked for."""
    if isinstance(columns, str):
        raise ValueError("columns: want a list of names")
    unknown = [str(c) for c in columns if c not in COLUMNS]
    if unknown:
        raise ValueError(f"no output column {_listed(unknown)}; there are: {', '.join(COLUMNS)}")
    if len(set(columns)) != len(columns):
        raise ValueError("an output column is asked for twice")
    if not columns and not evidence:
        raise ValueError("no output column is asked for")
    return (*columns, EVIDENCE) if evidence else tuple(columns)


def output_columns(
    existing: Iterable[object], prefix: str = PREFIX, columns: Sequence[str] = COLUMNS, evidence: bool = False
) -> list[str]:
    """The names of the output columns. Raises ValueError where one exists already."""
    names = [prefix + c for c in chosen_columns(columns, evidence)]
    taken = sorted(set(names) & {str(c) for c in existing})
    if taken:
        raise ValueError(f"column {', '.join(taken)} exists already; choose another prefix")
    return names


def text_index(names: Sequence[object], text: str) -> int:
    """The place of the text column. Raises KeyError where there is none, ValueError for several."""
    if text not in names:
        raise KeyError(f"no column {text!r}; there are: {_listed(names)}")
    if list(names).count(text) > 1:
        raise ValueError(f"there are several columns {text!r}")
    return list(names).index(text)


def classify_frame(
    df: pd.DataFrame,
    text: str = "description",
    *,
    prefix: str = PREFIX,
    columns: Sequence[str] = COLUMNS,
    evidence: bool = False,
    classifier: Classifier | None = None,
) -> pd.DataFrame:
    """Classify a column of a pandas DataFrame.

    Returns a new frame: the input's columns first, in order, with its index, then one column for
    each of ``columns`` with ``prefix``. ``confidence`` is a float, NaN where the cell holds no text; such
    rows (None, NaN, numbers) are UNKNOWN and their ``status`` says why.

    Raises KeyError where ``text`` names no column, ValueError where an output column exists already.
    """
    import pandas as pd

    if not isinstance(df, pd.DataFrame):
        raise TypeError(f"df must be a pandas DataFrame, not {type(df).__name__}")
    place = text_index(list(df.columns), text)
    names = output_columns(df.columns, prefix, columns, evidence)
    texts = df.iloc[:, place].tolist()
    table = classify_texts(texts, columns=columns, evidence=evidence, classifier=classifier)
    out = df.copy()
    for name, (column, values) in zip(names, table.items(), strict=True):
        out[name] = pd.Series(values, index=df.index, dtype="float64" if column == "confidence" else "object")
    return out


def classify_polars(
    df: pl.DataFrame | pl.LazyFrame,
    text: str = "description",
    *,
    prefix: str = PREFIX,
    columns: Sequence[str] = COLUMNS,
    evidence: bool = False,
    classifier: Classifier | None = None,
) -> Any:
    """Classify a column of a polars DataFrame, or of a LazyFrame as a step that runs when it is collected.

    Returns the same kind of frame: the input's columns, then ours; ``confidence`` is Float64, null
    where the cell is null, the others are String.

    Raises KeyError, ValueError and TypeError as :func:`classify_frame` does, for a LazyFrame at once.
    """
    import polars as pl

    if not isinstance(df, pl.DataFrame | pl.LazyFrame):
        raise TypeError(f"df must be a polars DataFrame or LazyFrame, not {type(df).__name__}")
    schema = df.collect_schema()
    text_index(schema.names(), text)
    if not isinstance(schema[text], pl.String | pl.Categorical | pl.Enum | pl.Null):
        raise TypeError(f"column {text!r} is {schema[text]}, not text")
    names = output_columns(schema.names(), prefix, columns, evidence)
    kinds = [pl.Float64() if c == "confidence" else pl.String() for c in chosen_columns(columns, evidence)]

    def step(frame: pl.DataFrame) -> pl.DataFrame:
        table = classify_texts(frame[text].to_list(), columns=columns, evidence=evidence, classifier=classifier)
        parts = zip(names, kinds, table.values(), strict=True)
        return frame.with_columns([pl.Series(n, encodable(v), dtype=k) for n, k, v in parts])

    if isinstance(df, pl.DataFrame):
        return step(df)
    return df.map_batches(step, schema={**schema, **dict(zip(names, kinds, strict=True))}, streamable=True)


def classify_arrow(
    data: pa.RecordBatch | pa.Table,
    text: str = "description",
    *,
    prefix: str = PREFIX,
    columns: Sequence[str] = COLUMNS,
    evidence: bool = False,
    classifier: Classifier | None = None,
) -> Any:
    """Classify a column of an Arrow record batch or table; needs pyarrow (the extra ``arrow``).

    Returns the same kind: the input's columns and metadata, then ours as :func:`arrow_schema` has them.

    Raises KeyError, ValueError and TypeError as :func:`classify_frame` does.
    """
    import pyarrow as pa

    if not isinstance(data, pa.RecordBatch | pa.Table):
        raise TypeError(f"data must be a pyarrow RecordBatch or Table, not {type(data).__name__}")
    schema = arrow_schema(data.schema, text, prefix=prefix, columns=columns, evidence=evidence)
    place = data.schema.get_field_index(text)

    def step(batch: Any) -> Any:
        table = classify_texts(
            batch.column(place).to_pylist(), columns=columns, evidence=evidence, classifier=classifier
        )
        kinds = [schema.field(i).type for i in range(batch.num_columns, len(schema))]
        ours = [pa.array(encodable(v), k) for v, k in zip(table.values(), kinds, strict=True)]
        return pa.RecordBatch.from_arrays([*batch.columns, *ours], schema=schema)

    if isinstance(data, pa.RecordBatch):
        return step(data)
    return pa.Table.from_batches([step(batch) for batch in data.to_batches()], schema=schema)


def arrow_schema(
    schema: pa.Schema,
    text: str = "description",
    *,
    prefix: str = PREFIX,
    columns: Sequence[str] = COLUMNS,
    evidence: bool = False,
) -> Any:
    """The schema that :func:`classify_arrow` returns: ``confidence`` float64, the others string."""
    import pyarrow as pa

    kind = schema.field(text_index(schema.names, text)).type
    inner = kind.value_type if pa.types.is_dictionary(kind) else kind
    if str(inner) not in {"string", "large_string", "string_view", "null"}:
        raise TypeError(f"column {text!r} is {kind}, not text")
    out = schema
    names = output_columns(schema.names, prefix, columns, evidence)
    for name, column in zip(names, chosen_columns(columns, evidence), strict=True):
        out = out.append(pa.field(name, pa.float64() if column == "confidence" else pa.string()))
    return out


def encodable(values: list[Any]) -> list[Any]:
    """Half a surrogate pair has no UTF-8 and a foreign table would refuse it: written as ``\\udc00``."""
    try:
        "".join([v for v in values if isinstance(v, str)]).encode()
    except UnicodeEncodeError:
        return [v.encode("utf-8", "backslashreplace").decode() if isinstance(v, str) else v for v in values]
    return values


def _status_of(value: object) -> str:
    if value is None or type(value).__name__ in {"NAType", "NaTType"}:
        return "missing"
    try:
        return "missing" if isinstance(value, Number) and value != value else "not_text"
    except ArithmeticError:  # a signalling NaN
        return "missing"


def _line(text: str) -> str:
    return " ".join(text.split())


def _listed(names: Sequence[object]) -> str:
    """Column names for a message: not all of two million, and none as long as a text."""
    some = [s if len(s) <= 40 else s[:40] + "…" for s in map(str, names[:_NAMED])]
    return ", ".join(some) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")
