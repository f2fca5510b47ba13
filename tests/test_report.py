"""The HTML report: complete, escaped, small. A real browser reads it in tests/slow."""

from __future__ import annotations

import re
from collections import Counter
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from outsourcing_classifier import Classifier
from outsourcing_classifier.evaluation import Evaluation, compare, evaluate
from outsourcing_classifier.report import BUDGET, _windows, page, preview, write

NASTY = (
    "<script>alert(1)</script><img src=x onerror='alert(2)'> \"Payroll processing\" & 'more' </details>\x00\x1b ]]>"
)
ROWS = [
    {
        "id": "1",
        "description": NASTY,
        "label": "KPO",
        "source": "<b onclick=x>board</b>",
        "service": "'\"><i>",
    },
    {"id": "<u>2</u>", "description": "Market research", "label": "BPO", "source": "b", "service": "hr"},
    {"id": "3", "description": "Payroll processing", "label": "BPO", "source": "b", "service": "hr"},
    {"id": "4", "description": "Supply of salt", "label": "NEITHER", "source": "b", "service": "none"},
    {"id": "5", "description": "lunch", "label": "<script>alert(3)</script>", "source": "b", "service": ""},
]
VOID = {"meta", "link", "input", "br", "path", "rect", "circle"}


class Reader(HTMLParser):
    """Counts elements, checks that they nest, and keeps attributes and text."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags = Counter[str]()
        self.attributes: list[tuple[str, str, str | None]] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += [(tag, k, v) for k, v in attrs]
        if tag not in VOID and not self.get_starttag_text().endswith("/>"):  # type: ignore[union-attr]
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += [(tag, k, v) for k, v in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def read(html: str) -> Reader:
    reader = Reader()
    reader.feed(html)
    reader.close()
    assert reader.open == []
    return reader


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    """The rules alone: what the tests expect does not hang on a trained model."""
    return Classifier(fallback=None)


@pytest.fixture(scope="module")
def evaluation(classifier: Classifier) -> Evaluation:
    return evaluate(
        ROWS, row_id="id", source="source", service="service", second_label="label", classifier=classifier
    )


def test_everything_is_escaped_and_nested(evaluation: Evaluation) -> None:
    reader = read(page(evaluation.to_dict(), compare(evaluation, evaluation).to_dict()))
    assert reader.tags["script"] == 1
    assert not {"img", "iframe", "object", "embed", "u"} & set(reader.tags)
    assert not [a for a in reader.attributes if a[1].startswith("on")]
    assert "<script>alert(1)</script>" in "".join(reader.text)
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f]", "".join(reader.text))


def test_nothing_is_fetched(evaluation: Evaluation) -> None:
    html = page(evaluation.to_dict())
    reader = read(html)
    links = [v for _, k, v in reader.attributes if k in {"src", "href", "action", "data", "srcset"}]
    assert all(v is not None and (v.startswith("#") or v == "data:,") for v in links)
    assert "http:" not in html
    assert "https:" not in html
    assert "@import" not in html
    assert "url(" not in html
    policy = next(v for _, k, v in reader.attributes if k == "content" and v and "default-src" in v)
    assert policy.startswith(
        "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"
    )


def test_plots_have_text_alternatives(evaluation: Evaluation) -> None:
    html = page(evaluation.to_dict())
    reader = read(html)
    assert reader.tags["svg"] == 4
    ids = [v for _, k, v in reader.attributes if k == "id"]
    assert len(ids) == len(set(ids))
    labelled = [v for t, k, v in reader.attributes if t == "svg" and k == "aria-labelledby"]
    assert all(i in ids for v in labelled if v for i in v.split())
    assert len(re.findall(r"<desc [^>]*>[^<]{20,}</desc>", html)) == 4
    anchors = [v for t, k, v in reader.attributes if t == "a" and k == "href"]
    assert all(a and a[1:] in ids for a in anchors)


def test_evidence_is_marked_in_place(evaluation: Evaluation) -> None:
    html = page(evaluation.to_dict())
    assert re.search(r"<mark class='BPO' title='BPO hr\.payroll [^']*'>Payroll processing</mark>", html)


def test_the_figures_are_there(evaluation: Evaluation) -> None:
    text = " ".join("".join(read(page(evaluation.to_dict())).text).split())
    for word in (
        "macro-F1",
        "Matthews",
        "ECE",
        "AURC",
        "What these rows cannot show",
        "Per rule",
        "By language",
    ):
        assert word in text
    assert "1 row left out" in text


def mistake(number: int, text: str) -> dict[str, Any]:
    start = text.rfind("payroll")
    piece = {
        "start": start,
        "end": start + 7,
        "text": "payroll",
        "side": "BPO",
        "weight": 1.0,
        "concept": "hr.payroll",
    }
    return {
        "number": number,
        "row_id": "",
        "truth": "KPO",
        "answer": "BPO",
        "service": "hr",
        "true_service": "",
        "confidence": 0.5,
        "decided_by": "rules",
        "reason": "listed_activity",
        "language": "en",
        "source": "",
        "second": "",
        "why": "BPO · payroll",
        "text": text,
        "evidence": [piece | {"rule": "en.hr.payroll", "kind": "listed"}],
        "discarded": [],
        "scores": {"BPO": 1.0, "KPO": 0.0, "NEITHER": 0.5},
    }


@pytest.mark.parametrize("filler", ["words about work. ", "<&>\"' ", "treballs d'anàlisi · "])
def test_two_thousand_errors_fit_in_three_megabytes(evaluation: Evaluation, filler: str) -> None:
    data = evaluation.to_dict()
    data["mistakes"] = [mistake(i, filler * 150 + "payroll" + " end." * 100) for i in range(2000)]
    html = page(data)
    assert len(html.encode()) <= 3_000_000
    assert html.count("<details data-k=") == 2000
    assert html.count(">payroll</mark>") == 2000
    assert "long texts are cut" in html


def test_more_errors_than_fit_are_told(evaluation: Evaluation) -> None:
    data = evaluation.to_dict()
    data["mistakes"] = [mistake(i, "many words " * 30 + "payroll") for i in range(9000)]
    html = page(data)
    assert len(html.encode()) <= BUDGET + 100_000
    assert re.search(r"Only the [\d,]+ most confident errors are here", html)


def test_windows_keep_order_and_evidence() -> None:
    evidence = [{"start": s, "end": s + 9, "weight": w} for s, w in ((900, 2.0), (4000, 1.0), (2500, 3.0))]
    windows = _windows(5000, evidence, 600)
    assert windows == sorted(windows)
    assert all(a[1] < b[0] for a, b in pairwise(windows))
    assert all(any(a <= e["start"] and e["end"] <= b for a, b in windows) for e in evidence)
    assert sum(b - a for a, b in windows) <= 800
    assert _windows(100, evidence, 600) == [(0, 100)]


def test_the_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "r.html"
    target.write_text("old", encoding="utf-8")
    with pytest.raises(UnicodeEncodeError):
        write(target, "\ud800")
    assert target.read_text(encoding="utf-8") == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["r.html"]
    assert write(target, "new") == target
    assert target.read_text(encoding="utf-8") == "new"
    with pytest.raises(OSError, match="No such file"):
        write(tmp_path / "missing" / "r.html", "x")


def test_lone_surrogates_do_not_break_the_report(classifier: Classifier, tmp_path: Path) -> None:
    rows = [{"description": "Payroll \ud83d processing", "label": "KPO"}]
    path = evaluate(rows, classifier=classifier).report(tmp_path / "r.html")
    assert path.read_text(encoding="utf-8")


# ---- preview


def test_preview_of_a_frame(classifier: Classifier) -> None:
    frame = pd.DataFrame({"description": [NASTY, "Market research", None]}, index=["a", "b", "c"])
    shown = preview(frame, rows=2, classifier=classifier)
    assert shown.index == ("a", "b")
    assert shown.total == 3
    reader = read(shown._repr_html_())
    assert "script" not in reader.tags
    assert "img" not in reader.tags
    assert reader.tags["mark"] >= 2
    assert "2 of 3 rows" in str(shown)
    assert preview(frame, classifier=classifier).explanations[2].classification.label == "UNKNOWN"


def test_preview_of_a_list_and_bad_input(classifier: Classifier) -> None:
    assert "BPO" in str(preview(["Payroll processing"], classifier=classifier))
    with pytest.raises(TypeError, match="not one text"):
        preview("Payroll processing", classifier=classifier)
    with pytest.raises(KeyError, match="want one column"):
        preview(pd.DataFrame({"a": [1]}), classifier=classifier)
    with pytest.raises(ValueError, match="0 or more"):
        preview(["a"], rows=-1, classifier=classifier)
