"""Classifier joins the rooms: text -> matcher -> scoring -> Classification."""

from __future__ import annotations

import math
import warnings
from functools import lru_cache
from pathlib import Path

from outsourcing_classifier import scoring
from outsourcing_classifier.explain import Explanation, explanation
from outsourcing_classifier.index import Index
from outsourcing_classifier.matcher import Hit, Reading
from outsourcing_classifier.model import Model, ModelError, Verdict, View, confidence_for
from outsourcing_classifier.native import matcher_for
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
from outsourcing_classifier.scoring import Decision

OPEN = frozenset([Reason.NO_EVIDENCE, Reason.LOW_MARGIN, Reason.CONFLICT])  # what the model is asked about
FEATURES = 8  # features that evidence names one by one
_UNSTATED = Delivery()


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
        What decides where the rules abstain: "default" is the shipped model (which knows the profile
        "article" and the shipped rules only; with others the rules decide alone, and a warning says
        so for other rules), a path is a model trained by ``outsourcing-classifier train``, ``None``
        is nothing.
    target_precision
        Name a side only from the confidence on from which held-out answers were right at least this
        often, by an exact lower bound at the level 95 %. Raises ModelError where they cannot tell.
    """

    def __init__(
        self,
        profile: str = "article",
        rulebook: Rulebook | str | Path | None = None,
        fallback: str | Path | None = "default",
        target_precision: float | None = None,
    ) -> None:
        index = Index.build(rulebook) if isinstance(rulebook, Rulebook) else Index.open(profile, rulebook)
        self.rulebook = index.rulebook
        self.fallback = fallback
        self.target_precision = target_precision
        self._matcher = matcher_for(index)
        self._silent = [(basis, Trait(basis, None, None)) for basis in self.rulebook.trait_poles]
        self._model = self._open_model()
        self._least = 0.0
        if target_precision is not None:
            if self._model is None:
                raise ModelError("target_precision needs a model, whose manifest holds the held-out answers")
            self._least = confidence_for(self._model.manifest["held_out"], target_precision)

    def _open_model(self) -> Model | None:
        if self.fallback is None or (self.fallback == "default" and self.rulebook.id.name != "article"):
            return None
        if self.fallback != "default":
            return Model.open(self.fallback, self.rulebook.id.sha256)
        model = Model.open()
        if model.manifest["rulebook"] == self.rulebook.id.sha256:
            return model
        warnings.warn(
            "the shipped fallback was trained with other rules; the rules decide alone "
            "(train again, or pass fallback=None)",
            stacklevel=4,
        )
        return None

    def classify(self, text: str) -> Classification:
        """Classify one text. Raises TypeError where ``text`` is not a str."""
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

    def view(self, text: str) -> View:
        """What the rules alone make of a text, as training wants it."""
        reading, _, decision = self._decide(text)
        label = str(decision.label) if decision.label in (Label.BPO, Label.KPO) else None
        return View(reading.folded.data, label, decision.confidence, decision.reason in OPEN)

    def _decide(self, text: str) -> tuple[Reading, list[float], Decision]:
        reading = self._matcher.read(text)
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
        for feature, weight in self._model.weightiest(reading.folded.data, side, FEATURES):
            start, end = source(feature.start), source(feature.end)
            out.append(self._feature(text, start, end, "feature." + feature.name[2:], side, weight))
        rest = verdict.scores[side] - math.fsum(e.weight for e in out)
        out.append(self._feature(text, 0, 0, "feature.all others", side, rest))
        return out

    @staticmethod
    def _feature(text: str, start: int, end: int, concept: str, side: str, weight: float) -> Evidence:
        return Evidence(text[start:end], start, end, concept, side, "model", "feature", "model", "", "", weight, None)

    def explain(self, text: str) -> Explanation:
        """Classify one text and set out why. Raises TypeError where ``text`` is not a str."""
        return explanation(text, self.classify(text), self.rulebook)

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
            self._traits(None),
            _UNSTATED,
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

    def _traits(self, reading: Reading | None) -> tuple[Trait, ...]:
        book = self.rulebook
        rows: dict[str, list[Hit]] = {}
        for hit in reading.hits if reading else ():
            if hit.entry.kind == "trait":
                rows.setdefault(book.basis_of[hit.entry.concept], []).append(hit)
        return tuple(
            [self._trait(basis, rows[basis], reading) if basis in rows else silent for basis, silent in self._silent]
        )

    def _trait(self, basis: str, hits: list[Hit], reading: Reading | None) -> Trait:
        assert reading is not None
        poles = [h.entry.concept.rpartition(".")[2] for h in hits]
        pole = max(sorted(set(poles)), key=poles.count)
        source = reading.folded.source
        spans = tuple((source(h.start), source(h.end)) for h in hits)
        return Trait(basis, self.rulebook.side(f"trait.{basis}.{pole}"), pole, spans)

    def _delivery(self, reading: Reading) -> Delivery:
        hits = [h for h in reading.hits if h.entry.kind == "delivery"]
        if not hits:
            return _UNSTATED
        modes = [h.entry.concept.partition(".")[2] for h in hits]
        mode = modes[0] if len(set(modes)) == 1 else None
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
