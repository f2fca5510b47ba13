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
    kinds, zones = rulebook.weights.kinds, rulebook.weights.zones
    decay, side_decay = (rulebook.weights.decision[k] for k in ("decay", "side_decay"))
    raw = [kinds.get(h.entry.kind, 0.0) * zones[h.zone] for h in hits]
    seen: dict[str | None, int] = {}
    shares = [0.0] * len(hits)
    for i in sorted(range(len(hits)), key=lambda i: (-raw[i], hits[i].start)):
        concept = hits[i].entry.concept
        side = rulebook.side(concept)
        shares[i] = decay ** seen.get(concept, 0) * side_decay ** seen.get(side, 0)
        seen[concept] = seen.get(concept, 0) + 1
        seen[side] = seen.get(side, 0) + 1
    return shares


def weigh(hits: Sequence[Hit], rulebook: Rulebook) -> list[float]:
    """The weight of every hit: kind x zone, each repetition of a concept ``decay`` of the one before.

    Hints of one side weigh at most ``hints`` together, too little to decide alone, and at most
    ``hints_several`` where the title has two different ones. Traits weigh more where no activity is
    named. Where the title names a side (or work outside), the others weigh less in the body.
    """
    kinds, zones, decision = rulebook.weights.kinds, rulebook.weights.zones, rulebook.weights.decision
    weights = [
        kinds.get(h.entry.kind, 0.0) * zones[h.zone] * share
        for h, share in zip(hits, repetitions(hits, rulebook), strict=True)
    ]
    titled = _titled(hits, rulebook)
    if titled:
        for i, hit in enumerate(hits):
            if hit.zone in BODY and rulebook.side(hit.entry.concept) not in titled:
                weights[i] *= decision["untitled"]
    activity = any(w > 0 and h.entry.kind in ACTIVITY for h, w in zip(hits, weights, strict=True))
    hinted: dict[str | None, float] = {}
    hints: dict[str | None, set[bytes]] = {}
    for hit in hits:
        if hit.entry.kind == "hint" and hit.zone == "title":
            hints.setdefault(rulebook.side(hit.entry.concept), set()).add(hit.words)
    for i, hit in enumerate(hits):
        if hit.entry.kind == "trait" and not activity:
            weights[i] *= decision["trait_alone"]
        elif hit.entry.kind == "hint":
            side = rulebook.side(hit.entry.concept)
            limit = decision["hints_several" if len(hints.get(side, ())) > 1 else "hints"]
            room = limit - hinted.get(side, 0.0)
            weights[i] = max(0.0, min(weights[i], room))
            hinted[side] = hinted.get(side, 0.0) + weights[i]
    return weights


def decide(
    hits: Sequence[Hit], weights: Sequence[float], rulebook: Rulebook, length: int = 0, negated: bool = False
) -> Decision:
    """The label with its reason. ``length``: of what tells of the work, in folded bytes, for the longer it
    is, the more is said by the way. ``negated``: some activity was excluded by a negation."""
    constants = rulebook.weights.decision
    total = {"BPO": 0.0, "KPO": 0.0, "OUT": 0.0}
    lines: dict[str, float] = {}
    best: dict[str, tuple[float, Hit]] = {}
    for hit, weight in zip(hits, weights, strict=True):
        side = rulebook.side(hit.entry.concept)
        if side is None or weight <= 0:
            continue
        total[side] += weight
        service = rulebook.service(hit.entry.concept)
        if service is not None:
            lines[service] = lines.get(service, 0.0) + weight
        if side not in best or weight > best[side][0]:
            best[side] = (weight, hit)
    bpo, kpo = total["BPO"], total["KPO"]
    aside = constants["aside"] * math.log1p(length / 400)
    neither = constants["neither"] + aside + constants["outside"] * total["OUT"]
    scores = {"BPO": bpo, "KPO": kpo, "NEITHER": neither}
    chances = _softmax((bpo, kpo, neither))
    both = any(h.entry.concept == "model.both" and w >= 0 for h, w in zip(hits, weights, strict=True))
    services = _shares(lines)
    if (both and bpo + kpo == 0) or _mixed(bpo, kpo, neither, _titled(hits, rulebook), constants):
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
    return {rulebook.side(h.entry.concept) for h in hits if h.zone == "title" and h.entry.kind not in WEAK}


def _mixed(bpo: float, kpo: float, neither: float, titled: set[str | None], constants: Mapping[str, float]) -> bool:
    """Both sides hold a good share, and the title does not settle it for one of them."""
    low, high = min(bpo, kpo), max(bpo, kpo)
    if low < constants["mixed_least"] or low <= neither or len(titled & {"BPO", "KPO"}) == 1:
        return False
    return low / (low + high) >= constants["mixed_share"]


def _shares(lines: dict[str, float]) -> dict[str, float]:
    total = sum(lines.values())
    return {s: w / total for s, w in sorted(lines.items(), key=lambda x: (-x[1], x[0]))} if total else {}


def _calibrated(chance: float, constants: Mapping[str, float]) -> float:
    """Platt's scaling, fitted on held-out texts: how often such an answer is right."""
    odds = math.log(max(chance, 1e-9) / max(1.0 - chance, 1e-9))
    return 1.0 / (1.0 + math.exp(-(constants["confidence_slope"] * odds - constants["confidence_discount"])))


def _softmax(scores: tuple[float, ...]) -> tuple[float, ...]:
    top = max(scores)
    powers = [math.exp(s - top) for s in scores]
    total = sum(powers)
    return tuple(p / total for p in powers)
