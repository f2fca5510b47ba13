"""A Dask cluster of two workers gives the answers of classify."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from outsourcing_classifier import Classifier
from outsourcing_classifier.engines import score_dask
from outsourcing_classifier.tables import COLUMNS, PREFIX, classify_frame
from tests.test_tables import _texts

WHY = "dask is not installed: pip install 'outsourcing-classifier[dask]'"
dd: Any = pytest.importorskip("dask.dataframe", reason=WHY)
distributed: Any = pytest.importorskip("distributed", reason=WHY)
pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as two,
        distributed.Client(two) as client,
    ):
        yield client


def frame() -> Any:
    pd = pytest.importorskip("pandas")
    texts: list[Any] = [t.encode("utf-8", "replace").decode() for t in _texts()]
    return pd.DataFrame({"id": range(len(texts) + 1), "description": [*texts, None]})


def test_the_same_answers(cluster: Any, classifier: Classifier) -> None:
    pd: Any = pytest.importorskip("pandas")

    df = frame()
    assert len(cluster.scheduler_info()["workers"]) == 2
    out = score_dask(dd.from_pandas(df, npartitions=5), evidence=True)
    assert list(out.columns) == [
        "id",
        "description",
        *(PREFIX + c for c in COLUMNS),
        PREFIX + "evidence_json",
    ]
    done = out.compute()
    expected = classify_frame(df, evidence=True, classifier=classifier)
    assert done.index.equals(expected.index)
    assert done["id"].tolist() == expected["id"].tolist()
    for name in expected.columns[2:]:
        pd.testing.assert_series_equal(done[name].astype(object), expected[name].astype(object))


def test_a_classifier_of_ones_own_and_no_partition_is_empty_handed(cluster: Any) -> None:
    pd: Any = pytest.importorskip("pandas")

    ddf = dd.from_pandas(pd.DataFrame({"what": ["payroll processing", "x"]}), npartitions=2)
    ddf = ddf[ddf["what"] != "x"]  # leaves a partition without rows
    out = score_dask(ddf, "what", prefix="p_", columns=["rulebook"], classifier=Classifier("in-10ta")).compute()
    assert out["p_rulebook"].str.startswith("in-10ta ").tolist() == [True]


def test_refused_at_once() -> None:
    pd: Any = pytest.importorskip("pandas")

    ddf = dd.from_pandas(pd.DataFrame({"description": ["x"]}), npartitions=1)
    with pytest.raises(KeyError, match="there are: description"):
        score_dask(ddf, "text")
    with pytest.raises(ValueError, match="exists already"):
        score_dask(score_dask(ddf))
