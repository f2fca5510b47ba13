"""A rulebook that cannot be used is refused with file, line and key, never with a traceback of ours."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from outsourcing_classifier import Classifier, Rulebook, RulebookError
from outsourcing_classifier.index import Index

ALL = "en/all.toml"


def xfail(reason: str, raises: type[BaseException], *values: object) -> object:
    return pytest.param(*values, marks=pytest.mark.xfail(strict=True, raises=raises, reason=reason))


def change(rules: Path, file: str, before: str, after: str) -> int:
    """Replace ``before`` once and return the line where it stood."""
    path = rules / file
    text = path.read_text(encoding="utf-8")
    assert before in text
    path.write_text(text.replace(before, after, 1), encoding="utf-8")
    return text[: text.index(before)].count("\n") + 1


def refused(rules: Path) -> str:
    with pytest.raises(RulebookError) as caught:
        Classifier(rulebook=rules)
    return str(caught.value)


def test_the_unbroken_one_loads(broken_rules: Path) -> None:
    c = Classifier(rulebook=broken_rules).classify("payroll processing")
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


@pytest.mark.xfail(strict=True, reason="_Loader.fail: the first line that holds the id, or a longer one")
def test_the_line_of_an_id_that_begins_another(broken_rules: Path) -> None:
    """en.hr.payroll.do comes first in the file; the broken en.hr.payroll stands below."""
    path = broken_rules / ALL
    first, second, third, *rest = path.read_text().split("\n\n")
    path.write_text("\n\n".join([third, second, first.replace('"listed"', '"sure"'), *rest]))
    line = path.read_text().split("\n").index('id = "en.hr.payroll"') + 1
    assert f"all.toml:{line}: " in refused(broken_rules)


@pytest.mark.xfail(strict=True, reason="_Loader.entry: both places are the first one's line")
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


@pytest.mark.xfail(
    strict=True, raises=pytest.fail.Exception, reason="a missing constant is a KeyError in classify"
)
@pytest.mark.parametrize("name", ["neither", "decay", "least", "listed", "title"])
def test_missing_weight(broken_rules: Path, name: str) -> None:
    path = broken_rules / "weights.toml"
    text, changes = re.subn(rf"^{name} *=.*\n", "", path.read_text(), flags=re.MULTILINE)
    assert changes
    path.write_text(text)
    message = refused(broken_rules)
    assert str(path) in message
    assert name in message


def test_missing_profile(broken_rules: Path) -> None:
    with pytest.raises(RulebookError, match="no profile 'mine'; there are: article, in-10ta"):
        Rulebook.load("mine", broken_rules)
    with pytest.raises(RulebookError, match=r"no profile '\.\./weights'"):
        Classifier("../weights", broken_rules)


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
        xfail("a bare KeyError", KeyError, "profiles/article.toml", 'version = "1"\n', "", ["version"]),
        xfail(
            "a bare KeyError", KeyError, "en/language.toml", "[inflect.verb]", "[inflect.adverb]", ["inflect"]
        ),
        xfail("a bare KeyError", KeyError, "en/language.toml", "action_gap = 5\n", "", ["action_gap"]),
        xfail("a bare KeyError", KeyError, "weights.toml", "[decision]", "[decisions]", ["decision"]),
        xfail(
            "KeyError when something is cited",
            pytest.fail.Exception,
            "sources.toml",
            '"hr.payroll" = { section = "bpo_activities"',
            '"hr.payroll" = { section = "nowhere"',
            ["nowhere"],
        ),
        xfail(
            "_cite never ends where a concept has no anchor",
            pytest.fail.Exception,
            "sources.toml",
            "\nhr = {",
            "\nhx = {",
            ["hr"],
        ),
        xfail(
            "uses(): a verb set is not read at load",
            ValueError,
            "en/language.toml",
            '"handle~"',
            '"{nothing}~"',
            ["process"],
        ),
        xfail(
            "one table where a list of tables belongs", AttributeError, ALL, "[[mask]]", "[mask]", ["mask"]
        ),
        xfail(
            "a list is not hashable",
            TypeError,
            ALL,
            'concept = "hr.payroll"\nkind',
            'concept = ["hr"]\nkind',
            ["concept"],
        ),
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
    assert Classifier(rulebook=broken_rules).classify("payroll processing").service == "hr"
    assert kept.read_bytes() == whole


def test_changed_rules_make_a_new_index(broken_rules: Path) -> None:
    before = Classifier(rulebook=broken_rules)
    assert before.classify("oat counting").label == "UNKNOWN"
    change(broken_rules, ALL, '"payroll processing"', '"payroll processing", "oat counting"')
    after = Classifier(rulebook=broken_rules)
    assert after.classify("oat counting").service == "hr"
    assert after.rulebook.id.sha256 != before.rulebook.id.sha256
    assert len(list((broken_rules / "__compiled__").glob("*.bin"))) == 1
