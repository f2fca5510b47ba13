"""Classification -> plain text, HTML, dictionary. Renders, decides nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise, zip_longest
from textwrap import wrap
from typing import Any, NamedTuple

from outsourcing_classifier.results import Classification, Discard, Evidence, Label, Why
from outsourcing_classifier.rulebook import Rulebook
from outsourcing_classifier.text import words

WIDTH = 100  # of plain text, in columns
_NAMES = {"OUT": "neither"}
_WHY = {
    Why.COVERED: "part of a longer occurrence",
    Why.MASKED: "a false friend",
    Why.NEGATED: "excluded by a negation",
    Why.NOT_HEAD: "not the head of its phrase",
    Why.SATURATED: "the same was already counted",
    Why.FOREIGN: "a word of another language than the text's",
    Why.UNDECIDED: "too little for the rules, so the model was asked",
    Why.ZONE: "stands where nothing counts",
}
_REASONS = {
    "listed_activity": "an activity of the article's lists",
    "related_activity": "work of the same kind as the lists, though not in them",
    "full_form": "the text names the business model itself",
    "both_kinds": "two substantial parts, one of each kind",
    "traits": "no activity is named; rows of the comparison decide",
    "model": "too little for the rules, and the trained model is sure enough",
    "conflict": "evidence for both sides, too little to call it two parts",
    "low_margin": "too little evidence",
    "no_evidence": "nothing in the text names an activity of either list",
    "out_of_scope": "the work is in neither list",
    "negated": "activities are named only to exclude them",
    "empty": "the text is empty",
}


class Row(NamedTuple):
    """One row of the comparison: the article's two poles and what this text says."""

    basis: str
    title: str
    bpo: str
    kpo: str
    side: str | None
    said: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a text was classified as it was. ``str()``, ``_repr_html_()`` and ``to_dict()`` render it."""

    text: str
    classification: Classification
    comparison: tuple[Row, ...]
    service_name: str

    def to_dict(self) -> dict[str, Any]:
        """The classification's dictionary and the comparison table."""
        out = self.classification.to_dict()
        out["comparison"] = [
            {
                "basis": r.basis,
                "title": r.title,
                "bpo": r.bpo,
                "kpo": r.kpo,
                "side": r.side,
                "said": list(r.said),
            }
            for r in self.comparison
        ]
        return out

    def __str__(self) -> str:
        c = self.classification
        lines = [*_wrapped(self.headline(), "", "  "), ""]
        if c.evidence:
            lines += [_evidence_title(c), *(line for e in c.evidence for line in _evidence_lines(e)), ""]
        scores = "   ".join(f"{_side(side)} {score:.2f}" for side, score in c.scores.items())
        lines += [f"Scores   {scores}", ""]
        if c.discarded:
            lines.append("Found and not counted")
            for d in c.discarded:
                said = f"“{_one_line(d.text)}”  [{d.start}:{d.end}]  {d.concept}: {_why(d, c)}"
                lines += _wrapped(said, "  ", "      ")
            lines.append("")
        lines.append("The article's comparison, filled in for this text")
        cells = [
            ("Basis", "BPO", "KPO", "This text"),
            *((r.title, r.bpo, r.kpo, _said(r)) for r in self.comparison),
        ]
        lines += [*_grid(cells, (20, 25, 25, 22)), ""]
        if c.delivery.spans:
            words = ", ".join(f"“{self.text[s:e]}”" for s, e in c.delivery.spans)
            lines.append(f"Delivery: {c.delivery.mode or 'several modes'} (stated: {words})")
        book = c.rulebook
        lines.append(f"Rulebook {book.name} {book.version}, sha256 {book.sha256[:12]}")
        return "\n".join(lines)

    def headline(self) -> str:
        """One line: label, service, confidence, by whom and why."""
        c = self.classification
        label = str(c.label)
        if c.service:
            label += f" · {self.service_name} ({c.service})"
        if c.label is Label.MIXED:
            label += " · " + ", ".join(f"{s} {share:.0%}" for s, share in c.services.items() if share >= 0.1)
        by = f"decided by {c.decided_by}" if c.decided_by else "undecided"
        return f"{label} · confidence {c.confidence:.2f} · {by}: {c.reason}, {_REASONS[c.reason]}"

    def _repr_html_(self) -> str:
        c = self.classification
        rows = "".join(
            f"<tr><td><span class='oc-{e.side}'>{_side(e.side)}</span></td>"
            f"<td class='oc-n'>{e.weight:+.2f}</td>"
            f"<td>{_words_cell(e)}</td><td>{_how_cell(e)}</td></tr>"
            for e in c.evidence
        )
        dropped = "".join(
            f"<tr><td>“{escape(_one_line(d.text))}” <small class='oc-at'>{d.start}–{d.end}</small></td>"
            f"<td>{escape(d.concept)}</td><td>{escape(_why(d, c))}</td></tr>"
            for d in c.discarded
        )
        table = "".join(
            f"<tr><th scope='row'>{escape(r.title)}</th><td>{escape(r.bpo)}</td><td>{escape(r.kpo)}</td>"
            + (
                f"<td><span class='oc-{r.side}'>{r.side}</span> {escape(', '.join(r.said))}</td>"
                if r.side
                else "<td>–</td>"
            )
            + "</tr>"
            for r in self.comparison
        )
        scores = " · ".join(f"{_side(s)} {v:.2f}" for s, v in c.scores.items())
        evidence = (
            f"<div class='oc-wide'><table><caption>{escape(_evidence_title(c))}</caption>"
            f"<thead><tr><th>Side</th>"
            f"<th>Weight</th><th>Words</th><th>How, and where the specification says so</th></tr></thead>"
            f"<tbody>{rows}</tbody></table></div>"
            if rows
            else "<p>No evidence counted.</p>"
        )
        lost = (
            f"<details><summary>Found and not counted ({len(c.discarded)})</summary>"
            f"<div class='oc-wide'><table><thead><tr><th>Words</th>"
            f"<th>Concept</th><th>Why</th></tr></thead><tbody>{dropped}</tbody></table></div></details>"
            if dropped
            else ""
        )
        delivery = (
            f"<p>Delivery, as stated: {escape(c.delivery.mode or 'several modes')}</p>" if c.delivery.spans else ""
        )
        return (
            f"<div class='oc'><style>{_CSS}</style>"
            f"<p class='oc-head'><b class='oc-{c.label}'>{c.label}</b> "
            f"{escape(self.headline().partition(' · ')[2])}</p>"
            f"<p class='oc-text'>{highlighted(self.text, c.evidence)}</p>"
            f"{evidence}<p>Scores: {escape(scores)}</p>{lost}{delivery}"
            f"<details open><summary>The article's comparison, filled in for this text</summary>"
            f"<div class='oc-wide'><table><thead><tr><th>Basis</th><th>BPO</th><th>KPO</th>"
            f"<th>This text</th></tr></thead><tbody>{table}</tbody></table></div></details>"
            f"<p><small>Rulebook {escape(c.rulebook.name)} {escape(c.rulebook.version)}, sha256 "
            f"{c.rulebook.sha256[:12]}</small></p></div>"
        )


def explanation(text: str, classification: Classification, rulebook: Rulebook) -> Explanation:
    """Put a classification next to the comparison of the specification."""
    language = classification.languages[0] if len(classification.languages) == 1 else "en"
    rows = []
    services: dict[str, list[str]] = {}
    for e in classification.evidence:
        if e.basis == "services" and e.side in {"BPO", "KPO"}:
            services.setdefault(e.side, []).append(_one_line(e.text))
    for trait in classification.traits:
        poles = rulebook.trait_poles[trait.basis]
        cites = [rulebook.citation(f"trait.{trait.basis}.{poles[s]}", language) for s in ("bpo", "kpo")]
        title = cites[0].row or trait.basis.replace("_", " ").capitalize()
        said = tuple(dict.fromkeys(_one_line(text[s:e]) for s, e in trait.spans))
        rows.append(Row(trait.basis, title, cites[0].item, cites[1].item, trait.side, said))
    lists = {
        side: ", ".join(
            names.get(language, names["en"])
            for service, names in rulebook.service_names.items()
            if rulebook.sides[service] == side and not service.startswith("other_")
        )
        for side in ("BPO", "KPO")
    }
    row = rulebook.citation("hr", language).row
    side = max(sorted(services), key=lambda s: classification.scores[s]) if services else None
    said = tuple(dict.fromkeys(services[side]))[:6] if side else ()
    rows.append(Row("services", row, lists["BPO"], lists["KPO"], side, said))
    names = rulebook.service_names.get(classification.service or "", {})
    return Explanation(text, classification, tuple(rows), names.get(language, names.get("en", "")))


def highlighted(text: str, evidence: tuple[Evidence, ...], most: int = 6000) -> str:
    """The text as HTML with its evidence marked, escaped; cut after ``most`` characters."""
    cuts = sorted({0, min(len(text), most), *(p for e in evidence for p in (e.start, e.end) if p <= most)})
    ordered = sorted(evidence, key=lambda e: (e.start, -e.end))
    out: list[str] = []
    for start, end in pairwise(cuts):
        covering = [e for e in ordered if e.start <= start and end <= e.end and e.weight > 0]
        piece = escape(text[start:end])
        if covering:
            e = max(covering, key=lambda x: (x.weight, -x.start))
            piece = f"<mark class='oc-{e.side}' title='{escape(e.concept)} {e.weight:+.2f}'>{piece}</mark>"
        out.append(piece)
    return "".join(out) + (" …" if len(text) > most else "")


def _said(row: Row) -> str:
    return f"{row.side}: " + ", ".join(f"“{s}”" for s in row.said) if row.side else "–"


def _side(side: str) -> str:
    return _NAMES.get(side, side.lower() if side == "NEITHER" else side)


def _evidence_title(c: Classification) -> str:
    if any(e.kind == "feature" for e in c.evidence):
        return "What the trained model went by (the weights add up to the score; it cites nothing)"
    return "Evidence (the weights of a side add up to its score)"


def _evidence_lines(e: Evidence) -> list[str]:
    start = f"  {_side(e.side):8}{e.weight:+.2f}  "
    indent = " " * len(start)
    if e.kind == "feature" and e.start == e.end:
        return _wrapped(_feature(e), start, indent)
    if e.kind == "feature":
        return _wrapped(f"“{_one_line(e.text)}”  [{e.start}:{e.end}]  {_feature(e)}", start, indent)
    out = _wrapped(f"“{_one_line(e.text)}”  [{e.start}:{e.end}]  {_how(e)}", start, indent)
    return out + (_wrapped(str(e.citation), indent, indent) if e.citation is not None else [])


def _words_cell(e: Evidence) -> str:
    if e.kind == "feature" and e.start == e.end:
        return "–"
    return f"“{escape(_one_line(e.text))}” <small class='oc-at'>{e.start}–{e.end}</small>"


def _how_cell(e: Evidence) -> str:
    if e.kind == "feature":
        return escape(_feature(e))
    return escape(_how(e)) + (f"<br><small>{escape(str(e.citation))}</small>" if e.citation is not None else "")


def _how(e: Evidence) -> str:
    return f"{e.concept}, {e.kind}, in {e.zone}, rule {e.rule}"


def _feature(e: Evidence) -> str:
    """What a feature of the trained model is, in words."""
    name = e.concept.removeprefix("feature.")
    if e.start == e.end:
        if name == "all others":
            return "all its other features together, and its constant"
        if name in {"BPO", "KPO", "NEITHER"}:
            return f"the rules' own score for {_side(name)}"
        return f"the rules' own weight of the service line {name}"
    if name == words(e.text).decode():
        return "the word" if " " not in name else "the pair of words"
    left, right = "" if name.startswith("<") else "…", "" if name.endswith(">") else "…"
    return f"the letters {left}{name.strip('<>')}{right}"


def _why(d: Discard, c: Classification) -> str:
    if d.why is Why.COVERED:
        found: list[Evidence | Discard] = [*c.evidence, *c.discarded]
        winners = [x for x in found if x.rule == d.because and x.start < d.end and d.start < x.end]
        same = next((x for x in winners if (x.start, x.end) == (d.start, d.end)), None)
        if same is not None:
            return f"the same words count as {same.concept} ({d.because})"
        if winners and not any(x.start <= d.start and d.end <= x.end for x in winners):
            return f"overlaps a longer occurrence ({d.because})"
    if d.why is Why.NEGATED:
        return f"{_WHY[d.why]} (“{d.because}”)"
    if d.why in {Why.SATURATED, Why.UNDECIDED} or not d.because:
        return _WHY[d.why]
    return f"{_WHY[d.why]} ({d.because})"


def _wrapped(text: str, first: str, following: str) -> list[str]:
    """Lines of at most WIDTH columns; a longer word stays whole."""
    return wrap(
        text,
        WIDTH,
        initial_indent=first,
        subsequent_indent=following,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _grid(rows: Sequence[Sequence[str]], widths: Sequence[int]) -> list[str]:
    """Rows of cells under each other, each cell wrapped within its column."""
    out = []
    for row in rows:
        cells = [wrap(cell, width) or [""] for cell, width in zip(row, widths, strict=True)]
        for parts in zip_longest(*cells, fillvalue=""):
            line = "  ".join(part.ljust(width) for part, width in zip(parts, widths, strict=True))
            out.append("  " + line.rstrip())
    return out


def _one_line(text: str) -> str:
    return " ".join(text.split())


_CSS = """
.oc{--oc-soft:#8881;font:14px/1.45 system-ui,sans-serif;max-width:72em;margin-bottom:1.5em}
.oc,[data-jp-theme-light=true] .oc,.vscode-light .oc{LIGHT}
@media (prefers-color-scheme:dark){.oc{DARK}}
[data-jp-theme-light=false] .oc,.vscode-dark .oc{DARK}
.oc table{border-collapse:collapse;margin:.4em 0;font-size:inherit}
.oc caption{white-space:nowrap}.oc caption,.oc summary{text-align:left;font-weight:600;padding:.2em 0}
.oc summary{cursor:pointer}
.oc table th,.oc table td{text-align:left;vertical-align:top;padding:.2em .9em .2em 0;white-space:normal;
border-bottom:1px solid var(--oc-line);overflow-wrap:break-word}.oc thead th{font-weight:600}
.oc tbody th{font-weight:400}.oc small{opacity:.8}.oc small.oc-at{white-space:nowrap}.oc-wide{overflow-x:auto}
.oc table td.oc-n{font-variant-numeric:tabular-nums;text-align:right;white-space:nowrap}
.oc-text{white-space:pre-wrap;overflow-wrap:anywhere;background:var(--oc-soft);padding:.5em .8em;
border-left:3px solid var(--oc-line)}.oc-head b{font-size:1.2em;margin-right:.3em}
.oc mark{background:none;color:inherit;border-bottom:3px solid}
.oc .oc-BPO{color:var(--oc-b)}.oc .oc-KPO{color:var(--oc-k)}.oc .oc-OUT,.oc .oc-UNKNOWN{color:var(--oc-o)}
.oc span[class]{font-weight:600;white-space:nowrap}.oc .oc-text mark{color:inherit}
.oc mark.oc-BPO{border-color:var(--oc-b)}.oc mark.oc-KPO{border-color:var(--oc-k);border-bottom-style:dashed}
.oc mark.oc-OUT{border-color:var(--oc-o);border-bottom-style:dotted}
""".replace("\n", "")
_CSS = _CSS.replace("LIGHT", "--oc-b:#0b57a4;--oc-k:#8a3b00;--oc-o:#555;--oc-line:#ccc").replace(
    "DARK", "--oc-b:#8ec5ff;--oc-k:#ffb77d;--oc-o:#bbb;--oc-line:#555"
)
