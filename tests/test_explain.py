"""Explanations say what was computed, and escape what they show."""

from __future__ import annotations

import dataclasses
import json
import re
from html.parser import HTMLParser

import pytest

from outsourcing_classifier import Explanation, classify, explain
from outsourcing_classifier.explain import WIDTH, highlighted
from outsourcing_classifier.results import DecidedBy, Discard, Evidence, Label, Reason, Why

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
    said = " ".join(str(explain(TEXT)).split())
    assert said.startswith(str(c.label))
    assert c.evidence
    for e in c.evidence:
        assert (
            f"{e.weight:+.2f} “{e.text}” [{e.start}:{e.end}] "
            f"{e.concept}, {e.kind}, in {e.zone}, rule {e.rule}" in said
        )
        assert e.citation is not None
        assert str(e.citation) in said
    assert any(d.why == "negated" for d in c.discarded)
    for d in c.discarded:
        assert f"[{d.start}:{d.end}] {d.concept}" in said
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
        for word in (*row.title.split(), *row.bpo.split()):
            assert word in said


@pytest.mark.parametrize("text", [TEXT, "Gestió de nòmines i recerca d'inversions. " * 5, "x" * 300, ""])
def test_lines_of_plain_text_are_not_long(text: str) -> None:
    said = str(explain(text))
    assert max(map(len, said.splitlines())) <= WIDTH
    assert not any(line != line.rstrip() for line in said.splitlines())


def test_the_services_row_names_the_words_of_its_side() -> None:
    e = explain("Payroll processing. Market research.")
    (row,) = (r for r in e.comparison if r.basis == "services")
    sides = {x.side for x in e.classification.evidence if x.basis == "services"}
    assert sides == {"BPO", "KPO"}
    assert row.said == tuple(dict.fromkeys(x.text for x in e.classification.evidence if x.side == row.side))


def discard(start: int, end: int, because: str) -> Discard:
    text = TEXT[start:end]
    return Discard(text, start, end, "legal.advice", "en.other", "body", Why.COVERED, because)


def test_the_same_words_are_not_called_longer() -> None:
    e = explain(TEXT)
    c = e.classification
    won = max(c.evidence, key=lambda x: x.end - x.start)
    for start, end, said in (
        (won.start, won.end, f"the same words count as {won.concept} ({won.rule})"),
        (won.start + 1, won.end, f"part of a longer occurrence ({won.rule})"),
        (won.start + 1, won.end + 3, f"overlaps a longer occurrence ({won.rule})"),
    ):
        new = dataclasses.replace(c, discarded=(discard(start, end, won.rule),))
        new_e = dataclasses.replace(e, classification=new)
        assert said in " ".join(str(new_e).split())
        assert said in Reader(new_e._repr_html_()).text


def by_model() -> Explanation:
    """What the classifier makes of a model's answer: features with and without a place, and the rest."""
    text = "Keeps the weekly\npaperwork for new starters tidy."
    evidence = []
    for words, name, weight in (
        ("weekly\npaperwork", "weekly paperwork", 0.9),
        ("starters", "starters", 0.5),
        ("tidy", "<tid", -0.2),
        ("Keeps", "eeps", 0.1),
        ("", "hr", 0.3),
        ("", "BPO", 0.2),
        ("", "all others", -0.4),
    ):
        at = text.index(words) if words else 0
        where = (words, at, at + len(words), "feature." + name)
        evidence.append(Evidence(*where, "BPO", "model", "feature", "model", "", "", weight, None))
    e = explain(text)
    c = dataclasses.replace(
        e.classification,
        label=Label.BPO,
        decided_by=DecidedBy.MODEL,
        reason=Reason.MODEL,
        evidence=tuple(evidence),
        scores={"BPO": 1.4, "KPO": 0.2, "NEITHER": 0.5},
    )
    return dataclasses.replace(e, classification=c)


def test_an_answer_of_the_model_is_told_in_words() -> None:
    for said in (" ".join(str(by_model()).split()), " ".join(Reader(by_model()._repr_html_()).text.split())):
        assert "What the trained model went by" in said
        assert "“weekly paperwork”" in said
        for what in (
            *("the pair of words", "the word", "the letters tid…", "the letters …eeps…"),
            *("weight of the service line hr", "own score for BPO", "all its other features together"),
        ):
            assert what in said
        assert "feature." not in said
        assert "“”" not in said
        assert "[0:0]" not in said
    assert by_model()._repr_html_().count("<mark ") == 3  # what speaks against the side is not marked


def test_catalan_rows_for_a_catalan_text() -> None:
    rows = {r.basis: r.title for r in explain("recerca d'inversions per a un fons").comparison}
    assert rows["driving_force"] == "Força impulsora"
    assert rows["services"] == "Serveis"


def test_to_dict_is_plain_and_has_the_comparison() -> None:
    out = explain(TEXT).to_dict()
    assert json.loads(json.dumps(out, allow_nan=False)) == json.loads(json.dumps(out))
    assert {k: v for k, v in out.items() if k != "comparison"} == classify(TEXT).to_dict()
    assert [r["basis"] for r in out["comparison"]][-1] == "services"


@pytest.mark.parametrize("text", [TEXT, NASTY, "", "a < b & c > d", "BPO and KPO services", "Registered nurse " * 40])
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
        "caption",
        "br",
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
