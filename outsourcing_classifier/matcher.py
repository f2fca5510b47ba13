"""All occurrences in one pass, then who counts: longest wins, masks, negation, heads, zones."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from typing import NamedTuple, cast

from outsourcing_classifier.index import Index, Use
from outsourcing_classifier.results import Why
from outsourcing_classifier.rulebook import Action, Cue, Issue, Mask, Rule
from outsourcing_classifier.text import Folded
from outsourcing_classifier.zones import SILENT, UNTOLD, Heads, Phrase, Zones, after_words

_TOKEN = re.compile(rb"[a-z0-9~]+")
_SPACED = bytes(b if b in b"abcdefghijklmnopqrstuvwxyz0123456789~" else 0x20 for b in range(256))
_SOFT = frozenset(b" \n-/'")  # bytes that may stand between two words of a term
_FAR = 200  # bytes between a verb and its object at most
_REACH = 600  # bytes that a negation's sentence is followed at most
_NEGATED_WORDS = 14  # that a negation reaches at most
_CLEAR_MARKS = 5  # different small words that make a text's language clear
TELLING = frozenset(["title", "modifier", "duties", "body"])
RANK = {k: i for i, k in enumerate(("listed", "synonym", "title", "narrower", "action", "head"))}


class Occurrence(NamedTuple):
    """A term found, in folded offsets, and what it stands for."""

    start: int
    end: int
    use: Use


class Hit(NamedTuple):
    """A counted occurrence, in folded offsets, with its folded words."""

    start: int
    end: int
    entry: Rule | Action
    zone: str
    words: bytes


class Dropped(NamedTuple):
    """An occurrence that does not count. ``because`` is an entry's id, a language or a cue's words."""

    start: int
    end: int
    entry: Rule | Action
    zone: str
    why: Why
    because: str


class Reading(NamedTuple):
    """What the matcher makes of one text."""

    folded: Folded
    hits: list[Hit]
    dropped: list[Dropped]
    told: int  # folded bytes that tell of the work


class _Candidate(NamedTuple):
    """What competes to count. ``parts``: an action's verb and object, or the one span of a term."""

    start: int
    end: int
    entry: Rule | Action | Mask
    parts: tuple[tuple[int, int], ...]
    length: int
    outside: bool


def occurrences(index: Index, data: bytes) -> list[Occurrence]:
    """All occurrences of the index's terms in folded text, nested and overlapping ones too.

    Whole words only; by start and then by end.
    """
    words = data.translate(_SPACED).split(b" ")
    ends = list(accumulate(map(len, words)))  # without the separators: add the number of words before
    classes = list(map(index.class_of.get, words))
    found: list[Occurrence] = []
    begin, moves, uses, last = index.moves(0), index.moves, index.use, len(words) - 1
    for i in [i for i, known in enumerate(classes) if known in begin]:
        state: int | None = begin[cast(int, classes[i])]
        end = ends[i] + i
        start = end - len(words[i])
        j = i
        while state is not None:
            use = uses(state)
            if use is not None:
                found.append(Occurrence(start, end, use))
            if j == last or data[end] not in _SOFT:
                break
            j += 1
            known = classes[j]
            if known is None:
                break
            end = ends[j] + j
            state = moves(state).get(known)
    return found


class Matcher:
    """Reads texts by a compiled rulebook."""

    def __init__(self, index: Index) -> None:
        self.rulebook = rulebook = index.rulebook
        self.index = index
        self._heads = Heads(rulebook.languages)
        self._languages = {code: i for i, code in enumerate(rulebook.languages)}
        self._gap = max((a.gap for a in rulebook.actions), default=0)
        self._outside = frozenset(
            e.id
            for e in cast("tuple[Rule | Action, ...]", (*rulebook.rules, *rulebook.actions))
            if e.concept.startswith("outside.")
        )

    def read(self, text: str) -> Reading:
        """Find everything and say what counts. Linear in the length of ``text``."""
        folded = self.index.fold(text)
        data = folded.data
        found = occurrences(self.index, data)
        candidates = self._candidates(data, found)
        if not candidates:
            return Reading(folded, [], [], len(data))
        cues = self._winning_cues(found)
        zones = Zones(text, folded, cues, self._heads)
        dropped: list[Dropped] = []
        competing = self._qualified(data, candidates, zones, dropped)
        kept, covered = _longest(competing, self._languages)
        for c, by in covered:
            if not isinstance(c.entry, Mask):
                why = Why.MASKED if isinstance(by.entry, Mask) else Why.COVERED
                dropped.append(Dropped(c.start, c.end, c.entry, zones.at(c.start), why, by.entry.id))
        hits: list[Hit] = []
        excluded = _Excluded(data, cues)
        for c in kept:
            if isinstance(c.entry, Mask):
                continue
            cue = excluded.by(c.start)
            if cue is not None:
                because = data[slice(*cue)].decode("ascii")
                dropped.append(Dropped(c.start, c.end, c.entry, zones.at(c.start), Why.NEGATED, because))
            else:
                hits.append(Hit(c.start, c.end, c.entry, zones.at(c.parts[-1][0]), data[c.start : c.end]))
        unique = {(d.start, d.end, d.entry.concept, d.why): d for d in reversed(dropped)}
        dropped = sorted(unique.values(), key=lambda d: (d.start, d.end, d.entry.id, d.why))
        return Reading(folded, _promoted(_in_phrases(hits, zones)), dropped, zones.told())

    def try_sentences(self) -> Iterator[Issue]:
        """The yes and no sentences of every entry, tried."""
        for entry in self.rulebook.entries.values():
            for text in entry.yes:
                if not self._fires(entry, text):
                    yield Issue("error", f"{entry.place} {entry.id}", f"does not fire on yes: {text!r}")
            for text in getattr(entry, "no", ()):
                if any(h.entry.id == entry.id for h in self.read(text).hits):
                    yield Issue("error", f"{entry.place} {entry.id}", f"fires on no: {text!r}")

    def _fires(self, entry: Rule | Action | Mask | Cue, text: str) -> bool:
        data = self.index.fold(text).data
        found = occurrences(self.index, data)
        if isinstance(entry, Cue):
            same = (entry.effect, entry.zone)  # another language may have the very same words
            return any((cue.effect, cue.zone) == same for _, _, cue in self._winning_cues(found))
        if isinstance(entry, Mask):
            return any(self.rulebook.masks[index].id == entry.id for o in found for index in o.use.masks)
        places = [(c.start, c.end) for c in self._candidates(data, found) if c.entry is entry]
        line = entry.concept.partition(".")[0]
        return any(  # a longer occurrence of the same line may speak for it
            h.start < end and start < h.end
            for h in self.read(text).hits
            if h.entry.concept.partition(".")[0] == line
            for start, end in places
        )

    def _qualified(
        self, data: bytes, candidates: list[_Candidate], zones: Zones, dropped: list[Dropped]
    ) -> list[_Candidate]:
        """Those that may compete: of the text's language, and heads only where a head stands."""
        out: list[_Candidate] = []
        foreign = self._foreign(data, candidates)
        for c in candidates:
            entry = c.entry
            if entry.language in foreign:
                if not isinstance(entry, Mask):
                    spoken = foreign[entry.language]
                    dropped.append(Dropped(c.start, c.end, entry, zones.at(c.start), Why.FOREIGN, spoken))
                continue
            if isinstance(entry, Rule) and entry.kind == "head":
                phrase = zones.phrase(c.start)
                if phrase is None or not zones.heads(phrase, c.start, c.end, entry.language):
                    dropped.append(Dropped(c.start, c.end, entry, zones.at(c.start), Why.NOT_HEAD, ""))
                    continue
            out.append(c)
        return out

    def _foreign(self, data: bytes, candidates: list[_Candidate]) -> dict[str, str]:
        """Languages whose terms do not count here, and the language that the text clearly is in."""
        speaking = {c.entry.language for c in candidates}
        doubtful = sorted(x for x in speaking if not self.rulebook.languages[x].foreign_words)
        if not doubtful:
            return {}
        tokens = _TOKEN.findall(data)
        marks = {code: len(x.marks.intersection(tokens)) for code, x in self.rulebook.languages.items()}
        spoken = max(marks, key=lambda code: marks[code])
        if marks[spoken] < min(_CLEAR_MARKS, 1 + len(tokens) // 16):
            return {}
        return {x: spoken for x in doubtful if x != spoken and marks[x] * 3 <= marks[spoken] - 1}

    def _winning_cues(self, found: list[Occurrence]) -> list[tuple[int, int, Cue]]:
        """Cues by position, the longest at each place."""
        out: list[tuple[int, int, Cue]] = []
        for start, end, use in found:
            if not use.cues:
                continue
            while out and start < out[-1][1] and end - start > out[-1][1] - out[-1][0]:
                out.pop()
            if not out or start >= out[-1][1] or (start, end) == out[-1][:2]:
                out += [(start, end, self.rulebook.cues[index]) for index in use.cues]
        return out

    def _candidates(self, data: bytes, found: list[Occurrence]) -> list[_Candidate]:
        """Every term of every rule and mask found, and every verb with its object."""
        out: list[_Candidate] = []
        verbs: list[Occurrence] = []
        objects: list[Occurrence] = []
        rules, masks, outside = self.rulebook.rules, self.rulebook.masks, self._outside
        for occurrence in found:
            start, end, use = occurrence
            if use.rules:
                parts = ((start, end),)
                for index in use.rules:
                    rule = rules[index]
                    out.append(_Candidate(start, end, rule, parts, end - start, rule.id in outside))
            for index in use.masks:
                out.append(_Candidate(start, end, masks[index], ((start, end),), end - start, False))
            if use.verb_of:
                if objects:
                    self._passive(data, objects, occurrence, out)
                verbs.append(occurrence)
            if use.object_of:
                if verbs:
                    self._active(data, verbs, occurrence, out)
                objects.append(occurrence)
        return out

    def _active(self, data: bytes, verbs: list[Occurrence], target: Occurrence, out: list[_Candidate]) -> None:
        """The nearest verb before an object, for each of the object's actions."""
        wanted = list(target.use.object_of)
        for verb in reversed(verbs):
            if verb.end > target.start:
                continue
            between = data[verb.end : target.start]
            gap = between.count(b" ") + between.count(b"\n") - 1
            if gap > self._gap or len(between) > _FAR or b"." in between:
                break
            met = [index for index in wanted if index in verb.use.verb_of]
            if met:
                out += [self._joined(i, verb, target) for i in met if gap <= self.rulebook.actions[i].gap]
                wanted = [index for index in wanted if index not in met]
                if not wanted:
                    break

    def _passive(self, data: bytes, objects: list[Occurrence], verb: Occurrence, out: list[_Candidate]) -> None:
        """Objects right before a verb: "invoices processed", "invoice processing"."""
        for target in reversed(objects):
            if target.end > verb.start:
                continue
            between = data[target.end : verb.start]
            if len(between) > 16 or between.count(b" ") > 2:
                break
            if b"." not in between and b"," not in between and b":" not in between:
                for index in target.use.object_of:
                    if index in verb.use.verb_of:
                        out.append(self._joined(index, target, verb))

    def _joined(self, index: int, first: Occurrence, second: Occurrence) -> _Candidate:
        action = self.rulebook.actions[index]
        parts = ((first.start, first.end), (second.start, second.end))
        length = first.end - first.start + second.end - second.start
        end = max(first.end, second.end)
        return _Candidate(first.start, end, action, parts, length, action.id in self._outside)


class _Excluded:
    """The stretches of a text in which activities are named only to exclude them."""

    def __init__(self, data: bytes, cues: Sequence[tuple[int, int, Cue]]) -> None:
        stops = [start for start, _, cue in cues if cue.effect == "stop"]
        self._stretches = sorted(self._stretch(data, *cue, stops) for cue in cues if cue[2].effect == "negate")
        self._starts = [s[0] for s in self._stretches]

    @staticmethod
    def _stretch(data: bytes, start: int, end: int, cue: Cue, stops: list[int]) -> tuple[int, int, int, int]:
        """(from, to, cue start, cue end)"""
        if cue.scope == "after":
            to = data.find(b".", end, end + _REACH)
            to = after_words(data, end, _NEGATED_WORDS, to if to >= 0 else min(len(data), end + _REACH))
            index = bisect_right(stops, end - 1)
            return end, min(to, stops[index]) if index < len(stops) else to, start, end
        since = max(data.rfind(b".", max(0, start - _REACH), start) + 1, start - _REACH, 0)
        index = bisect_right(stops, start) - 1
        return max(since, stops[index]) if index >= 0 else since, start, start, end

    def by(self, position: int) -> tuple[int, int] | None:
        """The place of the cue that excludes what stands at ``position``."""
        index = bisect_right(self._starts, position)
        for since, to, start, end in reversed(self._stretches[max(0, index - 4) : index]):
            if since <= position < to:
                return start, end
        return None


def _longest(
    candidates: list[_Candidate], languages: Mapping[str, int]
) -> tuple[list[_Candidate], list[tuple[_Candidate, _Candidate]]]:
    """The longest that do not overlap, and each loser with the one that covers it.

    Between equals a mask wins, then the language that more of the text speaks, then the closer kind.
    A mask hides services; what lies outside both lists stays to be seen.
    """
    votes = Counter([c.entry.language for c in candidates])
    order = sorted(
        candidates,
        key=lambda c: (
            -c.length,
            not isinstance(c.entry, Mask),
            c.start,
            -votes[c.entry.language],
            RANK.get(c.entry.kind, 9) if not isinstance(c.entry, Mask) else 0,
            languages[c.entry.language],
            c.entry.id,
        ),
    )
    size = max((c.end for c in candidates), default=0)
    taken, masked = bytearray(size), bytearray(size)
    kept: list[_Candidate] = []
    lost: list[_Candidate] = []
    for c in order:
        for s, e in c.parts:
            if taken.find(1, s, e) >= 0 or (not c.outside and masked.find(1, s, e) >= 0):
                lost.append(c)
                break
        else:
            ground = masked if isinstance(c.entry, Mask) else taken
            for s, e in c.parts:
                ground[s:e] = b"\1" * (e - s)
            kept.append(c)
    kept.sort(key=lambda c: (c.start, c.end))
    return kept, _covered(lost, kept) if lost else []


def _covered(lost: list[_Candidate], kept: list[_Candidate]) -> list[tuple[_Candidate, _Candidate]]:
    layers = []
    for masks in (False, True):
        chosen = [c for c in kept if isinstance(c.entry, Mask) is masks]
        owned = sorted((s, e, i) for i, c in enumerate(chosen) for s, e in c.parts)
        layers.append((chosen, owned, [o[0] for o in owned]))
    out: list[tuple[_Candidate, _Candidate]] = []
    for c in lost:
        by = next((b for b in (_owner(c, *layer) for layer in layers) if b is not None), None)
        if by is not None and not _same(c, by):
            out.append((c, by))
    return out


def _owner(
    loser: _Candidate, chosen: list[_Candidate], owned: list[tuple[int, int, int]], starts: list[int]
) -> _Candidate | None:
    """The one of ``chosen`` that overlaps ``loser``."""
    for s, e in loser.parts:
        at = bisect_right(starts, e - 1) - 1
        if at >= 0 and owned[at][1] > s:
            return chosen[owned[at][2]]
    return None


def _same(loser: _Candidate, winner: _Candidate) -> bool:
    """The same words for the same concept (in two languages, or twice in one): nothing is lost."""
    if isinstance(winner.entry, Mask) or isinstance(loser.entry, Mask):
        return False
    return loser.entry.concept == winner.entry.concept and (
        loser.parts == winner.parts or loser.entry is winner.entry
    )


def _in_phrases(hits: list[Hit], zones: Zones) -> list[Hit]:
    """In a phrase with a decided head, what is not the head only modifies it; and a job title that no
    phrase is about ("work with actuaries") is only mentioned."""
    out: list[Hit] = []
    phrases: dict[Phrase, list[int]] = {}
    for hit in hits:
        if hit.entry.kind == "title" and hit.zone not in UNTOLD and not zones.is_post(hit.start):
            hit = hit._replace(zone="mention")
        if hit.zone == "title":
            phrase = zones.phrase(hit.start)
            if phrase is not None:
                phrases.setdefault(phrase, []).append(len(out))
        out.append(hit)
    for phrase, inside in phrases.items():
        heads = {
            i
            for i in inside
            if out[i].entry.kind not in SILENT
            and zones.heads(phrase, out[i].start, out[i].end, out[i].entry.language)
        }
        if heads:
            for i in inside:
                silent = out[i].entry.kind in SILENT or out[i].entry.kind == "head"
                if i not in heads and (silent or not zones.joined(phrase, out[i].start, out[i].end)):
                    out[i] = out[i]._replace(zone="modifier")
    return out


def _promoted(hits: list[Hit]) -> list[Hit]:
    """Where nothing but the requirements tells of the work, they tell of it."""
    if any(h.zone in TELLING for h in hits if h.entry.kind != "trait"):
        return hits
    return [h._replace(zone="sole_requirements") if h.zone == "requirements" else h for h in hits]
