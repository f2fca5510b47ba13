"""The matcher in C (``_reading.c``) where it was built, with the tables it reads; else the one in Python."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence

from outsourcing_classifier.index import ARRAYS, Index
from outsourcing_classifier.matcher import RANK, TELLING, Dropped, Hit, Matcher, Reading
from outsourcing_classifier.results import Why
from outsourcing_classifier.rulebook import EFFECTS, ZONES, Action, Mask, Rule
from outsourcing_classifier.text import code, spelt
from outsourcing_classifier.zones import SILENT, UNTOLD, Heads

try:
    from outsourcing_classifier import _reading
except ImportError:  # no compiler when the package was installed: slower, and the same answers
    BUILT = False
else:
    BUILT = True

_NONE = 0xFFFFFFFF
_LONGEST = 50_000_000  # code points that C reads, in 32-bit places
_NAMED_ZONES = ("title", "body", "duties", "employer", "requirements", "sole_requirements", "mention", "modifier")
_SCOPES = {"section": 0, "sentence": 1, "after": 3}


def matcher_for(index: Index, native: bool | None = None) -> Matcher:
    """The fastest matcher there is; ``native`` asks for the one in C (True) or in Python (False).

    Raises :class:`RuntimeError` where C is asked for and was not built.
    """
    if native and not BUILT:
        raise RuntimeError("the matcher in C was not built; install with a C compiler at hand")
    fits = len(index.rulebook.languages) <= 16 and all(map(bytes.isalnum, index.gender_endings))
    return NativeMatcher(index) if BUILT and native is not False and fits else Matcher(index)


class NativeMatcher(Matcher):
    """Reads texts with ``_reading.Reader``; sentences of rules are tried by the parent."""

    def __init__(self, index: Index) -> None:
        super().__init__(index)
        book = index.rulebook
        languages = list(book.languages)
        zones = sorted(ZONES)
        entries: list[Rule | Action | Mask] = [*book.rules, *book.actions, *book.masks]
        words, traits, marks = _vocabulary(index, Heads(book.languages))
        order = {entry.id: i for i, entry in enumerate(sorted(entries, key=lambda e: e.id))}
        concepts: dict[str, int] = {}
        tables = {
            **{name: index.arrays[name] for name in ARRAYS},
            "word_class": index.arrays["token_class"] + _row([_NONE] * (len(words) - len(index.tokens))),
            "word_traits": traits,
            "word_marks": marks,
            "entry_traits": _row(self._traits_of(e) for e in entries),
            "entry_language": _row(languages.index(e.language) for e in entries),
            "entry_rank": _row(0 if isinstance(e, Mask) else RANK.get(e.kind, 9) for e in entries),
            "entry_order": _row(order[e.id] for e in entries),
            "entry_concept": _row(concepts.setdefault(getattr(e, "concept", ""), len(concepts)) for e in entries),
            "gaps": _row(a.gap for a in book.actions),
            "cue_effect": _row(EFFECTS.index(c.effect) for c in book.cues),
            "cue_scope": _row(_SCOPES.get(c.scope, 2) for c in book.cues),
            "cue_zone": _row(zones.index(c.zone) if c.zone else 0 for c in book.cues),
            "zone_traits": _row((z in UNTOLD) | (z in TELLING) << 1 for z in zones),
            "language_head_last": _row(x.head == "last" for x in book.languages.values()),
            "language_foreign": _row(x.foreign_words for x in book.languages.values()),
            "codes": _row(map(code, range(256))),
            "named_zones": _row(map(zones.index, _NAMED_ZONES)),
        }
        self._reader = _reading.Reader(
            tables=tables,
            words=b" ".join(words),
            look=code,
            spell=spelt,
            entries=entries,
            ids=[e.id for e in entries],
            first_action=len(book.rules),
            first_mask=len(book.rules) + len(book.actions),
            languages=languages,
            zones=zones,
            reasons=sorted((Why.COVERED, Why.FOREIGN, Why.MASKED, Why.NEGATED, Why.NOT_HEAD)),
            endings=index.gender_endings,
            make_hit=Hit,
            make_dropped=Dropped,
        )

    def __reduce__(self) -> tuple[object, ...]:
        return matcher_for, (self._index,)  # another process has its own tables

    def read(self, text: str) -> Reading:
        """As :meth:`Matcher.read`."""
        if len(text) > _LONGEST:
            return super().read(text)
        return Reading(*self._reader.read(text))

    def _traits_of(self, entry: Rule | Action | Mask) -> int:
        kind = "" if isinstance(entry, Mask) else entry.kind
        marks = (isinstance(entry, Mask), kind == "head", kind == "title", kind in SILENT, kind == "trait")
        return sum(mark << i for i, mark in enumerate((*marks, entry.id in self._outside)))


def _vocabulary(index: Index, heads: Heads) -> tuple[list[bytes], array[int], array[int]]:
    """The index's tokens and the words that mean something in a title or mark a language; by word, bits of what
    it does in a title and of the languages that it marks."""
    roles: Sequence[frozenset[bytes]]
    roles = (heads.stops, heads.skips, heads.breaks, heads.joins, heads.tails, heads.ranks)
    marked = [x.marks for x in index.rulebook.languages.values()]
    special = {w for w in frozenset[bytes]().union(*roles, *marked) if b" " not in w}  # else no token, never met
    words = [*index.tokens, *sorted(special - index.class_of.keys())]
    traits, marks = (array("I", bytes(4 * len(words))) for _ in range(2))
    for place, word in enumerate(words):
        if word in special:
            for row, sets in ((traits, roles), (marks, marked)):
                row[place] = sum((word in known) << i for i, known in enumerate(sets))
    return words, traits, marks


def _row(numbers: Iterable[int]) -> array[int]:
    return array("I", numbers)
