"""The compiled rulebook: what the matcher walks. Built from the rules once, then kept as plain arrays.

A term's places are edges of token sets, and terms share their beginnings. One token may lie in many
sets, so a walk follows several edges at once; the states met are made deterministic as they are met
and kept (and forgotten when there are too many), so that a common walk costs one look-up a token.

The file holds JSON and arrays of 32-bit numbers, nothing that runs. It lies in ``__compiled__``
beside the rules, is named after the SHA-256 of the rules and of the modules that compile them, and
is made again when it is missing.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import tempfile
import zlib
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import NamedTuple

from outsourcing_classifier.rulebook import HOME, Pattern, Rulebook, RulebookError, Slot, digest
from outsourcing_classifier.text import Folded, Folder

_MAGIC = b"outsourcing_classifier index 2\n"
_ARRAYS = (
    *("token_sets_at", "token_sets"),  # token -> the sets it lies in
    "roots",  # tokens that begin a term
    *("edges_at", "edge_sets", "edge_nodes"),  # node -> (set, node), by set
    *("ends_at", "ends"),  # node -> uses
    *("rules_at", "rules", "masks_at", "masks", "cues_at", "cues", "objects_at", "objects"),  # use -> entries
    *("verbs", "verb_sets_at", "verb_sets"),  # use -> verb set -> actions
)
_MOST_KEPT = 400_000  # transitions kept at most


@lru_cache(maxsize=1)
def compiler() -> str:
    """SHA-256 over the source of the modules that compile rules: what they make is of no use to others."""
    total = hashlib.sha256()
    for name in ("text.py", "rulebook.py", "index.py"):
        total.update(Path(__file__).with_name(name).read_bytes().replace(b"\r\n", b"\n") + b"\0")
    return total.hexdigest()


def compiled(home: Path, sha256: str) -> Path:
    """Where the compiled index of the rules in ``home`` is kept."""
    name = hashlib.sha256(f"{sha256} {compiler()}".encode()).hexdigest()[:32]
    return home / "__compiled__" / f"{name}.bin"


class Use(NamedTuple):
    """What one term stands for: indices into the rulebook's rules, masks, cues and actions."""

    rules: tuple[int, ...]
    masks: tuple[int, ...]
    cues: tuple[int, ...]
    verb_of: frozenset[int]
    object_of: tuple[int, ...]


class State:
    """Where a walk stands: the ``next`` state by token (None leads nowhere), and what ends here."""

    __slots__ = ("ends", "next", "nodes")

    def __init__(self, nodes: tuple[int, ...], ends: Use | None) -> None:
        self.nodes = nodes
        self.ends = ends
        self.next: dict[bytes, State | None] = {}


class Index:
    """A rulebook with its compiled terms."""

    def __init__(self, rulebook: Rulebook, tokens: Sequence[bytes], arrays: dict[str, array[int]]) -> None:
        self.rulebook = rulebook
        self._arrays = arrays
        self._tokens = {token: i for i, token in enumerate(tokens)}
        self._token_sets_at, self._token_sets = arrays["token_sets_at"], arrays["token_sets"]
        self._edges_at = arrays["edges_at"]
        self._edge_sets, self._edge_nodes = arrays["edge_sets"], arrays["edge_nodes"]
        self.roots = frozenset(map(tokens.__getitem__, arrays["roots"]))
        self._made: dict[int, Use] = {}
        self._verb_sets: dict[int, frozenset[int]] = {}
        endings = frozenset[bytes]().union(*(x.gender_endings for x in rulebook.languages.values()))
        self._folder = Folder(self._tokens, endings)
        self.forget()

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
            "tokens": b" ".join(self._tokens).decode("ascii"),
            "lengths": [len(self._arrays[name]) for name in _ARRAYS],
        }
        text = json.dumps(head, ensure_ascii=False, separators=(",", ":")).encode()
        body = b"".join(_little_endian(self._arrays[name]).tobytes() for name in _ARRAYS)
        whole = _MAGIC + len(text).to_bytes(8, "little") + text + body
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
        view = memoryview(data)
        arrays: dict[str, array[int]] = {}
        for name, length in zip(_ARRAYS, head["lengths"], strict=True):
            arrays[name] = array("I")
            arrays[name].frombytes(view[at : at + 4 * length])
            arrays[name] = _little_endian(arrays[name])
            at += 4 * length
        return cls(Rulebook.from_plain(head["rulebook"], profile), head["tokens"].encode().split(b" "), arrays)

    def keep(self, path: Path) -> None:
        """Write the index, at once or not at all; a place that cannot be written is no error."""
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

    def fold(self, text: str) -> Folded:
        """Fold a text as the terms are folded."""
        return self._folder.fold(text)

    @property
    def crowded(self) -> bool:
        """Whether so many transitions are kept that it is time to :meth:`forget` them."""
        return self._kept > _MOST_KEPT

    def forget(self) -> None:
        """Drop the states met so far; they come again as they are met."""
        self._states: dict[tuple[int, ...], State] = {}
        self._kept = 0
        self.start = self._state((0,))

    def step(self, state: State, token: bytes) -> State | None:
        """The state after ``token``; kept in ``state.next`` if the token is known."""
        number = self._tokens.get(token)
        if number is None:
            return None
        sets = self._token_sets[self._token_sets_at[number] : self._token_sets_at[number + 1]]
        reached: set[int] = set()
        edges, targets = self._edge_sets, self._edge_nodes
        for node in state.nodes:
            low, high = self._edges_at[node], self._edges_at[node + 1]
            for known in sets:
                at = bisect_left(edges, known, low, high)
                while at < high and edges[at] == known:
                    reached.add(targets[at])
                    at += 1
        following = self._state(tuple(sorted(reached))) if reached else None
        self._kept += 1
        state.next[token] = following
        return following

    def _state(self, nodes: tuple[int, ...]) -> State:
        state = self._states.get(nodes)
        if state is None:
            at = self._arrays["ends_at"]
            ends = self._arrays["ends"]
            uses = [self._use(u) for n in nodes for u in ends[at[n] : at[n + 1]]]
            inner = tuple(n for n in nodes if self._edges_at[n] < self._edges_at[n + 1])
            state = self._states[nodes] = State(inner, _together(uses))
        return state

    def _use(self, number: int) -> Use:
        use = self._made.get(number)
        if use is None:
            rules, masks, cues, objects = (
                tuple(self._row(name, number)) for name in ("rules", "masks", "cues", "objects")
            )
            verbs = self._arrays["verbs"][number]
            verb_of = self._verb_sets.get(verbs)
            if verb_of is None:
                verb_of = self._verb_sets[verbs] = frozenset(self._row("verb_sets", verbs))
            use = self._made[number] = Use(rules, masks, cues, verb_of, objects)
        return use

    def _row(self, name: str, number: int) -> Iterable[int]:
        at = self._arrays[name + "_at"]
        return self._arrays[name][at[number] : at[number + 1]]

    @cached_property
    def size(self) -> dict[str, int]:
        """How many tokens, nodes, edges and terms the index holds."""
        return {
            "tokens": len(self._tokens),
            "nodes": len(self._edges_at) - 1,
            "edges": len(self._edge_sets),
            "uses": len(self._arrays["verbs"]),
        }


def _together(uses: Sequence[Use]) -> Use | None:
    """What several terms of the same words stand for."""
    if len(uses) < 2:
        return uses[0] if uses else None
    rules, masks, cues, objects = (
        tuple(dict.fromkeys(i for use in uses for i in getattr(use, name)))
        for name in ("rules", "masks", "cues", "object_of")
    )
    return Use(rules, masks, cues, frozenset[int]().union(*(u.verb_of for u in uses)), objects)


def _little_endian(numbers: array[int]) -> array[int]:
    if sys.byteorder == "big":
        numbers = array("I", numbers)
        numbers.byteswap()
    return numbers


class _Builder:
    """Lays the patterns out as a graph and flattens it."""

    def __init__(self) -> None:
        self._tokens: dict[bytes, list[int]] = {}  # token -> ids of the sets it lies in
        self._sets: dict[frozenset[bytes], int] = {}
        self._edges: list[dict[int, list[int]]] = [{}]  # node -> set -> nodes
        self._ends: dict[int, list[int]] = {}
        self._shared: dict[tuple[tuple[int, ...], Slot], int] = {}

    def index(self, rulebook: Rulebook) -> Index:
        roles: dict[Pattern, dict[str, dict[int, None]]] = {}
        for pattern, role, index in rulebook.uses():
            roles.setdefault(pattern, {}).setdefault(role, {})[index] = None
        tables: dict[str, list[Sequence[int]]] = {"rules": [], "masks": [], "cues": [], "objects": []}
        verb_sets: dict[tuple[int, ...], int] = {}
        verbs: list[int] = []
        for number, (pattern, by_role) in enumerate(roles.items()):
            self._add(pattern, number)
            for name, rows in tables.items():
                rows.append(tuple(by_role.get(name[:-1], ())))
            verbs.append(verb_sets.setdefault(tuple(by_role.get("verb", ())), len(verb_sets)))
        arrays = {
            **_ragged("token_sets", list(self._tokens.values())),
            **_ragged("ends", [self._ends.get(n, ()) for n in range(len(self._edges))]),
            **{k: v for name, rows in tables.items() for k, v in _ragged(name, rows).items()},
            **_ragged("verb_sets", list(verb_sets)),
            "verbs": array("I", verbs),
            "roots": array("I", self._roots()),
            "edges_at": array("I", [0]),
            "edge_sets": array("I"),
            "edge_nodes": array("I"),
        }
        for edges in self._edges:
            for known in sorted(edges):
                for node in edges[known]:
                    arrays["edge_sets"].append(known)
                    arrays["edge_nodes"].append(node)
            arrays["edges_at"].append(len(arrays["edge_sets"]))
        return Index(rulebook, list(self._tokens), arrays)

    def _roots(self) -> list[int]:
        begins = self._edges[0].keys()
        return [i for i, sets in enumerate(self._tokens.values()) if not begins.isdisjoint(sets)]

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


def _ragged(name: str, rows: Sequence[Iterable[int]]) -> dict[str, array[int]]:
    """Rows of numbers as one array and the places where each row begins."""
    flat, at = array("I"), array("I", [0])
    for row in rows:
        flat.extend(row)
        at.append(len(flat))
    return {name: flat, name + "_at": at}
