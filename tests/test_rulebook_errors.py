"""A rulebook that cannot be used is refused with file, line and key, never with a traceback of ours."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from outsourcing_classifier import Classifier, Rulebook, RulebookError, index
from outsourcing_classifier.index import Index
from outsourcing_classifier.rulebook import DECISION, HOME

ALL = "en/all.toml"


def change(rules: Path, file: str, before: str, after: str) -> int:
    """Replace ``before`` once and return the line where it stood."""
    path = rules / file
    text = path.read_text(encoding="utf-8")
    assert before in text
    path.write_text(text.replace(before, after, 1), encoding="utf-8")
    return text[: text.index(before)].count("\n") + 1


def refused(rules: Path) -> str:
    with pytest.raises(RulebookError) as caught:
        Classifier(rulebook=rules, fallback=None)
    return str(caught.value)


def test_the_unbroken_one_loads(broken_rules: Path) -> None:
    c = Classifier(rulebook=broken_rules, fallback=None).classify("payroll processing")
    assert (c.label, c.service) == ("BPO", "hr")


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (
            'concept = "hr.payroll"\nkind',
            'concept = "hr.nothing"\nkind',
            ["en.hr.payroll", "concept", "hr.nothing"],
        ),
        ('concept = "hr.payroll"\nkind', "kind", ["en.hr.payroll", "concept"]),
        ('kind = "listed"', 'kind = "sure"', ["en.hr.payroll", "kind", "'sure'", "listed, synonym"]),
        ('kind = "listed"\n', "", ["en.hr.payroll", "kind"]),
        ('kind = "listed"', 'knid = "listed"', ["en.hr.payroll", "knid", "there are:", "kind"]),
        ("payroll {role}", "payroll {rôle}", ["en.hr.payroll", "terms"]),
        ("payroll {role}", "payroll {boss}", ["en.hr.payroll", "terms", "no macro {boss}"]),
        ("payroll {role}", "payroll (a|b", ["en.hr.payroll", "terms", "not closed"]),
        ("payroll {role}", "payroll a|b", ["en.hr.payroll", "terms", "| outside parentheses"]),
        ("payroll {role}", "payroll a)", ["en.hr.payroll", "terms", "too many"]),
        ("payroll {role}", "pay*roll", ["en.hr.payroll", "terms", "end of a word"]),
        ("payroll {role}", "(a|)", ["en.hr.payroll", "terms", "no word"]),
        ("payroll {role}", "…", ["en.hr.payroll", "terms", "no letter"]),
        ("payroll {role}", "", ["en.hr.payroll", "terms"]),
        (
            'terms = ["payroll processing", "payroll {role}"]',
            "terms = []",
            ["en.hr.payroll", "terms", "empty"],
        ),
        ('terms = ["payroll processing", "payroll {role}"]', "", ["en.hr.payroll", "terms", "empty"]),
        (
            'terms = ["payroll processing", "payroll {role}"]',
            'terms = "payroll"',
            ["terms", "list of strings"],
        ),
        ('terms = ["payroll processing", "payroll {role}"]', "terms = [1]", ["terms", "list of strings"]),
        ('yes = ["Payroll', 'yes = [5, "Payroll', ["en.hr.payroll", "yes", "list of strings"]),
        ('id = "en.hr.payroll"', 'id = "ca.hr.payroll"', ["ca.hr.payroll", "want en."]),
        ('id = "en.hr.payroll"', 'id = "en.HR payroll"', ["en.HR payroll", "id"]),
        ('"@process"', '"@nothing"', ["en.hr.payroll.do", "verbs", "@nothing"]),
        ('["wage slip*"]', '["@process"]', ["en.hr.payroll.do", "objects", "@process"]),
        ('["wage slip*"]', '["wage slip*"]\ngap = 99', ["en.hr.payroll.do", "gap", "0 to 20"]),
        ('["wage slip*"]', '["wage slip*"]\ngap = "2"', ["en.hr.payroll.do", "gap"]),
        ('effect = "negate"', 'effect = "shout"', ["en.negate.after", "effect", "shout"]),
        ('effect = "negate"', 'effect = "zone"\nzone = "cellar"', ["en.negate.after", "zone", "cellar"]),
        ('scope = "after"', 'scope = "around"', ["en.negate.after", "scope", "after, before"]),
        ('note = "a magazine"', 'remark = "a magazine"', ["en.mask.scheme", "remark"]),
    ],
)
def test_broken_entries(broken_rules: Path, before: str, after: str, said: list[str]) -> None:
    change(broken_rules, ALL, before, after)
    message = refused(broken_rules)
    assert re.match(re.escape(str(broken_rules / ALL)) + r":\d+: ", message), message
    assert all(part in message for part in said), message


def test_the_line_is_that_of_the_entry(broken_rules: Path) -> None:
    line = change(broken_rules, ALL, 'id = "en.market.research"', 'id = "en.market.research"\nnote = "x"')
    assert f"all.toml:{line}: en.market.research" in refused(broken_rules)


def test_the_line_of_an_id_that_begins_another(broken_rules: Path) -> None:
    """en.hr.payroll.do comes first in the file; the broken en.hr.payroll stands below."""
    path = broken_rules / ALL
    first, second, third, *rest = path.read_text().split("\n\n")
    path.write_text("\n\n".join([third, second, first.replace('"listed"', '"sure"'), *rest]))
    line = path.read_text().split("\n").index('id = "en.hr.payroll"') + 1
    assert f"all.toml:{line}: " in refused(broken_rules)


def test_duplicate_in_one_file_names_both_lines(broken_rules: Path) -> None:
    line = change(broken_rules, ALL, 'id = "en.market.research"', 'id = "en.hr.payroll"')
    message = refused(broken_rules)
    assert f"all.toml:{line}: " in message
    assert "is taken by en/all.toml:2" in message


def test_duplicate_in_another_file(broken_rules: Path) -> None:
    (broken_rules / "en" / "more.toml").write_text((broken_rules / ALL).read_text().split("\n\n")[0])
    message = refused(broken_rules)
    assert "more.toml:2: id 'en.hr.payroll' is taken by en/all.toml:2" in message


def test_an_entry_without_id(broken_rules: Path) -> None:
    change(broken_rules, ALL, 'id = "en.hr.payroll"\n', "")
    assert "an entry without id" in refused(broken_rules)


def test_wrong_toml(broken_rules: Path) -> None:
    line = change(broken_rules, ALL, 'kind = "listed"', 'kind = "listed')
    message = refused(broken_rules)
    assert str(broken_rules / ALL) in message
    assert f"line {line}" in message


def test_unknown_table(broken_rules: Path) -> None:
    line = change(broken_rules, ALL, "[[mask]]", "[[masque]]")
    message = refused(broken_rules)
    assert f"all.toml:{line}: " in message
    assert "no key 'masque' here; there are: action, cue, mask, rule" in message


def test_not_utf8(broken_rules: Path) -> None:
    (broken_rules / ALL).write_bytes(b"# caf\xe9\n")
    assert "all.toml: not UTF-8 at byte 5" in refused(broken_rules)


@pytest.mark.parametrize("file", ["sources.toml", "concepts.toml", "weights.toml"])
def test_missing_file(broken_rules: Path, file: str) -> None:
    (broken_rules / file).unlink()
    message = refused(broken_rules)
    assert file in message
    assert "No such file" in message


@pytest.mark.parametrize("name", [*DECISION, "listed", "action", "title", "sole_requirements", "version"])
def test_missing_weight(broken_rules: Path, name: str) -> None:
    path = broken_rules / "weights.toml"
    text, changes = re.subn(rf"^{name} *=.*\n", "", path.read_text(), flags=re.MULTILINE)
    assert changes
    path.write_text(text)
    message = refused(broken_rules)
    assert str(path) in message
    assert name in message


def test_every_constant_of_the_decision_is_asked_for() -> None:
    source = (HOME.parent / "scoring.py").read_text(encoding="utf-8")
    (pair,) = re.findall(r"decision\[k\] for k in \(([^)]*)\)", source) or [""]
    used = {*re.findall(r'(?:constants|decision)\["(\w+)"', source), *re.findall(r'"(\w+)"', pair)}
    assert {"neither", "outside", "least", "decay"} <= used <= set(DECISION)


def test_a_concept_without_an_anchor_is_an_error_and_no_loop(broken_rules: Path) -> None:
    with pytest.raises(KeyError, match="no anchor for 'gardening"):
        Rulebook.load(path=broken_rules).citation("gardening.roses", "en")


def test_entries_written_as_inline_tables(broken_rules: Path) -> None:
    """Their line is found, too."""
    (broken_rules / "en" / "more.toml").write_text(
        "\nrule = [\n"
        ' { id = "en.a.b", concept = "hr.payroll", kind = "listed", terms = ["aa"], yes = ["aa"] },\n'
        ' { id = "en.a", concept = "hr.payroll", kind = "sure", terms = ["aaa"], yes = ["aaa"] },\n'
        "]\n"
    )
    assert "more.toml:4: en.a: kind: 'sure'" in refused(broken_rules)


def test_the_line_of_an_entry_without_id(broken_rules: Path) -> None:
    line = change(broken_rules, ALL, 'id = "en.mask.scheme"\n', "")
    assert f"all.toml:{line - 1}: an entry without id" in refused(broken_rules)


def test_missing_profile(broken_rules: Path) -> None:
    with pytest.raises(RulebookError, match="no profile 'mine'; there are: article, in-10ta"):
        Rulebook.load("mine", broken_rules)
    with pytest.raises(RulebookError, match=r"no profile '\.\./weights'"):
        Classifier("../weights", broken_rules, None)


def test_missing_folder(tmp_path: Path) -> None:
    assert refused(tmp_path / "nowhere") == f"{tmp_path / 'nowhere'}: no such folder of rules"


def test_no_language(broken_rules: Path) -> None:
    (broken_rules / "en" / "language.toml").unlink()
    assert "no language folder" in refused(broken_rules)


@pytest.mark.parametrize(
    ("file", "before", "after", "said"),
    [
        ("profiles/article.toml", 'hr = "BPO"', 'hr = "BOP"', ["hr", "want BPO or KPO"]),
        ("profiles/article.toml", 'hr = "BPO"\n', "", ["sides", "no side for hr"]),
        ("profiles/article.toml", 'hr = "BPO"', 'hr = "BPO"\ngardening = "BPO"', ["sides", "gardening"]),
        ("en/language.toml", 'code = "en"', 'code = "ca"', ["code", "'en'"]),
        ("en/language.toml", 'head = "last"', 'head = "middle"', ["head", "first or last"]),
        ("en/language.toml", 'name = "English"', 'name = "English"\ncolour = "red"', ["colour"]),
        ("profiles/article.toml", 'version = "1"\n', "", ["version"]),
        ("profiles/article.toml", "[sides]", "[side]", ["side"]),
        ("en/language.toml", "[inflect.verb]", "[inflect.adverb]", ["inflect"]),
        ("en/language.toml", '"" = ["", "s"]', '"" = "s"', ["inflect.noun"]),
        ("en/language.toml", "action_gap = 5\n", "", ["action_gap"]),
        ("en/language.toml", "action_gap = 5", "action_gap = 5.5", ["action_gap"]),
        ("en/language.toml", "action_gap = 5", "action_gap = 5\nmarks = 5", ["marks", "list of strings"]),
        ("en/language.toml", 'role = "(clerk*|officer*)"', "role = 1", ["macros.role", "want a string"]),
        ("weights.toml", "[decision]", "[decisions]", ["decision"]),
        ("weights.toml", "decay =", 'decay = "half" #', ["decision.decay", "number"]),
        ("weights.toml", "decay =", "decay = -1 #", ["decision.decay", "number"]),
        ("weights.toml", "decay =", "decay = nan #", ["decision.decay", "number"]),
        (
            "sources.toml",
            '"hr.payroll" = { section = "bpo_activities"',
            '"hr.payroll" = { section = "nowhere"',
            ["nowhere"],
        ),
        ("sources.toml", 'row = "services"', 'row = "servants"', ["servants"]),
        ("sources.toml", "\nhr = {", "\nhx = {", ["none for the concept 'hr'"]),
        ("sources.toml", '"model.bpo" = {', '"model.xpo" = {', ["none for the concept 'model.bpo'"]),
        ("sources.toml", 'other_languages = "en"', 'other_languages = "de"', ["other_languages"]),
        ("sources.toml", "[documents.ca]", "[documents.de]", ["sections.bpo_activities.de"]),
        ("concepts.toml", "activities =", "activity =", ["services.hr.activities"]),
        ("concepts.toml", "[outside]", "[inside]", ["outside"]),
        ("concepts.toml", 'bpo = "rules"\n', "", ["traits.based_on.bpo"]),
        ("en/language.toml", '"handle~"', '"{nothing}~"', ["process", "nothing"]),
        (ALL, "[[mask]]", "[mask]", ["mask"]),
        (ALL, 'concept = "hr.payroll"\nkind', 'concept = ["hr"]\nkind', ["concept"]),
        (ALL, 'kind = "listed"', 'kind = ["listed"]', ["kind"]),
    ],
)
def test_other_broken_files(broken_rules: Path, file: str, before: str, after: str, said: list[str]) -> None:
    change(broken_rules, file, before, after)
    message = refused(broken_rules)
    assert re.match(re.escape(str(broken_rules / file)) + r":\d+: ", message), message
    assert all(part in message for part in said), message


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: b"",
        lambda data: data[:-4],
        lambda data: data[:40],
        lambda data: b"something else" + data,
        lambda data: data + b"more",
    ],
)
def test_a_spoilt_index_is_made_again(broken_rules: Path, spoil: Callable[[bytes], bytes]) -> None:
    Index.open(path=broken_rules)
    (kept,) = (broken_rules / "__compiled__").glob("*.bin")
    whole = kept.read_bytes()
    kept.write_bytes(spoil(whole))
    assert Classifier(rulebook=broken_rules, fallback=None).classify("payroll processing").service == "hr"
    assert kept.read_bytes() == whole


def test_a_flipped_bit_is_seen(broken_rules: Path) -> None:
    Index.open(path=broken_rules)
    (kept,) = (broken_rules / "__compiled__").glob("*.bin")
    whole = kept.read_bytes()
    kept.write_bytes(whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:])
    Index.open(path=broken_rules)
    assert kept.read_bytes() == whole


def test_changed_code_makes_a_new_index(broken_rules: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is named after the modules that compile, too: others cannot use what they made."""
    Index.open(path=broken_rules)
    (before,) = (broken_rules / "__compiled__").glob("*.bin")
    old = before.read_bytes()
    monkeypatch.setattr(index, "compiler", lambda: "another")
    Index.open(path=broken_rules)
    (after,) = (broken_rules / "__compiled__").glob("*.bin")
    assert after.name != before.name
    after.write_bytes(old)
    Index.open(path=broken_rules)
    assert after.read_bytes() != old


def test_the_index_is_for_all_who_may_read_the_rules(broken_rules: Path) -> None:
    Index.open(path=broken_rules)
    (kept,) = (broken_rules / "__compiled__").glob("*.bin")
    assert kept.stat().st_mode & 0o777 == kept.parent.stat().st_mode & 0o666


def test_changed_rules_make_a_new_index(broken_rules: Path) -> None:
    before = Classifier(rulebook=broken_rules, fallback=None)
    assert before.classify("oat counting").label == "UNKNOWN"
    change(broken_rules, ALL, '"payroll processing"', '"payroll processing", "oat counting"')
    after = Classifier(rulebook=broken_rules, fallback=None)
    assert after.classify("oat counting").service == "hr"
    assert after.rulebook.id.sha256 != before.rulebook.id.sha256
    assert len(list((broken_rules / "__compiled__").glob("*.bin"))) == 1
