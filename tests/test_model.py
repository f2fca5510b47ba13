"""The fallback: plain numbers that say what scikit-learn says, honest about what they cannot."""

from __future__ import annotations

import csv
import json
import math
import random
import shutil
import subprocess
import sys
from array import array
from pathlib import Path

import pytest

from outsourcing_classifier import Classifier, Label, ModelError, Reason
from outsourcing_classifier.model import (
    CLASSES,
    HOME,
    Model,
    confidence_for,
    grams,
    lower_bound,
)
from outsourcing_classifier.training import Example, estimator, examples, train

DATA = Path(__file__).parent.parent / "training_data"


@pytest.fixture(scope="module")
def rows() -> list[dict[str, str]]:
    out = []
    for path in sorted(DATA.glob("*.csv")):
        with path.open(encoding="utf-8", newline="") as stream:
            out += list(csv.DictReader(stream))
    return out


@pytest.fixture(scope="module")
def rules() -> Classifier:
    return Classifier(fallback=None)


@pytest.fixture(scope="module")
def both() -> Classifier:
    return Classifier()


@pytest.fixture(scope="module")
def small(rows: list[dict[str, str]]) -> list[Example]:
    chosen = random.Random(1).sample([r for r in rows if r["label"] != "MIXED"], 150)
    return [Example(r["text"], r["label"], r["id"]) for r in chosen]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(HOME, tmp_path / "model"))


def test_the_shipped_model_is_of_the_shipped_rules_and_small(rules: Classifier) -> None:
    model = Model.open(rulebook_sha256=rules.rulebook.id.sha256)
    assert sum(p.stat().st_size for p in HOME.iterdir()) < 5 * 2**20
    assert {"scikit-learn", "data_sha256", "figures", "held_out"} <= set(model.manifest)


def test_scoring_needs_no_scikit_learn() -> None:
    code = (
        "import sys, outsourcing_classifier as o\n"
        "c = o.Classifier().classify('Quantify the effect of rain on takings at the lido')\n"
        "bad = {'sklearn', 'numpy', 'scipy', 'pandas', 'joblib', 'pickle'} & set(sys.modules)\n"
        "assert not bad, bad"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_parity_with_scikit_learn(rules: Classifier, rows: list[dict[str, str]]) -> None:
    import numpy as np
    from scipy.sparse import csr_matrix

    model = Model.open()
    texts = random.Random(2).sample([r["text"] for r in rows], 2000)
    values, columns, starts, ours = [], [], [0], []
    for text in texts:
        view = rules.view(text)
        for feature, _ in model.weightiest(view.data, "BPO", len(model.vocabulary)):
            values.append(feature.value)
            columns.append(model.vocabulary[feature.name])
        starts.append(len(columns))
        ours.append([model.judge(view.data).probabilities[c] for c in CLASSES])
    matrix = csr_matrix((values, columns, starts), shape=(len(texts), len(model.vocabulary)))
    theirs = estimator(model).predict_proba(matrix)
    assert np.abs(np.array(ours) - theirs).max() < 1e-9


def test_an_answer_of_the_model_carries_its_own_evidence(both: Classifier, rows: list[dict[str, str]]) -> None:
    answers = [(r["text"], both.classify(r["text"])) for r in rows[::4]]
    by_model = [(t, c) for t, c in answers if c.reason is Reason.MODEL]
    assert len(by_model) > 10
    for text, c in by_model:
        assert c.decided_by == "model"
        assert all(e.kind == "feature" and e.citation is None and e.side == c.label for e in c.evidence)
        assert all(text[e.start : e.end] == e.text for e in c.evidence)
        assert math.isclose(sum(e.weight for e in c.evidence), c.scores[str(c.label)], abs_tol=1e-9)


def test_the_rules_are_never_overruled(rules: Classifier, both: Classifier, rows: list[dict[str, str]]) -> None:
    for row in rows[::25]:
        alone, together = rules.classify(row["text"]), both.classify(row["text"])
        if alone.label is not Label.UNKNOWN:
            assert together == alone


def test_no_fallback_means_none(rules: Classifier) -> None:
    assert rules.classify("Quantify the effect of rain on takings at the lido").decided_by != "model"


def test_other_rules_are_decided_by_rules_alone_and_said_so(tmp_path: Path) -> None:
    from outsourcing_classifier.rulebook import HOME as RULES

    copy = Path(shutil.copytree(RULES, tmp_path / "rules"))
    weights = copy / "weights.toml"
    weights.write_text(weights.read_text("utf-8") + "# changed\n", "utf-8")
    with pytest.warns(UserWarning, match="other rules"):
        Classifier(rulebook=copy)
    with pytest.raises(ModelError, match="another rulebook"):
        Classifier(rulebook=copy, fallback=HOME)


def test_a_damaged_model_is_refused(folder: Path) -> None:
    data = folder / "arrays.bin"
    whole = data.read_bytes()
    data.write_bytes(whole[:-8])
    with pytest.raises(ModelError, match="SHA-256"):
        Model.open(folder)
    data.write_bytes(whole)
    (folder / "manifest.json").write_text("{", "utf-8")
    with pytest.raises(ModelError, match="not JSON"):
        Model.open(folder)
    (folder / "manifest.json").unlink()
    with pytest.raises(ModelError, match=r"manifest\.json"):
        Model.open(folder)


def test_numbers_that_are_none_are_refused(folder: Path) -> None:
    model = Model.open(folder)
    numbers = array("d", model.weights)
    numbers[5] = math.nan
    Model(model.names, model.idf, numbers, model.bias, model.threshold, model.manifest).save(folder)
    with pytest.raises(ModelError, match="NaN"):
        Model.open(folder)


def test_training_twice_gives_the_same_bytes(rules: Classifier, small: list[Example], tmp_path: Path) -> None:
    for name in ("one", "two"):
        train(small, rules.view, rules.rulebook.id.sha256, folds=3).save(tmp_path / name)
    for file in ("manifest.json", "vocabulary.txt", "arrays.bin"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_a_trained_model_decides(rules: Classifier, small: list[Example], tmp_path: Path) -> None:
    train(small, rules.view, rules.rulebook.id.sha256, folds=3).save(tmp_path / "own")
    mine = Classifier(fallback=tmp_path / "own")
    assert {mine.classify(e.text).decided_by for e in small} >= {"rules", None}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda e: [Example(x.text, "BPO", x.group) for x in e], "too few rows"),
        (lambda e: e[:10], "10 rows"),
        (lambda e: [Example(e[0].text, "XPO", "a"), *e], "unknown label 'XPO'"),
        (lambda e: [Example(x.text, x.label, "one") for x in e], "1 groups"),
    ],
)
def test_examples_that_cannot_teach(change, message, rules: Classifier, small: list[Example]) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ModelError, match=message):
        train(change(small), rules.view, rules.rulebook.id.sha256, folds=3)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("id,text\n1,payroll\n", "no column 'label'"),
        ("id,text,label\n1,payroll clerk,\n", "row 1: no label"),
        ("id,text,label\n1,payroll clerk,BPO\n1,cook,NEITHER\n", "row 2: id '1' is there twice"),
        ("id,text,label\n1,12345,BPO\n", "row 1: column 'text' holds no text"),
    ],
)
def test_training_files_that_cannot_be_used(body: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_text(body, "utf-8")
    with pytest.raises(ModelError, match=message):
        examples([file])
    with pytest.raises(ModelError, match="No such file"):
        examples([tmp_path / "none.csv"])


def test_the_exact_bound() -> None:
    assert lower_bound(59, 59) == pytest.approx(0.05 ** (1 / 59), abs=1e-9)  # closed form: all right
    assert lower_bound(58, 58) < 0.95 < lower_bound(59, 59)
    assert lower_bound(0, 10) == 0.0


@pytest.mark.parametrize("least", [0.2, 1.0, float("nan")])
def test_a_least_probability_out_of_range_is_refused(least: float) -> None:
    with pytest.raises(ModelError, match="least_sure"):
        train([], Classifier(fallback=None).view, "", least_sure=least)


def test_a_target_that_the_data_cannot_support_is_refused() -> None:
    curve = [[0.5, 200, 170], [0.9, 100, 99], [0.99, 20, 20]]
    assert confidence_for(curve, 0.95) == 0.9
    with pytest.raises(ModelError, match="support at most"):
        confidence_for(curve, 0.99)
    with pytest.raises(ModelError, match="want a number"):
        confidence_for(curve, 1.5)


def test_a_target_abstains_more(both: Classifier, rows: list[dict[str, str]]) -> None:
    strict = Classifier(target_precision=0.9)
    texts = [r["text"] for r in rows[::20]]
    named = [sum(c.classify(t).label in (Label.BPO, Label.KPO) for t in texts) for c in (both, strict)]
    assert 0 < named[1] <= named[0]


def test_grams_keep_their_places() -> None:
    data = b"payroll clerk, leeds"
    for name, start, end in grams(data):
        if name.startswith(("w ", "p ")):
            assert data[start:end].decode() == name[2:]
    assert ("p payroll clerk", 0, 13) in list(grams(data))
    assert not any(n == "p clerk leeds" for n, _, _ in grams(data))


def test_the_manifest_is_readable() -> None:
    manifest = json.loads((HOME / "manifest.json").read_text("utf-8"))
    assert manifest["examples"] > 3000
    assert len(manifest["rulebook"]) == 64
