"""Figures on labelled rows: checked by hand, by brute force and on rows made to fail."""

from __future__ import annotations

import json
import math
import random
import time
from collections import Counter
from dataclasses import replace
from functools import partial
from itertools import permutations
from pathlib import Path
from statistics import mean, pvariance
from typing import Any

import pandas as pd
import pytest

from outsourcing_classifier import Classification, Classifier, Label, Reason, Rulebook
from outsourcing_classifier.evaluation import (
    EvaluationError,
    _binomial,
    _resampled,
    _risk_areas,
    binomial_tail,
    clopper_pearson,
    compare,
    evaluate,
    mcnemar_exact,
    read_csv,
)
from outsourcing_classifier.report import page
from outsourcing_classifier.results import DecidedBy, Evidence


class Oracle(Classifier):
    """Answers what the text begins with: ``KPO 0.8 whatever``; the evidence is the rulebook's."""

    def classify(self, text: str) -> Classification:
        c = super().classify(text)
        word, _, rest = text.partition(" ")
        if word not in {"BPO", "KPO", "MIXED", "UNKNOWN"}:
            return c
        decided = DecidedBy.RULES if word != "UNKNOWN" else None
        reason = Reason.LISTED_ACTIVITY if decided else Reason.NO_EVIDENCE
        share = float(rest.partition(" ")[0])
        return replace(c, label=Label(word), confidence=share, decided_by=decided, reason=reason, service=None)


@pytest.fixture(scope="module")
def oracle(tiny_rules: Path) -> Oracle:
    return Oracle(rulebook=Rulebook.load(path=tiny_rules), fallback=None)


def rows_of(*pairs: tuple[str, str]) -> list[dict[str, Any]]:
    return [{"label": truth, "description": text} for truth, text in pairs]


MIX = rows_of(
    *[("BPO", "BPO 0.9")] * 6,
    *[("BPO", "UNKNOWN 0.6")] * 2,
    *[("BPO", "KPO 0.55")],
    *[("KPO", "KPO 0.8")] * 5,
    *[("KPO", "MIXED 0.7")],
    *[("NEITHER", "UNKNOWN 0.7")] * 4,
    *[("NEITHER", "BPO 0.5")],
    *[("MIXED", "MIXED 0.7")] * 2,
    *[("CONTESTED", "KPO 0.6")],
)


def test_figures_by_hand(oracle: Oracle) -> None:
    e = evaluate(MIX, classifier=oracle)
    assert (e.rows, e.headline) == (23, 20)
    assert e.accuracy.value == 15 / 20
    bpo, kpo, neither = e.classes
    assert (bpo.rows, bpo.answers, bpo.precision.value, bpo.recall.value) == (9, 7, 6 / 7, 6 / 9)
    assert bpo.f1.value == pytest.approx(12 / 16)
    assert kpo.f1.value == pytest.approx(10 / 12)
    assert neither.f1.value == pytest.approx(8 / 11)
    assert e.macro_f1.value == pytest.approx((12 / 16 + 10 / 12 + 8 / 11) / 3)
    assert e.side_accuracy.value == 11 / 12
    assert e.confusion["MIXED", "MIXED"] == 2
    assert e.confusion["CONTESTED", "KPO"] == 1
    assert len(e.mistakes) == 5
    for estimate in (e.accuracy, e.macro_f1, e.mcc, bpo.recall):
        assert estimate.low is not None
        assert estimate.high is not None
        assert estimate.value is not None
        assert estimate.low <= estimate.value <= estimate.high


def test_matthews_is_the_binary_one_for_two_classes(oracle: Oracle) -> None:
    tp, fn, fp, tn = 7, 3, 2, 8
    e = evaluate(
        rows_of(
            *[("BPO", "BPO 0.9")] * tp,
            *[("BPO", "KPO 0.9")] * fn,
            *[("KPO", "BPO 0.9")] * fp,
            *[("KPO", "KPO 0.9")] * tn,
        ),
        classifier=oracle,
    )
    expected = (tp * tn - fp * fn) / math.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
    assert e.mcc.value == pytest.approx(expected)


@pytest.mark.parametrize(("rows", "share"), [(1, 0.3), (12, 0.05), (60, 0.95), (200, 0.5)])
def test_binomial_tail_is_the_sum(rows: int, share: float) -> None:
    for least in range(rows + 2):
        exact = sum(math.comb(rows, i) * share**i * (1 - share) ** (rows - i) for i in range(least, rows + 1))
        assert binomial_tail(least, rows, share) == pytest.approx(exact, abs=1e-12)


@pytest.mark.parametrize(
    ("right", "rows", "low", "high"),
    [(0, 10, 0.0, 0.30850), (10, 10, 0.69150, 1.0), (5, 10, 0.18709, 0.81291), (81, 263, 0.25272, 0.36762)],
)
def test_clopper_pearson_against_published_values(right: int, rows: int, low: float, high: float) -> None:
    assert clopper_pearson(right, rows) == pytest.approx((low, high), abs=6e-5)


def test_clopper_pearson_refuses_nonsense() -> None:
    with pytest.raises(ValueError, match="right <= rows"):
        clopper_pearson(3, 2)


def test_59_rows_are_what_95_percent_needs() -> None:
    assert binomial_tail(59, 59, 0.95) <= 0.05 < binomial_tail(58, 58, 0.95)


def test_mcnemar_by_hand() -> None:
    assert mcnemar_exact(5, 1) == pytest.approx(2 * (1 + 6) / 64)
    assert mcnemar_exact(1, 5) == mcnemar_exact(5, 1)
    assert mcnemar_exact(3, 3) == 1.0
    assert mcnemar_exact(0, 0) == 1.0


@pytest.mark.parametrize(("n", "p"), [(40, 0.3), (1000, 0.97), (5, 0.5)])
def test_binomial_draws_have_the_right_mean_and_spread(n: int, p: float) -> None:
    rng = random.Random(3)
    draws = [_binomial(n, p, rng) for _ in range(20_000)]
    assert mean(draws) == pytest.approx(n * p, abs=5 * math.sqrt(n * p * (1 - p) / 20_000))
    assert pvariance(draws) == pytest.approx(n * p * (1 - p), rel=0.06)


def test_resampling_keeps_the_total_and_empty_cells() -> None:
    for draw in _resampled([5, 0, 20, 1], 50, random.Random(1)):
        assert sum(draw) == 26
        assert draw[1] == 0


def test_bootstrap_interval_matches_drawing_rows(oracle: Oracle) -> None:
    e = evaluate(MIX, classifier=oracle, resamples=4000)
    rng = random.Random(5)
    right = [o.right for o in e.outcomes if o.truth in {"BPO", "KPO", "NEITHER"}]
    naive = sorted(mean(rng.choices(right, k=20)) for _ in range(4000))
    assert e.accuracy.low == pytest.approx(naive[100], abs=0.051)
    assert e.accuracy.high == pytest.approx(naive[3899], abs=0.051)


def test_same_seed_same_figures(oracle: Oracle) -> None:
    first, second = (evaluate(MIX, classifier=oracle, seed=4).to_dict() for _ in range(2))
    assert json.dumps(first) == json.dumps(second)


def test_risk_areas_are_the_mean_over_orders_of_equal_confidence(oracle: Oracle) -> None:
    rows = rows_of(("BPO", "BPO 0.9"), ("KPO", "BPO 0.7"), ("BPO", "BPO 0.7"), ("BPO", "BPO 0.7"), ("KPO", "BPO 0.2"))
    outcomes = evaluate(rows, classifier=oracle).outcomes
    aurcs, augrcs = [], []
    for order in permutations(outcomes):
        if [o.confidence for o in order] != sorted((o.confidence for o in order), reverse=True):
            continue
        wrong, risks, general = 0, [], []
        for k, o in enumerate(order, 1):
            wrong += not o.right
            risks.append(wrong / k)
            general.append(wrong / 5)
        aurcs.append(mean(risks))
        augrcs.append(mean(general))
    assert _risk_areas(outcomes) == pytest.approx((mean(aurcs), mean(augrcs)))


def test_curve_and_targets(oracle: Oracle) -> None:
    rows = rows_of(
        *[("BPO", "BPO 0.9")] * 70,
        *[("KPO", "BPO 0.8")] * 5,
        *[("KPO", "KPO 0.7")] * 5,
        *[("NEITHER", "UNKNOWN 0.6")] * 20,
    )
    e = evaluate(rows, classifier=oracle)
    assert [(p.threshold, p.accepted, p.right) for p in e.curve] == [
        (0.9, 70, 70),
        (0.8, 75, 70),
        (0.7, 80, 75),
    ]
    assert e.curve[0].coverage == 0.7
    assert e.curve[0].recall == 70 / 80
    ninety, ninety_five = e.targets
    assert ninety.reached is not None
    assert ninety.reached.accepted == 80
    assert ninety_five.reached is not None
    assert ninety_five.reached.accepted == 70
    assert ninety_five.supported == ninety_five.reached


def test_equal_confidences_are_accepted_together(oracle: Oracle) -> None:
    e = evaluate(rows_of(("BPO", "BPO 0.8"), ("KPO", "BPO 0.8"), ("BPO", "BPO 0.8")), classifier=oracle)
    (point,) = e.curve
    assert (point.accepted, point.right) == (3, 2)
    assert all(t.reached is None for t in e.targets)


def test_calibration_by_hand(oracle: Oracle) -> None:
    e = evaluate(rows_of(*[("BPO", "BPO 0.8")] * 3, ("KPO", "BPO 0.8")), classifier=oracle)
    c = e.calibration
    assert c.brier == pytest.approx((3 * 0.04 + 0.64) / 4)
    assert c.log_loss == pytest.approx(-(3 * math.log(0.8) + math.log(0.2)) / 4)
    assert c.ece == pytest.approx(0.05)
    assert len(c.bins) == 1


def test_a_perfectly_calibrated_model_stays_in_its_band(oracle: Oracle) -> None:
    rng = random.Random(2)
    inside = 0
    for _ in range(8):
        rows = []
        for _ in range(200):
            share = round(rng.uniform(0.5, 0.999), 3)
            rows.append(("BPO" if rng.random() < share else "KPO", f"BPO {share}"))
        c = evaluate(rows_of(*rows), classifier=oracle, resamples=1).calibration
        assert c.ece is not None
        assert c.band.low is not None
        assert c.band.high is not None
        assert c.band.value == pytest.approx(0.057, abs=0.02)
        inside += c.band.low <= c.ece <= c.band.high
    assert inside >= 6


def test_infinite_loss_is_bounded(oracle: Oracle) -> None:
    c = evaluate(rows_of(("KPO", "BPO 1.0"), ("BPO", "BPO 0.0")), classifier=oracle).calibration
    assert c.log_loss is not None
    assert math.isfinite(c.log_loss)


def test_kappa_by_hand(oracle: Oracle) -> None:
    cells = {("BPO", "BPO"): 20, ("BPO", "KPO"): 5, ("KPO", "BPO"): 10, ("KPO", "KPO"): 15}
    rows = [{"label": a, "second": b, "description": "BPO 0.9"} for (a, b), n in cells.items() for _ in range(n)] + [
        {"label": "BPO", "second": "?", "description": "BPO 0.9"}
    ]
    agreement = evaluate(rows, second_label="second", classifier=oracle).agreement
    assert agreement is not None
    assert (agreement.rows, agreement.agreed) == (50, 35)
    assert agreement.kappa.value == pytest.approx(0.4)
    assert agreement.kappa.low is not None
    assert agreement.kappa.low < 0.4


def test_rules_are_counted_once_a_row(oracle: Oracle) -> None:
    rows = rows_of(
        ("BPO", "Payroll processing and payroll processing"),
        ("KPO", "Payroll processing"),
        ("KPO", "Payroll processing and market research"),
        ("MIXED", "Payroll processing"),
    )
    rules = {r.rule: r for r in evaluate(rows, classifier=oracle).rules}
    payroll = rules["en.hr.payroll"]
    assert (payroll.fired, payroll.right, payroll.wrong, payroll.conflict) == (3, 1, 2, 1)
    assert payroll.precision.value == pytest.approx(1 / 3)
    assert (rules["en.market.research"].right, rules["en.market.research"].conflict) == (1, 1)


def test_a_models_features_count_as_one_rule(oracle: Oracle) -> None:
    class Modelled(Oracle):
        def classify(self, text: str) -> Classification:
            c = super().classify(text)
            feature = partial(Evidence, side="BPO", basis="model", kind="feature", rule="model")
            known = partial(feature, language="", zone="", citation=None)
            placed = known(text[:3], 0, 3, concept="feature.BPO", weight=1.5)
            rest = known("", 0, 0, concept="feature.all others", weight=-0.5)
            return replace(c, evidence=(placed, rest), decided_by=DecidedBy.MODEL)

    modelled = Modelled(rulebook=oracle.rulebook, fallback=None)
    e = evaluate(rows_of(("BPO", "BPO 0.9"), ("KPO", "BPO 0.8")), classifier=modelled)
    (rule,) = e.rules
    assert (rule.rule, rule.side, rule.fired, rule.right) == ("model", "BPO", 2, 1)
    html = page(e.to_dict())
    assert "title='BPO feature.BPO +1.50'>BPO</mark>" in html
    assert "feature.all others" in html


def test_slices(oracle: Oracle) -> None:
    rows = [
        dict(
            r,
            language="en" if i % 2 else "ca",
            board=f"b{i}",
            service="hr" if r["label"] == "BPO" else "none",
        )
        for i, r in enumerate(MIX * 2)
    ]
    e = evaluate(rows, language="language", source="board", service="service", classifier=oracle)
    by = {(s.dimension, s.value): s for s in e.slices}
    assert {d for d, _ in by} == {
        "true service",
        "answered service",
        "language",
        "source",
        "text length",
        "decided by",
        "reason",
    }
    assert by["true service", "hr"].rows == 18
    assert sum(s.rows for s in e.slices if s.dimension == "source") == e.headline
    assert sum(s.dimension == "source" for s in e.slices) == 30
    assert ("source", "11 other values") in by
    assert by["decided by", "nobody"].decided == 0
    assert by["decided by", "nobody"].precision.value is None


def test_every_mistake_has_its_explanation(oracle: Oracle) -> None:
    text = "Payroll processing for a bank"
    e = evaluate(rows_of(("KPO", text)), classifier=oracle)
    (mistake,) = e.mistakes
    assert mistake.explanation.text == text
    assert str(mistake.explanation) == str(oracle.explain(text))
    piece = mistake.to_dict()["evidence"][0]
    assert text[piece["start"] : piece["end"]] == piece["text"]


# ---- doors


def test_frame_columns_and_rows_give_the_same(oracle: Oracle) -> None:
    frame = pd.DataFrame(MIX, index=range(50, 50 + len(MIX)))
    columns = {k: [r[k] for r in MIX] for k in ("label", "description")}
    results = [evaluate(d, classifier=oracle) for d in (frame, columns, MIX, iter(MIX))]
    assert len({json.dumps(r.to_dict()) for r in results}) == 1


def test_to_dict_is_json_and_text_is_readable(oracle: Oracle) -> None:
    e = evaluate(MIX, classifier=oracle, name="one")
    data = json.loads(json.dumps(e.to_dict(), allow_nan=False))
    assert data["headline"] == 20
    assert "mistakes" not in e.to_dict(mistakes=False)
    text = str(e)
    for word in ("macro-F1", "Matthews", "precise", "AURC", "ECE", "truth \\ answer", "cannot show"):
        assert word in text
    assert max(map(len, text.splitlines())) < 190


def test_missing_texts_count_as_empty(oracle: Oracle) -> None:
    rows = rows_of(("NEITHER", ""), ("BPO", "BPO 0.9"))
    frame = pd.DataFrame({"label": ["NEITHER", "BPO"], "description": [None, "BPO 0.9"]})
    assert evaluate(frame, classifier=oracle).to_dict() == evaluate(rows, classifier=oracle).to_dict()
    assert any("without text" in n for n in evaluate(frame, classifier=oracle).notes)


# ---- bad input


def test_labels_in_other_words(oracle: Oracle) -> None:
    rows = rows_of(("Outsourced  Analytics", "KPO 0.9"), ("bpo ", "BPO 0.9"), ("neither", "UNKNOWN 0.9"))
    e = evaluate(rows, mapping={"outsourced analytics": "kpo"}, classifier=oracle)
    assert e.accuracy.value == 1.0
    assert not e.left_out


def test_unknown_labels_are_listed_with_counts(oracle: Oracle) -> None:
    rows = rows_of(("BPO", "BPO 0.9"), *[("both", "BPO 0.9")] * 3, ("", "BPO 0.9"), ("x" * 99, "BPO 0.9"))
    rows.append({"label": float("nan"), "description": "BPO 0.9"})
    e = evaluate(rows, classifier=oracle)
    assert (e.rows, e.headline) == (7, 1)
    assert e.left_out == {"both": 3, "(no label)": 2, "x" * 39 + "…": 1}
    assert "'both' 3" in str(e)


def test_a_bad_mapping_is_refused(oracle: Oracle) -> None:
    with pytest.raises(EvaluationError, match="mapping"):
        evaluate(MIX, mapping={"a": "ANALYTICS"}, classifier=oracle)


def test_no_positive_of_a_class(oracle: Oracle) -> None:
    e = evaluate(rows_of(("BPO", "BPO 0.9"), ("NEITHER", "UNKNOWN 0.9")), classifier=oracle)
    kpo = e.classes[1]
    assert (kpo.precision.value, kpo.recall.value, kpo.f1.value) == (None, None, None)
    assert e.macro_f1.value == 1.0
    assert any("No row is KPO" in n for n in e.notes)
    json.dumps(e.to_dict(), allow_nan=False)
    assert "–" in str(e)


def test_all_rows_unknown(oracle: Oracle, tmp_path: Path) -> None:
    e = evaluate(rows_of(*[("BPO", "UNKNOWN 0.5")] * 3, ("KPO", "UNKNOWN 0.5")), classifier=oracle)
    assert e.curve == ()
    assert all(t.reached is None for t in e.targets)
    assert e.mcc.value is None
    assert any("No row was answered" in n for n in e.notes)
    assert e.report(tmp_path / "r.html").stat().st_size > 0
    assert str(e)


def test_few_rows_say_so(oracle: Oracle) -> None:
    notes = " ".join(evaluate(MIX, classifier=oracle).notes)
    assert "too few for any conclusion" in notes
    assert "fewer than 59" in notes
    assert "repeat the text" in notes


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "no column"),
        (rows_of(("?", "BPO 0.9")), "need a mapping: '\\?' 1"),
        (rows_of(("MIXED", "BPO 0.9")), "nothing to measure"),
        ([{"text": "a", "label": "BPO"}], "no column 'description'; there are: text, label"),
        ([{"description": "a"}], "no column 'label'"),
        ("BPO", "not a text"),
        ([1, 2], "row mappings"),
        ({"description": ["a"], "label": ["BPO", "KPO"]}, "differ in length"),
        (
            pd.DataFrame([["a", "b", "BPO"]], columns=["description", "description", "label"]),
            "several columns",
        ),
    ],
)
def test_data_that_cannot_be_measured(data: Any, message: str, oracle: Oracle) -> None:
    with pytest.raises(EvaluationError, match=message):
        evaluate(data, classifier=oracle)


def test_duplicate_ids_are_told_and_all_count(oracle: Oracle) -> None:
    rows = [dict(r, id="same") for r in MIX]
    e = evaluate(rows, row_id="id", classifier=oracle)
    assert e.headline == 20
    assert any("1 id stands on several rows" in n for n in e.notes)


def test_messages_never_echo_a_text(oracle: Oracle) -> None:
    secret = "the patient of room four wants her wages worked out before the end of the month"
    with pytest.raises(EvaluationError) as caught:
        evaluate([{"description": secret, "label": secret}], classifier=oracle)
    assert secret not in str(caught.value)


# ---- files


def test_read_csv(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes('\ufeffid,description,label\n1,"a, b\nc",BPO\n2,short\n3,x,KPO,extra\n'.encode())
    rows = read_csv(path)
    assert rows[0] == {"id": "1", "description": "a, b\nc", "label": "BPO"}
    assert [r["label"] for r in rows] == ["BPO", "", "KPO"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no rows"),
        (b"a,b\n", "no rows"),
        (b"a,a\n1,2\n", "several columns a"),
        (b"a\n\xff\n", "not utf-8"),
    ],
)
def test_files_that_cannot_be_read(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(content)
    with pytest.raises(EvaluationError, match=message):
        read_csv(path)
    with pytest.raises(EvaluationError, match="No such file"):
        read_csv(tmp_path / "missing.csv")


# ---- comparison


def test_comparison(oracle: Oracle) -> None:
    before = rows_of(*[("BPO", "UNKNOWN 0.6")] * 7, ("KPO", "KPO 0.9"), *[("KPO", "KPO 0.8")] * 10)

    class Later(Oracle):
        def classify(self, text: str) -> Classification:
            swap = {"UNKNOWN 0.6": "BPO 0.7", "KPO 0.9": "BPO 0.9"}
            return super().classify(swap.get(text, text))

    later = Later(rulebook=oracle.rulebook, fallback=None)
    one, two = evaluate(before, classifier=oracle, name="a"), evaluate(before, classifier=later, name="b")
    c = compare(one, two)
    assert (len(c.gains), len(c.losses), c.both_right, c.both_wrong) == (7, 1, 10, 0)
    assert c.p_value == pytest.approx(mcnemar_exact(7, 1))
    assert c.accuracy.value == pytest.approx(6 / 18)
    assert c.losses[0].text == "KPO 0.9"
    assert (c.losses[0].before, c.losses[0].after) == ("KPO", "BPO")
    assert one.macro_f1.value is not None
    assert two.macro_f1.value is not None
    assert c.macro_f1.value == pytest.approx(two.macro_f1.value - one.macro_f1.value)
    assert "gains 7" in str(c)
    json.dumps(c.to_dict(), allow_nan=False)
    same = compare(one, one)
    assert (same.p_value, same.accuracy.value) == (1.0, 0.0)
    assert "cannot be told apart" in same.notes[0]


def test_comparison_wants_the_same_rows(oracle: Oracle) -> None:
    one = evaluate(MIX, classifier=oracle)
    other = evaluate(MIX[:-1], classifier=oracle)
    with pytest.raises(EvaluationError, match="not of the same rows"):
        compare(one, other)


# ---- figures the project promises


def test_ten_thousand_rows(oracle: Oracle) -> None:
    rng = random.Random(1)
    answers = Counter[str]()
    rows = []
    for i in range(10_000):
        answer = rng.choice(["BPO", "KPO", "UNKNOWN", "MIXED"])
        answers[answer] += 1
        truth = {"UNKNOWN": "NEITHER"}.get(answer, answer) if rng.random() < 0.8 else "KPO"
        rows.append(
            {
                "label": truth,
                "second": "BPO",
                "description": f"{answer} {rng.random():.6f} row {i}",
                "s": i % 40,
            }
        )
    start = time.perf_counter()
    for r in rows:
        oracle.classify(str(r["description"]))
    scoring = time.perf_counter() - start
    start = time.perf_counter()
    result = evaluate(rows, source="s", second_label="second", classifier=oracle)
    print(f"{time.perf_counter() - start - scoring:.1f} s beyond scoring; 20 s are allowed")
    assert "of 10,000 rows in the headline" in str(result)
