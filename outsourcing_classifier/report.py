"""The evaluation as one HTML file, and a preview of a column for notebooks. Renders, measures nothing.

The page needs no network: style, script and plots (SVG made here) are inline, and its content security
policy forbids everything else. It is rendered from ``Evaluation.to_dict()``, so that it can be made
from a saved JSON file too.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape as _escape
from itertools import groupby, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from outsourcing_classifier.classifier import Classifier, default_classifier
from outsourcing_classifier.explain import Explanation
from outsourcing_classifier.results import Evidence

if TYPE_CHECKING:
    import pandas as pd

Dict = Mapping[str, Any]
BUDGET = 2_900_000  # bytes of a page; texts are cut, evidence kept, until it fits
_LIMITS = (6000, 3000, 1500, 1000, 700, 450, 300, 200, 120)  # characters of a text
_PIECES = 12  # pieces of evidence, and of discarded evidence, listed for an error
_RULES = 200
_UNSEEN = re.compile("[\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f\\ud800-\\udfff]")  # controls, lone surrogates
_ORDER = ("BPO", "KPO", "NEITHER", "MIXED")


# ---- the page


def page(evaluation: Dict, comparison: Dict | None = None) -> str:
    """The whole page from ``Evaluation.to_dict()`` and, where given, ``Comparison.to_dict()``."""
    sections = [
        ("figures", "Figures", _figures(evaluation)),
        ("plots", "Plots", _plots(evaluation)),
        ("slices", "Where it fails", _slices(evaluation)),
        ("rules", "Rules", _rules(evaluation)),
    ]
    if comparison is not None:
        sections.insert(2, ("comparison", "Comparison", _comparison(comparison)))
    mistakes = sorted(evaluation.get("mistakes", ()), key=lambda m: (-m["confidence"], m["number"]))
    base = sum(len(body.encode()) for _, _, body in sections) + 20_000
    sections.append(("errors", "Errors", _errors(mistakes, BUDGET - base)))
    links = "".join(f"<li><a href='#{i}'>{title}</a></li>" for i, title, _ in sections)
    body = "".join(
        f"<section id='{i}' aria-labelledby='{i}-h'><h2 id='{i}-h'>{title}</h2>{content}</section>"
        for i, title, content in sections
    )
    book = evaluation["rulebook"]
    name = _text(evaluation["name"])
    return (
        "<!DOCTYPE html><html lang='en'><head><meta charset='utf-8'>"
        "<meta http-equiv='Content-Security-Policy' content=\"default-src 'none'; style-src 'unsafe-inline'; "
        "script-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'\">"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        "<meta name='color-scheme' content='light dark'><meta name='referrer' content='no-referrer'>"
        "<link rel='icon' href='data:,'><title>Evaluation of "
        f"{name}</title><style>{_CSS}</style></head><body>"
        "<a class='skip' href='#main'>Skip to the figures</a>"
        f"<header><h1>BPO or KPO: evaluation of {name}</h1>"
        f"<p>{evaluation['headline']:,} of {evaluation['rows']:,} rows in the headline · rulebook "
        f"{_text(book['name'])} {_text(book['version'])}, sha256 {_text(book['sha256'][:12])} · intervals "
        "are 95 %, "
        f"{evaluation['resamples']:,} resamples, seed {evaluation['seed']}</p>"
        f"<nav aria-label='Sections'><ul>{links}</ul></nav></header><main id='main' "
        f"tabindex='-1'>{body}</main>"
        "<footer><p>Made by outsourcing_classifier. This file holds the texts of the errors: share it as "
        "you would "
        "share them. It loads nothing and sends "
        f"nothing.</p></footer><script>{_SCRIPT}</script></body></html>\n"
    )


def write(path: str | Path, content: str) -> Path:
    """Write a text file whole or not at all. Raises OSError."""
    target = Path(path)
    handle, beside = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as stream:
            stream.write(content)
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(beside, 0o666 & ~mask)
        os.replace(beside, target)
    finally:
        if os.path.exists(beside):
            os.unlink(beside)
    return target


# ---- pieces


def _text(value: object) -> str:
    """Escaped for element content and quoted attributes; control characters and lone surrogates shown."""
    clean = str(value).replace("\r\n", "\n").replace("\r", "\n")
    return _escape(_UNSEEN.sub("\ufffd", clean), quote=True)


def _estimate(e: Dict) -> str:
    if e["value"] is None:
        return "–"
    if e["low"] is None:
        return f"{e['value']:.3f}"
    return f"{e['value']:.3f} <small>{e['low']:.3f}–{e['high']:.3f}</small>"


def _number(value: float | None, digits: int = 3) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _table(caption: str, head: Sequence[str], rows: Iterable[Sequence[str]], numbers: Iterable[int] = ()) -> str:
    """``head`` and cells are HTML already; ``numbers`` are the columns set to the right."""
    right = set(numbers)

    def cells(row: Sequence[str]) -> str:
        first = f"<th scope='row'>{row[0]}</th>"
        return first + "".join(
            f"<td class='n'>{c}</td>" if i in right else f"<td>{c}</td>" for i, c in enumerate(row) if i
        )

    top = "".join(
        f"<th scope='col' class='n'>{h}</th>" if i in right else f"<th scope='col'>{h}</th>"
        for i, h in enumerate(head)
    )
    body = "".join(f"<tr>{cells(r)}</tr>" for r in rows)
    return (
        "<div class='scroll' tabindex='0' role='region' "
        f"aria-label='{caption}'><table><caption>{caption}</caption>"
        f"<thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _figures(e: Dict) -> str:
    cards = [
        ("macro-F1", _estimate(e["macro_f1"])),
        ("accuracy", _estimate(e["accuracy"])),
        ("Matthews correlation", _estimate(e["mcc"])),
        ("side right when decided", _estimate(e["side_accuracy"])),
    ]
    if e["service_accuracy"]["value"] is not None:
        cards.append(("service line right", _estimate(e["service_accuracy"])))
    if e["agreement"] is not None:
        cards.append(("annotators' kappa", _estimate(e["agreement"]["kappa"])))
    out = "<dl class='cards'>" + "".join(f"<div><dt>{k}</dt><dd>{v}</dd></div>" for k, v in cards) + "</dl>"
    notes = "".join(f"<li>{_text(n)}</li>" for n in e["notes"])
    out += f"<h3>What these rows cannot show</h3><ul class='notes'>{notes}</ul>"
    out += _table(
        "Per class",
        ["class", "rows", "answers", "precision", "recall", "F1"],
        [
            [
                _label(c["label"]),
                f"{c['rows']:,}",
                f"{c['answers']:,}",
                *(_estimate(c[k]) for k in ("precision", "recall", "f1")),
            ]
            for c in e["classes"]
        ],
        (1, 2, 3, 4, 5),
    )
    rows = []
    for target in e["targets"]:
        for kind, words in (("reached", "observed"), ("supported", "by the exact bound")):
            p = target[kind]
            rows.append(
                [f"{target['precision']:.0%}, {words}"]
                + (
                    [
                        f"{p['coverage']:.1%}",
                        f"{p['recall']:.1%}",
                        f"{p['threshold']:.3f}",
                        f"{p['right']:,} of {p['accepted']:,}",
                        _estimate(p["precision"]),
                    ]
                    if p
                    else ["none", "–", "–", "–", "–"]
                )
            )
    out += _table(
        "Coverage at a precision",
        ["precision", "coverage", "of BPO and KPO", "confidence from", "right", "precision, exact"],
        rows,
        (1, 2, 3, 4, 5),
    )
    cal = [
        [
            title,
            f"{c['rows']:,}",
            _number(c["brier"], 4),
            _number(c["log_loss"], 4),
            _number(c["ece"], 4),
            _estimate(c["band"]),
        ]
        for title, c in (("all answers", e["calibration"]), ("BPO and KPO answers", e["calibration_decided"]))
    ]
    out += _table(
        "Confidence",
        ["of", "rows", "Brier", "log loss", "ECE", "ECE if perfectly calibrated"],
        cal,
        range(1, 6),
    )
    out += (
        f"<p>Area under the risk-coverage curve (AURC) {_number(e['aurc'], 4)}; generalised (AUGRC) "
        f"{_number(e['augrc'], 4)}; over all headline answers, smaller is better.</p>"
    )
    if e["agreement"] is not None:
        a = e["agreement"]
        out += f"<p>The second annotator gives the same label to {a['agreed']:,} of {a['rows']:,} rows.</p>"
        out += _table(
            "Both annotators",
            ["first", "second", "rows"],
            [[_label(x), _label(y), f"{n:,}"] for x, y, n in a["table"]],
            (2,),
        )
    if e["left_out"]:
        items = list(e["left_out"].items())
        out += _table(
            "Labels not known",
            ["label", "rows"],
            [[_text(k), f"{n:,}"] for k, n in items[:50]],
            (1,),
        )
        if len(items) > 50:
            out += f"<p>And {len(items) - 50:,} other labels.</p>"
    return out


def _label(label: str) -> str:
    return f"<b class='{label}'>{_text(label)}</b>" if label.isalpha() else _text(label)


def _slices(e: Dict) -> str:
    out = ""
    for dimension, group in groupby(e["slices"], key=lambda s: s["dimension"]):
        rows = [
            [
                _text(s["value"]),
                f"{s['rows']:,}",
                _bar(s["accuracy"]) + _estimate(s["accuracy"]),
                _estimate(s["macro_f1"]),
                f"{s['decided']:,}",
                _estimate(s["precision"]),
            ]
            for s in group
        ]
        out += f"<h3>By {dimension}</h3>" + _table(
            f"By {dimension}",
            [dimension, "rows", "accuracy", "macro-F1", "decided", "precision when decided"],
            rows,
            range(1, 6),
        )
    return out


def _bar(e: Dict) -> str:
    if e["value"] is None:
        return ""
    return f"<span class='bar' aria-hidden='true'><i style='width:{100 * e['value']:.0f}%'></i></span>"


def _rules(e: Dict) -> str:
    rules = e["rules"]
    if not rules:
        return "<p>No rule fired on these rows.</p>"
    rows = [
        [
            f"<code>{_text(r['rule'])}</code>",
            _label(r["side"]),
            f"{r['fired']:,}",
            f"{r['right']:,}",
            f"{r['wrong']:,}",
            f"{r['conflict']:,}",
            _estimate(r["precision"]),
        ]
        for r in rules[:_RULES]
    ]
    more = f" The {_RULES} most often wrong of {len(rules):,} are shown." if len(rules) > _RULES else ""
    return (
        "<p>Right: the truth is the rule's side. Conflict: evidence of another side counted in the same text."
        f"{more}</p>"
        + _table(
            "Per rule, most often wrong first",
            ["rule", "side", "fired", "right", "wrong", "conflict", "precision, exact"],
            rows,
            range(2, 7),
        )
    )


def _comparison(c: Dict) -> str:
    def signed(e: Dict) -> str:
        if e["value"] is None:
            return "–"
        low = "" if e["low"] is None else f" <small>{e['low']:+.3f} to {e['high']:+.3f}</small>"
        return f"{e['value']:+.3f}{low}"

    out = f"<p>From <b>{_text(c['before'])}</b> to <b>{_text(c['after'])}</b>, the same {c['rows']:,} rows.</p>"
    out += "<dl class='cards'>" + "".join(
        f"<div><dt>{k}</dt><dd>{v}</dd></div>"
        for k, v in (
            ("gains", f"{len(c['gains']):,}"),
            ("losses", f"{len(c['losses']):,}"),
            ("McNemar, exact p", f"{c['p_value']:.3g}"),
            ("accuracy", signed(c["accuracy"])),
            ("macro-F1", signed(c["macro_f1"])),
        )
    )
    out += "</dl>" + "".join(f"<p>{_text(n)}</p>" for n in c["notes"])
    for kind in ("gains", "losses"):
        changes = c[kind]
        if not changes:
            continue
        rows = [
            [
                f"{x['number']:,}",
                _label(x["truth"]),
                f"{_label(x['before'])} → {_label(x['after'])}",
                f"<span class='clip'>{_text(x['text'][:240])}{' …' if len(x['text']) > 240 else ''}</span>",
            ]
            for x in changes[:500]
        ]
        shown = f", the first 500 of {len(changes):,}" if len(changes) > 500 else ""
        out += f"<details><summary>{kind.capitalize()}: {len(changes):,}{shown}</summary>"
        out += _table(kind.capitalize(), ["row", "truth", "answers", "text"], rows) + "</details>"
    return out


# ---- errors


def _errors(mistakes: Sequence[Dict], budget: int) -> str:
    if not mistakes:
        return "<p>No headline row was answered wrongly.</p>"
    for limit in _LIMITS:
        items = [_error(m, limit) for m in mistakes]
        sizes = [len(i.encode()) for i in items]
        if sum(sizes) <= budget:
            break
    shown, used = 0, 0
    while shown < len(items) and used + sizes[shown] <= budget:
        used += sizes[shown]
        shown += 1
    cut = sum(len(m["text"]) > limit for m in mistakes[:shown])
    told = f" {cut:,} long texts are cut to about {limit} characters around their evidence." if cut else ""
    if shown < len(mistakes):
        told += f" Only the {shown:,} most confident errors are here; Evaluation.mistakes holds all."
    kinds = sorted({(m["truth"], m["answer"]) for m in mistakes[:shown]})
    reasons = sorted({m["reason"] for m in mistakes[:shown]})
    options = "".join(f"<option value='{t} {a}'>{t} answered {a}</option>" for t, a in kinds)
    whys = "".join(f"<option value='{_text(r)}'>{_text(r)}</option>" for r in reasons)
    return (
        f"<p>{len(mistakes):,} headline rows, the most confident first. Marked words are the evidence that "
        f"counted.{told}</p>"
        "<form id='filter' role='search' hidden><label>Search the errors <input id='q' type='search' "
        "autocomplete='off' placeholder='words, rule, id'></label><label>Kind <select id='kind'>"
        f"<option value=''>all</option>{options}</select></label><label>Reason <select id='reason'>"
        f"<option value=''>all</option>{whys}</select></label>"
        "<button type='button' id='open'>Open all shown</button><button type='button' id='close'>Close "
        "all</button>"
        "<p id='count' role='status' aria-live='polite'></p></form>"
        f"<div id='list'>{''.join(items[:shown])}</div>"
    )


def _error(m: Dict, limit: int) -> str:
    text = m["text"]
    start = " ".join(text[:160].split())[:80]
    wanted = f" · wanted {_text(m['true_service'])}" if m["true_service"] else ""
    ident = f" · {_text(m['row_id'])}" if m["row_id"] else ""
    top = sorted(m["evidence"], key=lambda x: -x["weight"])
    evidence = "".join(
        f"<li><b class='{_side(x['side'])}'>{_side(x['side'])}</b> {x['weight']:+.2f} "
        f"{_words(x)} "
        f"<code>{_text(x['concept'] if x['kind'] == 'feature' else x['rule'])}</code></li>"
        for x in top[:_PIECES]
    )
    if len(top) > _PIECES:
        evidence += f"<li>and {len(top) - _PIECES} more</li>"
    lost = "; ".join(
        f"“{_text(_line(x['text']))}” {_text(x['why'])}" for x in m["discarded"][:_PIECES] if x["why"] != "covered"
    )
    second = f"<p>Second annotator: {_label(m['second'])}</p>" if m["second"] else ""
    scores = " · ".join(f"{_text(k)} {v:.2f}" for k, v in m["scores"].items())
    return (
        f"<details data-k='{m['truth']} {m['answer']}' data-r='{_text(m['reason'])}'><summary>"
        f"<span class='v'>{_label(m['truth'])} answered {_label(m['answer'])}</span> "
        f"<small>{m['confidence']:.2f} · row {m['number']}{ident}</small> "
        f"<span class='s'>{_text(start)}{'…' if len(text) > len(start) else ''}</span></summary>"
        f"<p class='t'>{_marked(text, m['evidence'], limit)}</p>"
        f"<p>{_text(m['why'])}{wanted}</p>"
        + (f"<ul>{evidence}</ul>" if evidence else "<p>No evidence counted.</p>")
        + f"<p><small>Scores {scores}</small></p>"
        + (f"<p><small>Found, not counted: {lost}</small></p>" if lost else "")
        + second
        + "</details>"
    )


def _words(piece: Dict) -> str:
    return f"“{_text(_line(piece['text']))}”" if piece["text"] else "not in one place"


def _side(side: str) -> str:
    return side if side in ("BPO", "KPO") else "NEITHER"


def _line(text: str, most: int = 120) -> str:
    line = " ".join(text.split())
    return line if len(line) <= most else line[: most - 1] + "…"


def _marked(text: str, evidence: Sequence[Dict], limit: int) -> str:
    """The text as HTML, its evidence marked in place; longer texts shrink to windows round the evidence."""
    evidence = [x for x in evidence if x["weight"] > 0 and x["end"] > x["start"]]
    out, last = [], 0
    for start, end in _windows(len(text), evidence, limit):
        if start > last:
            out.append(" […] ")
        cuts = sorted({start, end, *(p for x in evidence for p in (x["start"], x["end"]) if start < p < end)})
        for a, b in pairwise(cuts):
            over = [x for x in evidence if x["start"] <= a and b <= x["end"]]
            piece = _text(text[a:b])
            if over:
                x = max(over, key=lambda x: x["weight"])
                side = _side(x["side"])
                told = f"{side} {_text(x['concept'])} {x['weight']:+.2f}"
                piece = f"<mark class='{side}' title='{told}'>{piece}</mark>"
            out.append(piece)
        last = end
    if last < len(text):
        out.append(" […]")
    return "".join(out)


def _windows(length: int, evidence: Sequence[Dict], limit: int) -> list[tuple[int, int]]:
    if length <= limit:
        return [(0, length)]
    around = 40 if limit >= 300 else 20
    wanted = [(0, limit // 3)]
    spent = limit // 3
    for x in sorted(evidence, key=lambda x: -x["weight"]):
        start, end = max(0, x["start"] - around), min(length, x["end"] + around)
        if spent + end - start > limit + 60:
            continue
        spent += end - start
        wanted.append((start, end))
    if spent < limit:
        wanted[0] = (0, limit // 3 + limit - spent)
    merged: list[tuple[int, int]] = []
    for start, end in sorted(wanted):
        if merged and start <= merged[-1][1] + 8:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


# ---- plots: SVG by hand, 320 units wide, so that text stays readable on a telephone


def _plots(e: Dict) -> str:
    return f"<div class='plots'>{_confusion(e)}{_mix(e)}{_coverage(e)}{_reliability(e['calibration'])}</div>"


def _figure(name: str, title: str, desc: str, height: int, body: str, table: str) -> str:
    return (
        f"<figure><svg viewBox='0 0 320 {height}' role='img' aria-labelledby='{name}-t {name}-d'>"
        f"<title id='{name}-t'>{title}</title><desc id='{name}-d'>{desc}</desc>{body}</svg>"
        f"<figcaption>{title}</figcaption><details><summary>The numbers</summary>{table}</details></figure>"
    )


def _say(x: float, y: float, text: str, anchor: str = "middle", kind: str = "") -> str:
    more = f" class='{kind}'" if kind else ""
    return f"<text x='{x:.1f}' y='{y:.1f}' text-anchor='{anchor}'{more}>{text}</text>"


def _confusion(e: Dict) -> str:
    cells = {(c["truth"], c["answer"]): c["rows"] for c in e["confusion"]}
    truths = list(dict.fromkeys(t for t, _ in cells))
    left, top, wide, high = 84, 40, 58, 34
    body = _say(left + 2 * wide, 14, "answer", kind="axis") + _say(left - 8, 31, "truth", "end", "axis")
    for j, answer in enumerate(_ORDER):
        body += _say(left + (j + 0.5) * wide, 31, answer)
    words, rows = [], []
    for i, truth in enumerate(truths):
        total = sum(cells[truth, a] for a in _ORDER)
        y = top + i * (high + 2)
        body += _say(left - 8, y + high / 2 + 4, truth, "end")
        for j, answer in enumerate(_ORDER):
            n = cells[truth, answer]
            share = n / total if total else 0
            kind = "hit" if truth == answer else "miss"
            body += (
                f"<rect x='{left + j * wide}' y='{y}' width='{wide - 2}' height='{high}' class='{kind}' "
                f"fill-opacity='{0.06 + 0.6 * share:.2f}'/>" + _say(left + j * wide + wide / 2 - 1, y + 21, f"{n:,}")
            )
        words.append(f"{truth}: " + ", ".join(f"{cells[truth, a]:,} {a}" for a in _ORDER))
        rows.append([truth, *(f"{cells[truth, a]:,}" for a in _ORDER)])
    table = _table("Confusion: truth by answer", ["truth", *_ORDER], rows, range(1, 5))
    height = top + len(truths) * (high + 2) + 6
    return _figure(
        "confusion",
        "Confusion: truth by answer",
        "Rows by truth and answer. " + "; ".join(words),
        height,
        body,
        table,
    )


def _mix(e: Dict) -> str:
    labels = _ORDER
    truth = {t: sum(c["rows"] for c in e["confusion"] if c["truth"] == t) for t in labels}
    known = {c["truth"] for c in e["confusion"]}
    answers = {a: sum(c["rows"] for c in e["confusion"] if c["answer"] == a) for a in labels}
    most = max(1, *truth.values(), *answers.values())
    body, rows, words = "", [], []
    for i, label in enumerate(labels):
        y = 12 + i * 44
        body += _say(72, y + 21, label, "end")
        for k, (n, kind) in enumerate(((truth[label], "truth"), (answers[label], label))):
            width = 160 * n / most
            body += f"<rect x='80' y='{y + k * 17}' width='{width:.1f}' height='14' class='{kind}'/>"
            body += _say(84 + width, y + k * 17 + 11, f"{n:,} {'answers' if k else 'truth'}", "start", "small")
        rows.append([label, f"{truth[label]:,}" if label in known else "0", f"{answers[label]:,}"])
        words.append(f"{label} {truth[label]:,} rows, {answers[label]:,} answers")
    table = _table("Labels: truth and answers", ["label", "truth", "answers"], rows, (1, 2))
    return _figure("mix", "Labels: truth and answers", "; ".join(words), 190, body, table)


_L, _T, _W, _H = 44.0, 12.0, 256.0, 200.0  # the plotting box of the two curves


def _grid(low: float, x_name: str, y_name: str) -> str:
    out = ""
    for i in range(6):
        share = i / 5
        x, y = _L + _W * share, _T + _H * (1 - share)
        out += f"<path class='grid' d='M{_L:.0f} {y:.1f}h{_W:.0f}M{x:.1f} {_T:.0f}v{_H:.0f}'/>"
        out += _say(_L - 6, y + 4, f"{low + (1 - low) * share:.0%}", "end", "small")
        out += _say(x, _T + _H + 15, f"{share:.0%}", kind="small")
    out += _say(_L + _W / 2, _T + _H + 32, x_name, kind="axis")
    turn = f"translate(10 {_T + _H / 2:.0f}) rotate(-90)"
    return out + f"<text class='axis' text-anchor='middle' transform='{turn}'>{y_name}</text>"


def _coverage(e: Dict) -> str:
    points = e["curve"]
    title = "Coverage and precision"
    if not points:
        body = _say(160, 60, "No row was answered BPO or KPO.")
        return _figure("coverage", title, "No row was answered BPO or KPO.", 120, body, "")
    low = 0.0 if min(p["precision"]["value"] for p in points) < 0.55 else 0.5

    def x(p: Dict) -> float:
        return _L + _W * float(p["coverage"])

    def y(value: float) -> float:
        return _T + _H * (1 - max(0.0, value - low) / (1 - low))

    band = " ".join(f"{x(p):.1f},{y(p['precision']['high']):.1f}" for p in points)
    band += " " + " ".join(f"{x(p):.1f},{y(p['precision']['low']):.1f}" for p in reversed(points))
    line = " ".join(f"{x(p):.1f},{y(p['precision']['value']):.1f}" for p in points)
    body = _grid(low, "coverage: share of rows answered BPO or KPO", "precision")
    body += f"<polygon class='band' points='{band}'/><polyline class='line' points='{line}'/>"
    if len(points) == 1:
        cy = y(points[0]["precision"]["value"])
        body += f"<circle class='dot' cx='{x(points[0]):.1f}' cy='{cy:.1f}' r='4'/>"
    told = []
    for t in e["targets"]:
        body += f"<path class='aim' d='M{_L:.0f} {y(t['precision']):.1f}h{_W:.0f}'/>"
        p = t["reached"]
        told.append(
            f"{t['precision']:.0%} precise on {p['coverage']:.1%} of rows"
            if p
            else f"{t['precision']:.0%} not reached"
        )
        if p:
            body += f"<circle class='dot' cx='{x(p):.1f}' cy='{y(p['precision']['value']):.1f}' r='4'/>"
    last = points[-1]
    desc = (
        "Precision of BPO and KPO answers as the threshold falls, with exact 95 % bounds. "
        f"{'; '.join(told)}. All "
        f"{last['accepted']:,} answers: precision {last['precision']['value']:.3f}."
    )
    every = max(1, len(points) // 20)
    chosen = [p for i, p in enumerate(points) if i % every == 0 or i + 1 == len(points)]
    table = _table(
        title,
        ["confidence from", "coverage", "right", "precision, exact"],
        [
            [
                f"{p['threshold']:.3f}",
                f"{p['coverage']:.1%}",
                f"{p['right']:,} of {p['accepted']:,}",
                _estimate(p["precision"]),
            ]
            for p in chosen
        ],
        (1, 2, 3),
    )
    return _figure("coverage", title, desc, 256, body, table)


def _reliability(c: Dict) -> str:
    title = "Reliability of the confidence"

    def y(value: float) -> float:
        return _T + _H * (1 - value)

    body = _grid(0.0, "stated confidence", "share right")
    body += f"<path class='aim' d='M{_L:.0f} {_T + _H:.0f}L{_L + _W:.0f} {_T:.0f}'/>"
    for b in c["bins"]:
        x, r = _L + _W * b["confidence"], b["right"]
        body += f"<path class='whisker' d='M{x:.1f} {y(r['low']):.1f}V{y(r['high']):.1f}'/>"
        body += f"<circle class='dot' cx='{x:.1f}' cy='{y(r['value']):.1f}' r='4'/>"
    desc = (
        f"Share right against stated confidence in {len(c['bins'])} bins of {c['rows']:,} rows, with exact "
        f"95 % bounds. ECE {_number(c['ece'])}; a perfectly calibrated model would show "
        f"{_number(c['band']['low'])} to {_number(c['band']['high'])}."
    )
    table = _table(
        title,
        ["confidence", "rows", "mean", "right"],
        [
            [
                f"{b['low']:.3f}–{b['high']:.3f}",
                f"{b['rows']:,}",
                f"{b['confidence']:.3f}",
                _estimate(b["right"]),
            ]
            for b in c["bins"]
        ],
        (1, 2, 3),
    )
    return _figure("reliability", title, desc, 256, body, table)


# ---- preview of a column


@dataclass(frozen=True, slots=True)
class Preview:
    """The first rows of a column with their answers and evidence; a table in Jupyter, text in print."""

    explanations: tuple[Explanation, ...] = field(repr=False)
    index: tuple[str, ...]
    total: int

    def __str__(self) -> str:
        lines = []
        for name, x in zip(self.index, self.explanations, strict=True):
            lines.append(f"{name}  {x.headline()}")
            lines.append(f"    {_line(x.text)}")
            if x.classification.evidence:
                pieces = "; ".join(
                    f"“{_line(e.text)}” ({_side(e.side)} {e.weight:+.2f})"
                    for e in x.classification.evidence[:6]
                    if e.text
                )
                lines.append(f"    {pieces}")
        return "\n".join([*lines, f"{len(self.explanations):,} of {self.total:,} rows"])

    def _repr_html_(self) -> str:
        rows = []
        for name, x in zip(self.index, self.explanations, strict=True):
            c = x.classification
            evidence = [_spanned(e) for e in c.evidence]
            rows.append(
                f"<tr><th scope='row'>{_text(name)}</th><td><b class='{c.label}'>{c.label}</b></td>"
                f"<td>{_text(x.service_name)}</td><td>{c.confidence:.2f}</td><td>{_text(c.reason)}</td>"
                f"<td class='t'>{_marked(x.text, evidence, 400)}</td></tr>"
            )
        return (
            f"<div class='ocp'><style>{_PREVIEW_CSS}</style><table><thead><tr><th>row</th><th>label</th>"
            "<th>service</th><th>confidence</th><th>reason</th><th>text with its evidence</th></tr></thead>"
            f"<tbody>{''.join(rows)}</tbody></table><p>{len(rows):,} of {self.total:,} rows</p></div>"
        )


def preview(
    data: pd.DataFrame | Sequence[object],
    text: str = "description",
    rows: int = 10,
    *,
    classifier: Classifier | None = None,
) -> Preview:
    """Classify and show the first ``rows`` rows of a DataFrame's column, or of a list of texts.

    A cell that holds no text counts as an empty text. Raises KeyError where ``text`` names no column,
    TypeError for a bare string, ValueError for a negative number of rows.
    """
    if rows < 0:
        raise ValueError("rows: want 0 or more")
    if isinstance(data, (str, bytes)):
        raise TypeError("data: want a DataFrame or a list of texts, not one text")
    index: list[str]
    if isinstance(data, Sequence):
        values = list(data[:rows])
        index = [str(i) for i in range(len(values))]
    else:
        if list(data.columns).count(text) != 1:
            raise KeyError(f"want one column {text!r}; there are: {', '.join(map(str, data.columns))}")
        head = data[text].iloc[:rows]
        values, index = head.tolist(), [str(i) for i in head.index]
    chosen = classifier if classifier is not None else default_classifier()
    shown = tuple(chosen.explain(v if isinstance(v, str) else "") for v in values)
    return Preview(shown, tuple(index), len(data))


def _spanned(evidence: Evidence) -> dict[str, Any]:
    """What :func:`_marked` needs of a piece of evidence."""
    return {k: getattr(evidence, k) for k in ("start", "end", "side", "concept", "weight")}


_COLOURS = "--b:#0b57a4;--k:#8a3b00;--o:#4d4d4d;--m:#6a2c91;--bad:#b3261e;--line:#c9c9c9;--soft:#f2f4f7"
_DARK = "--b:#8ec5ff;--k:#ffb77d;--o:#bdbdbd;--m:#d6a8f5;--bad:#ff8a80;--line:#4a4f57;--soft:#23272e"
_MARKS = (
    ".BPO{color:var(--b)}.KPO{color:var(--k)}.NEITHER,.UNKNOWN{color:var(--o)}.MIXED{color:var(--m)}"
    "mark{background:none;color:inherit;font-weight:600;border-bottom:3px solid var(--o)}"
    "mark.BPO{border-color:var(--b)}mark.KPO{border-color:var(--k)}"
)
_PREVIEW_CSS = (
    f".ocp{{{_COLOURS};max-width:100%;overflow-x:auto}}"
    f"@media(prefers-color-scheme:dark){{.ocp{{{_DARK}}}}}"
    ".ocp table{border-collapse:collapse}.ocp td,.ocp "
    "th{text-align:left!important;vertical-align:top;padding:.2em .6em;"
    "border-bottom:1px solid var(--line)}.ocp .t{white-space:pre-wrap;overflow-wrap:anywhere;min-width:16em}"
    + "".join(f".ocp {rule}}}" for rule in _MARKS.replace(",.UNKNOWN", ",.ocp .UNKNOWN").split("}") if rule)
)
_CSS = (
    f":root{{color-scheme:light dark;{_COLOURS};--bg:#fff;--fg:#1b1d21}}"
    f"@media(prefers-color-scheme:dark){{:root{{{_DARK};--bg:#15181d;--fg:#e7e9ec}}}}"
    + _MARKS
    + """
*{box-sizing:border-box}
html{scroll-padding-top:1rem}
body{margin:0 auto;padding:0 clamp(.75rem,3vw,2.5rem) 2rem;max-width:82rem;background:var(--bg);
color:var(--fg);font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;
overflow-wrap:break-word}
h1{font-size:clamp(1.3rem,4vw,2rem);line-height:1.2;margin:1.2rem 0 .3rem}
h2{font-size:1.4rem;margin:2.4rem 0 .6rem;border-bottom:2px solid var(--line);padding-bottom:.2rem}
h3{font-size:1.05rem;margin:1.4rem 0 .3rem}
header p{margin:.2rem 0;color:var(--o)}
small{color:var(--o);font-size:.82em}
b{font-weight:650}
nav ul{display:flex;flex-wrap:wrap;gap:.2rem 1rem;list-style:none;padding:0;margin:.6rem 0}
a{color:var(--b);display:inline-block;padding:.2rem 0}
:focus-visible{outline:3px solid var(--b);outline-offset:2px;border-radius:2px}
main:focus{outline:none}
.skip{position:absolute;left:-999px}
.skip:focus{left:.5rem;top:.5rem;background:var(--bg);padding:.4rem .8rem}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,8rem),1fr));gap:.7rem;
margin:.8rem 0}
.cards div{background:var(--soft);border:1px solid var(--line);border-radius:.5rem;padding:.6rem .8rem}
dt{font-size:.85rem;color:var(--o)}
dd{margin:0;font-size:1.5rem;font-variant-numeric:tabular-nums;font-weight:600;line-height:1.25}
dd small{display:block;font-size:.8rem;font-weight:400}
.notes{background:var(--soft);border-left:4px solid var(--o);margin:.4rem 0 1rem;
padding:.6rem .8rem .6rem 1.8rem}
.scroll{overflow-x:auto;margin:.6rem 0 1rem;max-width:100%}
table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:.92rem}
caption{text-align:left;font-weight:600;padding:.2rem 0;position:sticky;left:0}
h3+.scroll caption{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)}
th,td{text-align:left;vertical-align:top;padding:.3rem .7rem .3rem 0;border-bottom:1px solid var(--line)}
tbody th{font-weight:500;min-width:5.5rem}
thead th{font-size:.82rem;color:var(--o);font-weight:600;vertical-align:bottom}
.n{text-align:right;white-space:nowrap}
td small{display:block}
@media(min-width:60rem){td small{display:inline-block;margin-left:.4rem;min-width:5.6rem}
td .bar{display:inline-block;vertical-align:middle;margin:0 .5rem 0 0}}
code{font:.9em ui-monospace,Consolas,monospace;overflow-wrap:anywhere}
.bar{display:block;height:.35rem;min-width:5rem;background:var(--soft);border:1px solid var(--line);
margin:.15rem 0}
.bar i{display:block;height:100%;background:var(--b)}
.plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,26rem),1fr));gap:1rem;
align-items:start}
figure{margin:0;padding:.6rem;border:1px solid var(--line);border-radius:.5rem;min-width:0}
figure svg{display:block;width:100%;max-width:30rem;height:auto;margin:0 auto}
figcaption{font-weight:600}
svg text{font:11px system-ui,sans-serif;fill:currentColor}
svg .small{font-size:10px}
svg .axis{font-size:11px;fill:var(--o)}
svg .grid{stroke:var(--line);stroke-width:.6;fill:none}
svg .aim{stroke:var(--fg);stroke-width:1;stroke-dasharray:4 3;fill:none;opacity:.7}
svg .band{fill:var(--b);opacity:.18}
svg .line{fill:none;stroke:var(--b);stroke-width:2}
svg .dot{fill:var(--b)}
svg .whisker{stroke:var(--b);stroke-width:1.5}
svg .hit{fill:var(--b)}
svg .miss{fill:var(--bad)}
svg rect.truth{fill:var(--line)}
svg rect.BPO{fill:var(--b)}
svg rect.KPO{fill:var(--k)}
svg rect.NEITHER{fill:var(--o)}
svg rect.MIXED{fill:var(--m)}
form{display:flex;flex-wrap:wrap;gap:.6rem 1rem;align-items:end;background:var(--soft);
padding:.7rem .8rem;border:1px solid var(--line);border-radius:.5rem}
form[hidden]{display:none}
form label{display:flex;flex-direction:column;font-size:.85rem;max-width:100%}
form label:first-child{flex:1 1 15rem}
form p{margin:0;flex-basis:100%;color:var(--o)}
input,select,button{font:inherit;font-size:1rem;padding:.4rem .6rem;max-width:100%;color:inherit;
background:var(--bg);border:1px solid var(--o);border-radius:.3rem;min-height:2.5rem}
button{cursor:pointer}
#list details{border-bottom:1px solid var(--line);content-visibility:auto;
contain-intrinsic-size:auto 4rem}
#list details[hidden]{display:none}
summary{cursor:pointer;padding:.45rem 0}
summary .s{color:var(--o);display:block}
.t{white-space:pre-wrap;overflow-wrap:anywhere;background:var(--soft);padding:.6rem .8rem;
border-radius:.4rem;margin:.2rem 0}
#list ul{margin:.3rem 0;padding-left:1.2rem}
#list p{margin:.4rem 0;max-width:75ch}
#list p.t{max-width:none}
.clip{display:block;min-width:14rem;max-width:60ch;overflow-wrap:anywhere}
footer{margin-top:3rem;color:var(--o)}
@media print{form,nav,.skip{display:none}}
"""
).replace("\n", "")
_SCRIPT = """
(function(){'use strict';
var by=function(i){return document.getElementById(i)},form=by('filter');if(!form)return;
var items=Array.prototype.slice.call(document.querySelectorAll('#list details'));
var fold=function(s){return s.toLowerCase().normalize('NFD').replace(/[\\u0300-\\u036f]/g,'')};
var texts=null,timer=0;
function apply(){if(!texts)texts=items.map(function(d){return fold(d.textContent)});
var words=fold(by('q').value).split(/\\s+/).filter(Boolean),n=0;
var kind=by('kind').value,reason=by('reason').value;
items.forEach(function(d,i){var ok=(!kind||d.dataset.k===kind)&&(!reason||d.dataset.r===reason)&&
words.every(function(w){return texts[i].indexOf(w)>=0});d.hidden=!ok;if(ok)n++});
by('count').textContent=n+' of '+items.length+' shown'}
function soon(){clearTimeout(timer);timer=setTimeout(apply,120)}
form.addEventListener('submit',function(e){e.preventDefault();apply()});
by('q').addEventListener('input',soon);by('kind').addEventListener('change',apply);
by('reason').addEventListener('change',apply);
by('open').addEventListener('click',function(){items.forEach(function(d){if(!d.hidden)d.open=true})});
by('close').addEventListener('click',function(){items.forEach(function(d){d.open=false})});
form.hidden=false;by('count').textContent=items.length+' of '+items.length+' shown';
})();
"""
