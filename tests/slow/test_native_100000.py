"""The two matchers on 100,000 spoilt texts; one line of figures."""

from __future__ import annotations

from outsourcing_classifier.matcher import Matcher
from tests.test_native import assert_equal, both, spoilt, texts

__all__ = ["both"]  # the fixture


def test_same_on_100_000_texts(both: tuple[Matcher, Matcher]) -> None:
    rows, count = texts(), 0
    for text in spoilt(rows, seed=2, count=100_000):
        assert_equal(both, text)
        count += 1
    assert count == 100_000
