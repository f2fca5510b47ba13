"""Reading and judging in C (``_native``) where that was built, with the tables it needs; else in Python."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import fields

from outsourcing_classifier.index import ARRAYS, Index
from outsourcing_classifier.judge import UNSTATED, Judge
from outsourcing_classifier.matcher import RANK, TELLING, Dropped, Hit, Matcher, Reading
from outsourcing_classifier.model import CLASSES, Feature, Model, Verdict
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
from outsourcing_classifier.rulebook import EFFECTS, ZONES, Action, Mask, Rule
from outsourcing_classifier.scoring import ACTIVITY, BODY, WEAK
from outsourcing_classifier.text import code, spelt
from outsourcing_classifier.zones import SILENT, UNTOLD, Heads

try:
    from outsourcing_classifier import _native
except ImportError:  # no compiler when the package was installed: slower, and the same answers
    BUILT = False
else:
    BUILT = True

_NONE = 0xFFFFFFFF
_OUTSIDE = 32  # the bit of an entry's traits
_NAMED_ZONES = ("title", "body", "duties", "employer", "requirements", "sole_requirements", "mention", "modifier")
_DROPPED = (Why.COVERED, Why.FOREIGN, Why.MASKED, Why.NEGATED, Why.NOT_HEAD)
_SIDES = ("BPO", "KPO", "OUT", None)
_LABELS = (Label.BPO, Label.KPO, Label.MIXED, Label.UNKNOWN)
_REASONS = (
    *(Reason.LISTED_ACTIVITY, Reason.RELATED_ACTIVITY, Reason.FULL_FORM, Reason.BOTH_KINDS, Reason.TRAITS),
    *(Reason.CONFLICT, Reason.LOW_MARGIN, Reason.NO_EVIDENCE, Reason.OUT_OF_SCOPE, Reason.NEGATED),
    Reason.MODEL,
)
_DECISION = (  # as _judging.c numbers them
    *("aside", "confidence_discount", "confidence_slope", "decay", "decide", "hints", "hints_several", "least"),
    *("mixed_least", "mixed_share", "neither", "outside", "side_decay", "trait_alone", "trait_rows", "untitled"),
)
_SCOPES = {"section": 0, "sentence": 1, "after": 3}


def matcher_for(index: Index, native: bool | None = None) -> Matcher:
    """The fastest matcher there is; ``native`` asks for the one in C (True) or in Python (False).

    Raises :class:`RuntimeError` where C is asked for and was not built.
    """
    if native and not BUILT:
        raise RuntimeError("the matcher in C was not built; install with a C compiler at hand")
    fits = len(index.rulebook.languages) <= 16 and all(map(bytes.isalnum, index.gender_endings))
    return NativeMatcher(index) if BUILT and native is not False and fits else Matcher(index)


def model_for(model: Model) -> Model:
    """The same model, in C where that was built."""
    return NativeModel(model) if BUILT else model


def judge_for(index: Index, model: Model | None = None, least: float = 0.0, native: bool | None = None) -> Judge:
    """The fastest judge there is; ``native`` as in :func:`matcher_for`."""
    matcher = matcher_for(index, native)
    if isinstance(matcher, NativeMatcher):
        return NativeJudge(matcher, None if model is None else NativeModel(model), least)
    return Judge(matcher, model, least)


class NativeMatcher(Matcher):
    """Reads texts with ``_native.Reader``; sentences of rules are tried by the parent."""

    def __init__(self, index: Index) -> None:
        super().__init__(index)
        book = index.rulebook
        languages = list(book.languages)
        zones = sorted(ZONES)
        entries: list[Rule | Action | Mask] = [*book.rules, *book.actions, *book.masks]
        special, traits, marks = _special(self._heads, [x.marks for x in book.languages.values()])
        order = {id_: i for i, id_ in enumerate(sorted(e.id for e in entries))}
        entry_concepts = [getattr(e, "concept", "") for e in entries]
        self.concepts = list(dict.fromkeys(entry_concepts))
        self.entry_kinds = [getattr(e, "kind", "mask") for e in entries]
        concepts = {concept: i for i, concept in enumerate(self.concepts)}
        spoken = {language: i for i, language in enumerate(languages)}
        kinds = dict.fromkeys(self.entry_kinds)
        of_kind = {k: _bits(k == "mask", k == "head", k == "title", k in SILENT, k == "trait") for k in kinds}
        outside = {c: _OUTSIDE * c.startswith("outside.") for c in self.concepts}
        ranks = {kind: 0 if kind == "mask" else RANK.get(kind, 9) for kind in kinds}
        pairs = list(zip(self.entry_kinds, entry_concepts, strict=True))
        tables = {
            **{name: index.arrays[name] for name in ARRAYS},
            "special_traits": traits,
            "special_marks": marks,
            "entry_traits": _row([of_kind[kind] | outside[concept] for kind, concept in pairs]),
            "entry_language": _row([spoken[e.language] for e in entries]),
            "entry_rank": _row([ranks[kind] for kind in self.entry_kinds]),
            "entry_order": _row([order[e.id] for e in entries]),
            "entry_concept": _row([concepts[concept] for concept in entry_concepts]),
            "gaps": _row(a.gap for a in book.actions),
            "cue_effect": _row(EFFECTS.index(c.effect) for c in book.cues),
            "cue_scope": _row(_SCOPES.get(c.scope, 2) for c in book.cues),
            "cue_zone": _row(zones.index(c.zone) if c.zone else 0 for c in book.cues),
            "zone_traits": _row(_bits(z in UNTOLD, z in TELLING) for z in zones),
            "language_head_last": _row(x.head == "last" for x in book.languages.values()),
            "language_foreign": _row(x.foreign_words for x in book.languages.values()),
            "codes": _row(map(code, range(256))),
            "named_zones": _row(map(zones.index, _NAMED_ZONES)),
        }
        self.reader = _native.Reader(
            tables=tables,
            words=index.words,
            special=special,
            look=code,
            spell=spelt,
            entries=entries,
            ids=[e.id for e in entries],
            first_action=len(book.rules),
            first_mask=len(book.rules) + len(book.actions),
            languages=languages,
            zones=zones,
            reasons=list(_DROPPED),
            endings=index.gender_endings,
            make_hit=Hit,
            make_dropped=Dropped,
        )

    def __reduce__(self) -> tuple[object, ...]:
        return matcher_for, (self.index,)  # another process has its own tables

    def read(self, text: str) -> Reading:
        """As :meth:`Matcher.read`."""
        found = self.reader.read(text)
        return Reading(*found) if found else super().read(text)


class NativeModel(Model):
    """Judges with ``_native.Model``."""

    native: _native.Model

    def __init__(self, model: Model) -> None:
        super().__init__(*(getattr(model, f.name) for f in fields(Model)))
        native = _native.Model(self.names, self.idf, self.weights, self.bias, self.threshold)
        object.__setattr__(self, "native", native)  # past the frozen face

    def __reduce__(self) -> tuple[object, ...]:
        return model_for, (Model(*(getattr(self, f.name) for f in fields(Model))),)

    def judge(self, data: bytes) -> Verdict:
        """As :meth:`Model.judge`."""
        chances, scores = self.native.judge(data)
        return Verdict(dict(zip(CLASSES, chances, strict=True)), dict(zip(CLASSES, scores, strict=True)))

    def weightiest(self, data: bytes, side: str, most: int) -> list[tuple[Feature, float]]:
        """As :meth:`Model.weightiest`."""
        return [(Feature(*row[:4]), row[4]) for row in self.native.weightiest(data, CLASSES.index(side), most)]


class NativeJudge(Judge):
    """Judges with ``_native.Judge``; the parent classifies what the model decides, and a text of nothing."""

    def __init__(self, matcher: NativeMatcher, model: NativeModel | None, least: float) -> None:
        super().__init__(matcher, model, least)
        book, concepts, poles = matcher.rulebook, matcher.concepts, self._poles()
        kinds = sorted({*matcher.entry_kinds, "mask"})
        services = sorted(book.service_names)
        bases = sorted({book.basis(c) for c in concepts})
        modes = sorted({c.partition(".")[2] for c in concepts if c.startswith("delivery.")})
        rows = list(self._silent)
        weights = book.weights
        sides = [book.side(c) if c else None for c in concepts]
        tables = {
            "entry_kind": map({kind: i for i, kind in enumerate(kinds)}.__getitem__, matcher.entry_kinds),
            "kind_traits": map(_kind_traits, kinds),
            "zone_traits": ((z in BODY) | (z == "title") << 1 for z in sorted(ZONES)),
            "concept_side": map(_SIDES.index, sides),
            "concept_service": (_place(services, book.service(c)) for c in concepts),
            "concept_basis": (bases.index(book.basis(c)) for c in concepts),
            "concept_pole": (_place([name for name, _ in poles], c) for c in concepts),
            "pole_row": (_place(rows, pole.basis) - 1 if pole.basis in rows else _NONE for _, pole in poles),
            "concept_mode": (max(0, _place(modes, c.partition(".")[2]) - 1) for c in concepts),
            "concept_both": (c == "model.both" for c in concepts),
            "service_side": (_SIDES.index(book.side(s)) for s in services),
            "service_other": (s.startswith("other_") for s in services),
        }
        numbers = {
            "kinds": [weights.kinds.get(kind, 0.0) for kind in kinds],
            "zones": [weights.zones[zone] for zone in sorted(ZONES)],
            "decision": [weights.decision[name] for name in _DECISION],
        }
        self._native = _native.Judge(
            reader=matcher.reader,
            model=None if model is None else model.native,
            least=least,
            tables={name: _row(values) for name, values in tables.items()},
            numbers={name: array("d", values) for name, values in numbers.items()},
            objects={
                "concepts": concepts,
                "kinds": kinds,
                "sides": list(_SIDES),
                "bases": bases,
                "services": services,
                "modes": modes,
                "labels": list(_LABELS),
                "reasons": list(_REASONS),
                "whys": [*_DROPPED, Why.ZONE, Why.SATURATED],
                "label_cells": list(map(str, _LABELS)),
                "reason_cells": list(map(str, _REASONS)),
                "by_rules_cell": str(DecidedBy.RULES),
                "by_model_cell": str(DecidedBy.MODEL),
                "classes": list(CLASSES),
                "silent": tuple(self._silent.values()),
                "poles": [tuple(pole[:3]) for _, pole in poles],
                "by_rules": DecidedBy.RULES,
                "unstated": UNSTATED,
                "stated": "stated",
                "cite": book.citation,
                "id": book.id,
                "evidence": Evidence,
                "discard": Discard,
                "trait": Trait,
                "delivery": Delivery,
                "classification": Classification,
                "fields": [f.name for f in fields(Classification)],
                "row": Row,
                "ok": "ok",
                "nothing": "",
            },
        )

    def __reduce__(self) -> tuple[object, ...]:
        return judge_for, (self.matcher.index, self._model, self._least)  # another process has its own tables

    def classify(self, text: str) -> Classification:
        """As :meth:`Judge.classify`."""
        known: Classification | None = self._native.classify(text)
        return known or super().classify(text)

    def rows(self, texts: Iterable[str]) -> list[Row]:
        """As :meth:`Judge.rows`."""
        row, slow = self._native.row, super().classify
        return [row(text) or Row.of(slow(text)) for text in texts]

    def _poles(self) -> list[tuple[str, Trait]]:
        """The concepts of traits, each as the row that it fills in; by name."""
        book = self.rulebook
        names = sorted(c for c in {e.concept for e in book.rules} if c.startswith("trait."))
        return [(c, Trait(book.basis(c), book.side(c), c.rpartition(".")[2])) for c in names]


def _kind_traits(kind: str) -> int:
    alone = (kind == name for name in ("hint", "trait", "delivery", "model"))
    return _bits(kind in WEAK, kind in ACTIVITY, *alone)


def _bits(*marks: bool) -> int:
    return sum(mark << i for i, mark in enumerate(marks))


def _place(rows: Sequence[str], name: str | None) -> int:
    """1 + the place of ``name``, or 0."""
    return rows.index(name) + 1 if name in rows else 0


def _special(heads: Heads, marks: Sequence[frozenset[bytes]]) -> tuple[bytes, array[int], array[int]]:
    """The words that mean something in a title or mark a language; by word, bits of what it does in a title and of
    the languages that it marks."""
    roles = (heads.stops, heads.skips, heads.breaks, heads.joins, heads.tails, heads.ranks)
    words = sorted(w for w in frozenset[bytes]().union(*roles, *marks) if b" " not in w)  # else never met
    bits = [dict.fromkeys(words, 0), dict.fromkeys(words, 0)]
    for of_word, sets in zip(bits, (roles, marks), strict=True):
        for i, known in enumerate(sets):
            for word in known & of_word.keys():
                of_word[word] |= 1 << i
    return b" ".join(words), _row(bits[0].values()), _row(bits[1].values())


def _row(numbers: Iterable[int]) -> array[int]:
    return array("I", numbers)
