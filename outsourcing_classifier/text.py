"""Folding: the one place that knows about accents, case, quotes, hyphens and white space.

``Folder.fold`` gives bytes over a small alphabet, one byte a code point wherever that is possible, so that
most texts need no offset map:

====== ==================================================================
byte   stands for
====== ==================================================================
a-z0-9 letters without case or accent, digits
``~``  a letter of another script
space  white space (a run counts once)
\\n     a line break within a sentence
``-``  what joins words: hyphen, ``·``, the dot in "RR.HH"
``'``  apostrophe within a word; one at its edge and the ``'s`` of a possessor are dropped
``/``  slash
``(``  opening parenthesis
``<>`` what is left of a tag; a whole tag ends a sentence
``,``  comma, other brackets, quotation marks
``:``  colon
``.``  end of a sentence, bullet, blank line, line break before a new item
====== ==================================================================
"""

from __future__ import annotations

import codecs
import re
import unicodedata
from bisect import bisect_right
from collections.abc import Container, Iterable

_DROP, _EXPAND = 0x81, 0x8D  # placeholders; as text both are unassigned C1 controls
_WORD = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789~")


def _class_of(char: str) -> int:
    """The folded byte of one code point, or a placeholder."""
    if char in "\n\r\v\f\x85\u2028\u2029":
        return 0x0A
    if char in "\u2022\u25aa\u25cf\u25e6\u2023\u2043\u25a0\u25ba\u2713\u2714\u2192|;!?\u2026\u00a1\u00bf":
        return 0x2E
    if char in "'\u2019\u2018\u02bc\u00b4`\x91\x92":
        return 0x27
    if char in "+_\u00b7":
        return 0x2D
    if char in "\u2215\u2044":
        return 0x2F
    if char in ".:/(&<>":
        return ord(char)
    category = unicodedata.category(char)
    if category == "Zs" or char == "\t":
        return 0x20
    if category in {"Mn", "Me", "Cf"}:
        return _DROP
    if category == "Pd" or char in "\x96\x97":
        return 0x2D
    if category[0] in "LN":
        base = [c for c in unicodedata.normalize("NFKD", char) if unicodedata.category(c) != "Mn"]
        if not base:
            return _DROP  # a mark by another name: the half-width ones of Japanese
        if len(base) > 1 and all(c.isascii() and c.isalnum() for c in base):
            return _EXPAND
        low = {"ø": "o", "ł": "l", "đ": "d", "ð": "d", "ß": "s", "æ": "a", "œ": "o", "ı": "i", "ŀ": "l"}
        one = low.get(char.lower()[0]) or base[0].lower()[0]
        return ord(one) if one.isascii() and one.isalnum() else ord("~")
    if category == "Cc":
        return 0x20
    if category == "So":
        return 0x2E
    return 0x2C


_TABLE = bytes(i if i in (_DROP, _EXPAND) else (_DROP if i == 0xAD else _class_of(chr(i))) for i in range(256))
_known: dict[str, int] = {}
# what a folded byte stands for, written as the latin-1 byte that _TABLE sends there
_VIA = {
    b: b for b in [*_WORD, 0x20, 0x0A, 0x27, 0x2D, 0x2C, 0x3A, 0x2E, 0x2F, 0x28, 0x26, 0x3C, 0x3E, _DROP, _EXPAND]
}
_VIA[ord("~")] = 0x9F
_TABLE = _TABLE[:0x9F] + b"~" + _TABLE[0xA0:]


def _beyond_latin1(error: UnicodeError) -> tuple[bytes, int]:
    assert isinstance(error, UnicodeEncodeError)
    out = bytearray()
    for char in error.object[error.start : error.end]:
        byte = _known.get(char)
        if byte is None:
            byte = _known[char] = _VIA[_class_of(char)]
        out.append(byte)
    return bytes(out), error.end


codecs.register_error("outsourcing_classifier.fold", _beyond_latin1)

_EDIT = rb"[ \n]{2,}|\n|\x81+|\x8d|&(?:nbsp|quot|lt|gt|,?[0-9x]{2,7})\.| ?&(?:amp\.)? ?|</?[a-z][^<>]{0,80}>"
_EDIT += rb"|(?<=[a-z0-9~])'s(?![a-z0-9~])|(?<![a-z0-9~])'|'(?![a-z0-9~])"
_NEEDS_EDIT = (b"  ", b"\n", b"\x81", b"\x8d", b"/", b"(", b"&", b"<", b"'")


class Folded:
    """Folded bytes and, where offsets moved, the way back to the source."""

    __slots__ = ("_at", "_shift", "data")

    def __init__(self, data: bytes, at: tuple[int, ...] = (), shift: tuple[int, ...] = ()) -> None:
        self.data = data
        self._at = at
        self._shift = shift

    def source(self, position: int) -> int:
        """The source offset of a folded position (of its end: give the position after it)."""
        if not self._at:
            return position
        index = bisect_right(self._at, position)
        here = position + self._shift[index - 1] if index else position
        if index == len(self._at):
            return here
        return min(here, self._at[index] + self._shift[index])  # inside a longer replacement


# lower case, upper case, other: to see "experienceMust", two words that a scraper glued
_SHAPE = bytes(
    0x6C if chr(i).islower() else 0x55 if chr(i).isupper() else 0x20 if i not in (0x9F,) else 0x6C for i in range(256)
)


class Folder:
    """Folds texts by what a rulebook knows.

    Words glued by a scraper ("experienceMust") are parted, unless the whole is in ``known``
    ("powerpoint"). ``endings`` are those of a second gender behind a slash or in parentheses, which
    are dropped: "administratiu/va", "técnico/a", "asesor(a)".
    """

    def __init__(self, known: Container[bytes] = (), endings: Iterable[bytes] = ()) -> None:
        self._known = known
        gender = b"|".join(sorted(re.escape(ending) for ending in endings))
        second = rb"|/(?:%b)(?![a-z0-9~])|\((?:%b)," % (gender, gender) if gender else b""
        self._edit = re.compile(_EDIT + second)

    def fold(self, text: str) -> Folded:
        """Fold ``text``. Linear time, no regular expression that backtracks far."""
        raw = text.encode("latin-1", "outsourcing_classifier.fold")
        data = raw.translate(_TABLE)
        if b"l.l" in data:  # Catalan "col.laboració"
            data = data.replace(b"l.l", b"l-l")
        shape = raw.translate(_SHAPE)
        data = _inner_signs(raw, data, shape)
        seen = _glued(data, shape, self._known) if b"llUll" in shape else []
        if b"." in data:
            seen += _abbreviated(data, shape)
        if seen or any(sign in data for sign in _NEEDS_EDIT):
            return self._edited(text, data, seen)
        return Folded(data)

    def _edited(self, text: str, data: bytes, seen: list[tuple[int, int, bytes]]) -> Folded:
        """Collapse white space, drop combining marks, spell out ligatures, part glued words."""
        pieces: list[bytes] = []
        at: list[int] = []
        shift: list[int] = []
        last = length = 0
        edits = [(m.start(), m.end(), m.group()) for m in self._edit.finditer(data)]
        if seen:
            edits = sorted([*edits, *seen])
        for start, end, found in edits:
            if start < last:
                continue  # a seam within a tag
            new = _replacement(text, start, end, found)
            pieces += (data[last:start], new)
            length += start - last + len(new)
            last = end
            at.append(length)
            shift.append(end - length)
        if not pieces:
            return Folded(data)
        pieces.append(data[last:])
        return Folded(b"".join(pieces), tuple(at), tuple(shift))


def code(point: int) -> int:
    """What folding knows of a code point: folded byte | shape << 8 | lower << 16 | upper << 17 | space << 18."""
    char = chr(point)
    raw = point if point < 256 else _VIA[_class_of(char)]
    marks = char.islower() | char.isupper() << 1 | char.isspace() << 2
    return _TABLE[raw] | _SHAPE[raw] << 8 | marks << 16


def spelt(point: int) -> bytes:
    """The letters that a ligature stands for."""
    return unicodedata.normalize("NFKD", chr(point)).lower().encode("ascii", "ignore")


_PLAIN = Folder()


_TOKEN = re.compile(rb"[a-z0-9~]+")


def _inner_signs(raw: bytes, data: bytes, shape: bytes) -> bytes:
    """Within a word a question mark is an apostrophe that lost its encoding ("d¿equips"), and a dot between
    capitals joins ("RR.HH")."""
    out: bytearray | None = None
    for sign in (b"?", b"\xbf"):
        at = raw.find(sign)
        while at >= 0:
            if shape[at - 1 : at] == b"l" == shape[at + 1 : at + 2]:
                out = out or bytearray(data)
                out[at] = 0x27
            at = raw.find(sign, at + 1)
    at = data.find(b".")
    while at >= 0:
        if shape[at - 1 : at] == b"U" == shape[at + 1 : at + 2]:
            out = out or bytearray(data)
            out[at] = 0x2D
        at = data.find(b".", at + 1)
    return bytes(out) if out else data


def _glued(data: bytes, shape: bytes, known: Container[bytes]) -> list[tuple[int, int, bytes]]:
    """Seams of glued words, as edits that insert the end of a sentence."""
    out: list[tuple[int, int, bytes]] = []
    at = shape.find(b"llUll")
    while at >= 0:
        seam = at + 2
        start = seam
        while start and seam - start < 40 and data[start - 1] in _WORD:
            start -= 1
        token = _TOKEN.match(data, start, seam + 40)
        if token is None or token.group() not in known:
            out.append((seam, seam, b""))
        at = shape.find(b"llUll", seam)
    return out


def _abbreviated(data: bytes, shape: bytes) -> list[tuple[int, int, bytes]]:
    """Dots of abbreviations ("Mant. software", "Assess.jurídic"), as edits: a short word with a capital
    before the dot, and lower case behind it."""
    out: list[tuple[int, int, bytes]] = []
    at = data.find(b".")
    while at >= 0:
        end = at + 2 if data[at + 1 : at + 2] == b" " else at + 1
        if shape[end : end + 1] == b"l":
            start = at
            while start and at - start < 9 and data[start - 1] in _WORD:
                start -= 1
            if 3 <= at - start <= 8 and shape[start] == 0x55:
                out.append((at, end, b"."))
        at = data.find(b".", at + 1)
    return out


def _replacement(text: str, start: int, end: int, found: bytes) -> bytes:
    if not found:
        return b"."
    first = found[0]
    if b"\n" in found:
        return _gap(text, start, end)
    if first == 0x3C:
        return b"."
    if found.strip() in (b"&", b"&amp."):
        return b" and "
    if first in (_DROP, 0x27, 0x28, 0x2F):
        return b""
    if first == _EXPAND:
        return spelt(ord(text[start]))
    return b" "


def _gap(text: str, start: int, end: int) -> bytes:
    """A line break inside a sentence reads like a space; one before a new item ends a sentence."""
    breaks = text.count("\n", start, end) or text.count("\r", start, end)
    return b"\n" if breaks < 2 and end < len(text) and text[end].islower() else b"."


def words(text: str) -> bytes:
    """A term as the matcher looks for it: folded words with one space between."""
    return b" ".join(_TOKEN.findall(_PLAIN.fold(text.lower()).data))
