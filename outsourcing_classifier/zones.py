"""Where in a text a place stands: title, duties, requirements, employer, benefits, boilerplate; and
which word of a title is its head."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

from outsourcing_classifier.rulebook import Cue, Language
from outsourcing_classifier.text import Folded

_SENTENCE = 160  # bytes that a cue colours on either side at most
_TITLE_WORDS = 16
_TITLE_BYTES = 180
_TOKEN = re.compile(rb"[a-z0-9~]+")
_SEAMS = re.compile(rb"[.:/\n]| -|- ")
_COMMA = re.compile(rb"[,(]")
_TITLE_ENDS = re.compile(rb"[.:\n]")
_PHRASE_ENDS = re.compile(rb"[.,:(\n]")
_DIGITS = frozenset(b"0123456789")
UNTOLD = frozenset(["requirements", "sole_requirements", "employer", "benefits", "boilerplate"])
SILENT = frozenset(["hint", "trait", "delivery", "model"])  # kinds that settle no title


class Named(Protocol):
    """What can be the head of a phrase: a place, and the entry that found it."""

    @property
    def start(self) -> int: ...
    @property
    def end(self) -> int: ...


class Phrase(NamedTuple):
    """A stretch of a title: its bounds, and where a head must begin (head first) or end (head last)."""

    start: int
    end: int
    first: int
    last: int


class Heads:
    """The languages' habits of putting the head of a noun phrase."""

    def __init__(self, languages: Mapping[str, Language]) -> None:
        all_ = languages.values()
        self.stops = frozenset[bytes]().union(*(x.head_stops for x in all_))
        self.skips = frozenset[bytes]().union(*(x.head_skips for x in all_))
        self.breaks = frozenset[bytes]().union(*(x.head_breaks for x in all_))
        self.joins = frozenset[bytes]().union(*(x.head_joins for x in all_))
        self.tails = frozenset[bytes]().union(*(x.head_tails for x in all_))
        self.ranks = self.skips.union(*(x.head_ranks for x in all_))
        self.last = {code: x.head == "last" for code, x in languages.items()}

    def edges(self, data: bytes, tokens: Sequence[tuple[int, int]]) -> tuple[int, int]:
        """Where the head of a phrase of ``tokens`` begins if it is first, and ends if it is last."""
        first = 0
        while first < len(tokens) - 1:
            word = data[slice(*tokens[first])]
            if word not in self.skips and _DIGITS.isdisjoint(word):
                break
            first += 1
        last = len(tokens) - 1
        for i in range(first + 1, len(tokens)):
            if data[slice(*tokens[i])] in self.stops:
                last = i - 1
                break
        while last > first and (tokens[last][1] - tokens[last][0] == 1 or data[slice(*tokens[last])] in self.tails):
            last -= 1
        return tokens[first][0], tokens[last][1]

    def ranked(self, data: bytes, tokens: Sequence[tuple[int, int]]) -> bool:
        """Whether the tokens name a rank and no work."""
        return all(data[start:end] in self.ranks for start, end in tokens)


class Zones:
    """The zones of one text."""

    def __init__(self, text: str, folded: Folded, cues: Sequence[tuple[int, int, Cue]], heads: Heads) -> None:
        self._text, self._folded, self._heads = text, folded, heads
        self._data = data = folded.data
        self._title_end = _title_end(data)
        self._starts = [0]
        self._zones = ["title" if self._title_end else "body"]
        if self._title_end and self._title_end < len(data):
            self._starts.append(self._title_end)
            self._zones.append("body")
        untitled = len(self._starts)
        self._spans: list[tuple[int, int, str]] = []
        sought: list[tuple[int, int, str]] = []
        for start, end, cue in cues:
            if cue.effect != "zone":
                continue
            if cue.scope == "section":
                strict = start < self._title_end and cue.zone != "duties"
                if not strict and start < self._title_end <= end + 1 and self._is_heading(start, end, False):
                    self._title_end, self._starts, self._zones = 0, [0], [cue.zone]  # no title but a heading
                elif start >= self._starts[-1] and self._is_heading(start, end, strict):
                    self._starts.append(start)
                    self._zones.append(cue.zone)
            elif cue.scope == "sentence":
                if start >= self._title_end:
                    since, to = _sentence(data, start, end)
                    self._spans.append((max(since, self._title_end), to, cue.zone))
            else:
                sought.append((end, _phrase_end(data, end), cue.zone))
        self._spans += sought
        if sought:
            self._tell_employer(sought[0][0], untitled)
        self._spans.sort()
        self._span_starts = [s for s, _, _ in self._spans]
        stretches = [(0, self._title_end)] if self._title_end else []
        stretches += [(s, e) for s, e, zone in self._spans if zone == "title"]
        self._phrases = sorted(p for s, e in stretches for p in self._cut(s, e))
        self._phrase_starts = [p.start for p in self._phrases]

    def _tell_employer(self, sought: int, untitled: int) -> None:
        """What stands between the title and "we are looking for a …", under no heading, tells of the employer."""
        headed = bisect_right(self._starts, sought) > untitled
        if not headed and sought > self._title_end + _SENTENCE // 2:
            before = max(self._data.rfind(b".", 0, sought), self._title_end)
            self._spans.append((self._title_end, before, "employer"))

    def at(self, position: int) -> str:
        """The zone of a place."""
        index = bisect_right(self._span_starts, position)
        for start, end, zone in reversed(self._spans[max(0, index - 4) : index]):
            if start <= position < end:
                return zone
        return self._zones[bisect_right(self._starts, position) - 1]

    def told(self) -> int:
        """How many bytes tell of the work: all but what tells of the employer, benefits, application, wishes."""
        ends = [*self._starts[1:], len(self._data)]
        untold = [(s, e) for s, e, zone in zip(self._starts, ends, self._zones, strict=True) if zone in UNTOLD]
        untold += [(s, e) for s, e, zone in self._spans if zone in UNTOLD]
        covered = reached = 0
        for start, end in sorted(untold):
            covered += max(0, end - max(start, reached))
            reached = max(reached, end)
        return len(self._data) - covered

    def phrase(self, position: int) -> Phrase | None:
        """The title phrase that a place stands in."""
        index = bisect_right(self._phrase_starts, position)
        for phrase in reversed(self._phrases[max(0, index - 3) : index]):
            if position < phrase.end:
                return phrase
        return None

    def heads(self, phrase: Phrase, start: int, end: int, language: str) -> bool:
        """Whether what stands from ``start`` to ``end`` is the head of a phrase."""
        return end == phrase.last if self._heads.last[language] else start == phrase.first

    def is_post(self, start: int) -> bool:
        """Whether a job title stands for the post itself and not for somebody met at work."""
        phrase = self.phrase(start)
        if phrase is None:
            return False
        return self._heads.breaks.isdisjoint(_TOKEN.findall(self._data, phrase.first, start))

    def joined(self, phrase: Phrase, start: int, end: int) -> bool:
        """Whether a place stands beside the head ("a call centre *and* market research")."""
        after = _TOKEN.match(self._data, end + 1, phrase.end)
        if after is not None and after.group() in self._heads.joins:
            return True
        before = self._data[max(phrase.start, start - 30) : start].rstrip(b" \n")
        while before:
            if before[-1] in b",+":
                return True
            word = before.rsplit(None, 1)[-1]
            if word in self._heads.joins:
                return True
            if word not in self._heads.skips:
                return False
            before = before[: -len(word)].rstrip(b" \n")
        return False

    def _cut(self, start: int, end: int) -> Iterator[Phrase]:
        seams = [m.span() for m in _SEAMS.finditer(self._data, start, end)]
        for since, to in zip([start, *(e for _, e in seams)], [*(s for s, _ in seams), end], strict=True):
            at, head = since, None
            while True:  # "Manager, Compliance": behind a bare rank the field is the head
                comma = _COMMA.search(self._data, at + 1, to)
                tokens = [t.span() for t in _TOKEN.finditer(self._data, at, comma.start() if comma else to)]
                if tokens:
                    head = self._heads.edges(self._data, tokens)
                if comma is None or not tokens or not self._heads.ranked(self._data, tokens):
                    break
                at = comma.end()
            if head:
                yield Phrase(since, to, *head)

    def _is_heading(self, start: int, end: int, strict: bool) -> bool:
        """Whether a cue stands as a heading; ``strict``: only with a colon or at the end of its line."""
        data = self._data
        before = data[max(0, start - 3) : start].rstrip(b" -/")
        if before and before[-1] not in b".:\n,(":
            return False
        after = data[end : end + 3].lstrip(b" ")
        if not after or after[0] in b":.\n-":
            return True
        if strict:
            return False
        first, following = self._folded.source(start), self._folded.source(end)
        rest = self._text[following : following + 3].lstrip()
        return self._text[first : first + 1].isupper() and rest[:1].isupper()


def _title_end(data: bytes) -> int:
    """Where the title ends; 0 where the text begins with a sentence and not with a title."""
    position = 0
    for _ in range(5):  # codes before the title: "PS017-0492.", "6.4.10"
        found = _TITLE_ENDS.search(data, position, position + _TITLE_BYTES)
        end = found.start() if found else min(len(data), position + _TITLE_BYTES)
        tokens = _TOKEN.findall(data, position, end)
        code = len(tokens) < 3 and all(len(t) < 3 or not _DIGITS.isdisjoint(t) for t in tokens)
        short = len(tokens) < 2 and end - position < 6
        if not found or not (code or short) or end + 1 >= len(data):
            break
        position = end + 1
    if not found and len(data) > _TITLE_BYTES:
        end = _TITLE_BYTES
    if len(_TOKEN.findall(data, position, end)) <= _TITLE_WORDS and (found or end == len(data)):
        return end
    if len(data) <= 2 * _TITLE_BYTES:
        comma = _COMMA.search(data, 12, end)
        return comma.start() if comma else after_words(data, 0, 12, end)
    return 0


def _sentence(data: bytes, start: int, end: int) -> tuple[int, int]:
    """The sentence around a place, or as much of an endless one as a reader would take for it."""
    floor, roof = max(0, start - _SENTENCE), min(len(data), end + _SENTENCE)
    since = max(data.rfind(b".", floor, start), data.rfind(b":", floor, start)) + 1
    to = data.find(b".", end, roof)
    return max(since, floor), to if to >= 0 else roof


def _phrase_end(data: bytes, start: int) -> int:
    found = _PHRASE_ENDS.search(data, start + 1, start + 90)
    end = found.start() if found else min(len(data), start + 90)
    return after_words(data, start, 9, end)


def after_words(data: bytes, position: int, count: int, stop: int) -> int:
    """The place behind the next ``count`` words, or ``stop`` where that comes first."""
    for _ in range(count + 1):
        position = data.find(b" ", position + 1, stop)
        if position < 0:
            return stop
    return position
