"""All occurrences in one pass, then who counts: longest wins, masks, negation, heads, zones."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from outsourcing_classifier.index import Index, Use
from outsourcing_classifier.results import Why
from outsourcing_classifier.rulebook import Action, Cue, Issue, Mask, Rule
from outsourcing_classifier.text import Folded

_TOKEN = re.compile(rb"[a-z0-9~]+")
_SOFT = frozenset(b" \n-/")  # bytes that may stand between two words of a term
_REACH = 600  # bytes that a negation's sentence is followed at most
_SENTENCE = 160  # bytes that a cue colours on either side at most
_NEGATED_WORDS = 14  # that a negation reaches at most
_CLEAR_MARKS = 5  # different small words that make a text's language clear
_CLEAR_BYTES = 60
_TITLE_WORDS = 16
_TITLE_BYTES = 180


class Occurrence(NamedTuple):
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
    """An occurrence that does not count. ``because`` is an entry's id or a folded span's text."""

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


class _Candidate(NamedTuple):
    start: int
    end: int
    parts: tuple[tuple[int, int], ...]
    length: int
    entry: Rule | Action | Mask


def occurrences(index: Index, data: bytes) -> list[Occurrence]:
    """All occurrences of the index's terms in folded text, nested and overlapping ones too.

    Whole words only; by start and then by end.
    """
    if index.crowded:
        index.forget()
    spans = [m.span() for m in _TOKEN.finditer(data)]
    found: list[Occurrence] = []
    begin, count, step = index.start, len(spans), index.step
    for i, (start, end) in enumerate(spans):
        token = data[start:end]
        state = begin[token] if token in begin else step(begin, token)
        j = i
        while state is not None:
            for use in state[b""]:
                found.append(Occurrence(start, end, use))
            j += 1
            if j == count or not state[b" "]:
                break
            next_start, next_end = spans[j]
            if next_start != end + 1 or data[end] not in _SOFT:
                break
            end = next_end
            token = data[next_start:next_end]
            state = state[token] if token in state else step(state, token)
    return found


class Matcher:
    """Reads texts by a compiled rulebook."""

    def __init__(self, index: Index) -> None:
        self.rulebook = rulebook = index.rulebook
        self._index = index
        self._rules = rulebook.rules
        self._actions = rulebook.actions
        self._masks = rulebook.masks
        self._cues = rulebook.cues
        self._languages = {code: i for i, code in enumerate(rulebook.languages)}
        self._gap = max((a.gap for a in rulebook.actions), default=0)
        self._head_stops = frozenset().union(*(x.head_stops for x in rulebook.languages.values()))
        self._head_skips = frozenset().union(*(x.head_skips for x in rulebook.languages.values()))
        self._head_breaks = frozenset().union(*(x.head_breaks for x in rulebook.languages.values()))
        self._head_tails = frozenset().union(*(x.head_tails for x in rulebook.languages.values()))
        self._head_last = {code: x.head == "last" for code, x in rulebook.languages.items()}

    def read(self, text: str) -> Reading:
        """Find everything and say what counts. Linear in the length of ``text``."""
        folded = self._index.fold(text)
        data = folded.data
        found = occurrences(self._index, data)
        if not found:
            return Reading(folded, [], [])
        cues = self._winning_cues(found)
        zones = _Zones(text, folded, cues, self)
        candidates = list(self._candidates(data, found))
        hits: list[Hit] = []
        dropped: list[Dropped] = []
        competing: list[_Candidate] = []
        foreign = self._foreign(data, candidates)
        for c in candidates:
            if c.entry.language in foreign:
                if not isinstance(c.entry, Mask):
                    spoken = foreign[c.entry.language]
                    dropped.append(Dropped(c.start, c.end, c.entry, zones.at(c.start), Why.FOREIGN, spoken))
            elif isinstance(c.entry, Rule) and c.entry.kind == "head" and not zones.is_head(c):
                dropped.append(Dropped(c.start, c.end, c.entry, zones.at(c.start), Why.NOT_HEAD, ""))
            else:
                competing.append(c)
        negations = list(self._negations(data, cues))
        kept, covered = _longest(competing, self._languages)
        for c, by in covered:
            if isinstance(c.entry, Mask):
                continue
            why = Why.MASKED if isinstance(by.entry, Mask) else Why.COVERED
            dropped.append(Dropped(c.start, c.end, c.entry, zones.at(c.start), why, by.entry.id))
        for c in kept:
            if isinstance(c.entry, Mask):
                continue
            by_cue = next((n for n in negations if n[0] <= c.start < n[1]), None)
            if by_cue is not None:
                because = data[by_cue[2] : by_cue[3]].decode()
                dropped.append(Dropped(c.start, c.end, c.entry, zones.at(c.start), Why.NEGATED, because))
            else:
                hits.append(Hit(c.start, c.end, c.entry, zones.of(c), data[c.start : c.end]))
        hits = zones.with_modifiers(hits)
        unique = {(d.start, d.end, d.entry.concept, d.why): d for d in reversed(dropped)}
        dropped = sorted(unique.values(), key=lambda d: (d.start, d.end, d.entry.id))
        return Reading(folded, _promoted(hits), dropped)

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
        data = self._index.fold(text).data
        found = occurrences(self._index, data)
        if isinstance(entry, Cue):
            same = (entry.effect, entry.zone)  # another language may have the very same words
            return any((cue.effect, cue.zone) == same for _, _, cue in self._winning_cues(found))
        if isinstance(entry, Mask):
            return any(self._masks[index].id == entry.id for o in found for index in o.use.masks)
        places = [(c.start, c.end) for c in self._candidates(data, found) if c.entry is entry]
        line = entry.concept.partition(".")[0]
        return any(  # a longer occurrence of the same line may speak for it
            h.start < end and start < h.end
            for h in self.read(text).hits
            if h.entry.concept.partition(".")[0] == line
            for start, end in places
        )

    def _foreign(self, data: bytes, candidates: list[_Candidate]) -> dict[str, str]:
        """Languages whose terms do not count here, and the language that the text clearly is in."""
        speaking = {c.entry.language for c in candidates}
        doubtful = [x for x in speaking if not self.rulebook.languages[x].foreign_words]
        if not doubtful or len(speaking) == 1 and len(data) < _CLEAR_BYTES:
            return {}
        tokens = set(_TOKEN.findall(data))
        marks = {code: len(tokens & x.marks) for code, x in self.rulebook.languages.items()}
        spoken = max(marks, key=lambda code: marks[code])
        if marks[spoken] < _CLEAR_MARKS:
            return {}
        return {x: spoken for x in doubtful if x != spoken and marks[x] * 3 <= marks[spoken]}

    def _winning_cues(self, found: list[Occurrence]) -> list[tuple[int, int, Cue]]:
        """Cues by position, the longest at each place."""
        out: list[tuple[int, int, Cue]] = []
        for start, end, use in found:
            for index in use.cues:
                if out and start < out[-1][1]:
                    if end - start <= out[-1][1] - out[-1][0]:
                        continue
                    out.pop()
                out.append((start, end, self._cues[index]))
        return out

    def _candidates(self, data: bytes, found: list[Occurrence]) -> Iterator[_Candidate]:
        verbs: list[Occurrence] = []
        objects: list[Occurrence] = []
        for occurrence in found:
            start, end, use = occurrence
            for index in use.rules:
                yield _Candidate(start, end, ((start, end),), end - start, self._rules[index])
            for index in use.masks:
                yield _Candidate(start, end, ((start, end),), end - start, self._masks[index])
            if use.verb_of:
                for target in reversed(objects):  # "invoices processed", "invoice processing"
                    between = data[target.end : start]
                    if len(between) > 16 or between.count(b" ") > 2:
                        break
                    if b"." not in between and b"," not in between and b":" not in between:
                        for index in target.use.object_of:
                            if index in use.verb_of:
                                yield self._joined(index, target, occurrence)
                verbs.append(occurrence)
            if use.object_of:
                yield from self._objects(data, verbs, occurrence)
                objects.append(occurrence)

    def _objects(self, data: bytes, verbs: list[Occurrence], target: Occurrence) -> Iterator[_Candidate]:
        wanted = set(target.use.object_of)
        limit = self._gap
        for verb in reversed(verbs):
            if verb.end > target.start:
                continue
            between = data[verb.end : target.start]
            words_between = between.count(b" ") + between.count(b"\n") - 1
            if words_between > limit or b"." in between:
                break
            for index in [i for i in wanted if i in verb.use.verb_of]:
                wanted.discard(index)
                if words_between <= self._actions[index].gap:
                    yield self._joined(index, verb, target)
            if not wanted:
                break

    def _joined(self, index: int, first: Occurrence, second: Occurrence) -> _Candidate:
        parts = ((first.start, first.end), (second.start, second.end))
        length = first.end - first.start + second.end - second.start
        return _Candidate(first.start, max(first.end, second.end), parts, length, self._actions[index])

    def _negations(
        self, data: bytes, cues: list[tuple[int, int, Cue]]
    ) -> Iterator[tuple[int, int, int, int]]:
        """(from, to, cue start, cue end) of every stretch in which activities are excluded."""
        stops = [start for start, _, cue in cues if cue.effect == "stop"]
        for start, end, cue in cues:
            if cue.effect != "negate":
                continue
            if cue.scope == "after":
                to = data.find(b".", end, end + _REACH)
                to = min(to if to >= 0 else len(data), _after_words(data, end, _NEGATED_WORDS))
                index = bisect_right(stops, end - 1)
                if index < len(stops):
                    to = min(to, stops[index])
                yield end, to, start, end
            else:
                since = max(data.rfind(b".", max(0, start - _REACH), start) + 1, start - _REACH, 0)
                index = bisect_right(stops, start) - 1
                if index >= 0:
                    since = max(since, stops[index])
                yield since, start, start, end


_RANK = {k: i for i, k in enumerate(("mask", "listed", "synonym", "title", "narrower", "action", "head"))}


def _longest(
    candidates: list[_Candidate], languages: Mapping[str, int]
) -> tuple[list[_Candidate], list[tuple[_Candidate, _Candidate]]]:
    """The longest that do not overlap, and each loser with the one that covers it.

    Between equals a mask wins, then the closer kind, then the language that more of the text speaks.
    """
    votes = Counter(c.entry.language for c in candidates)
    order = sorted(
        candidates,
        key=lambda c: (
            -c.length,
            _RANK.get("mask" if isinstance(c.entry, Mask) else c.entry.kind, 9),
            c.start,
            -votes[c.entry.language],
            languages[c.entry.language],
            c.entry.id,
        ),
    )
    size = max((c.end for c in candidates), default=0)
    taken, masked = bytearray(size), bytearray(size)
    kept: list[_Candidate] = []
    lost: list[_Candidate] = []
    for c in order:
        is_mask = isinstance(c.entry, Mask)
        outside = not isinstance(c.entry, Mask) and c.entry.concept.startswith("outside.")
        if any(taken.find(1, s, e) >= 0 or not outside and masked.find(1, s, e) >= 0 for s, e in c.parts):
            lost.append(c)
            continue
        for s, e in c.parts:  # a mask hides services; what lies outside both lists stays to be seen
            (masked if is_mask else taken)[s:e] = b"\1" * (e - s)
        kept.append(c)
    layers = []
    for chosen in (
        [c for c in kept if not isinstance(c.entry, Mask)],
        [c for c in kept if isinstance(c.entry, Mask)],
    ):
        owned = sorted(((s, e, i) for i, c in enumerate(chosen) for s, e in c.parts))
        layers.append((chosen, owned, [o[0] for o in owned]))
    covered: list[tuple[_Candidate, _Candidate]] = []
    for c in lost:
        by = next((b for b in (_owner(c, *layer) for layer in layers) if b is not None), None)
        if by is not None and not _same(c, by):
            covered.append((c, by))
    kept.sort(key=lambda c: (c.start, c.end))
    return kept, covered


def _promoted(hits: list[Hit]) -> list[Hit]:
    """Where nothing but the requirements tells of the work, they tell of it."""
    if any(h.zone in _TELLING for h in hits if h.entry.kind not in _SILENT):
        return hits
    return [h._replace(zone="sole_requirements") if h.zone == "requirements" else h for h in hits]


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


def _after_words(data: bytes, position: int, count: int) -> int:
    for _ in range(count + 1):
        position = data.find(b" ", position + 1)
        if position < 0:
            return len(data)
    return position


class _Zones:
    """Where in a text a position stands: title, duties, requirements, employer, …"""

    def __init__(
        self, text: str, folded: Folded, cues: list[tuple[int, int, Cue]], matcher: Matcher
    ) -> None:
        self._data = data = folded.data
        self._text = text
        self._folded = folded
        self._matcher = matcher
        self._title_end = _title_end(data)
        self._starts = [0]
        self._zones = ["title" if self._title_end else "body"]
        if self._title_end and self._title_end < len(data):
            self._starts.append(self._title_end)
            self._zones.append("body")
        self._spans: list[tuple[int, int, str]] = []
        for start, end, cue in cues:
            if cue.effect != "zone":
                continue
            if cue.scope == "section":
                if start >= self._starts[-1] and self._is_heading(start, end):
                    self._starts.append(start)
                    self._zones.append(cue.zone)
            elif cue.scope == "sentence":
                if start >= self._title_end:
                    since, to = _sentence(data, start, end)
                    self._spans.append((max(since, self._title_end), to, cue.zone))
            else:
                to = _phrase_end(data, end)
                self._spans.append((end, to, cue.zone))
        self._tell_employer()
        self._spans.sort()
        self._span_starts = [s[0] for s in self._spans]
        self._regions = list(self._head_regions())

    def _tell_employer(self) -> None:
        """What stands between the title and "we are looking for a …", under no heading, tells of the employer."""
        sought = min((s for s, _, zone in self._spans if zone == "title"), default=0)
        if sought > self._title_end + _SENTENCE // 2 and bisect_right(self._starts, sought) <= len(
            [x for x in self._starts if x <= self._title_end]
        ):
            start = max(self._data.rfind(b".", 0, sought), self._title_end)
            self._spans.append((self._title_end, start, "employer"))

    def at(self, position: int) -> str:
        index = bisect_right(self._span_starts, position) - 1
        for start, end, zone in reversed(self._spans[max(0, index - 3) : index + 1]):
            if start <= position < end:
                return zone
        return self._zones[bisect_right(self._starts, position) - 1]

    def of(self, candidate: _Candidate) -> str:
        return self.at(candidate.parts[-1][0])

    def is_head(self, candidate: _Candidate) -> bool:
        return any(self._heads(region, candidate) for region in self._near(candidate.start))

    def _near(self, position: int) -> list[tuple[int, int, int, int]]:
        return [r for r in self._regions if r[0] <= position < r[1]]

    def _heads(self, region: tuple[int, int, int, int], candidate: _Candidate) -> bool:
        _, _, first, last = region
        code = candidate.entry.language
        if self._matcher._head_last[code]:
            return candidate.end == last
        return candidate.start == first

    def with_modifiers(self, hits: list[Hit]) -> list[Hit]:
        """In a phrase with a decided head, what is not the head only modifies it; and a job title that
        no phrase is about ("work with actuaries") is only mentioned."""
        hits = [
            h._replace(zone="mention") if h.entry.kind == "title" and not self._is_post(h) else h for h in hits
        ]
        for region in self._regions:
            start, end, first, last = region
            inside = [h for h in hits if start <= h.start < end and h.zone == "title"]
            heads = [
                h
                for h in inside
                if h.entry.kind not in _SILENT
                and (h.end == last if self._matcher._head_last[h.entry.language] else h.start == first)
            ]
            if heads and len(inside) > len(heads):
                hits = [h._replace(zone="modifier") if h in inside and h not in heads else h for h in hits]
        return hits

    def _is_post(self, hit: Hit) -> bool:
        """Whether a job title stands for the post itself and not for somebody met at work."""
        if hit.zone in _UNTOLD:
            return True
        for _, end, first, last in self._near(hit.start):
            if self._matcher._head_last[hit.entry.language]:
                return hit.end <= last
            between = _TOKEN.findall(self._data, first, hit.start)
            return hit.start < end and not any(t in self._matcher._head_breaks for t in between)
        return False

    def _head_regions(self) -> Iterator[tuple[int, int, int, int]]:
        """(start, end, first head-first position, last head-last position) of title phrases."""
        stretches = [(0, self._title_end)] if self._title_end else []
        stretches += [(s, e) for s, e, zone in self._spans if zone == "title"]
        for start, end in stretches:
            seams = [m.span() for m in _SEAMS.finditer(self._data, start, end)]
            for since, to in zip([start, *(e for _, e in seams)], [*(s for s, _ in seams), end], strict=True):
                comma = _COMMA.search(self._data, since + 1, to)
                tokens = [t.span() for t in _TOKEN.finditer(self._data, since, comma.start() if comma else to)]
                if tokens:
                    first, last = self._head_edges(tokens)
                    yield since, to, first, last

    def _head_edges(self, tokens: list[tuple[int, int]]) -> tuple[int, int]:
        data = self._data
        stops, skips, tails = self._matcher._head_stops, self._matcher._head_skips, self._matcher._head_tails
        first = 0
        while first < len(tokens) - 1:
            word = data[slice(*tokens[first])]
            if word in skips or any(48 <= b <= 57 for b in word):
                first += 1
            else:
                break
        last = next(
            (i - 1 for i, (s, e) in enumerate(tokens) if i > first and data[s:e] in stops), len(tokens) - 1
        )
        while last > first and (tokens[last][1] - tokens[last][0] == 1 or data[slice(*tokens[last])] in tails):
            last -= 1
        return tokens[first][0], tokens[last][1]

    def _is_heading(self, start: int, end: int) -> bool:
        data = self._data
        before = data[max(0, start - 3) : start].rstrip(b" -/")
        if before and before[-1] not in b".:\n,(":
            return False
        after = data[end : end + 3].lstrip(b" ")
        if not after or after[0] in b":.\n-":
            return True
        first, following = self._folded.source(start), self._folded.source(end)
        rest = self._text[following : following + 3].lstrip()
        return self._text[first : first + 1].isupper() and rest[:1].isupper()


_SEAMS = re.compile(rb"[.:/\n]| -|- ")
_COMMA = re.compile(rb"[,(]")
_TELLING = frozenset(["title", "modifier", "duties", "body"])
_UNTOLD = frozenset(["requirements", "sole_requirements", "employer", "benefits", "boilerplate"])
_SILENT = frozenset(["hint", "trait", "delivery", "model"])


def _title_end(data: bytes) -> int:
    """Where the title ends; 0 where the text begins with a sentence and not with a title."""
    position = 0
    while True:
        found = re.compile(rb"[.:\n]").search(data, position, _TITLE_BYTES)
        end = found.start() if found else min(len(data), _TITLE_BYTES)
        if found and len(_TOKEN.findall(data, 0, end)) < 2 and end < 6 and end + 1 < len(data):
            position = end + 1
            continue
        break
    if not found and len(data) > _TITLE_BYTES:
        end = _TITLE_BYTES
    if len(_TOKEN.findall(data[:end])) <= _TITLE_WORDS and (found or end == len(data)):
        return end
    if len(data) <= 2 * _TITLE_BYTES:
        comma = re.compile(rb"[,(]").search(data, 12, end)
        return comma.start() if comma else min(end, _after_words(data, 0, 12))
    return 0


def _sentence(data: bytes, start: int, end: int) -> tuple[int, int]:
    """The sentence around a place, or as much of an endless one as a reader would take for it."""
    floor, roof = max(0, start - _SENTENCE), min(len(data), end + _SENTENCE)
    since = max(data.rfind(b".", floor, start), data.rfind(b":", floor, start)) + 1
    to = data.find(b".", end, roof)
    return max(since, floor), to if to >= 0 else roof


def _phrase_end(data: bytes, start: int) -> int:
    found = re.compile(rb"[.,:(\n]").search(data, start + 1, start + 90)
    end = found.start() if found else min(len(data), start + 90)
    return min(end, _after_words(data, start, 9))
