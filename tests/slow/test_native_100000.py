"""What is in C and what is in Python, on 100,000 spoilt texts: all are read by both, each fifth is judged by both."""

from __future__ import annotations

from outsourcing_classifier.judge import Judge
from outsourcing_classifier.matcher import Matcher
from tests.test_native import assert_equal, assert_same_answers, both, judges, spoilt, texts

__all__ = ["both", "judges"]  # the fixtures


def test_same_on_100_000_texts(both: tuple[Matcher, Matcher], judges: list[tuple[Judge, Judge]]) -> None:
    rows, count = texts(), 0
    for text in spoilt(rows, seed=2, count=100_000):
        assert_equal(both, text)
        if count % 5 == 0:
            assert_same_answers(judges[:1], text)
        count += 1
    assert count == 100_000
