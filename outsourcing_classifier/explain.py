"""Classification -> plain text, HTML, dictionary. Renders, decides nothing."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import Any

from outsourcing_classifier.results import Classification, Discard, Evidence, Label, Why
from outsourcing_classifier.rulebook import Rulebook

_NAMES = {"OUT": "neither"}
_WHY = {
    Why.COVERED: "part of a longer occurrence",
    Why.MASKED: "a false friend",
    Why.NEGATED: "excluded by a negation",
    Why.NOT_HEAD: "not the head of its phrase",
    Why.SATURATED: "the same was already counted",
    Why.FOREIGN: "a word of another language than the text's",
    Why.UNDECIDED: "too little for the rules; the model heard it as a signal",
    Why.ZONE: "stands where nothing counts",
}
_REASONS = {
    "listed_activity": "an activity of the article's lists",
    "related_activity": "work of the same kind as the lists, though not in them",
    "full_form": "the text names the business model itself",
    "both_kinds": "two substantial parts, one of each kind",
    "traits": "no activity is named; rows of the comparison decide",
    "model": "the rules abstain; the trained model decides",
    "conflict": "evidence for both sides, too little to call it two parts",
    "low_margin": "too little evidence",
    "no_evidence": "nothing in the text names an activity of either list",
    "out_of_scope": "the work is in neither list",
    "negated": "activities are named only to exclude them",
    "empty": "the text is empty",
}


@dataclass(frozen=True, slots=True)
class Row:
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
            {"basis": r.basis, "title": r.title, "bpo": r.bpo, "kpo": r.kpo, "side": r.side, "said": list(r.said)}
            for r in self.comparison
        ]
        return out

    def __str__(self) -> str:
        c = self.classification
        lines = [self.headline(), ""]
        if c.evidence:
            lines.append("Evidence (the weights of a side add up to its score)")
            for e in c.evidence:
                lines += [f"  {_side(e.side):8}{e.weight:+.2f}  “{_one_line(e.text)}”  [{e.start}:{e.end}]  {_how(e)}"]
                if e.citation is not None:
                    lines.append(f"                  {e.citation}")
            lines.append("")
        scores = "   ".join(f"{_side(side)} {score:.2f}" for side, score in c.scores.items())
        lines += [f"Scores   {scores}", ""]
        if c.discarded:
            lines.append("Found and not counted")
            lines += [f"  “{_one_line(d.text)}”  [{d.start}:{d.end}]  {d.concept}: {_why(d)}" for d in c.discarded]
            lines.append("")
        lines.append("The article's comparison, filled in for this text")
        rows = [r for r in self.comparison if r.basis != "services"]
        head = ("Basis", "BPO", "KPO")
        cells = [head, *((r.title, r.bpo, r.kpo) for r in rows)]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        said = ["This text", *map(_said, rows)]
        for cell, word in zip(cells, said, strict=True):
            lines.append("  " + "  ".join(c.ljust(w) for c, w in zip(cell, widths, strict=True)) + "  " + word)
        for r in self.comparison:
            if r.basis == "services":
                lines += [f"  {r.title}: {_said(r)}", f"    BPO: {r.bpo}", f"    KPO: {r.kpo}"]
        lines.append("")
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
            f"<tr><td><span class='oc-{e.side}'>{_side(e.side)}</span></td><td class='oc-n'>{e.weight:+.2f}</td>"
            f"<td>“{escape(_one_line(e.text))}” <small>{e.start}–{e.end}</small></td><td>{escape(_how(e))}</td>"
            f"<td>{escape(str(e.citation or ''))}</td></tr>"
            for e in c.evidence
        )
        dropped = "".join(
            f"<tr><td>“{escape(_one_line(d.text))}” <small>{d.start}–{d.end}</small></td>"
            f"<td>{escape(d.concept)}</td><td>{escape(_why(d))}</td></tr>"
            for d in c.discarded
        )
        table = "".join(
            f"<tr><th scope='row'>{escape(r.title)}</th><td>{escape(r.bpo)}</td><td>{escape(r.kpo)}</td>"
            + (f"<td><span class='oc-{r.side}'>{r.side}</span> {escape(', '.join(r.said))}</td>" if r.side else "<td>–</td>")
            + "</tr>"
            for r in self.comparison
        )
        scores = " · ".join(f"{_side(s)} {v:.2f}" for s, v in c.scores.items())
        evidence = (
            f"<table><thead><tr><th>Side</th><th>Weight</th><th>Words</th><th>How</th><th>Where the specification "
            f"says so</th></tr></thead><tbody>{rows}</tbody></table>"
            if rows
            else "<p>No evidence counted.</p>"
        )
        lost = (
            f"<details><summary>Found and not counted ({len(c.discarded)})</summary><table><thead><tr><th>Words</th>"
            f"<th>Concept</th><th>Why</th></tr></thead><tbody>{dropped}</tbody></table></details>"
            if dropped
            else ""
        )
        delivery = f"<p>Delivery, as stated: {escape(c.delivery.mode or 'several modes')}</p>" if c.delivery.spans else ""
        return (
            f"<div class='oc'><style>{_CSS}</style>"
            f"<p class='oc-head'><b class='oc-{c.label}'>{c.label}</b> {escape(self.headline().partition(' · ')[2])}</p>"
            f"<p class='oc-text'>{highlighted(self.text, c.evidence)}</p>"
            f"{evidence}<p>Scores: {escape(scores)}</p>{lost}{delivery}"
            f"<details open><summary>The article's comparison, filled in for this text</summary><table><thead><tr>"
            f"<th>Basis</th><th>BPO</th><th>KPO</th><th>This text</th></tr></thead><tbody>{table}</tbody></table></details>"
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
    said = tuple(dict.fromkeys(w for words in services.values() for w in words))[:6]
    rows.append(Row("services", row, lists["BPO"], lists["KPO"], side, said))
    names = rulebook.service_names.get(classification.service or "", {})
    return Explanation(text, classification, tuple(rows), names.get(language, names.get("en", "")))


def highlighted(text: str, evidence: tuple[Evidence, ...], most: int = 6000) -> str:
    """The text as HTML with its evidence marked, escaped; cut after ``most`` characters."""
    cuts = sorted({0, min(len(text), most), *(p for e in evidence for p in (e.start, e.end) if p <= most)})
    ordered = sorted(evidence, key=lambda e: (e.start, -e.end))
    out: list[str] = []
    for start, end in zip(cuts, cuts[1:], strict=False):
        covering = [e for e in ordered if e.start <= start and end <= e.end]
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


def _how(e: Evidence) -> str:
    if e.kind == "feature":
        return f"{e.concept}, a feature of the trained model, no citation"
    return f"{e.concept}, {e.kind}, in {e.zone}, rule {e.rule}"


def _why(d: Discard) -> str:
    because = f" (“{d.because}”)" if d.why is Why.NEGATED else f" ({d.because})" if d.because else ""
    return _WHY[d.why] + because


def _one_line(text: str) -> str:
    return " ".join(text.split())


_CSS = """
.oc{--oc-b:#0b57a4;--oc-k:#8a3b00;--oc-o:#555;--oc-line:#ccc;font:14px/1.45 system-ui,sans-serif;max-width:72em}
@media (prefers-color-scheme:dark){.oc{--oc-b:#8ec5ff;--oc-k:#ffb77d;--oc-o:#bbb;--oc-line:#555}}
.oc table{border-collapse:collapse;margin:.4em 0}.oc th,.oc td{text-align:left;vertical-align:top;padding:.15em .6em;
border-bottom:1px solid var(--oc-line)}.oc-n{font-variant-numeric:tabular-nums}.oc-text{white-space:pre-wrap;
overflow-wrap:anywhere}.oc-head b{font-size:1.2em;margin-right:.3em}.oc mark{background:none;color:inherit;
border-bottom:3px solid}.oc .oc-BPO{color:var(--oc-b)}.oc .oc-KPO{color:var(--oc-k)}.oc .oc-OUT,.oc .oc-UNKNOWN
{color:var(--oc-o)}.oc mark.oc-BPO{border-color:var(--oc-b)}.oc mark.oc-KPO{border-color:var(--oc-k)}
.oc mark.oc-OUT{border-color:var(--oc-o)}.oc details{overflow-x:auto}
""".replace("\n", "")
