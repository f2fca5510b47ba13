"""Pure arithmetic: kept evidence -> a score per side, service lines, traits, confidence or a reason."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from outsourcing_classifier.matcher import Hit
from outsourcing_classifier.results import Label, Reason
from outsourcing_classifier.rulebook import Rulebook

WEAK = frozenset({"hint", "trait", "model"})  # kinds that decide nothing while something stronger speaks
BODY = frozenset({"body", "duties"})
ACTIVITY = frozenset(
    {"listed", "synonym", "narrower", "title", "head", "action", "hint"}
)  # kinds beside which a trait only tips the balance


class Decision(NamedTuple):
    label: Label
    reason: Reason
    service: str | None
    services: dict[str, float]
    confidence: float
    scores: dict[str, float]


def repetitions(hits: Sequence[Hit], rulebook: Rulebook) -> list[float]:
    """How much each hit still counts, the weightiest first: ``decay`` to the power of the earlier
    mentions of its concept times ``side_decay`` to the power of the earlier hits of its side."""
    return _repetitions(hits, _raw(hits, rulebook), rulebook)


def _raw(hits: Sequence[Hit], rulebook: Rulebook) -> list[float]:
    kinds, zones = rulebook.weights.kinds, rulebook.weights.zones
    return [kinds.get(h.entry.kind, 0.0) * zones[h.zone] for h in hits]


def _repetitions(hits: Sequence[Hit], raw: Sequence[float], rulebook: Rulebook) -> list[float]:
    side_of, decision = rulebook.side_of, rulebook.weights.decision
    decay, side_decay = decision["decay"], decision["side_decay"]
    of_concept: dict[str, float] = {}
    of_side: dict[str | None, float] = {}
    shares = [0.0] * len(hits)
    for _, _, i in sorted([(-weight, hit.start, i) for i, (weight, hit) in enumerate(zip(raw, hits, strict=True))]):
        concept = hits[i].entry.concept
        side = side_of[concept]
        by_concept, by_side = of_concept.get(concept, 1.0), of_side.get(side, 1.0)
        shares[i] = by_concept * by_side
        of_concept[concept] = by_concept * decay
        of_side[side] = by_side * side_decay
    return shares


def weigh(hits: Sequence[Hit], rulebook: Rulebook) -> list[float]:
    """The weight of every hit: kind x zone, each repetition of a concept ``decay`` of the one before.

    Hints of one side weigh at most ``hints`` together, too little to decide alone, and at most
    ``hints_several`` where the title has two different ones. Traits weigh more where no activity is
    named. Where the title names a side (or work outside), the others weigh less in the body.
    """
    decision, side_of = rulebook.weights.decision, rulebook.side_of
    raw = _raw(hits, rulebook)
    weights = [weight * share for weight, share in zip(raw, _repetitions(hits, raw, rulebook), strict=True)]
    titled = _titled(hits, rulebook)
    activity = hints = traits = False
    for i, (_, _, entry, zone, _) in enumerate(hits):
        kind = entry.kind
        if titled and zone in BODY and side_of[entry.concept] not in titled:
            weights[i] *= decision["untitled"]
        activity = activity or (kind in ACTIVITY and weights[i] > 0)
        hints = hints or kind == "hint"
        traits = traits or kind == "trait"
    if traits and not activity:
        for i, hit in enumerate(hits):
            if hit.entry.kind == "trait":
                weights[i] *= decision["trait_alone"]
    if hints:
        _limit_hints(hits, weights, rulebook)
    return weights


def _limit_hints(hits: Sequence[Hit], weights: list[float], rulebook: Rulebook) -> None:
    decision, side_of = rulebook.weights.decision, rulebook.side_of
    titled: dict[str | None, set[bytes]] = {}
    for hit in hits:
        if hit.entry.kind == "hint" and hit.zone == "title":
            titled.setdefault(side_of[hit.entry.concept], set()).add(hit.words)
    weighed: dict[str | None, float] = {}
    for i, hit in enumerate(hits):
        if hit.entry.kind == "hint":
            side = side_of[hit.entry.concept]
            limit = decision["hints_several" if len(titled.get(side, ())) > 1 else "hints"]
            before = weighed.get(side, 0.0)
            weights[i] = max(0.0, min(weights[i], limit - before))
            weighed[side] = before + weights[i]


def decide(
    hits: Sequence[Hit], weights: Sequence[float], rulebook: Rulebook, length: int = 0, negated: bool = False
) -> Decision:
    """The label with its reason. ``length``: of what tells of the work, in folded bytes, for the longer it
    is, the more is said by the way. ``negated``: some activity was excluded by a negation."""
    constants = rulebook.weights.decision
    total = {"BPO": 0.0, "KPO": 0.0, "OUT": 0.0}
    lines: dict[str, float] = {}
    best: dict[str, tuple[float, Hit]] = {}
    both = False
    side_of, service_of = rulebook.side_of, rulebook.service_of
    for hit, weight in zip(hits, weights, strict=True):
        concept = hit[2].concept
        both = both or (concept == "model.both" and weight >= 0)
        side = side_of[concept]
        if side is None or weight <= 0:
            continue
        total[side] += weight
        service = service_of[concept]
        if service is not None:
            lines[service] = lines.get(service, 0.0) + weight
        if side not in best or weight > best[side][0]:
            best[side] = (weight, hit)
    bpo, kpo = total["BPO"], total["KPO"]
    aside = constants["aside"] * math.log1p(length / 400)
    neither = constants["neither"] + aside + constants["outside"] * total["OUT"]
    scores = {"BPO": bpo, "KPO": kpo, "NEITHER": neither}
    chances = _softmax(bpo, kpo, neither)
    services = _shares(lines)
    mixed = _balanced(bpo, kpo, neither, constants) and len(_titled(hits, rulebook) & {"BPO", "KPO"}) != 1
    if mixed or (both and bpo + kpo == 0):
        share = min(bpo, kpo) / (bpo + kpo) if bpo + kpo else 0.5
        return Decision(Label.MIXED, Reason.BOTH_KINDS, None, services, 0.5 + share / 2, scores)
    side = "BPO" if bpo >= kpo else "KPO"
    top = max(bpo, kpo)
    if side in best and best[side][1].entry.kind == "trait" and _rows(hits, side, rulebook) < constants["trait_rows"]:
        return Decision(Label.UNKNOWN, Reason.LOW_MARGIN, None, services, chances[2], scores)
    if top < constants["least"] or top <= neither:
        if total["OUT"] > top:
            reason = Reason.OUT_OF_SCOPE
        elif top > 0:
            reason = Reason.LOW_MARGIN
        else:
            reason = Reason.NEGATED if negated else Reason.NO_EVIDENCE
        return Decision(Label.UNKNOWN, reason, None, services, chances[2], scores)
    confidence = chances[0 if side == "BPO" else 1]
    sure = _calibrated(confidence, constants)
    if bpo == kpo or confidence < constants["decide"]:
        reason = Reason.CONFLICT if min(bpo, kpo) > neither / 2 else Reason.LOW_MARGIN
        return Decision(Label.UNKNOWN, reason, None, services, chances[2], scores)
    own = {s: w for s, w in lines.items() if rulebook.side(s) == side or _has_side(hits, s, side, rulebook)}
    service = min(own, key=lambda s: (-own[s], s)) if own else None
    kind = best[side][1].entry.kind
    if kind == "trait":
        reason = Reason.TRAITS
    elif service is None or kind == "model":
        reason = Reason.FULL_FORM
    elif service.startswith("other_"):
        reason = Reason.RELATED_ACTIVITY
    else:
        reason = Reason.LISTED_ACTIVITY
    return Decision(Label(side), reason, service, services, sure, scores)


def _has_side(hits: Sequence[Hit], service: str, side: str, rulebook: Rulebook) -> bool:
    """A profile may put an activity on another side than its line."""
    return any(rulebook.service(h.entry.concept) == service and rulebook.side(h.entry.concept) == side for h in hits)


def _rows(hits: Sequence[Hit], side: str, rulebook: Rulebook) -> int:
    """How many rows of the comparison speak for ``side``."""
    concepts = {h.entry.concept for h in hits if h.entry.kind == "trait"}
    return len({rulebook.basis(c) for c in concepts if rulebook.side(c) == side})


def _titled(hits: Sequence[Hit], rulebook: Rulebook) -> set[str | None]:
    """The sides that the title names."""
    side_of = rulebook.side_of
    return {side_of[h.entry.concept] for h in hits if h.zone == "title" and h.entry.kind not in WEAK}


def _balanced(bpo: float, kpo: float, neither: float, constants: Mapping[str, float]) -> bool:
    """Both sides hold a good share. (MIXED, unless the title settles it for one of them.)"""
    low, high = min(bpo, kpo), max(bpo, kpo)
    return low >= constants["mixed_least"] and low > neither and low / (low + high) >= constants["mixed_share"]


def _shares(lines: dict[str, float]) -> dict[str, float]:
    if len(lines) < 2:
        return dict.fromkeys(lines, 1.0)
    total = 0.0
    for weight in lines.values():  # not sum(): it adds otherwise from Python 3.12 on
        total += weight
    return {s: w / total for s, w in sorted(lines.items(), key=lambda x: (-x[1], x[0]))}


def _calibrated(chance: float, constants: Mapping[str, float]) -> float:
    """Platt's scaling, fitted on held-out texts: how often such an answer is right."""
    odds = math.log(max(chance, 1e-9) / max(1.0 - chance, 1e-9))
    return 1.0 / (1.0 + math.exp(-(constants["confidence_slope"] * odds - constants["confidence_discount"])))


def _softmax(first: float, second: float, third: float) -> tuple[float, float, float]:
    top = max(first, second, third)
    a, b, c = math.exp(first - top), math.exp(second - top), math.exp(third - top)
    total = a + b + c
    return a / total, b / total, c / total
