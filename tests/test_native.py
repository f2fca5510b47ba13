"""What is in C gives what Python gives: the same folded bytes, offsets, hits and discards, and the same answers."""

from __future__ import annotations

import csv
import pickle
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from outsourcing_classifier import native
from outsourcing_classifier.index import Index
from outsourcing_classifier.judge import Judge
from outsourcing_classifier.matcher import Matcher
from outsourcing_classifier.model import Model

TRAINING = Path(__file__).parents[1] / "training_data"
SIGNS = " \n\t.,:;/(-&<>'·•–\u00a0\u0301\u200bÀñÇŀﬁß中Ж€½\x81\x8d\x9f\x00"
HOSTILE = [
    "",
    " ",
    "\ud800 payroll \udfff",
    "no " * 3000,
    "no-" * 3000 + "payroll",
    "manage,payroll," * 2000,
    "administratiu/va, tècnic/a (va) asesor(a), /" * 300,
    "<p>" * 500 + "payroll" + "</p" + "x" * 200,
    "&amp; &#39; &nbsp; & payroll &am" * 200,
    "col.laboració l.l.l.l.l",
    "experienceMust payrollClerk PowerPointPayroll" * 50,
    "Mant. software. Assess. jurídic. A. b. Abcdefghij. k",
    "duties: payroll\n\nRequirements: audit\r\nBenefits\n" * 100,
    "we are looking for a payroll clerk " * 300,
    "\u0130stanbul ǅ ﬃ ㌀ ㋿ ﷺ",
]


@pytest.fixture(scope="module")
def both() -> tuple[Matcher, Matcher]:
    if not native.BUILT:
        pytest.skip("the matcher in C was not built: no compiler")
    index = Index.open()
    return Matcher(index), native.matcher_for(index, native=True)


def texts() -> list[str]:
    out = []
    for path in sorted(TRAINING.glob("*.csv")):
        with path.open(encoding="utf-8", newline="") as stream:
            out += [row["text"] for row in csv.DictReader(stream)]
    return out


def spoilt(rows: list[str], seed: int, count: int) -> Iterator[str]:
    """Texts cut, glued, sprinkled with signs and put in capitals."""
    rng = random.Random(seed)
    for _ in range(count):
        text = rng.choice(rows)
        for _ in range(rng.randrange(4)):
            text = spoil(text, rng.choice(rows), rng)
        yield text


def spoil(text: str, other: str, rng: random.Random) -> str:
    at, way = rng.randrange(len(text) + 1), rng.randrange(5)
    if way == 0:
        return text[:at] + rng.choice(SIGNS) * rng.randrange(1, 4) + text[at:]
    if way == 1:
        return text[at:] + other[: rng.randrange(80)]
    if way == 2:
        return text[:at] + other[rng.randrange(len(other)) :][:60] + text[at:]
    if way == 3:
        return text.upper() if rng.random() < 0.3 else text.title()
    return text.replace(" ", rng.choice(["  ", "\n", "-", "/", ", "]), rng.randrange(5))


@pytest.fixture(scope="module")
def judges(both: tuple[Matcher, Matcher]) -> list[tuple[Judge, Judge]]:
    """The reference and the one in C, with any confidence and with a side named from 0.9 on only."""
    index, model = Index.open(), Model.open()
    return [
        (native.judge_for(index, model, least, native=False), native.judge_for(index, model, least, native=True))
        for least in (0.0, 0.9)  # 0.9: more than the model needs to name a side
    ]


def assert_same_answers(judges: list[tuple[Judge, Judge]], text: str) -> None:
    """Equal, and in the same order where order is no part of equality."""
    for reference, compiled in judges:
        assert repr(compiled.classify(text)) == repr(reference.classify(text))
        assert repr(compiled.rows([text])) == repr(reference.rows([text]))


def assert_equal(both: tuple[Matcher, Matcher], text: str) -> None:
    reference, compiled = (m.read(text) for m in both)
    assert compiled.folded.data == reference.folded.data
    assert compiled.hits == reference.hits
    assert compiled.dropped == reference.dropped
    assert compiled.told == reference.told
    places = {0, len(reference.folded.data), *(h.start for h in reference.hits), *(h.end for h in reference.hits)}
    for place in places:
        assert compiled.folded.source(place) == reference.folded.source(place)


def test_on_every_training_text(both: tuple[Matcher, Matcher]) -> None:
    for text in texts():
        assert_equal(both, text)


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_on_hostile_text(both: tuple[Matcher, Matcher], text: str) -> None:
    assert_equal(both, text)


def test_on_spoilt_text(both: tuple[Matcher, Matcher]) -> None:
    for text in spoilt(texts(), seed=1, count=2000):
        assert_equal(both, text)


def test_the_same_answers(judges: list[tuple[Judge, Judge]]) -> None:
    rows = texts()
    for text in [
        *rows[::3],
        *HOSTILE,
        *spoilt(rows, seed=5, count=1000),
        *(" ".join(rows[i : i + 9]) for i in range(40)),
    ]:
        assert_same_answers(judges, text)


def test_threads_give_the_same_answers() -> None:
    rows = list(spoilt(texts(), seed=9, count=400))
    rows = [chr(0x4E00 + i) + text + chr(0x1F300 + i) for i, text in enumerate(rows)]  # looked up in Python
    alone, shared = native.judge_for(Index.open()), native.judge_for(Index.open())
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(shared.classify, rows))
    assert together == [alone.classify(text) for text in rows]


def test_another_process_gives_the_same_answers(judges: list[tuple[Judge, Judge]]) -> None:
    for judge in judges[0]:
        again = pickle.loads(pickle.dumps(judge))
        assert type(again) is type(judge)
        for text in texts()[::200]:
            assert repr(again.classify(text)) == repr(judge.classify(text))


@pytest.mark.parametrize("profile", ["in-10ta"])
def test_the_same_answers_in_another_profile(both: tuple[Matcher, Matcher], profile: str) -> None:
    index = Index.open(profile)
    pair = [(native.judge_for(index, native=False), native.judge_for(index, native=True))]
    for text in texts()[::9]:
        assert_same_answers(pair, text)


def test_the_models_verdict(both: tuple[Matcher, Matcher]) -> None:
    plain = Model.open()
    compiled = native.model_for(plain)
    assert type(compiled) is native.NativeModel
    for text in [*texts()[::3], *HOSTILE, *spoilt(texts(), seed=3, count=500)]:
        data = both[0].read(text).folded.data
        assert compiled.judge(data) == plain.judge(data)
        for side in ("BPO", "KPO"):
            assert compiled.weightiest(data, side, 8) == plain.weightiest(data, side, 8)


def test_the_model_is_refused_its_answer_in_both(judges: list[tuple[Judge, Judge]]) -> None:
    """Some answers of the model lie between its own threshold and the 0.9 that is asked for."""
    lowered = 0
    for text in texts():
        if judges[0][1].rows([text])[0].reason == "model" and judges[1][1].rows([text])[0].label == "UNKNOWN":
            assert_same_answers(judges, text)
            lowered += 1
    assert lowered > 5


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(max_size=200))
def test_on_any_text(both: tuple[Matcher, Matcher], text: str) -> None:
    assert_equal(both, text)


def test_every_code_point_folds_alike(both: tuple[Matcher, Matcher]) -> None:
    for start in range(0, 0x110000, 997):
        text = " a".join(map(chr, range(start, min(start + 997, 0x110000), 7)))
        assert both[1].reader.fold(text).data == both[0].index.fold(text).data  # type: ignore[attr-defined]


def test_refuses_what_is_no_text(both: tuple[Matcher, Matcher]) -> None:
    with pytest.raises(TypeError, match="str"):
        both[1].read(b"payroll")  # type: ignore[arg-type]
