"""Frozen value types: everything imports them, they import nothing of ours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from html import escape
from typing import Any, NamedTuple


class Label(StrEnum):
    """The answer: what outsourcing the described work would be."""

    BPO = "BPO"
    KPO = "KPO"
    MIXED = "MIXED"
    UNKNOWN = "UNKNOWN"


class Reason(StrEnum):
    """Why a text got its label, or why it got none."""

    LISTED_ACTIVITY = "listed_activity"  # the article's own item, a synonym or a narrower activity
    RELATED_ACTIVITY = "related_activity"  # other_bpo, other_kpo: of the kind, not in the lists
    FULL_FORM = "full_form"  # the text only says BPO or KPO, or their full forms
    BOTH_KINDS = "both_kinds"  # two substantial parts, one of each kind
    TRAITS = "traits"  # no activity named, rows of the comparison decide
    MODEL = "model"
    # reasons to abstain
    CONFLICT = "conflict"  # evidence for both sides, too little to call it two parts
    LOW_MARGIN = "low_margin"
    NO_EVIDENCE = "no_evidence"
    OUT_OF_SCOPE = "out_of_scope"  # work in neither list
    NEGATED = "negated"  # activities are named only to exclude them
    EMPTY = "empty"


class DecidedBy(StrEnum):
    RULES = "rules"
    MODEL = "model"


class Why(StrEnum):
    """Why an occurrence was found and not counted."""

    COVERED = "covered"  # by a longer occurrence
    MASKED = "masked"  # a false friend
    NEGATED = "negated"
    NOT_HEAD = "not_head"  # a head word that is not the head of its phrase
    SATURATED = "saturated"  # the same thing was already counted often enough
    FOREIGN = "foreign"  # a word of another language than the text's
    UNDECIDED = "undecided"  # too little for the rules, so the model was asked
    ZONE = "zone"  # stands where nothing counts: benefits, application notes


class Citation(NamedTuple):
    """Where the specification says it. ``own_words`` is False where the term's language is not
    one of the specification's and the concept alone is cited."""

    document: str
    language: str
    section: str
    item: str
    row: str
    own_words: bool = True

    def __str__(self) -> str:
        where = f"“{self.document}” ({self.language}), section “{self.section}”"
        if self.item:
            where += f", item “{self.item}”"
        if self.row:
            where += f", row “{self.row}”"
        return where if self.own_words else where + " (cited by concept; not its own wording)"


class Evidence(NamedTuple):
    """A counted occurrence: ``text == source[start:end]``, offsets in code points.

    ``weight`` is signed towards ``side``: the weights of one side add up to its score.
    """

    text: str
    start: int
    end: int
    concept: str
    side: str
    basis: str
    kind: str
    rule: str
    language: str
    zone: str
    weight: float
    citation: Citation | None


class Discard(NamedTuple):
    """An occurrence found and not counted, and what made it not count."""

    text: str
    start: int
    end: int
    concept: str
    rule: str
    zone: str
    why: Why
    because: str


class Trait(NamedTuple):
    """One row of the comparison, filled in for a text. ``side`` is None where the text is silent."""

    basis: str
    side: str | None
    pole: str | None
    spans: tuple[tuple[int, int], ...] = ()


class Delivery(NamedTuple):
    """Onshore, nearshore or offshore when the text states it; never inferred from the label."""

    mode: str | None = None
    basis: str | None = None
    spans: tuple[tuple[int, int], ...] = ()


class RulebookId(NamedTuple):
    name: str
    version: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Classification:
    """What :func:`outsourcing_classifier.classify` returns.

    ``confidence`` is the calibrated probability that ``label`` is right (for UNKNOWN: that the
    text is in neither list). ``scores`` holds, for BPO, KPO and neither, the sum of the evidence
    weights of that side plus the constant of the decision; ``services`` the share of each service
    line in the evidence of both sides. ``source`` is the text itself; ``repr`` and ``to_dict`` leave it out.
    """

    label: Label
    service: str | None
    services: Mapping[str, float]
    confidence: float
    decided_by: DecidedBy | None
    reason: Reason
    evidence: tuple[Evidence, ...]
    discarded: tuple[Discard, ...]
    traits: tuple[Trait, ...]
    delivery: Delivery
    languages: tuple[str, ...]
    scores: Mapping[str, float]
    rulebook: RulebookId
    text_length: int = field(default=0)
    source: str = field(default="", repr=False)

    def _repr_html_(self) -> str:
        """A card for notebooks: the text with its evidence marked, what counted, the comparison's rows."""
        rows = "".join(
            f"<tr><td>{e.side}</td><td>{e.weight:+.2f}</td><td>{escape(e.text)}</td>"
            f"<td>{escape(e.concept)}</td><td>{escape(str(e.citation or ''))}</td></tr>"
            for e in self.evidence
        )
        traits = "".join(
            f"<tr><th>{escape(t.basis.replace('_', ' '))}</th><td>{t.side or '–'}</td>"
            f"<td>{escape((t.pole or '').replace('_', ' '))}</td></tr>"
            for t in self.traits
        )
        by = f"decided by {self.decided_by}" if self.decided_by else "undecided"
        return (
            f"<div><b>{self.label}</b> {escape(self.service or '')} · confidence {self.confidence:.2f} · "
            f"{by}: {self.reason}<p>{self._marked()}</p><table><thead><tr><th>Side</th><th>Weight</th>"
            f"<th>Words</th><th>Concept</th><th>Where the specification says so</th></tr></thead>"
            f"<tbody>{rows}</tbody></table><table><thead><tr><th>The comparison</th><th>This text</th>"
            f"<th></th></tr></thead><tbody>{traits}</tbody></table></div>"
        )

    def _marked(self, most: int = 2000) -> str:
        """The beginning of the text as HTML, each piece of evidence marked once."""
        out, at = "", 0
        for e in sorted(self.evidence, key=lambda e: (e.start, -e.end)):
            if at <= e.start < e.end <= most:
                out += escape(self.source[at : e.start]) + f"<mark title='{e.side}'>{escape(e.text)}</mark>"
                at = e.end
        return out + escape(self.source[at:most]) + (" …" if len(self.source) > most else "")

    def to_dict(self) -> dict[str, Any]:
        """The same as plain lists, dictionaries, strings and numbers, ready for JSON."""
        out = {f.name: plain(getattr(self, f.name)) for f in fields(self)}
        del out["source"]  # a result that is passed on or logged carries no more of a text than its evidence
        return out


class Row(NamedTuple):
    """A classification as cells for people: ``str``, but for ``confidence``; empty where it says None.

    ``evidence`` has the three weightiest pieces; ``rules`` and ``basis`` name what all of it rests on.
    """

    label: str
    service: str
    confidence: float | None  # None where there was no text to classify
    decided_by: str
    reason: str
    evidence: str
    rules: str
    basis: str
    delivery: str
    languages: str
    status: str

    @classmethod
    def of(cls, c: Classification) -> Row:
        """The row of a classification."""
        top = sorted(c.evidence, key=lambda e: (-e.weight, e.start))[:3] if c.evidence else ()
        return cls(
            str(c.label),
            c.service or "",
            c.confidence,
            str(c.decided_by or ""),
            str(c.reason),
            "; ".join([f"{' '.join(e.text.split())[:80]} ({e.concept} {e.weight:+.2f})" for e in top]),
            " ".join(dict.fromkeys([e.rule for e in c.evidence])),
            " ".join(dict.fromkeys([e.basis for e in c.evidence])),
            c.delivery.mode or "",
            " ".join(c.languages),
            "empty" if c.reason is Reason.EMPTY else "ok",
        )


def plain(value: Any) -> Any:
    """A value type of this module as lists, dictionaries, strings and numbers."""
    if isinstance(value, StrEnum):
        return str(value)
    if hasattr(value, "_fields"):
        return {name: plain(getattr(value, name)) for name in value._fields}
    if isinstance(value, Mapping):
        return dict(value)
    return [plain(v) for v in value] if isinstance(value, tuple) else value
