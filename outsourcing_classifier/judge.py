"""One text's answer: what was found, weighed; the model's word where that leaves it open; all with its places."""

from __future__ import annotations

from collections.abc import Iterable

from outsourcing_classifier import scoring
from outsourcing_classifier.matcher import Hit, Matcher, Reading
from outsourcing_classifier.model import Model, Verdict, View
from outsourcing_classifier.results import (
    Classification,
    DecidedBy,
    Delivery,
    Discard,
    Evidence,
    Label,
    Reason,
    Row,
    Trait,
    Why,
)
from outsourcing_classifier.scoring import Decision

OPEN = frozenset([Reason.NO_EVIDENCE, Reason.LOW_MARGIN, Reason.CONFLICT])  # what the model is asked about
FEATURES = 8  # features that evidence names one by one
UNSTATED = Delivery()


class Judge:
    """Judges texts by what a matcher finds and perhaps a model.

    ``least`` is the confidence from which on a side is named. This is the reference: what runs where nothing
    faster was built, and what that is compared with.
    """

    def __init__(self, matcher: Matcher, model: Model | None = None, least: float = 0.0) -> None:
        self.matcher = matcher
        self.rulebook = matcher.rulebook
        self._model = model
        self._least = least
        self._silent = {basis: Trait(basis, None, None) for basis in self.rulebook.trait_poles}

    def classify(self, text: str) -> Classification:
        """The whole answer. Raises TypeError where ``text`` is not a str."""
        if not isinstance(text, str):
            raise TypeError(f"text must be str, not {type(text).__name__}")
        if not text or text.isspace():
            return self._empty(text)
        reading, weights, decision = self._decide(text)
        verdict = None
        if self._model is not None and decision.reason in OPEN:
            verdict = self._model.judge(reading.folded.data)
            decision = self._second(decision, verdict)
        if decision.label in (Label.BPO, Label.KPO) and decision.confidence < self._least:
            decision = decision._replace(label=Label.UNKNOWN, reason=Reason.LOW_MARGIN, service=None)
        by_model = decision.reason is Reason.MODEL
        evidence, idle = self._evidence(text, reading, weights, by_model)
        if by_model and verdict is not None:
            evidence = self._features(text, reading, verdict, str(decision.label))
        spoken = {e.language for e in evidence if e.language}
        discarded = self._discarded(text, reading)  # by place and rule, as they were dropped
        if idle:
            discarded = sorted([*discarded, *idle], key=lambda d: (d.start, d.end, d.rule))
        decided_by = DecidedBy.MODEL if by_model else DecidedBy.RULES
        return Classification(
            label=decision.label,
            service=decision.service,
            services=decision.services,
            confidence=decision.confidence,
            decided_by=None if decision.label is Label.UNKNOWN else decided_by,
            reason=decision.reason,
            evidence=tuple(evidence),
            discarded=tuple(discarded),
            traits=self._traits(reading),
            delivery=self._delivery(reading),
            languages=tuple(sorted(spoken or {h.entry.language for h in reading.hits if by_model})),
            scores=decision.scores,
            rulebook=self.rulebook.id,
            text_length=len(text),
            source=text,
        )

    def rows(self, texts: Iterable[str]) -> list[Row]:
        """The answers as cells."""
        return [Row.of(self.classify(text)) for text in texts]

    def view(self, text: str) -> View:
        """What the rules alone make of a text, as training wants it."""
        reading, _, decision = self._decide(text)
        label = str(decision.label) if decision.label in (Label.BPO, Label.KPO) else None
        return View(reading.folded.data, label, decision.confidence, decision.reason in OPEN)

    def _decide(self, text: str) -> tuple[Reading, list[float], Decision]:
        reading = self.matcher.read(text)
        weights = scoring.weigh(reading.hits, self.rulebook)
        negated = any(d.why is Why.NEGATED for d in reading.dropped)
        return reading, weights, scoring.decide(reading.hits, weights, self.rulebook, reading.told, negated)

    def _second(self, decision: Decision, verdict: Verdict) -> Decision:
        """The model's answer where it is sure enough; else the abstention, with the model's confidence in it."""
        assert self._model is not None
        side = max(("BPO", "KPO"), key=lambda c: verdict.probabilities[c])
        if verdict.probabilities[side] < self._model.threshold:
            return decision._replace(confidence=verdict.probabilities["NEITHER"])
        own = [s for s in decision.services if self.rulebook.sides[s] == side]
        return decision._replace(
            label=Label(side),
            reason=Reason.MODEL,
            service=own[0] if own else None,
            confidence=verdict.probabilities[side],
            scores=verdict.scores,
        )

    def _features(self, text: str, reading: Reading, verdict: Verdict, side: str) -> list[Evidence]:
        """The weightiest features with their places, and the rest in one piece: together the score."""
        source = reading.folded.source
        assert self._model is not None
        out: list[Evidence] = []
        named = 0.0
        for feature, weight in self._model.weightiest(reading.folded.data, side, FEATURES):
            start, end = source(feature.start), source(feature.end)
            out.append(self._feature(text, start, end, "feature." + feature.name[2:], side, weight))
            named += weight
        rest = verdict.scores[side] - named
        out.append(self._feature(text, 0, 0, "feature.all others", side, rest))
        return out

    @staticmethod
    def _feature(text: str, start: int, end: int, concept: str, side: str, weight: float) -> Evidence:
        return Evidence(text[start:end], start, end, concept, side, "model", "feature", "model", "", "", weight, None)

    def _empty(self, text: str) -> Classification:
        decision = scoring.decide((), (), self.rulebook)
        return Classification(
            Label.UNKNOWN,
            None,
            {},
            decision.confidence,
            None,
            Reason.EMPTY,
            (),
            (),
            tuple(self._silent.values()),
            UNSTATED,
            (),
            decision.scores,
            self.rulebook.id,
            len(text),
            text,
        )

    def _evidence(
        self, text: str, reading: Reading, weights: list[float], by_model: bool
    ) -> tuple[list[Evidence], list[Discard]]:
        book, source = self.rulebook, reading.folded.source
        side_of, basis_of, silent = book.side_of, book.basis_of, book.weights.zones
        out: list[Evidence] = []
        idle: list[Discard] = []
        for (first, last, entry, zone, _), weight in zip(reading.hits, weights, strict=True):
            concept = entry.concept
            side = side_of[concept]
            if side is None:
                continue
            start, end = source(first), source(last)
            piece, rule, language = text[start:end], entry.id, entry.language
            if weight <= 0 or by_model:
                undecided = by_model and weight > 0
                why = Why.UNDECIDED if undecided else Why.ZONE if silent[zone] <= 0 else Why.SATURATED
                idle.append(Discard(piece, start, end, concept, rule, zone, why, zone))
                continue
            basis, citation = basis_of[concept], book.citation(concept, language)
            kind = entry.kind
            out.append(
                Evidence(piece, start, end, concept, side, basis, kind, rule, language, zone, weight, citation)
            )
        return out, idle

    def _discarded(self, text: str, reading: Reading) -> list[Discard]:
        source = reading.folded.source
        out = []
        for first, last, entry, zone, why, because in reading.dropped:
            start, end = source(first), source(last)
            out.append(Discard(text[start:end], start, end, entry.concept, entry.id, zone, why, because))
        return out

    def _traits(self, reading: Reading) -> tuple[Trait, ...]:
        rows: dict[str, list[Hit]] = {}
        for hit in reading.hits:
            if hit.entry.kind == "trait":
                rows.setdefault(self.rulebook.basis_of[hit.entry.concept], []).append(hit)
        spoken = {basis: self._trait(basis, hits, reading) for basis, hits in rows.items() if basis in self._silent}
        return tuple({**self._silent, **spoken}.values())

    def _trait(self, basis: str, hits: list[Hit], reading: Reading) -> Trait:
        poles = [h.entry.concept.rpartition(".")[2] for h in hits]
        pole = max(sorted(set(poles)), key=poles.count)
        source = reading.folded.source
        spans = tuple((source(h.start), source(h.end)) for h in hits)
        return Trait(basis, self.rulebook.side(f"trait.{basis}.{pole}"), pole, spans)

    def _delivery(self, reading: Reading) -> Delivery:
        hits = [h for h in reading.hits if h.entry.kind == "delivery"]
        if not hits:
            return UNSTATED
        modes = [h.entry.concept.partition(".")[2] for h in hits]
        mode = modes[0] if len(set(modes)) == 1 else None
        source = reading.folded.source
        return Delivery(mode, "stated", tuple((source(h.start), source(h.end)) for h in hits))
