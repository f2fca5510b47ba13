"""Folding: what is equal, and the way back to the source."""

from __future__ import annotations

import sys
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from outsourcing_classifier import classify
from outsourcing_classifier.index import Index
from outsourcing_classifier.rulebook import HOME
from outsourcing_classifier.text import Folder, words

fold = Folder().fold

ALPHABET = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789~ \n-'/(<>&,:.")


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("Gestió de NÒMINES", b"gestio de nomines"),
        (unicodedata.normalize("NFD", "Gestió de nòmines"), b"gestio de nomines"),
        ("col·laboració", b"col laboracio"),
        ("col.laboració", b"col laboracio"),
        ("coŀlaboració", b"collaboracio"),
        ("d’inversions", b"d inversions"),
        ("d'inversions", b"d inversions"),
        ("d´inversions", b"d inversions"),
        ("call‑centre", b"call centre"),
        ("call–centre", b"call centre"),
        ("Straße", b"strase"),
        ("İSTANBUL", b"istanbul"),
        ("ﬁnance", b"finance"),
        ("oﬃce", b"office"),
        ("pay\u00adroll", b"payroll"),
        ("pay\u200broll", b"payroll"),
        ("research & development", b"research and development"),
        ("research &amp; development", b"research and development"),
        ("R&D", b"r and d"),
        ("бухгалтер", b"~~~~~~~~~"),
        ("ｐａｙｒｏｌｌ", b"payroll"),
        ("ñ ç ø ł", b"n c o l"),
    ],
)
def test_words(written: str, read: bytes) -> None:
    assert words(written) == read


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("administratiu/va", b"administratiu"),
        ("técnico/a de nóminas", b"tecnico de nominas"),
        ("asesor(a) fiscal", b"asesor fiscal"),
        ("accounting/bookkeeping", b"accounting/bookkeeping"),
        ("24/7", b"24/7"),
    ],
)
def test_the_second_gender_is_dropped(written: str, read: bytes) -> None:
    """By the endings that the rules name, and by nothing in Python."""
    assert Index.open().fold(written).data == read
    assert Folder((), [b"va", b"a"]).fold(written).data == read
    if read.isalpha():
        assert Folder().fold(written).data != read


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("the firm's books", b"the firm books"),
        ("customers' orders", b"customers orders"),
        ("'payroll' clerk", b"payroll clerk"),
        ("d'auditoria, l’informe", b"d'auditoria, l'informe"),
        ("manteniment d¿equips d?oficina", b"manteniment d'equips d'oficina"),
        ("Payroll? Yes", b"payroll. yes"),
        ("Técnico de RR.HH.", b"tecnico de rr-hh."),
        ("Assess.jurídic", b"assess juridic"),
        ("experience.Must", b"experience.must"),
    ],
)
def test_signs_within_words(written: str, read: bytes) -> None:
    folded = Index.open().fold(written)
    assert folded.data == read
    assert written[folded.source(0) : folded.source(len(folded.data))].strip("'") == written.strip("'")


def test_endings_of_any_form() -> None:
    """They are words, not patterns; there may be none."""
    assert Folder((), [b"a.", b"("]).fold("b/ab").data == b"b/ab"
    assert Folder((), []).fold("b/a (a)").data == b"b/a (a,"


def test_no_language_in_the_code() -> None:
    for file in ("text.py", "matcher.py", "zones.py", "index.py"):
        source = (HOME.parent / file).read_text(encoding="utf-8")
        assert "iques" not in source
        assert "junior" not in source


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("xx gestió de nòmines yy", "gestió de nòmines"),
        ("xx gestio de nomines yy", "gestio de nomines"),
        ("xx GESTIÓ DE NÒMINES yy", "GESTIÓ DE NÒMINES"),
        (
            unicodedata.normalize("NFD", "àé gestió de nòmines yy"),
            unicodedata.normalize("NFD", "gestió de nòmines"),
        ),
        ("ß İ ﬃ 😀 gestió de nòmines 😀", "gestió de nòmines"),
        ("👩🏽‍💻 payroll processing 👍🏿", "payroll processing"),
        ("xx payroll   processing yy", "payroll   processing"),
        ("xx payroll\nprocessing yy", "payroll\nprocessing"),
        ("xx payroll\r\nprocessing yy", "payroll\r\nprocessing"),
        ("xx payroll\u00a0processing yy", "payroll\u00a0processing"),
        ("xx payroll&nbsp;processing yy", "payroll&nbsp;processing"),
        ("xx pay\u00adroll process\u200bing yy", "pay\u00adroll process\u200bing"),
        ("<p class='x'>Payroll processing</p>", "Payroll processing"),
        ("<br/><br/>&bull; Payroll processing<br>", "Payroll processing"),
        ("A &lt;b&gt; market &amp; research; payroll-processing, etc.", "payroll-processing"),
        ("“payroll processing”", "payroll processing"),
        ("(payroll processing)", "payroll processing"),
        ("xx recerca d’inversions yy", "recerca d’inversions"),
        ("xx recerca d'inversions yy", "recerca d'inversions"),
        ("\ufeffpayroll processing", "payroll processing"),
        ("¿payroll processing?", "payroll processing"),
    ],
)
def test_spans_are_exact(text: str, span: str) -> None:
    found = {e.text: e for e in classify(text).evidence}
    assert span in found
    start = text.index(span)
    assert (found[span].start, found[span].end) == (start, start + len(span))


@pytest.mark.parametrize("written", ["satel·lit", "satel.lit", "satellit", "sateŀlit"])
def test_catalan_geminate_in_terms(written: str) -> None:
    """All spellings fold to a form that a term written with l·l is expanded to."""
    assert words(written) in {b"satel lit", b"satellit"}


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("Tècnic/a de suport informàtic", "Tècnic/a de suport informàtic"),
        ("Teleoperador/a con experiencia", "Teleoperador/a"),
    ],
)
def test_gender_endings_belong_to_the_span(text: str, span: str) -> None:
    assert span in {e.text for e in classify(text).evidence}


@pytest.mark.parametrize("text", ["concatenates", "payrollprocessing", "xpayroll processingx", "payroll, processing"])
def test_whole_words_only(text: str) -> None:
    assert "payroll processing" not in {" ".join(e.text.split()) for e in classify(text).evidence}
    assert "listed" not in {e.kind for e in classify(text).evidence}


def check_offsets(text: str) -> None:
    folded = fold(text)
    offsets = [folded.source(i) for i in range(len(folded.data) + 1)]
    assert all(0 <= offset <= len(text) for offset in offsets)
    assert offsets == sorted(offsets)
    assert offsets[-1] == len(text)
    assert set(folded.data) <= ALPHABET


@settings(max_examples=1000, deadline=None, derandomize=True, database=None)
@given(st.text(max_size=60))
def test_offsets_of_any_text(text: str) -> None:
    check_offsets(text)


SIGNS = "ab é\u0301ßİ·.lﬁﬃ\u00ad\u200b\r\n\t>/()&;#x39😀’-–,:ao|\x00\x81\x8d\x9f\x91"
TRICKY = st.text(alphabet=SIGNS + "<", max_size=40)
NO_TAG = st.text(alphabet=SIGNS, max_size=40)  # what looks like a tag may swallow a word


@settings(max_examples=1000, deadline=None, derandomize=True, database=None)
@given(TRICKY)
def test_offsets_of_tricky_text(text: str) -> None:
    check_offsets(text)


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(NO_TAG, NO_TAG)
def test_a_word_is_found_wherever_it_stands(before: str, after: str) -> None:
    """What is folded to ``payroll`` comes from ``payroll``, whatever stands around."""
    text = before + " . zqpayrollqz . " + after
    folded = fold(text)
    at = folded.data.index(b"zqpayrollqz")
    start = text.index("zqpayrollqz")
    assert (folded.source(at), folded.source(at + 11)) == (start, start + 11)


@pytest.mark.parametrize("code", [0xFF9E, 0xFF9F])
def test_halfwidth_marks(code: int) -> None:
    """Letters by their category that are nothing but a mark when decomposed."""
    assert fold("a" + chr(code) + "b").data == b"ab"
    assert classify("a" + chr(code)).label == "UNKNOWN"


def test_every_code_point() -> None:
    """All of Unicode, lone surrogates too, folds to the alphabet."""
    for start in range(0, sys.maxunicode + 1, 4096):
        text = " ".join(map(chr, range(start, start + 4096)))
        folded = fold(text)
        assert set(folded.data) <= ALPHABET, hex(start)
        assert folded.source(len(folded.data)) == len(text), hex(start)


def test_single_code_points() -> None:
    """Every code point of the Basic Multilingual Plane folds to the alphabet and back."""
    for code in [*range(0x10000), 0x1F600, 0x10FFFF]:
        text = "a" + chr(code) + "b"
        folded = fold(text)
        assert set(folded.data) <= ALPHABET, hex(code)
        assert folded.data[:1] == b"a"
        assert folded.data[-1:] == b"b"
        assert folded.source(len(folded.data) - 1) == 2, hex(code)


def test_lone_surrogates_do_not_stop_it() -> None:
    text = "payroll processing \ud83d"
    assert fold(text).source(len(fold(text).data)) == len(text)
    assert classify(text).label == "BPO"


def test_long_text_without_offset_map_is_one_to_one() -> None:
    text = "Gestió de nòmines, d'acord. " * 1000
    folded = fold(text.strip())
    assert len(folded.data) == len(text.strip())
    assert folded.source(12345) == 12345


def test_glued_words_are_parted() -> None:
    text = "Duties: market researchPayroll processingBenefits"
    folded = fold(text)
    assert b"research.payroll" in folded.data
    at = folded.data.index(b"payroll")
    assert folded.source(at) == text.index("Payroll")
    assert {"market research", "Payroll processing"} <= {e.text for e in classify(text).evidence}
    assert Folder({b"powerpoint"}).fold("PowerPoint").data == b"powerpoint"


def test_a_seam_within_a_tag_changes_nothing() -> None:
    text = "a <diVclAss x> payroll"
    folded = fold(text)
    assert folded.data == b"a . payroll"
    assert folded.source(folded.data.index(b"payroll")) == text.index("payroll")


def test_known_words_with_capitals_are_whole_for_all_that_reads() -> None:
    """Matching a rule's sentences and reading a text fold alike."""
    assert Index.open().fold("ServiceNow, WordPress").data.count(b".") == 0
