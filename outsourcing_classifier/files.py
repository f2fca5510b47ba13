"""Files: stream in, stream out; the output appears whole or not at all."""

from __future__ import annotations

import codecs
import csv
import io
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from outsourcing_classifier.classifier import Classifier
from outsourcing_classifier.tables import COLUMNS, PREFIX, output_columns, row

_MOST_COLUMNS = 20_000


class FileError(ValueError):
    """An input that cannot be read or an output that cannot be written; the message says what to do."""


@dataclass(slots=True)
class Tally:
    """What a run has seen so far."""

    rows: int = 0
    labels: Counter[str] = field(default_factory=Counter)
    statuses: Counter[str] = field(default_factory=Counter)
    services: Counter[str] = field(default_factory=Counter)
    started: float = field(default_factory=time.monotonic)
    bytes_read: int = 0
    bytes_total: int | None = None

    def count(self, out: tuple[str, ...]) -> None:
        self.rows += 1
        self.labels[out[0]] += 1
        self.services[out[1] or "-"] += 1
        self.statuses[out[COLUMNS.index("status")]] += 1

    @property
    def rate(self) -> float:
        """Rows a second since the start."""
        return self.rows / max(time.monotonic() - self.started, 1e-9)

    @property
    def seconds_left(self) -> float | None:
        """Seconds left by the share of bytes read; None where the size is not known."""
        if not self.bytes_total or not self.bytes_read:
            return None
        spent = time.monotonic() - self.started
        return max(0.0, spent * (self.bytes_total - self.bytes_read) / self.bytes_read)


class _Lines:
    """Decoded lines of a binary stream; remembers the raw text of the record being read."""

    def __init__(self, stream: BinaryIO, encoding: str, name: str, tally: Tally) -> None:
        self._stream = stream
        self._encoding = encoding
        self._name = name
        self._tally = tally
        self._first = True
        self.record: list[str] = []

    def __iter__(self) -> Iterator[str]:
        for raw in self._stream:
            offset = self._tally.bytes_read
            self._tally.bytes_read += len(raw)
            if self._first:
                self._first = False
                if raw.startswith(codecs.BOM_UTF8) and self._encoding in {"utf-8", "utf8"}:
                    self.record.append("\ufeff")
                    raw, offset = raw[3:], offset + 3
            try:
                line = raw.decode(self._encoding)
            except UnicodeDecodeError as error:
                raise FileError(
                    f"{self._name}: not {self._encoding} at byte {offset + error.start}; "
                    "try --encoding cp1252 or whatever the file was saved as"
                ) from None
            self.record.append(line)
            yield line

    def take(self) -> str:
        """The raw text of the lines read since the last call."""
        text = "".join(self.record)
        self.record.clear()
        return text


def score_csv(
    source: str | Path,
    target: str | Path,
    text_column: str,
    classifier: Classifier,
    *,
    delimiter: str = ",",
    encoding: str = "utf-8",
    prefix: str = PREFIX,
    overwrite: bool = False,
    progress: Callable[[Tally], None] | None = None,
) -> Tally:
    """Classify a column of a CSV file, row by row, in constant memory.

    The original columns come out as they came in, byte for byte where the row has as many fields as
    the header, then one column for each of COLUMNS. ``"-"`` is standard input or output. A short row
    is filled with empty fields, the surplus fields of a long one follow the output columns; both get
    the status "ragged". The output is written beside its place and renamed at the end.

    Raises :class:`FileError`.
    """
    try:
        codecs.lookup(encoding)
    except LookupError:
        raise FileError(f"no encoding {encoding!r}") from None
    if len("x".encode(encoding)) != 1:
        raise FileError(f"{encoding} is not supported for CSV; convert the file to UTF-8")
    tally = Tally()
    with _Source(source, tally) as stream, _Target(target, source, overwrite) as out:
        lines = _Lines(stream, encoding, _name(source), tally)
        previous = csv.field_size_limit(2**31 - 1)
        try:
            _score(lines, out, text_column, classifier, delimiter, encoding, prefix, tally, progress, _name(source))
        finally:
            csv.field_size_limit(previous)
    return tally


def _score(
    lines: _Lines,
    out: BinaryIO,
    text_column: str,
    classifier: Classifier,
    delimiter: str,
    encoding: str,
    prefix: str,
    tally: Tally,
    progress: Callable[[Tally], None] | None,
    name: str,
) -> None:
    reader = csv.reader(iter(lines), delimiter=delimiter, strict=False)
    header = _next(reader, name, 0)
    if header is None or not any(header):
        raise FileError(f"{name}: empty; want a header line and a column {text_column!r}")
    if len(header) > _MOST_COLUMNS:
        raise FileError(f"{name}: {len(header)} columns in the header; at most {_MOST_COLUMNS}")
    if header.count(text_column) != 1:
        many = "several columns" if text_column in header else "no column"
        raise FileError(f"{name}: {many} {text_column!r}; there are: {', '.join(header)}")
    column = header.index(text_column)
    try:
        names = output_columns(header, prefix)
    except ValueError as error:
        raise FileError(f"{name}: {error}") from None
    raw = lines.take()
    ending = "\r\n" if raw.endswith("\r\n") else "\n"

    def write(body: str, fields: list[str]) -> None:
        data = body + delimiter + _join(fields, delimiter) + ending
        out.write(data.encode(encoding, "backslashreplace"))

    write(raw.rstrip("\r\n"), names)
    while True:
        fields = _next(reader, name, tally.rows + 1)
        if fields is None:
            break
        raw = lines.take().rstrip("\r\n")
        if not fields:  # a blank line
            fields, raw = [""] * len(header), delimiter * (len(header) - 1)
        status = "ok" if len(fields) == len(header) else "ragged"
        result = row(fields[column] if column < len(fields) else None, classifier, status)
        if len(fields) < len(header):
            raw += delimiter * (len(header) - len(fields))
            write(raw, list(result))
        elif len(fields) > len(header):
            write(_join(fields[: len(header)], delimiter), [*result, *fields[len(header) :]])
        else:
            write(raw, list(result))
        tally.count(result)
        if progress is not None:
            progress(tally)


def _next(reader: Iterator[list[str]], name: str, number: int) -> list[str] | None:
    try:
        return next(reader, None)
    except csv.Error as error:
        raise FileError(f"{name}: row {number}: {error}") from None


def _join(fields: list[str], delimiter: str) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, delimiter=delimiter, lineterminator="").writerow([_calm(f) for f in fields])
    return buffer.getvalue()


def _calm(field: str) -> str:
    """A cell of ours that a spreadsheet would take for a formula gets an apostrophe before it."""
    return "'" + field if field[:1] in "=+-@\t\r" and field[:1] else field


def _name(path: str | Path) -> str:
    return "standard input" if str(path) == "-" else str(path)


class _Source:
    def __init__(self, path: str | Path, tally: Tally) -> None:
        self._path, self._tally = path, tally

    def __enter__(self) -> BinaryIO:
        if str(self._path) == "-":
            return sys.stdin.buffer
        try:
            self._stream = open(self._path, "rb")
            self._tally.bytes_total = os.fstat(self._stream.fileno()).st_size
        except OSError as error:
            raise FileError(f"{self._path}: {error.strerror}") from None
        return self._stream

    def __exit__(self, *_: object) -> None:
        if str(self._path) != "-":
            self._stream.close()


class _Target:
    """A file that appears under its name only when everything is in it."""

    def __init__(self, path: str | Path, source: str | Path, overwrite: bool) -> None:
        self._path, self._source, self._overwrite = path, source, overwrite

    def __enter__(self) -> BinaryIO:
        if str(self._path) == "-":
            self._stream: BinaryIO = sys.stdout.buffer
            return self._stream
        path = Path(self._path)
        if path.exists() and not self._overwrite:
            raise FileError(f"{path} exists; say --overwrite to replace it")
        if path.is_dir():
            raise FileError(f"{path} is a folder")
        try:
            handle, self._beside = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent or ".")
        except OSError as error:
            raise FileError(f"{path}: {error.strerror}") from None
        self._stream = os.fdopen(handle, "wb", buffering=1 << 20)
        return self._stream

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if str(self._path) == "-":
            self._stream.flush()
            return
        try:
            self._stream.flush()
            os.fsync(self._stream.fileno())
            self._stream.close()
            if kind is None:
                mask = os.umask(0)
                os.umask(mask)
                os.chmod(self._beside, 0o666 & ~mask)
                os.replace(self._beside, self._path)
                return
        except OSError as error:
            if kind is None:
                raise FileError(f"{self._path}: {error.strerror}") from None
        finally:
            if os.path.exists(self._beside):
                os.unlink(self._beside)
