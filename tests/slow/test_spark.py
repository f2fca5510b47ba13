"""Spark gives the answers of classify. Needs pyspark and Java 17 or later."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from outsourcing_classifier import Classifier
from outsourcing_classifier.engines import score_spark
from outsourcing_classifier.tables import COLUMNS, PREFIX, classify_texts
from tests.test_tables import _texts

pytest.importorskip("pyspark", reason="pyspark is not installed: pip install 'outsourcing-classifier[spark]'")
pytestmark = [
    pytest.mark.skipif(shutil.which("java") is None, reason="no Java: apt-get install openjdk-17-jre-headless"),
    pytest.mark.filterwarnings("default"),
]


@pytest.fixture(scope="module")
def spark() -> Iterator[Any]:
    from pyspark.sql import SparkSession

    os.environ["PYSPARK_PYTHON"] = os.environ["PYSPARK_DRIVER_PYTHON"] = sys.executable
    session = (
        SparkSession.builder.master("local[2]")
        .config("spark.ui.enabled", "false")
        .config("spark.sql.shuffle.partitions", "2")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.host", "127.0.0.1")
        .getOrCreate()
    )
    session.sparkContext.setLogLevel("ERROR")
    yield session
    session.stop()


@pytest.fixture(scope="module")
def texts() -> list[str | None]:
    plain: list[str | None] = [t.encode("utf-8", "replace").decode() for t in _texts()]
    return [*plain, None]


def test_the_same_answers(spark: Any, texts: list[str | None], classifier: Classifier) -> None:
    df = spark.createDataFrame(list(enumerate(texts)), "id long, description string").repartition(4)
    out = score_spark(df, evidence=True)
    assert out.columns == ["id", "description", *(PREFIX + c for c in COLUMNS), PREFIX + "evidence_json"]
    rows = sorted((r.asDict() for r in out.collect()), key=lambda r: r["id"])
    expected = classify_texts(texts, evidence=True, classifier=classifier)
    assert [r["description"] for r in rows] == texts
    for name, values in expected.items():
        assert [r[PREFIX + name] for r in rows] == values, name


def test_a_classifier_of_ones_own(spark: Any) -> None:
    df = spark.createDataFrame([("payroll processing",)], "what string")
    other = Classifier("in-10ta")
    (row,) = score_spark(df, "what", prefix="p_", columns=["rulebook"], classifier=other).collect()
    assert row["p_rulebook"].startswith("in-10ta ")


def test_refused_at_once(spark: Any) -> None:
    df = spark.createDataFrame([(1, "x")], "id long, description string")
    with pytest.raises(TypeError, match="is bigint, not text"):
        score_spark(df, "id")
    with pytest.raises(KeyError, match="there are: id, description"):
        score_spark(df, "text")
    with pytest.raises(ValueError, match="exists already"):
        score_spark(score_spark(df))
