"""The pandas door."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from outsourcing_classifier import classify, classify_frame
from outsourcing_classifier.tables import COLUMNS, PREFIX

OURS = [PREFIX + c for c in COLUMNS]


def test_columns_first_and_index_kept() -> None:
    df = pd.DataFrame(
        {
            "z": [1, 2, 3],
            "description": ["Payroll processing", "Market research", "lunch"],
            "a": [True, False, True],
        },
        index=[30, 10, 20],
    )
    before = df.copy()
    out = classify_frame(df)
    assert list(out.columns) == ["z", "description", "a", *OURS]
    pd.testing.assert_frame_equal(out[["z", "description", "a"]], before)
    pd.testing.assert_frame_equal(df, before)
    assert out[PREFIX + "label"].tolist() == ["BPO", "KPO", "UNKNOWN"]
    assert out.loc[10, PREFIX + "service"] == "market_research"


def test_the_same_answer_as_classify() -> None:
    texts = ["Bookkeeping and legal advice", "recerca d'inversions per a un fons", "Supply of salt", ""]
    out = classify_frame(pd.DataFrame({"description": texts}))
    for text, (_, row) in zip(texts, out.iterrows(), strict=True):
        c = classify(text)
        assert row[PREFIX + "label"] == c.label
        assert row[PREFIX + "service"] == (c.service or "")
        assert row[PREFIX + "reason"] == c.reason
        assert row[PREFIX + "confidence"] == pytest.approx(c.confidence, abs=1e-4)


def test_duplicate_and_named_index() -> None:
    df = pd.DataFrame({"description": ["lunch", "Payroll processing"]}, index=pd.Index([7, 7], name="key"))
    out = classify_frame(df)
    assert out.index.equals(df.index)
    assert out.index.name == "key"
    assert out[PREFIX + "label"].tolist() == ["UNKNOWN", "BPO"]
    multi = df.set_index(pd.MultiIndex.from_tuples([("a", 1), ("b", 2)]))
    assert classify_frame(multi).index.equals(multi.index)


@pytest.mark.parametrize(
    ("value", "status"),
    [
        (None, "missing"),
        (float("nan"), "missing"),
        (pd.NaT, "missing"),
        (pd.NA, "missing"),
        (3, "not_text"),
        (2.5, "not_text"),
        (True, "not_text"),
        (b"payroll", "not_text"),
        (["payroll"], "not_text"),
        (np.array([1, 2]), "not_text"),
        ("", "empty"),
        (" \n", "empty"),
    ],
)
def test_what_is_no_text_gets_a_status_and_the_run_goes_on(value: Any, status: str) -> None:
    cells = pd.Series(["Payroll processing", value, "Market research"], dtype=object)
    out = classify_frame(pd.DataFrame({"description": cells}))
    assert out[PREFIX + "status"].tolist() == ["ok", status, "ok"]
    assert out[PREFIX + "label"].tolist() == ["BPO", "UNKNOWN", "KPO"]
    assert out[PREFIX + "reason"].tolist()[1] == "empty"
    assert out[PREFIX + "confidence"].isna().tolist() == [False, status != "empty", False]


def test_nullable_string_column() -> None:
    df = pd.DataFrame({"description": pd.array(["Payroll processing", pd.NA], dtype=pd.StringDtype("python"))})
    assert classify_frame(df)[PREFIX + "status"].tolist() == ["ok", "missing"]


def test_empty_frame_has_the_columns_and_types() -> None:
    out = classify_frame(pd.DataFrame({"description": pd.Series([], dtype=object)}))
    full = classify_frame(pd.DataFrame({"description": ["lunch"]}))
    assert list(out.columns) == list(full.columns)
    assert len(out) == 0
    assert out[OURS].dtypes.equals(full[OURS].dtypes)


def test_other_column_and_prefix() -> None:
    out = classify_frame(pd.DataFrame({"what": ["Payroll processing"]}), text="what", prefix="")
    assert list(out.columns) == ["what", *COLUMNS]
    assert out["label"].tolist() == ["BPO"]


def test_missing_column_is_named_with_those_there_are() -> None:
    with pytest.raises(KeyError, match="no column 'description'; there are: id, text"):
        classify_frame(pd.DataFrame({"id": [1], "text": ["x"]}))


def test_collision_is_refused() -> None:
    with pytest.raises(ValueError, match="outsourcing_label exists already"):
        classify_frame(pd.DataFrame({"description": ["x"], "outsourcing_label": ["BPO"]}))
    out = classify_frame(classify_frame(pd.DataFrame({"description": ["lunch"]})), prefix="again_")
    assert len(out.columns) == 1 + 2 * len(COLUMNS)


def test_two_text_columns_of_one_name_are_refused() -> None:
    df = pd.DataFrame([["a", "b"]], columns=["description", "description"])
    with pytest.raises(ValueError, match="several columns 'description'"):
        classify_frame(df)


@pytest.mark.parametrize("value", [None, ["Payroll processing"], {"description": ["x"]}, pd.Series(["x"])])
def test_what_is_no_frame_is_a_type_error(value: Any) -> None:
    with pytest.raises(TypeError, match="must be a pandas DataFrame"):
        classify_frame(value)
