"""Data files -> Rulebook. Language lives in the files of ``rules/``; ``rules/README.md`` is their manual."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple, NoReturn

from outsourcing_classifier.results import Citation, RulebookId
from outsourcing_classifier.text import words

HOME = Path(__file__).with_name("rules")
KINDS = ("listed", "synonym", "narrower", "title", "head", "hint")
ZONES = (
    "title",
    "modifier",
    "mention",
    "duties",
    "body",
    "requirements",
    "sole_requirements",
    "employer",
    "benefits",
    "boilerplate",
)
EFFECTS = ("zone", "negate", "stop", "neutral")
SCOPES = {"zone": ("section", "sentence", "next"), "negate": ("after", "before")}
DECISION = (
    *("neither", "outside", "decay", "side_decay", "least", "mixed_share", "mixed_least", "decide"),
    *("trait_alone", "trait_rows", "hints", "hints_several", "aside", "untitled"),
    *("confidence_slope", "confidence_discount"),
)
MOST_READINGS = 2000  # of one place of a term
_WORD_SETS = (
    "head_stops",
    "head_skips",
    "head_breaks",
    "head_joins",
    "head_tails",
    "head_ranks",
    "gender_endings",
    "marks",
)  # of a language
_ENTRIES = ("rule", "action", "mask", "cue")
_ID = re.compile(r"[a-z]{2}\.[a-z0-9._-]+")


def checksum(parts: Iterable[bytes]) -> str:
    """SHA-256 over the parts, one after the other."""
    from hashlib import sha256  # loads OpenSSL: not before it is wanted

    total = sha256()
    for part in parts:
        total.update(part)
    return total.hexdigest()


def digest(home: Path) -> str:
    """SHA-256 over all rule files of a folder, names and contents."""
    paths = sorted(home.glob("**/*.toml"))
    return checksum(p.relative_to(home).as_posix().encode() + b"\0" + p.read_bytes() + b"\0" for p in paths)


class RulebookError(ValueError):
    """A rulebook file that cannot be used; the message names file, line and key."""


class Issue(NamedTuple):
    """One finding of :meth:`Rulebook.check`."""

    severity: Literal["error", "warning"]
    where: str
    message: str

    def __str__(self) -> str:
        return f"{self.severity}: {self.where}: {self.message}"


class Place(NamedTuple):
    """Where an entry is written."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


class Rule(NamedTuple):
    """Terms that name a concept. ``kind`` is one of KINDS, "trait" or "model" for such concepts."""

    id: str
    language: str
    concept: str
    kind: str
    terms: tuple[str, ...]
    yes: tuple[str, ...]
    no: tuple[str, ...]
    place: Place


class Action(NamedTuple):
    """A verb near its object names a concept."""

    id: str
    language: str
    concept: str
    verbs: tuple[str, ...]
    objects: tuple[str, ...]
    gap: int
    yes: tuple[str, ...]
    no: tuple[str, ...]
    place: Place
    kind: str = "action"


class Mask(NamedTuple):
    """False friends: what lies inside is not counted."""

    id: str
    language: str
    terms: tuple[str, ...]
    note: str
    yes: tuple[str, ...]
    place: Place


class Cue(NamedTuple):
    """Context: a zone begins, or a negation reaches."""

    id: str
    language: str
    effect: str
    zone: str
    scope: str
    terms: tuple[str, ...]
    yes: tuple[str, ...]
    place: Place


Entry = Rule | Action | Mask | Cue


class Slot(NamedTuple):
    """One place of a term: a token of ``single``, or one of ``longer``, or nothing if ``optional``."""

    single: frozenset[bytes]
    longer: tuple[tuple[frozenset[bytes], ...], ...]
    optional: bool

    def options(self) -> Iterator[tuple[bytes, ...]]:
        """Everything that may stand here, in a fixed order."""
        if self.optional:
            yield ()
        for token in sorted(self.single):
            yield (token,)
        for sequence in self.longer:
            yield from itertools.product(*map(sorted, sequence))


Pattern = tuple[Slot, ...]


class Language(NamedTuple):
    """Inflection, macros and verb sets of one language; ``head`` is "first" or "last"."""

    code: str
    name: str
    head: str
    action_gap: int
    macros: Mapping[str, str]
    inflect: Mapping[str, Mapping[str, tuple[str, ...]]]
    verbs: Mapping[str, tuple[str, ...]]
    head_stops: frozenset[bytes]
    head_skips: frozenset[bytes]
    head_breaks: frozenset[bytes]
    head_joins: frozenset[bytes]
    head_tails: frozenset[bytes]
    head_ranks: frozenset[bytes]
    gender_endings: frozenset[bytes]
    marks: frozenset[bytes]
    foreign_words: bool

    def pattern(self, term: str) -> Pattern:
        """A written term, place by place. Raises ValueError where the term cannot be read."""
        text = term
        for _ in range(3):  # a macro may use another
            for name in re.findall(r"\{(\w+)\}", text):
                if name not in self.macros:
                    raise ValueError(f"no macro {{{name}}}")
                text = text.replace("{" + name + "}", self.macros[name])
        places = tuple(self._slot(chunk) for chunk in _chunks(text))
        if all(place.optional for place in places):
            raise ValueError("no word in it")
        return places

    def _slot(self, chunk: str) -> Slot:
        single: dict[bytes, None] = {}
        longer: dict[tuple[frozenset[bytes], ...], None] = {}
        optional = False
        for reading in _alternatives(chunk):
            parts = [self._inflected(word) for word in reading.split()]
            if not parts:
                optional = True
            elif len(parts) == 1:
                single.update(dict.fromkeys(f for f in parts[0] if b" " not in f))
                longer.update(
                    dict.fromkeys(tuple(frozenset([t]) for t in f.split(b" ")) for f in parts[0] if b" " in f)
                )
            else:
                for choice in itertools.product(*(_merged(forms) for forms in parts)):
                    longer[tuple(itertools.chain.from_iterable(choice))] = None
        return Slot(frozenset(single), tuple(longer), optional)

    def _inflected(self, word: str) -> list[bytes]:
        kind = {"*": "noun", "~": "verb"}.get(word[-1])
        bare = word.rstrip("*~")
        if "*" in bare or "~" in bare:
            raise ValueError("* and ~ stand at the end of a word")
        stems = [words(bare)]
        if "l·l" in bare.lower():
            stems.append(words(bare.lower().replace("l·l", "ll")))
        if not all(stems):
            raise ValueError(f"no letter in “{word}”")
        if kind is None:
            return stems
        table = self.inflect[kind]
        out: dict[bytes, None] = {}
        for stem in stems:
            text = stem.decode("ascii")
            ending = next(text[i:] for i in range(len(text) + 1) if text[i:] in table)
            base = text[: len(text) - len(ending)]
            out.update(dict.fromkeys([stem, *((base + e).encode() for e in table[ending])]))
        return list(out)


def _merged(forms: list[bytes]) -> list[tuple[frozenset[bytes], ...]]:
    """The one-token forms of a word as one set, the others (``e-mail``) token by token."""
    single = frozenset(f for f in forms if b" " not in f)
    longer = [tuple(frozenset([t]) for t in f.split(b" ")) for f in forms if b" " in f]
    return [(single,), *longer] if single else list(longer)


def _chunks(text: str) -> list[str]:
    """Split at the white space outside parentheses."""
    out, depth = [""], 0
    for char in text:
        depth += (char == "(") - (char == ")")
        if char.isspace() and depth <= 0:
            out.append("")
        else:
            out[-1] += char
    return [chunk for chunk in out if chunk]


def _alternatives(text: str) -> Iterator[str]:
    """Every reading of ``a(b|c d|)e``; parentheses nest."""
    stack: list[tuple[list[str], list[str]]] = []
    readings, done = [""], list[str]()
    for part in re.split(r"([()|])", text):
        if part == "(":
            stack.append((readings, done))
            readings, done = [""], []
        elif part == "|":
            if not stack:
                raise ValueError("| outside parentheses")
            done += readings
            readings = [""]
        elif part == ")":
            if not stack:
                raise ValueError("a parenthesis too many")
            inner = done + readings
            readings, done = stack.pop()
            readings = [a + b for a in readings for b in inner]
        elif part:
            readings = [a + part for a in readings]
        if len(readings) > MOST_READINGS:
            raise ValueError(f"more than {MOST_READINGS} readings")
    if stack:
        raise ValueError("a parenthesis is not closed")
    yield from readings


class Weights(NamedTuple):
    """The constants of the decision; see ``rules/weights.toml``."""

    version: str
    kinds: Mapping[str, float]
    zones: Mapping[str, float]
    decision: Mapping[str, float]


class _Kept(dict[str, Any]):
    """The answers of a function, kept as they are given."""

    def __init__(self, answer: Callable[[str], Any]) -> None:
        self._answer = answer

    def __missing__(self, key: str) -> Any:
        out = self[key] = self._answer(key)
        return out


@dataclass(frozen=True)
class Rulebook:
    """Everything the engine knows. Make one with :meth:`load`."""

    id: RulebookId
    rules: tuple[Rule, ...]
    actions: tuple[Action, ...]
    masks: tuple[Mask, ...]
    cues: tuple[Cue, ...]
    languages: Mapping[str, Language]
    sides: Mapping[str, str]
    service_names: Mapping[str, Mapping[str, str]]
    trait_poles: Mapping[str, Mapping[str, str]]
    weights: Weights
    concepts: frozenset[str]
    _profiles: Mapping[str, Any] = field(repr=False)
    _sources: Mapping[str, Any] = field(repr=False)
    _citations: dict[tuple[str, str], Citation] = field(default_factory=dict, repr=False)

    @classmethod
    def load(cls, profile: str = "article", path: str | Path | None = None) -> Rulebook:
        """Read a folder laid out like ``rules/`` (the shipped one by default).

        Raises :class:`RulebookError` naming file, line and key of what cannot be used.
        """
        return _Loader(Path(path) if path is not None else HOME, profile).rulebook()

    def to_plain(self) -> dict[str, Any]:
        """What deciding and explaining need, without terms and sentences, as JSON has it."""
        return {
            "sha256": self.id.sha256,
            "rules": [[r.id, r.language, r.concept, r.kind, *_where(r)] for r in self.rules],
            "actions": [[a.id, a.language, a.concept, a.gap, *_where(a)] for a in self.actions],
            "masks": [[m.id, m.language, m.note, *_where(m)] for m in self.masks],
            "cues": [[c.id, c.language, c.effect, c.zone, c.scope, *_where(c)] for c in self.cues],
            "languages": [
                {
                    "code": x.code,
                    "name": x.name,
                    "head": x.head,
                    "action_gap": x.action_gap,
                    **{key: sorted(w.decode() for w in getattr(x, key)) for key in _WORD_SETS},
                    "foreign_words": x.foreign_words,
                }
                for x in self.languages.values()
            ],
            "service_names": self.service_names,
            "trait_poles": self.trait_poles,
            "weights": [self.weights.version, self.weights.kinds, self.weights.zones, self.weights.decision],
            "concepts": sorted(self.concepts),
            "profiles": self._profiles,
            "sources": self._sources,
        }

    @classmethod
    def from_plain(cls, data: dict[str, Any], profile: str) -> Rulebook:
        """The rulebook that :meth:`to_plain` wrote, read by ``profile``; its entries have no terms."""
        profiles = data["profiles"]
        if profile not in profiles:
            raise RulebookError(f"no profile {profile!r}; there are: {', '.join(sorted(profiles))}")
        chosen = profiles[profile]
        none: tuple[str, ...] = ()
        return cls(
            id=RulebookId(chosen["name"], chosen["version"], data["sha256"]),
            rules=tuple(Rule(i, x, c, k, none, none, none, Place(f, n)) for i, x, c, k, f, n in data["rules"]),
            actions=tuple(
                Action(i, x, c, none, none, g, none, none, Place(f, n)) for i, x, c, g, f, n in data["actions"]
            ),
            masks=tuple(Mask(i, x, none, t, none, Place(f, n)) for i, x, t, f, n in data["masks"]),
            cues=tuple(Cue(i, x, e, z, s, none, none, Place(f, n)) for i, x, e, z, s, f, n in data["cues"]),
            languages={x["code"]: _plain_language(x) for x in data["languages"]},
            sides=chosen["sides"],
            service_names=data["service_names"],
            trait_poles=data["trait_poles"],
            weights=Weights(*data["weights"]),
            concepts=frozenset(data["concepts"]),
            _profiles=profiles,
            _sources=data["sources"],
        )

    @cached_property
    def entries(self) -> dict[str, Entry]:
        """Every entry by its id."""
        entries: list[Entry] = [*self.rules, *self.actions, *self.masks, *self.cues]
        return {e.id: e for e in entries}

    def side(self, concept: str) -> str | None:
        """ "BPO" or "KPO" in this profile; "OUT" for work in neither list; None for what takes no side."""
        return self.side_of[concept]

    @cached_property
    def side_of(self) -> Mapping[str, str | None]:
        """:meth:`side` as a mapping."""
        return _Kept(self._side)

    @cached_property
    def service_of(self) -> Mapping[str, str | None]:
        """:meth:`service` as a mapping."""
        return _Kept(self._service)

    @cached_property
    def basis_of(self) -> Mapping[str, str]:
        """:meth:`basis` as a mapping."""
        return _Kept(self._basis)

    def _side(self, concept: str) -> str | None:
        first, _, rest = concept.partition(".")
        if first == "outside":
            return "OUT"
        if first == "model":
            return {"bpo": "BPO", "kpo": "KPO"}.get(rest)
        if first == "trait":
            basis, _, pole = rest.partition(".")
            poles = self.trait_poles[basis]
            return next((s.upper() for s, name in poles.items() if name == pole), None)
        return self.sides.get(concept) or self.sides.get(first)

    def service(self, concept: str) -> str | None:
        """The service line of a concept, or None."""
        return self.service_of[concept]

    def _service(self, concept: str) -> str | None:
        first = concept.partition(".")[0]
        return first if first in self.service_names else None

    def basis(self, concept: str) -> str:
        """The row of the comparison that a concept speaks to."""
        return self.basis_of[concept]

    @staticmethod
    def _basis(concept: str) -> str:
        first, _, rest = concept.partition(".")
        if first == "trait":
            return rest.partition(".")[0]
        return {"model": "full_form", "delivery": "delivery"}.get(first, "services")

    def citation(self, concept: str, language: str) -> Citation:
        """Where the specification speaks of ``concept``, in ``language`` where it speaks it."""
        key = (concept, language)
        if key not in self._citations:
            self._citations[key] = self._cite(concept, language)
        return self._citations[key]

    def _cite(self, concept: str, language: str) -> Citation:
        sources = self._sources
        own = language in sources["documents"]
        speaks = language if own else sources["defaults"]["other_languages"]
        anchor = sources["anchors"][_anchored(concept, sources["anchors"])]
        return Citation(
            document=sources["documents"][speaks]["title"],
            language=speaks,
            section=sources["sections"][anchor["section"]][speaks],
            item=anchor.get("item", {}).get(speaks, ""),
            row=sources["rows"][anchor["row"]][speaks] if "row" in anchor else "",
            own_words=own,
        )

    def uses(self) -> Iterator[tuple[Pattern, str, int]]:
        """(pattern, role, index): role is rule, mask, cue, verb or object."""
        roles: list[tuple[str, Sequence[Rule | Mask | Cue]]]
        roles = [("rule", self.rules), ("mask", self.masks), ("cue", self.cues)]
        for role, entries in roles:
            for index, entry in enumerate(entries):
                language = self.languages[entry.language]
                for term in entry.terms:
                    yield language.pattern(term), role, index
        expanded: dict[tuple[str, str], list[Pattern]] = {}
        for index, action in enumerate(self.actions):
            language = self.languages[action.language]
            for role, terms in (("verb", action.verbs), ("object", action.objects)):
                for term in terms:
                    key = (language.code, term)
                    if key not in expanded:
                        written = language.verbs[term[1:]] if term[0] == "@" else (term,)
                        expanded[key] = [language.pattern(w) for w in written]
                    for pattern in expanded[key]:
                        yield pattern, role, index

    def check(self) -> list[Issue]:
        """Form and consistency; the sentences are tried by ``rules check`` with the engine."""
        issues: list[Issue] = []
        seen: dict[bytes, Rule] = {}
        told: set[tuple[str, str]] = set()
        for pattern, role, index in self.uses():
            if role != "rule":
                continue
            rule = self.rules[index]
            for choice in itertools.islice(itertools.product(*(p.options() for p in pattern)), 2000):
                form = b" ".join(itertools.chain.from_iterable(choice))
                other = seen.setdefault(form, rule)
                if other.id != rule.id and (other.id, rule.id) not in told:
                    told.add((other.id, rule.id))
                    same = self.side(other.concept) == self.side(rule.concept)
                    both = f"“{form.decode()}” stands in {other.id} ({other.place}) too"
                    issues.append(Issue("warning" if same else "error", f"{rule.place} {rule.id}", both))
                if len(form) < 3 and rule.kind not in {"hint", "listed"}:
                    issues.append(Issue("error", f"{rule.place} {rule.id}", f"“{form.decode()}” is too short"))
        tried: list[Rule | Action] = [*self.rules, *self.actions]
        for one in tried:
            if len(one.yes) < 2 or len(one.no) < 1:
                issues.append(Issue("warning", f"{one.place} {one.id}", "wants two yes and one no"))
        return issues


def _tables(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(row, dict) for row in value)


def _anchored(concept: str, anchors: Mapping[str, Any]) -> str:
    """The longest beginning of ``concept`` that has an anchor. Raises KeyError where none has."""
    name = concept
    while name and name not in anchors:
        name = name.rpartition(".")[0]
    if not name:
        raise KeyError(f"no anchor for {concept!r} in sources.toml")
    return name


def _plain_language(row: dict[str, Any]) -> Language:
    sets: dict[str, Any] = {key: frozenset(w.encode() for w in row[key]) for key in _WORD_SETS}
    head = (row["code"], row["name"], row["head"], row["action_gap"])
    return Language(*head, {}, {}, {}, **sets, foreign_words=row["foreign_words"])


def _where(entry: Entry) -> tuple[str, int]:
    return entry.place.file, entry.place.line


class _Loader:
    """Reads the files once, refusing what it does not know."""

    def __init__(self, home: Path, profile: str) -> None:
        self.home = home
        self.profile = profile
        self.lines: dict[str, list[str]] = {}
        self.ids: dict[str, Place] = {}
        self.here = Place("", 1)

    def rulebook(self) -> Rulebook:
        if not self.home.is_dir():
            raise RulebookError(f"{self.home}: no such folder of rules")
        concepts = self.concepts()
        services: dict[str, Any] = concepts["services"]
        names = self.concept_names(concepts)
        sources = self.sources([*services, *sorted(names)])
        weights = self.weights()
        files = sorted(self.home.glob("profiles/*.toml"))
        profiles = {p.stem: self.sides(f"profiles/{p.name}", names, services) for p in files}
        if self.profile not in profiles:
            raise RulebookError(f"no profile {self.profile!r}; there are: {', '.join(sorted(profiles))}")
        profile = profiles[self.profile]
        rules: list[Rule] = []
        actions: list[Action] = []
        masks: list[Mask] = []
        cues: list[Cue] = []
        languages: dict[str, Language] = {}
        first = list(sources["documents"])  # the specification's languages before others
        folders = [p.parent for p in self.home.glob("*/language.toml")]
        for folder in sorted(folders, key=lambda f: (f.name not in first, *(f.name != x for x in first), f.name)):
            language = self.language(folder.name)
            languages[language.code] = language
            for path in sorted(folder.glob("*.toml")):
                if path.name == "language.toml":
                    continue
                file = f"{folder.name}/{path.name}"
                data = self.read(file)
                self.known(file, "", data, set(_ENTRIES))
                for key in _ENTRIES:
                    if not _tables(data.get(key, [])):
                        self.fail(file, key, f"{key}: want [[{key}]], a table for each entry")
                rules += [self.rule(language, r, names) for r in self.each(file, data, "rule")]
                actions += [self.action(language, r, names) for r in self.each(file, data, "action")]
                masks += [self.mask(language, r) for r in self.each(file, data, "mask")]
                cues += [self.cue(language, r) for r in self.each(file, data, "cue")]
        if not languages:
            raise RulebookError(f"{self.home}: no language folder (one with a language.toml) in it")
        return Rulebook(
            id=RulebookId(profile["name"], profile["version"], digest(self.home)),
            rules=tuple(rules),
            actions=tuple(actions),
            masks=tuple(masks),
            cues=tuple(cues),
            languages=languages,
            sides=profile["sides"],
            service_names={name: row["names"] for name, row in services.items()},
            trait_poles=concepts["traits"],
            weights=weights,
            concepts=frozenset(names),
            _profiles={name: profiles[name] for name in sorted(profiles)},
            _sources=sources,
        )

    def sides(self, file: str, names: set[str], services: dict[str, Any]) -> dict[str, Any]:
        profile = self.read(file)
        self.known(file, "", profile, {"name", "version", "source", "sides"})
        self.need(file, profile, {"name": str, "version": str, "sides": dict})
        for concept, side in profile["sides"].items():
            if concept not in names and concept not in services:
                self.fail(file, concept, f"sides: no concept {concept!r}")
            if side not in {"BPO", "KPO"}:
                self.fail(file, concept, f"sides: {concept}: want BPO or KPO")
        missing = [s for s in services if s not in profile["sides"]]
        if missing:
            self.fail(file, "sides", f"sides: no side for {', '.join(missing)}")
        return profile

    @staticmethod
    def concept_names(concepts: dict[str, Any]) -> set[str]:
        names = {f"{s}.{a}" for s, row in concepts["services"].items() for a in row["activities"]}
        names |= {f"outside.{kind}" for kind in concepts["outside"]["kinds"]}
        names |= {f"delivery.{mode}" for mode in concepts["delivery"]["modes"]}
        names |= {f"model.{kind}" for kind in concepts["model"]["kinds"]}
        names |= {f"trait.{t}.{pole}" for t, row in concepts["traits"].items() for pole in row.values()}
        return names

    def concepts(self) -> dict[str, Any]:
        """concepts.toml, as far as it is relied on."""
        file = "concepts.toml"
        data = self.read(file)
        self.need(file, data, dict.fromkeys(("services", "outside", "delivery", "model", "traits"), dict))
        for service, row in data["services"].items():
            self.need(file, data["services"], {service: dict}, "services")
            self.need(file, row, {"names": dict, "activities": list}, f"services.{service}")
            self.need(file, row["names"], {"en": str}, f"services.{service}.names")
        for family, key in (("outside", "kinds"), ("delivery", "modes"), ("model", "kinds")):
            self.need(file, data[family], {key: list}, family)
        for basis, row in data["traits"].items():
            self.need(file, data["traits"], {basis: dict}, "traits")
            self.need(file, row, {"bpo": str, "kpo": str}, f"traits.{basis}")
            self.known(file, f"traits.{basis}", row, {"bpo", "kpo"})
        return data

    def sources(self, concepts: Iterable[str]) -> dict[str, Any]:
        """sources.toml, in which every concept has its place in every document."""
        file = "sources.toml"
        data = self.read(file)
        self.need(file, data, dict.fromkeys(("documents", "defaults", "sections", "rows", "anchors"), dict))
        documents = data["documents"]
        for code in documents:
            self.need(file, documents, {code: dict}, "documents")
            self.need(file, documents[code], {"title": str}, f"documents.{code}")
        self.need(file, data["defaults"], {"other_languages": str}, "defaults")
        if data["defaults"]["other_languages"] not in documents:
            self.fail(file, "other_languages", f"defaults.other_languages: want one of {', '.join(documents)}")
        for family in ("sections", "rows"):
            for key, names in data[family].items():
                self.need(file, data[family], {key: dict}, family)
                self.need(file, names, dict.fromkeys(documents, str), f"{family}.{key}")
        for concept, anchor in data["anchors"].items():
            where = f"anchors.{concept}"
            self.need(file, data["anchors"], {concept: dict}, "anchors")
            self.known(file, concept, anchor, {"section", "row", "item"})
            self.need(file, anchor, {"section": str}, where)
            for key, family in (("section", "sections"), ("row", "rows")):
                if key in anchor and (not isinstance(anchor[key], str) or anchor[key] not in data[family]):
                    self.fail(file, concept, f"{where}.{key}: no {anchor[key]!r} in [{family}]")
            if "item" in anchor:
                self.need(file, anchor, {"item": dict}, where)
                self.need(file, anchor["item"], dict.fromkeys(documents, str), f"{where}.item")
        for concept in concepts:
            try:
                _anchored(concept, data["anchors"])
            except KeyError:
                self.fail(file, "anchors", f"anchors: none for the concept {concept!r}")
        return data

    def weights(self) -> Weights:
        file = "weights.toml"
        data = self.read(file)
        self.need(file, data, {"version": str, "kinds": dict, "zones": dict, "decision": dict})
        kinds = (*KINDS, "action", "trait", "model")
        for family, keys in (("kinds", kinds), ("zones", ZONES), ("decision", DECISION)):
            self.need(file, data[family], dict.fromkeys(keys, float), family)
            self.need(file, data[family], dict.fromkeys(data[family], float), family)
        return Weights(data["version"], data["kinds"], data["zones"], data["decision"])

    def need(self, file: str, data: dict[str, Any], keys: Mapping[str, type], where: str = "") -> None:
        """Refuse ``data`` where one of ``keys`` is missing or of another type (float: a number from 0)."""
        wanted = {str: "a string", dict: "a table", list: "a list of strings", float: "a number from 0 on"}
        for key, kind in keys.items():
            path = f"{where}.{key}" if where else key
            if key not in data:
                self.fail(file, where.rpartition(".")[2] or where, f"{path}: missing; want {wanted[kind]}")
            value = data[key]
            good = isinstance(value, kind)
            if kind is float:
                good = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e9
            elif kind is list and good:
                good = all(isinstance(v, str) and v for v in value)
            if not good:
                self.fail(file, key, f"{path}: want {wanted[kind]}")

    def each(self, file: str, data: dict[str, Any], key: str) -> Iterator[dict[str, Any]]:
        """The entries under ``key``, each with ``self.here`` at its line."""
        entries: list[dict[str, Any]] = data.get(key, [])
        heads = [n for n, line in enumerate(self.lines[file], 1) if re.match(rf"\s*\[\[\s*{key}\s*\]\]", line)]
        for number, entry in enumerate(entries):
            if len(heads) == len(entries):  # else they are written in another way, or quoted
                self.here = Place(file, self.below(file, heads[number]))
            else:
                self.here = self.place(file, f'"{entry.get("id")}"')
            yield entry

    def below(self, file: str, head: int) -> int:
        """The line of the id below a table's head, or the head's own."""
        for number, line in enumerate(self.lines[file][head:], head + 1):
            if re.match(r"\s*id\s*=", line):
                return number
            if re.match(r"\s*\[\[?\s*\w+\s*\]", line):
                break
        return head

    def read(self, file: str) -> dict[str, Any]:
        import tomllib  # a compiled rulebook needs none

        path = self.home / file
        try:
            raw = path.read_bytes()
        except OSError as error:
            raise RulebookError(f"{path}: {error.strerror}") from error
        try:
            text = raw.decode("utf-8")
            data = tomllib.loads(text)
        except UnicodeDecodeError as error:
            raise RulebookError(f"{path}: not UTF-8 at byte {error.start}") from error
        except tomllib.TOMLDecodeError as error:
            raise RulebookError(f"{path}: {error}") from error
        self.lines[file] = text.splitlines()
        return data

    def place(self, file: str, needle: str) -> Place:
        """The line of a key or a table's head, or else the first line that holds ``needle``."""
        written = re.escape(needle)
        key = re.compile(rf"""\s*(?:\[+[\w.]*?)?["']?{written}["']?\s*[]=]""")
        lines = list(enumerate(self.lines[file], 1))
        found = next((n for n, text in lines if key.match(text)), 0)
        return Place(file, found or next((n for n, text in lines if needle in text), 1))

    def fail(self, file: str, needle: str, message: str) -> NoReturn:
        raise RulebookError(f"{self.home / file}:{self.place(file, needle).line}: {message}")

    def refuse(self, message: str) -> NoReturn:
        """Refuse the entry at ``self.here``."""
        raise RulebookError(f"{self.home / self.here.file}:{self.here.line}: {message}")

    def known(self, file: str, needle: str, data: dict[str, Any], keys: set[str]) -> None:
        for key in data:
            if key not in keys:
                where = f"{needle}: " if needle else ""
                self.fail(file, needle or key, f"{where}no key {key!r} here; there are: {', '.join(sorted(keys))}")

    def entry(self, language: Language, data: dict[str, Any], keys: set[str], lists: Iterable[str]) -> Place:
        name = data.get("id")
        if not isinstance(name, str):
            self.refuse("an entry without id")
        for key in data:
            if key != "id" and key not in keys:
                self.refuse(f"{name}: no key {key!r} here; there are: {', '.join(sorted({'id', *keys}))}")
        if not _ID.fullmatch(name) or not name.startswith(language.code + "."):
            self.refuse(f"id {name!r}: want {language.code}. and then a-z, 0-9, ., _, -")
        if name in self.ids:
            self.refuse(f"id {name!r} is taken by {self.ids[name]}")
        self.ids[name] = self.here
        for key in lists:
            value = data.get(key, [])
            if not isinstance(value, list) or not all(isinstance(v, str) and v for v in value):
                self.refuse(f"{name}: {key}: want a list of strings")
        return self.here

    def terms(self, language: Language, data: dict[str, Any], key: str) -> tuple[str, ...]:
        terms = data.get(key, [])
        if not terms:
            self.refuse(f"{data['id']}: {key}: empty")
        for term in terms:
            if term.startswith("@"):
                if key != "verbs" or term[1:] not in language.verbs:
                    self.refuse(f"{data['id']}: {key}: no verb set {term!r}")
                continue
            try:
                language.pattern(term)
            except ValueError as error:
                message = f"{data['id']}: {key}: {term!r}: {error}"
            else:
                continue
            self.refuse(message)
        return tuple(terms)

    def concept(self, data: dict[str, Any], names: set[str]) -> str:
        concept = data.get("concept")
        if not isinstance(concept, str) or concept not in names:
            self.refuse(f"{data['id']}: concept: no concept {concept!r} in concepts.toml")
        return concept

    def rule(self, language: Language, data: dict[str, Any], names: set[str]) -> Rule:
        place = self.entry(language, data, {"concept", "kind", "terms", "yes", "no"}, ("terms", "yes", "no"))
        concept = self.concept(data, names)
        family = concept.partition(".")[0]
        kind = data.get("kind")
        if family in {"trait", "model", "delivery"}:
            kind = kind or family
        if kind not in (*KINDS, "trait", "model", "delivery"):
            self.refuse(f"{data['id']}: kind: {kind!r} is none of {', '.join(KINDS)}")
        return Rule(
            data["id"],
            language.code,
            concept,
            str(kind),
            self.terms(language, data, "terms"),
            tuple(data.get("yes", ())),
            tuple(data.get("no", ())),
            place,
        )

    def action(self, language: Language, data: dict[str, Any], names: set[str]) -> Action:
        keys = {"concept", "verbs", "objects", "gap", "yes", "no"}
        place = self.entry(language, data, keys, ("verbs", "objects", "yes", "no"))
        gap = data.get("gap", language.action_gap)
        if not isinstance(gap, int) or not 0 <= gap <= 20:
            self.refuse(f"{data['id']}: gap: want a whole number from 0 to 20")
        return Action(
            data["id"],
            language.code,
            self.concept(data, names),
            self.terms(language, data, "verbs"),
            self.terms(language, data, "objects"),
            gap,
            tuple(data.get("yes", ())),
            tuple(data.get("no", ())),
            place,
        )

    def mask(self, language: Language, data: dict[str, Any]) -> Mask:
        place = self.entry(language, data, {"terms", "note", "yes"}, ("terms", "yes"))
        return Mask(
            data["id"],
            language.code,
            self.terms(language, data, "terms"),
            str(data.get("note", "")),
            tuple(data.get("yes", ())),
            place,
        )

    def cue(self, language: Language, data: dict[str, Any]) -> Cue:
        place = self.entry(language, data, {"effect", "zone", "scope", "terms", "yes"}, ("terms", "yes"))
        effect, zone, scope = (str(data.get(k, "")) for k in ("effect", "zone", "scope"))
        if effect not in EFFECTS:
            self.refuse(f"{data['id']}: effect: {effect!r} is none of {', '.join(EFFECTS)}")
        if effect == "zone" and zone not in ZONES:
            self.refuse(f"{data['id']}: zone: {zone!r} is none of {', '.join(ZONES)}")
        if effect in SCOPES and scope not in SCOPES[effect]:
            self.refuse(f"{data['id']}: scope: want one of {', '.join(SCOPES[effect])}")
        return Cue(
            data["id"],
            language.code,
            effect,
            zone,
            scope,
            self.terms(language, data, "terms"),
            tuple(data.get("yes", ())),
            place,
        )

    def language(self, folder: str) -> Language:
        file = f"{folder}/language.toml"
        data = self.read(file)
        keys = {
            "code",
            "name",
            "head",
            "action_gap",
            "macros",
            "inflect",
            "verbs",
            "foreign_words",
            *_WORD_SETS,
        }
        self.known(file, "", data, keys)
        kinds = {"code": str, "name": str, "head": str, "action_gap": float, "inflect": dict}
        self.need(file, data, kinds)
        for key, kind in (("macros", dict), ("verbs", dict), *((key, list) for key in _WORD_SETS)):
            self.need(file, data, {key: kind} if key in data else {})
        self.need(file, data.get("macros", {}), dict.fromkeys(data.get("macros", {}), str), "macros")
        self.need(file, data.get("verbs", {}), dict.fromkeys(data.get("verbs", {}), list), "verbs")
        self.need(file, data["inflect"], {"noun": dict, "verb": dict}, "inflect")
        for part, forms in data["inflect"].items():
            self.known(file, "inflect", data["inflect"], {"noun", "verb"})
            for ending in forms:
                if not isinstance(forms[ending], list) or not all(isinstance(f, str) for f in forms[ending]):
                    self.fail(file, ending or part, f"inflect.{part}.{ending}: want a list of strings")
        if not isinstance(data["action_gap"], int) or data["action_gap"] > 20:
            self.fail(file, "action_gap", "action_gap: want a whole number from 0 to 20")
        if data.get("code") != folder:
            self.fail(file, "code", f"code: want {folder!r}, the folder's name")
        if data.get("head") not in {"first", "last"}:
            self.fail(file, "head", "head: want first or last")
        inflect = {
            kind: {ending: tuple(forms) for ending, forms in data["inflect"][kind].items()}
            for kind in ("noun", "verb")
        }
        for table in inflect.values():
            table.setdefault("", ("",))
        sets: dict[str, Any] = {key: frozenset(words(w) for w in data.get(key, [])) for key in _WORD_SETS}
        read = Language(
            data["code"],
            data["name"],
            data["head"],
            data["action_gap"],
            data.get("macros", {}),
            inflect,
            {name: tuple(terms) for name, terms in data.get("verbs", {}).items()},
            **sets,
            foreign_words=bool(data.get("foreign_words", False)),
        )
        for name, terms in read.verbs.items():
            for term in terms:
                try:
                    read.pattern(term)
                except ValueError as error:
                    self.fail(file, name, f"verbs.{name}: {term!r}: {error}")
        return read
