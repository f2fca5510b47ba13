"""Explanations say what was computed, and escape what they show."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import pytest

from outsourcing_classifier import Explanation, classify, explain
from outsourcing_classifier.explain import highlighted

TEXT = "Market research and volume-driven payroll processing; no legal advice."
NASTY = (
    "<script>alert('payroll processing')</script> \"market research\" & <img src=x onerror=alert(1)> "
    "</p></div> no <b>legal advice</b> '><svg/onload=1> <payroll processing>"
)
VOID = {"br", "img", "hr", "meta", "link", "input"}


class Reader(HTMLParser):
    """Collects tags, attributes and text, and minds that tags are closed in order."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attributes: list[str] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [name for name, _ in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_an_explanation_holds_what_classify_returns() -> None:
    e = explain(TEXT)
    assert isinstance(e, Explanation)
    assert e.text == TEXT
    assert e.classification == classify(TEXT)


def test_plain_text_names_everything() -> None:
    c = classify(TEXT)
    said = str(explain(TEXT))
    assert said.startswith(str(c.label))
    assert c.evidence
    for e in c.evidence:
        line = next(x for x in said.splitlines() if f"[{e.start}:{e.end}]" in x and e.rule in x)
        assert f"{e.weight:+.2f}" in line
        assert f"“{e.text}”" in line
        assert e.kind in line
        assert e.citation is not None
        assert str(e.citation) in said
    assert any(d.why == "negated" for d in c.discarded)
    for d in c.discarded:
        assert f"[{d.start}:{d.end}]  {d.concept}" in said
    assert "excluded by a negation (“no”)" in said
    for side in ("BPO", "KPO"):
        assert f"{side} {c.scores[side]:.2f}" in said
    assert f"neither {c.scores['NEITHER']:.2f}" in said
    assert c.rulebook.sha256[:12] in said


def test_the_comparison_is_filled_in() -> None:
    rows = {r.basis: r for r in explain(TEXT).comparison}
    assert list(rows) == [t.basis for t in classify(TEXT).traits] + ["services"]
    assert (rows["driving_force"].bpo, rows["driving_force"].kpo) == ("Volume-driven", "Insights-driven")
    assert rows["driving_force"].title == "Driving force"
    assert rows["driving_force"].side == "BPO"
    assert "volume-driven" in rows["driving_force"].said
    assert rows["complexity"].side is None
    assert rows["complexity"].said == ()
    assert "payroll processing" in rows["services"].said
    said = str(explain(TEXT))
    for row in rows.values():
        assert row.title in said
        assert row.bpo in said


def test_catalan_rows_for_a_catalan_text() -> None:
    rows = {r.basis: r.title for r in explain("recerca d'inversions per a un fons").comparison}
    assert rows["driving_force"] == "Força impulsora"
    assert rows["services"] == "Serveis"


def test_to_dict_is_plain_and_has_the_comparison() -> None:
    out = explain(TEXT).to_dict()
    assert json.loads(json.dumps(out, allow_nan=False)) == json.loads(json.dumps(out))
    assert {k: v for k, v in out.items() if k != "comparison"} == classify(TEXT).to_dict()
    assert [r["basis"] for r in out["comparison"]][-1] == "services"


@pytest.mark.parametrize(
    "text", [TEXT, NASTY, "", "a < b & c > d", "BPO and KPO services", "Registered nurse " * 40]
)
def test_html_is_escaped_and_well_formed(text: str) -> None:
    page = explain(text)._repr_html_()
    reader = Reader(page)
    assert reader.open == []
    assert set(reader.tags) <= {
        "div",
        "style",
        "p",
        "b",
        "small",
        "span",
        "mark",
        "details",
        "summary",
        "table",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
    }
    assert set(reader.attributes) <= {"class", "title", "scope", "open"}
    assert "<script" not in page.lower()
    assert "javascript:" not in page.lower()
    assert text in reader.text


def test_html_of_a_nasty_text_shows_it_as_it_is() -> None:
    page = explain(NASTY)._repr_html_()
    assert "&lt;script&gt;" in page
    assert "<img" not in page
    assert "<svg" not in page
    assert "prefers-color-scheme:dark" in page


def test_html_names_rule_weight_and_citation() -> None:
    page = explain(TEXT)._repr_html_()
    for e in classify(TEXT).evidence:
        assert e.rule in page
        assert f"{e.weight:+.2f}" in page
    assert "Difference Between BPO vs KPO" in page
    assert len(re.findall("<mark ", page)) >= 2


def test_highlighting_is_cut_but_loses_nothing_before() -> None:
    text = "payroll processing & " * 1000
    page = highlighted(text, classify(text).evidence, most=100)
    assert page.endswith(" …")
    assert Reader(page).text == text[:100] + " …"


def test_an_explanation_is_stable() -> None:
    assert str(explain(TEXT)) == str(explain(TEXT))
    assert explain(TEXT)._repr_html_() == explain(TEXT)._repr_html_()


def test_empty_text() -> None:
    said = str(explain(""))
    assert said.startswith("UNKNOWN")
    assert "the text is empty" in said
