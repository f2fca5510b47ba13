"""The same kernel on Spark and Dask: each partition is classified where it lies.

The classifier travels pickled with the tasks, so that every machine answers by the rulebook of the
one that asked; the workers need the package (the same version) and pyarrow, and no rule files.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

from outsourcing_classifier.classifier import Classifier, default_classifier
from outsourcing_classifier.tables import (
    COLUMNS,
    PREFIX,
    chosen_columns,
    classify_arrow,
    classify_frame,
    output_columns,
    text_index,
)
from outsourcing_classifier.version import __version__

if TYPE_CHECKING:
    import pandas as pd

_ROWS = 10_000  # rows classified at a time


def score_spark(
    df: Any,
    text: str = "description",
    *,
    prefix: str = PREFIX,
    columns: Sequence[str] = COLUMNS,
    evidence: bool = False,
    classifier: Classifier | None = None,
) -> Any:
    """Classify a column of a Spark DataFrame, lazily, by ``mapInArrow``; needs pyspark and pyarrow.

    Returns a DataFrame: the input's columns, then one for each of ``columns`` with ``prefix``, strings
    but for ``confidence``, a double that is null where the text is null. Rows and partitions stay as
    they are; nothing is shuffled.

    Raises KeyError where ``text`` names no column, ValueError where an output column exists already,
    TypeError where the column is not of strings.
    """
    from pyspark.sql import types

    place = text_index(df.columns, text)
    if not isinstance(df.schema.fields[place].dataType, types.StringType):
        raise TypeError(f"column {text!r} is {df.schema.fields[place].dataType.simpleString()}, not text")
    names = output_columns(df.columns, prefix, columns, evidence)
    schema = types.StructType(list(df.schema.fields))
    for name, column in zip(names, chosen_columns(columns, evidence), strict=True):
        kind = types.DoubleType() if column == "confidence" else types.StringType()
        schema = schema.add(name, kind, nullable=True)
    options = {"prefix": prefix, "columns": tuple(columns), "evidence": evidence}
    return df.mapInArrow(partial(_batches, text, options, _packed(classifier), __version__), schema)


def score_dask(
    ddf: Any,
    text: str = "description",
    *,
    prefix: str = PREFIX,
    columns: Sequence[str] = COLUMNS,
    evidence: bool = False,
    classifier: Classifier | None = None,
) -> Any:
    """Classify a column of a Dask DataFrame, lazily, partition by partition.

    Returns a Dask DataFrame with what :func:`~outsourcing_classifier.tables.classify_frame` adds to
    each partition; index and divisions stay.

    Raises KeyError where ``text`` names no column, ValueError where an output column exists already.
    """
    text_index(list(ddf.columns), text)
    options = {"prefix": prefix, "columns": tuple(columns), "evidence": evidence}
    output_columns(ddf.columns, prefix, columns, evidence)
    meta = classify_frame(ddf._meta, text, prefix=prefix, columns=columns, evidence=evidence, classifier=classifier)
    step: Callable[..., Any] = partial(
        _frame, text=text, options=options, packed=_packed(classifier), version=__version__
    )
    return ddf.map_partitions(step, meta=meta)


def _packed(classifier: Classifier | None) -> bytes:
    return pickle.dumps(classifier or default_classifier(), protocol=5)


@lru_cache(maxsize=2)
def _unpacked(packed: bytes, version: str) -> Classifier:
    """The classifier of the asking machine, once a process. Raises RuntimeError where the packages differ."""
    if version != __version__:
        raise RuntimeError(
            f"this worker has outsourcing-classifier {__version__}, the driver {version}; install the same version"
        )
    classifier = pickle.loads(packed)
    assert isinstance(classifier, Classifier)
    return classifier


def _batches(
    text: str, options: dict[str, Any], packed: bytes, version: str, batches: Iterator[Any]
) -> Iterator[Any]:
    classifier = _unpacked(packed, version)
    for batch in batches:
        for start in range(0, max(1, batch.num_rows), _ROWS):
            yield classify_arrow(batch.slice(start, _ROWS), text, classifier=classifier, **options)


def _frame(df: pd.DataFrame, *, text: str, options: dict[str, Any], packed: bytes, version: str) -> pd.DataFrame:
    return classify_frame(df, text, classifier=_unpacked(packed, version), **options)
