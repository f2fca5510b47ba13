"""The bulk kernel gives the answers of classify, to the last bit, by every door."""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

import outsourcing_classifier
from outsourcing_classifier import Classification, Classifier, version
from outsourcing_classifier.tables import (
    COLUMNS,
    EVIDENCE,
    PREFIX,
    STATUSES,
    classify_arrow,
    classify_frame,
    classify_polars,
    classify_rows,
    classify_texts,
    output_columns,
    text_index,
)

ROOT = Path(__file__).parents[1]
OURS = [PREFIX + c for c in COLUMNS]
ODD = [
    "",
    " \n\t",
    "\0",
    "Payroll\0processing",
    "=1+1",
    "payroll \ud800 processing",
    "ﬁnance İstanbul straße l·l nòmines",
    "\ufeffpayroll processing",
    "payroll processing " * 400,
    "😀 recerca d'inversions",
]


def _texts() -> list[str]:
    texts = list(ODD)
    for path in sorted((ROOT / "training_data").glob("*.csv")):
        with open(path, encoding="utf-8", newline="") as file:
            texts += [row["text"] for row in csv.DictReader(file)][:40]
    dev = ROOT.parent / "shared" / "benchmark" / "dev.csv"
    if dev.exists():
        with open(dev, encoding="utf-8", newline="") as file:
            texts += [row["text"] for row in csv.DictReader(file)][:300]
    words = " ".join(texts[len(ODD) :]).split()
    chance = random.Random(5)
    texts += [" ".join(chance.choices(words, k=chance.randint(1, 60))) for _ in range(150)]
    texts += ["".join(chance.choices("abç·l' \n-=\u0301€\u2028日", k=chance.randint(0, 80))) for _ in range(100)]
    return texts


@pytest.fixture(scope="module")
def texts() -> list[str]:
    return _texts()


@pytest.fixture(scope="module")
def answers(texts: list[str], classifier: Classifier) -> list[Classification]:
    return [classifier.classify(t) for t in texts]


def same(row: dict[str, Any], c: Classification) -> None:
    assert row["label"] == c.label
    assert type(row["label"]) is str
    assert row["service"] == (c.service or "")
    assert row["confidence"] == c.confidence
    assert row["decided_by"] == (c.decided_by or "")
    assert row["reason"] == c.reason
    assert row["delivery"] == (c.delivery.mode or "")
    assert row["languages"].split() == list(c.languages)
    assert set(row["rules"].split()) == {e.rule for e in c.evidence}
    assert set(row["basis"].split()) == {w for e in c.evidence for w in e.basis.split()}
    assert row["status"] in STATUSES
    assert c.rulebook.sha256.startswith(row["rulebook"].split()[-1])
    assert row["version"] == outsourcing_classifier.__version__


def test_one_version() -> None:
    assert outsourcing_classifier.__version__ == version.__version__


def test_texts(texts: list[str], answers: list[Classification]) -> None:
    table = classify_texts(texts, evidence=True)
    assert list(table) == [*COLUMNS, EVIDENCE]
    for i, c in enumerate(answers):
        same({name: values[i] for name, values in table.items()}, c)
        assert json.loads(table[EVIDENCE][i]) == json.loads(json.dumps(c.to_dict()["evidence"]))
        assert "\n" not in table["evidence"][i] + table[EVIDENCE][i]


def test_rows_come_one_by_one(texts: list[str], answers: list[Classification]) -> None:
    taken = 0

    def endless() -> Iterator[str]:
        nonlocal taken
        while True:
            taken += 1
            yield texts[taken % len(texts)]

    rows = classify_rows(endless())
    for i in range(3):
        same(next(rows), answers[(i + 1) % len(texts)])
    assert taken <= 1001


def test_arrow(texts: list[str], answers: list[Classification]) -> None:
    pa = pytest.importorskip("pyarrow")
    plain = [t.encode("utf-8", "replace").decode() for t in texts]
    for kind in (pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())):
        column = pa.array(plain).cast(kind) if pa.types.is_large_string(kind) else pa.array(plain, kind)
        schema = pa.schema([pa.field("id", pa.int64()), pa.field("description", kind)], metadata={b"k": b"v"})
        batch = pa.RecordBatch.from_arrays([pa.array(range(len(plain))), column], schema=schema)
        out = classify_arrow(batch)
        assert isinstance(out, pa.RecordBatch)
        assert out.schema.names == ["id", "description", *OURS]
        assert out.schema.metadata == {b"k": b"v"}
        assert out.column(0).equals(batch.column(0))
        for row, text, c in zip(out.to_pylist(), texts, answers, strict=True):
            if "\ud800" not in text:
                same({n.removeprefix(PREFIX): v for n, v in row.items()}, c)
    table = pa.table({"description": pa.chunked_array([["payroll clerk"], [], [None]], pa.string())})
    out = classify_arrow(table, columns=["label", "confidence", "status"])
    assert isinstance(out, pa.Table)
    assert out[PREFIX + "status"].to_pylist() == ["ok", "missing"]
    assert out[PREFIX + "confidence"].null_count == 1
    assert classify_arrow(table.slice(0, 0)).schema.names == ["description", *OURS]


def test_arrow_refuses(classifier: Classifier) -> None:
    pa = pytest.importorskip("pyarrow")
    with pytest.raises(TypeError, match="is int64, not text"):
        classify_arrow(pa.table({"description": [1]}))
    with pytest.raises(KeyError, match="there are: text"):
        classify_arrow(pa.table({"text": ["x"]}))
    with pytest.raises(ValueError, match="several columns"):
        classify_arrow(pa.Table.from_arrays([pa.array(["x"])] * 2, names=["description"] * 2))
    with pytest.raises(TypeError, match="RecordBatch or Table"):
        classify_arrow(cast(Any, ["x"]))


def test_polars(texts: list[str], answers: list[Classification]) -> None:
    pl = pytest.importorskip("polars")
    plain = [t.encode("utf-8", "replace").decode() for t in texts]
    df = pl.DataFrame({"id": range(len(plain)), "description": plain})
    out = classify_polars(df)
    assert out.columns == ["id", "description", *OURS]
    for row, text, c in zip(out.to_dicts(), texts, answers, strict=True):
        if "\ud800" not in text:
            same({n.removeprefix(PREFIX): v for n, v in row.items()}, c)
    lazy = classify_polars(df.lazy(), evidence=True)
    assert lazy.collect_schema().names() == ["id", "description", *OURS, PREFIX + EVIDENCE]
    assert lazy.collect().drop(PREFIX + EVIDENCE).equals(out)
    few = lazy.filter(pl.col(PREFIX + "label") == "KPO").select("id", PREFIX + "label").collect()
    assert len(few) == sum(c.label == "KPO" for c in answers)
    assert classify_polars(df.head(0)).schema == out.schema
    with pytest.raises(TypeError, match="not text"):
        classify_polars(df.lazy(), text="id")
    with pytest.raises(KeyError, match="no column"):
        classify_polars(df.lazy(), text="nothing")


def test_half_a_surrogate_pair_is_written_in_ascii() -> None:
    pl = pytest.importorskip("polars")
    from outsourcing_classifier.tables import encodable

    assert pl.Series(encodable(["a\ud800", "b"])).to_list() == ["a\\ud800", "b"]


def test_frame_has_the_confidence_to_the_last_bit(texts: list[str], answers: list[Classification]) -> None:
    pd = pytest.importorskip("pandas")
    out = classify_frame(pd.DataFrame({"description": pd.Series(texts, dtype=object)}))
    assert out[PREFIX + "confidence"].tolist() == [c.confidence for c in answers]


def test_columns_are_chosen_and_ordered() -> None:
    table = classify_texts(["payroll clerk"], columns=["status", "label"], evidence=True)
    assert list(table) == ["status", "label", EVIDENCE]
    assert output_columns([], "p_", ["label"]) == ["p_label"]


@pytest.mark.parametrize("columns", [["nothing"], ["label", "label"], [], "label"])
def test_wrong_columns(columns: Any) -> None:
    with pytest.raises(ValueError, match="column"):
        classify_texts([], columns=columns)


def test_one_text_is_not_many() -> None:
    with pytest.raises(TypeError, match="classify"):
        classify_texts("payroll")


def test_messages_do_not_hold_texts() -> None:
    with pytest.raises(KeyError) as raised:
        text_index(["a secret " * 100] * 50, "x")
    assert len(str(raised.value)) < 1500
