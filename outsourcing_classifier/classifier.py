"""Classifier joins the rooms: text -> matcher -> scoring -> Classification."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from outsourcing_classifier import scoring
from outsourcing_classifier.explain import Explanation, explanation
from outsourcing_classifier.index import Index
from outsourcing_classifier.matcher import Hit, Matcher, Reading
from outsourcing_classifier.results import (
    Classification,
    DecidedBy,
    Delivery,
    Discard,
    Evidence,
    Label,
    Reason,
    Trait,
    Why,
)
from outsourcing_classifier.rulebook import Rulebook


class Classifier:
    """Tells whether a described piece of work would be BPO or KPO.

    Parameters
    ----------
    profile
        Which reading of the two words: "article" (the specification) or "in-10ta" (India's Rule
        10TA), or another file of ``rules/profiles``.
    rulebook
        A folder of rules, or a :class:`Rulebook` read from one (``profile`` is then its own), instead
        of the shipped one.
    fallback
        What decides where the rules abstain. ``None``: nothing does.
    """

    def __init__(
        self,
        profile: str = "article",
        rulebook: Rulebook | str | Path | None = None,
        fallback: str | None = "default",
    ) -> None:
        if fallback not in ("default", None):
            raise ValueError("fallback: want 'default' or None")
        index = Index.build(rulebook) if isinstance(rulebook, Rulebook) else Index.open(profile, rulebook)
        self.rulebook = index.rulebook
        self.fallback = fallback
        self._matcher = Matcher(index)

    def classify(self, text: str) -> Classification:
        """Classify one text. Raises TypeError where ``text`` is not a str."""
        if not isinstance(text, str):
            raise TypeError(f"text must be str, not {type(text).__name__}")
        if not text or text.isspace():
            return self._empty(text)
        reading = self._matcher.read(text)
        hits = reading.hits
        weights = scoring.weigh(hits, self.rulebook)
        negated = any(d.why is Why.NEGATED for d in reading.dropped)
        decision = scoring.decide(hits, weights, self.rulebook, negated)
        evidence, idle = self._evidence(text, reading, weights)
        discarded = sorted([*self._discarded(text, reading), *idle], key=lambda d: (d.start, d.end, d.rule))
        return Classification(
            label=decision.label,
            service=decision.service,
            services=decision.services,
            confidence=decision.confidence,
            decided_by=None if decision.label is Label.UNKNOWN else DecidedBy.RULES,
            reason=decision.reason,
            evidence=tuple(evidence),
            discarded=tuple(discarded),
            traits=self._traits(reading),
            delivery=self._delivery(reading),
            languages=tuple(sorted({e.language for e in evidence})),
            scores=decision.scores,
            rulebook=self.rulebook.id,
            text_length=len(text),
        )

    def explain(self, text: str) -> Explanation:
        """Classify one text and set out why. Raises TypeError where ``text`` is not a str."""
        return explanation(text, self.classify(text), self.rulebook)

    def _empty(self, text: str) -> Classification:
        decision = scoring.decide((), (), self.rulebook, negated=False)
        return Classification(
            Label.UNKNOWN,
            None,
            {},
            decision.confidence,
            None,
            Reason.EMPTY,
            (),
            (),
            self._traits(None),
            Delivery(),
            (),
            decision.scores,
            self.rulebook.id,
            len(text),
        )

    def _evidence(
        self, text: str, reading: Reading, weights: list[float]
    ) -> tuple[list[Evidence], list[Discard]]:
        book, source = self.rulebook, reading.folded.source
        out: list[Evidence] = []
        idle: list[Discard] = []
        for hit, weight in zip(reading.hits, weights, strict=True):
            entry = hit.entry
            side = book.side(entry.concept)
            start, end = source(hit.start), source(hit.end)
            if side is None:
                continue
            if weight <= 0:
                why = Why.ZONE if book.weights.zones[hit.zone] <= 0 else Why.SATURATED
                idle.append(
                    Discard(text[start:end], start, end, entry.concept, entry.id, hit.zone, why, hit.zone)
                )
                continue
            out.append(
                Evidence(
                    text[start:end],
                    start,
                    end,
                    entry.concept,
                    side,
                    book.basis(entry.concept),
                    entry.kind,
                    entry.id,
                    entry.language,
                    hit.zone,
                    weight,
                    book.citation(entry.concept, entry.language),
                )
            )
        return out, idle

    def _discarded(self, text: str, reading: Reading) -> list[Discard]:
        source = reading.folded.source
        out = []
        for d in reading.dropped:
            start, end = source(d.start), source(d.end)
            out.append(
                Discard(
                    text[start:end], start, end, d.entry.concept, d.entry.id, d.zone, d.why, d.because
                )
            )
        return out

    def _traits(self, reading: Reading | None) -> tuple[Trait, ...]:
        book = self.rulebook
        rows: dict[str, list[Hit]] = {}
        for hit in reading.hits if reading else ():
            family, _, rest = hit.entry.concept.partition(".")
            if family == "trait":
                rows.setdefault(rest.partition(".")[0], []).append(hit)
        out = []
        for basis in book.trait_poles:
            hits = rows.get(basis, [])
            if not hits or reading is None:
                out.append(Trait(basis, None, None))
                continue
            poles = [h.entry.concept.rpartition(".")[2] for h in hits]
            pole = max(sorted(set(poles)), key=poles.count)
            source = reading.folded.source
            spans = tuple((source(h.start), source(h.end)) for h in hits)
            out.append(Trait(basis, book.side(f"trait.{basis}.{pole}"), pole, spans))
        return tuple(out)

    def _delivery(self, reading: Reading) -> Delivery:
        hits = [h for h in reading.hits if h.entry.concept.startswith("delivery.")]
        if not hits:
            return Delivery()
        modes = [h.entry.concept.partition(".")[2] for h in hits]
        if len(set(modes)) > 1:
            mode = None
        else:
            mode = modes[0]
        source = reading.folded.source
        return Delivery(mode, "stated", tuple((source(h.start), source(h.end)) for h in hits))


@lru_cache(maxsize=1)
def default_classifier() -> Classifier:
    """The shared classifier behind :func:`outsourcing_classifier.classify`."""
    return Classifier()


def classify(text: str) -> Classification:
    """Classify one text by the shipped rulebook. Raises TypeError where ``text`` is not a str."""
    return default_classifier().classify(text)


def explain(text: str) -> Explanation:
    """Classify one text by the shipped rulebook and set out why."""
    return default_classifier().explain(text)
