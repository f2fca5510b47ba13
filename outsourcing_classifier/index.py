"""The compiled rulebook: what the matcher walks. Built from the rules once, then kept as plain arrays.

A term's places are edges of token sets, and terms share their beginnings. Tokens that lie in the same
sets are one *class*; over classes the graph is made deterministic, so that a walk costs one look-up a
word, however many terms begin alike.

The file holds JSON and arrays of 32-bit numbers, nothing that runs. It lies in ``__compiled__``
beside the rules, is named after the SHA-256 of the rules and of the modules that compile them, and
is made again when it is missing.
"""

from __future__ import annotations

import json
import os
import sys
import zlib
from array import array
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property, lru_cache
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

from outsourcing_classifier.rulebook import HOME, Pattern, Rulebook, RulebookError, Slot, checksum, digest
from outsourcing_classifier.text import Folded, Folder

_MAGIC = b"outsourcing_classifier index 4\n"
_ROLES = ("rule", "mask", "cue", "object", "verb")
ARRAYS = (
    "token_class",  # token -> class
    *("moves_at", "move_classes", "move_states"),  # state -> (class, state), by class; state 0 begins
    "state_use",  # state -> 1 + use, or 0
    *("rules_at", "rules", "masks_at", "masks", "cues_at", "cues", "objects_at", "objects"),  # use -> entries
    *("verbs", "verb_sets_at", "verb_sets"),  # use -> verb set -> actions
)


@lru_cache(maxsize=1)
def compiler() -> str:
    """SHA-256 over the source of the modules that compile rules: what they make is of no use to others."""
    sources = (Path(__file__).with_name(name).read_bytes() for name in ("text.py", "rulebook.py", "index.py"))
    return checksum(source.replace(b"\r\n", b"\n") + b"\0" for source in sources)


def compiled(home: Path, sha256: str) -> Path:
    """Where the compiled index of the rules in ``home`` is kept."""
    name = checksum([f"{sha256} {compiler()}".encode()])[:32]
    return home / "__compiled__" / f"{name}.bin"


class Use(NamedTuple):
    """What one term stands for: indices into the rulebook's rules, masks, cues and actions."""

    rules: tuple[int, ...]
    masks: tuple[int, ...]
    cues: tuple[int, ...]
    verb_of: frozenset[int]
    object_of: tuple[int, ...]


class Index:
    """A rulebook with its compiled terms."""

    def __init__(self, rulebook: Rulebook, words: bytes, arrays: Mapping[str, Sequence[int]]) -> None:
        self.rulebook = rulebook
        self.arrays = arrays
        self.words = words  # the tokens, with a space between
        self._state_use = arrays["state_use"]
        self._moves: list[dict[int, int] | None] = [None] * len(self._state_use)
        self._uses: dict[int, Use] = {}
        self.gender_endings = frozenset[bytes]().union(*(x.gender_endings for x in rulebook.languages.values()))

    @cached_property
    def class_of(self) -> dict[bytes, int]:
        """The class of each token."""
        return dict(zip(self.words.split(b" "), self.arrays["token_class"], strict=True))

    @cached_property
    def _folder(self) -> Folder:
        return Folder(self.class_of, self.gender_endings)

    @classmethod
    def open(cls, profile: str = "article", path: str | Path | None = None) -> Index:
        """The index of a folder of rules (the shipped one by default), compiled if need be.

        Raises :class:`RulebookError`.
        """
        home = Path(path) if path is not None else HOME
        if not home.is_dir():
            raise RulebookError(f"{home}: no such folder of rules")
        sha256 = digest(home)
        kept = compiled(home, sha256)
        try:
            return cls.from_bytes(kept.read_bytes(), profile, sha256)
        except (OSError, ValueError):
            pass
        index = cls.build(Rulebook.load(profile, home))
        index.keep(kept)
        return index

    @classmethod
    def build(cls, rulebook: Rulebook) -> Index:
        """Compile a rulebook that was read from its files."""
        return _Builder().index(rulebook)

    def to_bytes(self) -> bytes:
        """The index as bytes: header, JSON, arrays, check sum."""
        head = {
            "compiler": compiler(),
            "rulebook": self.rulebook.to_plain(),
            "words": len(self.words),
            "lengths": [len(self.arrays[name]) for name in ARRAYS],
        }
        text = json.dumps(head, ensure_ascii=False, separators=(",", ":")).encode()
        front = _MAGIC + len(text).to_bytes(8, "little") + text + self.words
        front += b" " * (-len(front) % 4)  # numbers begin where numbers may
        whole = front + b"".join(_little_endian(array("I", self.arrays[name])).tobytes() for name in ARRAYS)
        return whole + zlib.crc32(whole).to_bytes(4, "little")

    @classmethod
    def from_bytes(cls, data: bytes, profile: str, sha256: str) -> Index:
        """Read what :meth:`to_bytes` wrote. Raises ValueError where it is not whole or of other rules."""
        start = len(_MAGIC) + 8
        if data[: len(_MAGIC)] != _MAGIC:
            raise ValueError("not an index")
        if int.from_bytes(data[-4:], "little") != zlib.crc32(memoryview(data)[:-4]):
            raise ValueError("the index is not whole")
        size = int.from_bytes(data[start - 8 : start], "little")
        head = json.loads(data[start : start + size])
        if head["rulebook"]["sha256"] != sha256 or head["compiler"] != compiler():
            raise ValueError("the index is of other rules or of another version")
        at = start + size
        words = data[at : at + head["words"]]
        at += len(words) + -(at + len(words)) % 4
        arrays: dict[str, Sequence[int]] = {}
        for name, length in zip(ARRAYS, head["lengths"], strict=True):
            view = memoryview(data)[at : at + 4 * length].cast("I")  # not copied: there are millions
            arrays[name] = view if sys.byteorder == "little" else _little_endian(array("I", view))
            at += 4 * length
        return cls(Rulebook.from_plain(head["rulebook"], profile), words, arrays)

    def keep(self, path: Path) -> None:
        """Write the index, at once or not at all; a place that cannot be written is no error."""
        import tempfile

        try:
            path.parent.mkdir(exist_ok=True)
            handle, beside = tempfile.mkstemp(dir=path.parent, suffix=".part")
        except OSError:
            return
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(self.to_bytes())
            os.chmod(beside, path.parent.stat().st_mode & 0o666)  # for all who may read the rules
            os.replace(beside, path)
            for old in path.parent.glob("*.bin"):
                if old != path:
                    old.unlink(missing_ok=True)
        except OSError:
            Path(beside).unlink(missing_ok=True)

    def __reduce__(self) -> tuple[object, ...]:
        return Index, (self.rulebook, self.words, {name: array("I", row) for name, row in self.arrays.items()})

    def fold(self, text: str) -> Folded:
        """Fold a text as the terms are folded."""
        return self._folder.fold(text)

    def moves(self, state: int) -> dict[int, int]:
        """Where a walk goes on from ``state``, by the class of the next word."""
        moves = self._moves[state]
        if moves is None:
            low, high = self.arrays["moves_at"][state : state + 2]
            classes, states = self.arrays["move_classes"][low:high], self.arrays["move_states"][low:high]
            moves = self._moves[state] = dict(zip(classes, states, strict=True))
        return moves

    def use(self, state: int) -> Use | None:
        """What the terms that end at ``state`` stand for."""
        number = self._state_use[state]
        if not number:
            return None
        use = self._uses.get(number)
        if use is None:
            rules, masks, cues, objects = (
                tuple(self._row(name, number - 1)) for name in ("rules", "masks", "cues", "objects")
            )
            verbs = frozenset(self._row("verb_sets", self.arrays["verbs"][number - 1]))
            use = self._uses[number] = Use(rules, masks, cues, verbs, objects)
        return use

    def _row(self, name: str, number: int) -> Iterable[int]:
        at = self.arrays[name + "_at"]
        return self.arrays[name][at[number] : at[number + 1]]

    @cached_property
    def size(self) -> dict[str, int]:
        """How many tokens and classes of them, states and moves between them the index holds."""
        return {
            "tokens": len(self.arrays["token_class"]),
            "classes": max(self.arrays["token_class"], default=-1) + 1,
            "states": len(self._state_use),
            "moves": len(self.arrays["move_classes"]),
            "uses": len(self.arrays["verbs"]),
        }


def _little_endian(numbers: array[int]) -> array[int]:
    if sys.byteorder == "big":
        numbers = array("I", numbers)
        numbers.byteswap()
    return numbers


class _Builder:
    """Lays the patterns out as a graph, makes it deterministic and flattens it."""

    def __init__(self) -> None:
        self._tokens: dict[bytes, list[int]] = {}  # token -> ids of the sets it lies in
        self._sets: dict[frozenset[bytes], int] = {}
        self._edges: list[dict[int, list[int]]] = [{}]  # node -> set -> nodes
        self._ends: dict[int, list[int]] = {}  # node -> patterns
        self._shared: dict[tuple[tuple[int, ...], Slot], int] = {}

    def index(self, rulebook: Rulebook) -> Index:
        roles: dict[Pattern, dict[str, dict[int, None]]] = {}
        for pattern, role, index in rulebook.uses():
            roles.setdefault(pattern, {}).setdefault(role, {})[index] = None
        for number, pattern in enumerate(roles):
            self._add(pattern, number)
        classes: dict[tuple[int, ...], int] = {}
        token_class = array("I", [classes.setdefault(tuple(sets), len(classes)) for sets in self._tokens.values()])
        steps, ends = self._determine(list(classes))
        uses: dict[tuple[tuple[int, ...], ...], int] = {}
        state_use = array("I")
        by_number = list(roles.values())
        for patterns in ends:
            together = [by_number[p] for p in patterns]
            rows = [dict.fromkeys(i for by in together for i in by.get(role, ())) for role in _ROLES]
            use = (*(tuple(row) for row in rows[:-1]), tuple(sorted(rows[-1])))
            state_use.append(uses.setdefault(use, len(uses)) + 1 if patterns else 0)
        moves, state_use = _merged(steps, state_use)
        verb_sets: dict[tuple[int, ...], int] = {}
        arrays = {
            "token_class": token_class,
            "moves_at": array("I", accumulate(map(len, moves), initial=0)),
            "move_classes": array("I", [c for row in moves for c in sorted(row)]),
            "move_states": array("I", [row[c] for row in moves for c in sorted(row)]),
            "state_use": state_use,
            **{
                k: v
                for i, role in enumerate(_ROLES[:-1])
                for k, v in _ragged(role + "s", [u[i] for u in uses]).items()
            },
            "verbs": array("I", [verb_sets.setdefault(u[-1], len(verb_sets)) for u in uses]),
            **_ragged("verb_sets", list(verb_sets)),
        }
        return Index(rulebook, b" ".join(self._tokens), arrays)

    def _determine(self, classes: Sequence[tuple[int, ...]]) -> tuple[list[dict[int, int]], list[tuple[int, ...]]]:
        """Moves by class and patterns that end, for each state; a state is a group of nodes."""
        classes_of: list[list[int]] = [[] for _ in self._sets]
        for number, sets in enumerate(classes):
            for known in sets:
                classes_of[known].append(number)
        states: dict[tuple[int, ...], int] = {(0,): 0}
        moves: list[dict[int, int]] = []
        ends: list[tuple[int, ...]] = []
        waiting: list[tuple[int, ...]] = [(0,)]
        for nodes in waiting:  # grows as it is read
            reached: dict[int, set[int]] = {}
            for node in nodes:
                for known, targets in self._edges[node].items():
                    for number in classes_of[known]:
                        reached.setdefault(number, set()).update(targets)
            row: dict[int, int] = {}
            for number, group in reached.items():
                key = tuple(sorted(group))
                if key not in states:
                    states[key] = len(states)
                    waiting.append(key)
                row[number] = states[key]
            moves.append(row)
            ends.append(tuple(p for node in nodes for p in self._ends.get(node, ())))
        return moves, ends

    def _add(self, pattern: Pattern, use: int) -> None:
        nodes: tuple[int, ...] = (0,)
        for slot in pattern:
            out = self._shared.get((nodes, slot))
            if out is None:
                out = self._shared[nodes, slot] = self._node()
                for node in nodes:
                    if slot.single:
                        self._link(node, slot.single, out)
                    for sequence in slot.longer:
                        at = node
                        for tokens in sequence[:-1]:
                            inner = self._node()
                            self._link(at, tokens, inner)
                            at = inner
                        self._link(at, sequence[-1], out)
            nodes = (out, *nodes) if slot.optional else (out,)
        for node in nodes:
            if node:
                self._ends.setdefault(node, []).append(use)

    def _node(self) -> int:
        self._edges.append({})
        return len(self._edges) - 1

    def _link(self, node: int, tokens: frozenset[bytes], to: int) -> None:
        known = self._sets.get(tokens)
        if known is None:
            known = self._sets[tokens] = len(self._sets)
            for token in sorted(tokens):
                self._tokens.setdefault(token, []).append(known)
        self._edges[node].setdefault(known, []).append(to)


def _merged(moves: Sequence[dict[int, int]], uses: Sequence[int]) -> tuple[list[dict[int, int]], array[int]]:
    """The same automaton with as few states as can be: those that nothing tells apart are one.

    Terms have an end, so no walk comes back to a state: each is compared when all behind it are numbered.
    """
    number = [-1] * len(moves)
    known: dict[tuple[int, tuple[tuple[int, int], ...]], int] = {}
    open_ = [0]
    while open_:
        state = open_[-1]
        behind = [s for s in moves[state].values() if number[s] < 0]
        if behind and number[state] < 0:
            open_ += behind
            continue
        open_.pop()
        if number[state] < 0:
            row = tuple(sorted((c, number[s]) for c, s in moves[state].items()))
            number[state] = known.setdefault((uses[state], row), len(known))
    last = len(known) - 1  # the root is numbered last, and wanted first
    rows = [{c: last - s for c, s in row} for _, row in known]
    return rows[::-1], array("I", [use for use, _ in known][::-1])


def _ragged(name: str, rows: Sequence[Iterable[int]]) -> dict[str, array[int]]:
    """Rows of numbers as one array and the places where each row begins."""
    flat, at = array("I"), array("I", [0])
    for row in rows:
        flat.extend(row)
        at.append(len(flat))
    return {name: flat, name + "_at": at}
