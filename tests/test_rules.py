"""Tests generated from the rule files: every sentence of every entry, in every language alike."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from outsourcing_classifier import Rulebook
from outsourcing_classifier.index import Index
from outsourcing_classifier.matcher import Matcher
from outsourcing_classifier.rulebook import HOME, Action, Cue, Issue, Mask, Rule

LANGUAGES = ("ca", "en", "es")
FILES = sorted(p.relative_to(HOME).as_posix() for p in HOME.glob("*/*.toml") if p.parent.name in LANGUAGES)
WRITTEN = [f for f in FILES if not f.endswith("/language.toml")]
LEAST_TERMS = {"en": (700, 400), "ca": (600, 250), "es": (600, 250)}  # of the services, of outside work


@pytest.fixture(scope="module")
def full() -> Rulebook:
    """The shipped rulebook with its terms and sentences, read from the files."""
    return Rulebook.load()


@pytest.fixture(scope="module")
def concepts(full: Rulebook) -> list[str]:
    return sorted(full.concepts)


@pytest.fixture(scope="module")
def tried(full: Rulebook) -> dict[str, list[Issue]]:
    """What trying all sentences finds, by file."""
    out: dict[str, list[Issue]] = {}
    for issue in Matcher(Index.build(full)).try_sentences():
        out.setdefault(issue.where.partition(":")[0], []).append(issue)
    return out


@pytest.fixture(scope="module")
def checked(full: Rulebook) -> list[Issue]:
    return full.check()


def told(issues: Sequence[object]) -> str:
    return "\n".join(map(str, issues))


def test_the_files_are_found() -> None:
    assert {f.partition("/")[0] for f in WRITTEN} == set(LANGUAGES)
    assert len(WRITTEN) >= 30


@pytest.mark.parametrize("file", WRITTEN)
def test_yes_and_no_sentences(full: Rulebook, tried: dict[str, list[Issue]], file: str) -> None:
    entries = [e for e in full.entries.values() if e.place.file == file]
    assert entries, "no entry in this file"
    assert not tried.get(file), told(tried[file])


@pytest.mark.parametrize("file", WRITTEN)
def test_every_entry_has_its_sentences(full: Rulebook, file: str) -> None:
    short = [
        f"{e.place} {e.id}"
        for e in full.entries.values()
        if e.place.file == file and (not e.yes or (isinstance(e, Rule | Action) and (len(e.yes) < 2 or not e.no)))
    ]
    assert not short, told(short)


def test_trying_can_fail(broken_rules: Path) -> None:
    """The engine behind the tests above sees a sentence that does not fire and one that should not."""
    file = broken_rules / "en" / "all.toml"
    good = file.read_text()
    assert not list(Matcher(Index.build(Rulebook.load(path=broken_rules))).try_sentences())
    for before, after, said in (
        (
            'yes = ["Market research on oats."',
            'yes = ["Marketing of oats."',
            "en.market.research: does not fire on yes",
        ),
        ('no = ["A market hall."]', 'no = ["A market research hall."]', "en.market.research: fires on no"),
        (
            '"They processed a wage slip."',
            '"They burnt a wage slip."',
            "en.hr.payroll.do: does not fire on yes",
        ),
        ('no = ["Wage slips are paper."]', 'no = ["Handle wage slips."]', "en.hr.payroll.do: fires on no"),
        ('"Read Payroll Processing Magazine."', '"Read this."', "en.mask.scheme: does not fire on yes"),
        (
            'yes = ["There is no payroll processing."]',
            'yes = ["None."]',
            "en.negate.after: does not fire on yes",
        ),
    ):
        assert before in good
        file.write_text(good.replace(before, after))
        found = list(Matcher(Index.build(Rulebook.load(path=broken_rules))).try_sentences())
        assert len(found) == 1
        assert said in str(found[0])
        assert found[0].where.startswith("en/all.toml:")


def test_no_errors_between_rules(checked: list[Issue]) -> None:
    """The same words in rules of two sides, terms that are too short."""
    errors = [i for i in checked if i.severity == "error"]
    assert not errors, told(errors)


@pytest.mark.parametrize("language", LANGUAGES)
def test_how_many_terms_are_written(full: Rulebook, language: str) -> None:
    counts: Counter[str] = Counter()
    for rule in full.rules:
        if rule.language == language:
            family = rule.concept.partition(".")[0]
            counts["services" if family in full.service_names else family] += len(set(rule.terms))
    services, outside = LEAST_TERMS[language]
    assert counts["services"] >= services
    assert counts["outside"] >= outside


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_concept_has_a_term(full: Rulebook, concepts: list[str], language: str) -> None:
    entries: list[Rule | Action] = [*full.rules, *full.actions]
    named = {e.concept for e in entries if e.language == language}
    missing = [c for c in concepts if c not in named]
    assert not missing, told(missing)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_service_line_is_decided_by_words_that_weigh(full: Rulebook, language: str) -> None:
    """Hints decide nothing alone: each line needs a rule that does."""
    strong = {
        r.concept.partition(".")[0]
        for r in full.rules
        if r.language == language and r.kind in {"listed", "synonym", "narrower", "title"}
    }
    assert set(full.service_names) <= strong


@pytest.mark.parametrize("language", ["en", "ca"])
def test_the_articles_own_items_are_listed(full: Rulebook, language: str) -> None:
    listed = {r.concept.partition(".")[0] for r in full.rules if r.language == language and r.kind == "listed"}
    assert {s for s in full.service_names if not s.startswith("other_")} <= listed


def test_every_language_has_cues(full: Rulebook) -> None:
    for language in LANGUAGES:
        effects = {c.effect for c in full.cues if c.language == language}
        assert effects == {"zone", "negate", "stop", "neutral"}
        zones = {c.zone for c in full.cues if c.language == language and c.effect == "zone"}
        assert {"title", "requirements", "employer", "benefits", "boilerplate"} <= zones


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_concept_has_a_citation(full: Rulebook, concepts: list[str], language: str) -> None:
    speaks = "ca" if language == "ca" else "en"
    for concept in concepts:
        citation = full.citation(concept, language)
        assert citation.language == speaks
        assert citation.own_words == (language != "es")
        assert citation.document
        assert citation.section
        assert citation.item
        if full.service(concept) and not concept.startswith("other_"):
            assert citation.row == {"en": "Services", "ca": "Serveis"}[speaks]


def test_both_documents_are_cited_alike(full: Rulebook, concepts: list[str]) -> None:
    for concept in concepts:
        english, catalan = full.citation(concept, "en"), full.citation(concept, "ca")
        assert english.document != catalan.document
        assert bool(english.row) == bool(catalan.row)


def test_every_concept_is_on_a_side_or_says_why_not(full: Rulebook, concepts: list[str]) -> None:
    for concept in concepts:
        side = full.side(concept)
        if concept.startswith("delivery.") or concept == "model.both":
            assert side is None
        elif concept.startswith("outside."):
            assert side == "OUT"
        else:
            assert side in {"BPO", "KPO"}


def test_ids_say_language_and_are_unique(full: Rulebook) -> None:
    everything: list[Rule | Action | Mask | Cue] = [*full.rules, *full.actions, *full.masks, *full.cues]
    assert len(full.entries) == len(everything)
    for entry in everything:
        assert entry.id.startswith(entry.place.file.partition("/")[0] + ".")


def test_places_are_where_the_entry_stands(full: Rulebook) -> None:
    lines = {f: (HOME / f).read_text(encoding="utf-8").splitlines() for f in WRITTEN}
    for entry in full.entries.values():
        assert f'"{entry.id}"' in lines[entry.place.file][entry.place.line - 1]


@pytest.mark.parametrize("profile", sorted(p.stem for p in HOME.glob("profiles/*.toml")))
def test_profiles_give_every_line_a_side(full: Rulebook, profile: str) -> None:
    book = Index.open(profile).rulebook
    assert {book.sides[s] for s in full.service_names} == {"BPO", "KPO"}


def test_weights_are_named_for_all_kinds_and_zones(full: Rulebook) -> None:
    kinds = {r.kind for r in full.rules} | {a.kind for a in full.actions}
    assert kinds - {"delivery"} <= set(full.weights.kinds)
    assert all(w >= 0 for w in (*full.weights.kinds.values(), *full.weights.zones.values()))


def test_a_compiled_rulebook_answers_like_a_fresh_one(full: Rulebook) -> None:
    index = Index.build(full)
    again = Index.from_bytes(index.to_bytes(), "article", full.id.sha256)
    assert again.size == index.size
    assert again.rulebook.id == full.id
    fresh, kept = Matcher(index), Matcher(again)
    sentences = [s for e in full.entries.values() if isinstance(e, Rule) for s in (e.yes[:1] + e.no[:1])]
    assert len(sentences) > 1000
    for text in sentences[::5]:
        ours = [(h.start, h.end, h.entry.id, h.zone) for h in fresh.read(text).hits]
        assert [(h.start, h.end, h.entry.id, h.zone) for h in kept.read(text).hits] == ours
