"""Files: stream in, classify in this process or in several, stream out.

A format cuts the input into chunks of whole records (this process) and turns a chunk into a piece of
the output (this process or a worker). Where the cuts fall depends on the input alone, and the pieces
are written in order: so the output is the same for any number of workers, and every cut is a place
where a later run can go on.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import json
import os
import re
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from outsourcing_classifier.classifier import Classifier
from outsourcing_classifier.output import FileError, Output, StoppedError
from outsourcing_classifier.source import (
    ROWS,
    Blocks,
    Chunk,
    Source,
    packing_of,
    stem_and_packing,
    zstandard_library,
)
from outsourcing_classifier.tables import (
    COLUMNS,
    PREFIX,
    ROW_ERRORS,
    arrow_schema,
    chosen_columns,
    classify_arrow,
    classify_texts,
    output_columns,
    text_index,
)
from outsourcing_classifier.version import __version__
from outsourcing_classifier.workers import in_order

__all__ = ["FORMATS", "FileError", "StoppedError", "Tally", "score_file"]

FORMATS = ("csv", "tsv", "jsonl", "parquet")
_SUFFIXES = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
}
_MOST_COLUMNS = 20_000
_ROW_GROUP = 100_000  # rows, of a written Parquet file
_FORMULA = frozenset("=+-@\t\r\n＝＋－＠")  # a cell that begins so is run by some spreadsheet
_PLAIN_NUMBER = re.compile(r"[+-]?[0-9][0-9 .,]*%?")
_STATEFUL = frozenset({"utf-7", "hz"})  # and iso2022_*: a byte there does not mean a character


@dataclass(slots=True)
class Tally:
    """What a run has seen so far; a resumed one counts on."""

    rows: int = 0
    labels: Counter[str] = field(default_factory=Counter)
    statuses: Counter[str] = field(default_factory=Counter)
    services: Counter[str] = field(default_factory=Counter)
    started: float = field(default_factory=time.monotonic)
    bytes_read: int = 0
    bytes_total: int | None = None
    rows_before: int = 0  # of the run that this one resumes
    bytes_before: int = 0

    @property
    def seconds(self) -> float:
        """Seconds since the start of this run."""
        return max(time.monotonic() - self.started, 1e-9)

    @property
    def rate(self) -> float:
        """Rows a second since the start."""
        return (self.rows - self.rows_before) / self.seconds

    @property
    def seconds_left(self) -> float | None:
        """Seconds left by the share of bytes read; None where the size is not known."""
        read = self.bytes_read - self.bytes_before
        if not self.bytes_total or read <= 0:
            return None
        return max(0.0, self.seconds * (self.bytes_total - self.bytes_read) / read)


@dataclass(frozen=True, slots=True)
class Layout:
    """What a run adds to each row, and how."""

    text: str
    prefix: str = PREFIX
    columns: tuple[str, ...] = COLUMNS
    evidence: bool = False
    fail_on_row_error: bool = False
    spreadsheet_safe: bool = False


class Piece(NamedTuple):
    """What became of a chunk. ``fault``: what stops the run: the row of the chunk or -1, and a message."""

    data: bytes
    rows: int
    labels: Counter[str]
    services: Counter[str]
    statuses: Counter[str]
    fault: tuple[int, str] | None = None


class _Format(Protocol):
    """One open input."""

    head: bytes  # of the output, before the first piece
    repeats: bool  # the same input makes the same chunk bytes

    def chunks(self) -> Iterator[Chunk]: ...

    def job(self) -> Callable[[Chunk], Piece]: ...


def score_file(
    source: str | Path,
    target: str | Path,
    text_column: str,
    classifier: Classifier,
    *,
    format: str | None = None,  # noqa: A002
    delimiter: str | None = None,
    encoding: str = "utf-8",
    prefix: str = PREFIX,
    columns: Sequence[str] = COLUMNS,
    evidence: bool = False,
    workers: int = 1,
    overwrite: bool = False,
    resume: bool = False,
    fail_on_row_error: bool = False,
    spreadsheet_safe: bool = False,
    progress: Callable[[Tally], None] | None = None,
    checkpoint_seconds: float = 5.0,
    chunk_rows: int = ROWS,
) -> Tally:
    """Classify a column of a CSV, TSV, JSON Lines or Parquet file in constant memory.

    The original columns come out as they came in, in text formats byte for byte, then one column for
    each of ``columns``. ``"-"`` is standard input or output. ``format`` is one of FORMATS; by default
    the suffix of ``source`` says it, or of ``target``; both have the same one. An input packed by gzip
    or zstd is known by its first bytes, an output is packed where its name ends in .gz or .zst.

    CSV: a short row is filled with empty fields, the surplus fields of a long one follow the output
    columns; both get the status "ragged". Our cells are safe to open in a spreadsheet; with
    ``spreadsheet_safe`` an apostrophe also goes before original cells that a spreadsheet would run.
    JSON Lines: our members follow the object's own. Parquet: our columns follow as strings,
    ``confidence`` as float64.

    ``workers`` processes share the work; the output does not depend on their number. The output
    appears when it is complete. ``resume`` goes on where an earlier run with the same input, options,
    rulebook and package stopped; the result is that of a run that was not stopped. ``progress`` is
    called after each chunk, ``checkpoint_seconds`` lie between two places to resume from, and a chunk
    has about ``chunk_rows`` rows.

    Raises :class:`FileError`; with ``fail_on_row_error`` also for the first row that is ragged or
    holds no text. :class:`StoppedError`, one of them, is for what lies outside the input.
    """
    if workers < 1:
        raise FileError("workers: want 1 or more")
    chosen_columns(columns, evidence)
    kind = _format_of(source, target, format)
    layout = Layout(text_column, prefix, tuple(columns), evidence, fail_on_row_error, spreadsheet_safe)
    packing = packing_of(target)
    if spreadsheet_safe and kind not in ("csv", "tsv"):
        raise FileError("--spreadsheet-safe is for CSV and TSV")
    if packing == "zstd":
        zstandard_library()
    with Source(source) as stream:
        if kind == "parquet":
            if packing or "-" in (str(source), str(target)):
                raise FileError("Parquet is packed inside and needs files: neither .gz, .zst nor -")
            opened: _Format = _Parquet(stream, layout, classifier, chunk_rows)
        elif kind == "jsonl":
            opened = _JsonLines(stream, layout, classifier, _codec(encoding), packing, chunk_rows)
        else:
            mark = delimiter or ("\t" if kind == "tsv" else ",")
            opened = _Csv(stream, layout, classifier, _codec(encoding, mark), mark, packing, chunk_rows)
        key = {
            "the package": __version__,
            "the rulebook": f"{classifier.rulebook.id.name} {classifier.rulebook.id.sha256}",
            "the fallback": _fallback(classifier),
            "the input": stream.fingerprint(),
            "the options": f"{kind} {delimiter!r} {encoding} {layout} {packing} {chunk_rows}",
            "the libraries": _libraries(kind, packing),
        }
        with Output(target, key, overwrite=overwrite, resume=resume, every=checkpoint_seconds) as out:
            make = opened.make if isinstance(opened, _Parquet) else None
            return _run(opened, stream, out, workers, progress, make)


def _run(
    opened: _Format,
    stream: Source,
    out: Output,
    workers: int,
    progress: Callable[[Tally], None] | None,
    make: Callable[[Path, Path], None] | None,
) -> Tally:
    tally = Tally(bytes_total=stream.total)
    chunks = opened.chunks()
    count = crc = 0
    if out.progress is None:
        out.write(opened.head)
    else:
        count, crc = _restore(tally, out.progress)
        if not out.done:
            _skip(chunks, count, crc, stream.name, opened.repeats)
    state = {"chunks": count, "crc": crc, **_state(tally)}
    if not out.done:
        for chunk, piece in in_order(opened.job(), chunks, workers):
            if piece.fault is not None:
                row, message = piece.fault
                where = f"row {tally.rows + row + 1}: " if row >= 0 else ""
                raise FileError(f"{stream.name}: {where}{message}")
            out.write(piece.data)
            count += 1
            crc = zlib.crc32(chunk.data, crc) if opened.repeats else 0
            tally.rows += piece.rows
            tally.labels.update(piece.labels)
            tally.services.update(piece.services)
            tally.statuses.update(piece.statuses)
            tally.bytes_read = chunk.read
            state = {"chunks": count, "crc": crc, **_state(tally)}
            out.checkpoint(state)
            if progress is not None:
                progress(tally)
    out.finish(state, make)
    return tally


def _state(tally: Tally) -> dict[str, Any]:
    return {
        "rows": tally.rows,
        "read": tally.bytes_read,
        "labels": dict(tally.labels),
        "services": dict(tally.services),
        "statuses": dict(tally.statuses),
    }


def _restore(tally: Tally, state: dict[str, Any]) -> tuple[int, int]:
    tally.rows = tally.rows_before = state["rows"]
    tally.bytes_read = tally.bytes_before = state["read"]
    tally.labels.update(state["labels"])
    tally.services.update(state["services"])
    tally.statuses.update(state["statuses"])
    return state["chunks"], state["crc"]


def _skip(chunks: Iterator[Chunk], count: int, crc: int, name: str, repeats: bool) -> None:
    """Read over what was done, and see that it is what it was."""
    seen = 0
    for _ in range(count):
        chunk = next(chunks, None)
        if chunk is None:
            break
        seen = zlib.crc32(chunk.data, seen) if repeats else 0
    else:
        if seen == crc:
            return
    raise FileError(f"{name}: cannot resume, the input changed; start anew without --resume")


# ---- what a chunk of text becomes


@dataclass(frozen=True)
class _Job:
    """Pickled for the workers, with its classifier."""

    layout: Layout
    classifier: Classifier

    def table(
        self, texts: list[Any], ragged: Sequence[int] = ()
    ) -> tuple[dict[str, list[Any]], Counter[str], Counter[str], Counter[str], tuple[int, str] | None]:
        """The columns to write, the tallies and the first row error, if that is one."""
        wanted = self.layout.columns
        needed = list(dict.fromkeys((*wanted, "label", "service", "status")))
        table = classify_texts(texts, columns=needed, evidence=self.layout.evidence, classifier=self.classifier)
        status = table["status"]
        for i in ragged:
            if status[i] != "missing":
                status[i] = "ragged"
        tallies = Counter(table["label"]), Counter([s or "-" for s in table["service"]]), Counter(status)
        fault = None
        if self.layout.fail_on_row_error and not ROW_ERRORS.isdisjoint(tallies[2]):
            fault = next((i, s) for i, s in enumerate(status) if s in ROW_ERRORS)
        return {n: table[n] for n in chosen_columns(wanted, self.layout.evidence)}, *tallies, fault

    @staticmethod
    def refused(message: str, row: int = -1) -> Piece:
        return Piece(b"", 0, Counter(), Counter(), Counter(), (row, message))


def _pack(data: bytes, packing: str | None) -> bytes:
    """A piece as a member or frame of its own: put together, they are one valid file."""
    if packing is None or not data:
        return data
    if packing == "gzip":
        return gzip.compress(data, 6, mtime=0)
    return bytes(zstandard_library().ZstdCompressor(level=3).compress(data))


def _undecodable(codec: str, offset: int, error: UnicodeDecodeError) -> str:
    return f"not {codec} at byte {offset + error.start}; try --encoding cp1252 or whatever the file was saved as"


# ---- CSV and TSV


class _Csv:
    """Delimited text; Python's csv.reader says what a field is, the raw lines are kept beside it."""

    repeats = True

    def __init__(
        self,
        stream: Source,
        layout: Layout,
        classifier: Classifier,
        codec: str,
        delimiter: str,
        packing: str | None,
        chunk_rows: int,
    ) -> None:
        name = stream.name
        self._blocks = Blocks(stream, _records(delimiter.encode()), chunk_rows)
        start = self._blocks.first_record()
        bom = codecs.BOM_UTF8 if codec == "utf-8" and start.startswith(codecs.BOM_UTF8) else b""
        try:
            raw = start[len(bom) :].decode(codec)
        except UnicodeDecodeError as error:
            raise FileError(f"{name}: {_undecodable(codec, len(bom), error)}") from None
        try:
            with _Wide():
                header = next(csv.reader(io.StringIO(raw, newline="\n"), delimiter=delimiter), [])
        except csv.Error as error:
            raise FileError(f"{name}: row 0: {_csv_fault(error)}") from None
        if not any(header):
            raise FileError(f"{name}: empty; want a header line and a column {layout.text!r}")
        if len(header) > _MOST_COLUMNS:
            raise FileError(f"{name}: {len(header)} columns in the header; at most {_MOST_COLUMNS}")
        column, names = _columns(header, layout, name)
        ending = "\r\n" if raw.endswith("\r\n") else "\n"
        self._job = _CsvJob(layout, classifier, codec, delimiter, packing, column, len(header), ending)
        body = self._job.safe(header, raw.rstrip("\r\n"))
        ours = self._job.cells([[n] for n in names])[0]
        line = body + delimiter + ours + ending
        try:
            self.head = _pack(bom + line.encode(codec), packing)
        except UnicodeEncodeError:
            raise FileError(f"{name}: the names of the output columns cannot be written in {codec}") from None

    def chunks(self) -> Iterator[Chunk]:
        return self._blocks.chunks()

    def job(self) -> Callable[[Chunk], Piece]:
        return self._job


@dataclass(frozen=True)
class _CsvJob(_Job):
    codec: str
    delimiter: str
    packing: str | None
    column: int
    width: int
    ending: str

    def __call__(self, chunk: Chunk) -> Piece:
        try:
            whole = chunk.data.decode(self.codec)
        except UnicodeDecodeError as error:
            return self.refused(_undecodable(self.codec, chunk.offset, error))
        try:
            rows = self._plainly(whole) or self._carefully(whole)
        except _BadRow as bad:
            return self.refused(_csv_fault(bad.error), bad.row)
        table, labels, services, statuses, fault = self.table(rows.texts, rows.ragged)
        if fault is not None:
            return self.refused(f"status {fault[1]}", fault[0])
        mark, ours = self.delimiter, self.cells(map(_number, v) if n == "confidence" else v for n, v in table.items())
        done = [f"{body}{mark}{own}{self.ending}" for body, own in zip(rows.bodies, ours, strict=True)]
        for row, ending in rows.endings.items():
            done[row] = done[row].removesuffix(self.ending) + ending
        data = _pack("".join(done).encode(self.codec, "backslashreplace"), self.packing)
        return Piece(data, len(done), labels, services, statuses)

    def _plainly(self, whole: str) -> _Rows | None:
        """The rows where each is one line of as many fields as the header, ended as all are; else None."""
        lines = whole.count(self.ending)
        if whole.count("\n") != lines or whole.count("\r") != lines * self.ending.count("\r"):
            return None
        if self.layout.spreadsheet_safe:
            return None
        bodies = whole.split(self.ending)
        if not bodies[-1]:
            bodies.pop()
        reader = csv.reader(bodies, delimiter=self.delimiter)
        try:
            with _Wide():
                rows = list(reader)
        except csv.Error:
            return None
        if reader.line_num != len(rows) or set(map(len, rows)) != {self.width}:
            return None
        return _Rows(bodies, list(map(itemgetter(self.column), rows)))

    def _carefully(self, whole: str) -> _Rows:
        """The rows, whatever they look like. Raises _BadRow."""
        lines = io.StringIO(whole, newline="\n").readlines()
        reader = csv.reader(lines, delimiter=self.delimiter)
        column, width, last, safe = self.column, self.width, 0, self.layout.spreadsheet_safe
        rows = _Rows([], [])
        bodies, texts = rows.bodies, rows.texts
        try:
            with _Wide():
                for fields in reader:
                    at = reader.line_num
                    raw = lines[last] if at == last + 1 else "".join(lines[last:at])
                    last = at
                    body = raw.rstrip("\r\n") if raw[-1] in "\r\n" else raw
                    ending = "\r\n" if raw.endswith("\r\n") else "\n" if raw[-1] == "\n" else self.ending
                    row = len(bodies)
                    if len(fields) == width:
                        texts.append(fields[column])
                        body = self.safe(fields, body) if safe else body
                    elif not fields:  # a blank line
                        body = self.delimiter * (width - 1)
                        texts.append("")
                    elif len(fields) < width:
                        rows.ragged.append(row)
                        texts.append(fields[column] if column < len(fields) else None)
                        body = self.safe(fields, body) + self.delimiter * (width - len(fields))
                    else:
                        rows.ragged.append(row)
                        texts.append(fields[column])
                        cut = _prefix(self.delimiter, width, body)
                        ending = self.delimiter + self.safe(fields[width:], body[cut + 1 :]) + ending
                        body = self.safe(fields[:width], body[:cut])
                    bodies.append(body)
                    if ending != self.ending:
                        rows.endings[row] = ending
        except csv.Error as error:
            raise _BadRow(len(bodies), error) from None
        return rows

    def cells(self, columns: Iterable[Iterable[str]]) -> list[str]:
        """Our cells of each row, joined; harmless in a spreadsheet."""
        return list(map(self.delimiter.join, zip(*map(self._ready, columns), strict=True)))

    def _ready(self, column: Iterable[str]) -> list[str]:
        """Quoted where they must be, and no formulas. Few columns have either."""
        cells = list(column)
        together = "\0" + "\0".join(cells)
        if not any(sign in together for sign in (self.delimiter, *'"\n\r', *("\0" + sign for sign in _FORMULA))):
            return cells
        return [self._quoted(cell) for cell in cells]

    def _quoted(self, cell: str) -> str:
        cell = _calm(cell)
        if self.delimiter in cell or '"' in cell or "\n" in cell or "\r" in cell:
            return '"' + cell.replace('"', '""') + '"'
        return cell

    def safe(self, fields: list[str], raw: str) -> str:
        """The original cells, raw, or made harmless where that is asked for and needed."""
        if not self.layout.spreadsheet_safe or not any(f[:1] in _FORMULA for f in fields if f):
            return raw
        out = io.StringIO()
        writer = csv.writer(out, delimiter=self.delimiter, lineterminator="")
        writer.writerow([f if _PLAIN_NUMBER.fullmatch(f) else _calm(f) for f in fields])
        return out.getvalue()


@dataclass(slots=True)
class _Rows:
    """The rows of a chunk: as they stand, without their ends, and the text of each."""

    bodies: list[str]
    texts: list[str | None]
    ragged: list[int] = field(default_factory=list)
    endings: dict[int, str] = field(default_factory=dict)  # other than the header's


class _BadRow(Exception):
    """A row that is no CSV."""

    def __init__(self, row: int, error: csv.Error) -> None:
        super().__init__(row)
        self.row, self.error = row, error


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _calm(cell: str) -> str:
    """An apostrophe before what a spreadsheet would take for a formula."""
    return "'" + cell if cell[:1] in _FORMULA and cell else cell


def _csv_fault(error: csv.Error) -> str:
    if "new-line" in str(error):
        return "a carriage return inside a field without quotes; are these line ends of an old Mac?"
    return str(error)


class _Wide:
    """Fields of any length while it lasts; the limit of the csv module is a global."""

    def __enter__(self) -> None:
        self._before = csv.field_size_limit(2**31 - 1)

    def __exit__(self, *_: object) -> None:
        csv.field_size_limit(self._before)


def _quoted(mark: str) -> str:
    """One field as csv.reader reads it: a quote counts at the beginning only."""
    return rf'(?:"[^"]*+(?:""[^"]*+)*+"[^{mark}\n]*+|(?!")[^{mark}\n]*+)'


def _records(delimiter: bytes) -> Callable[[bytes], int]:
    """A function that says how much of a block, from a record's start, is whole records."""
    mark = re.escape(delimiter.decode("ascii"))
    some = re.compile(rf"(?:(?:{_quoted(mark)}{mark})*+{_quoted(mark)}\n)*+".encode())

    def whole(block: bytes) -> int:
        if b'"' not in block:
            return block.rfind(b"\n") + 1
        match = some.match(block)
        return match.end() if match else 0

    return whole


def _prefix(delimiter: str, width: int, body: str) -> int:
    """Where the first ``width`` fields of a longer row end."""
    field_ = _quoted(re.escape(delimiter))
    match = re.match(f"(?:{field_}{re.escape(delimiter)}){{{width - 1}}}{field_}", body)
    assert match is not None
    return match.end()


# ---- JSON Lines


class _JsonLines:
    """One object a line; our members go before the last brace."""

    repeats = True
    head = b""

    def __init__(
        self,
        stream: Source,
        layout: Layout,
        classifier: Classifier,
        codec: str,
        packing: str | None,
        chunk_rows: int,
    ) -> None:
        output_columns([], layout.prefix, layout.columns, layout.evidence)
        self._blocks = Blocks(stream, lambda block: block.rfind(b"\n") + 1, chunk_rows)
        self._job = _JsonJob(layout, classifier, codec, packing)

    def chunks(self) -> Iterator[Chunk]:
        return self._blocks.chunks()

    def job(self) -> Callable[[Chunk], Piece]:
        return self._job


@dataclass(frozen=True)
class _JsonJob(_Job):
    codec: str
    packing: str | None

    def __call__(self, chunk: Chunk) -> Piece:
        data, bom = chunk.data, ""
        if not chunk.offset and self.codec == "utf-8" and data.startswith(codecs.BOM_UTF8):
            data, bom = data[3:], "\ufeff"
        try:
            lines = io.StringIO(data.decode(self.codec), newline="\n").readlines()
        except UnicodeDecodeError as error:
            return self.refused(_undecodable(self.codec, chunk.offset + 3 * len(bom), error))
        decode = json.JSONDecoder(parse_int=float).decode  # a number's digits stay in the raw line
        names = [self.layout.prefix + c for c in chosen_columns(self.layout.columns, self.layout.evidence)]
        texts: list[Any] = []
        found = False
        rows: list[tuple[str, str]] = []
        out: list[str] = [bom]
        for line in lines:
            body = line.rstrip()
            if not body:
                continue
            try:
                item = decode(body)
            except (ValueError, RecursionError):
                item = None
            if not isinstance(item, dict):
                return self.refused("no JSON object on this line", len(texts))
            taken = [n for n in names if n in item]
            if taken:
                return self.refused(f"{taken[0]} exists already; choose another prefix", len(texts))
            found = found or self.layout.text in item
            texts.append(item.get(self.layout.text))
            rows.append((body[:-1], ", " if item else ""))
        if texts and not found and not chunk.offset:
            return self.refused(f"no member {self.layout.text!r} in the first {len(texts)} objects")
        table, labels, services, statuses, fault = self.table(texts)
        if fault is not None:
            return self.refused(f"status {fault[1]}", fault[0])
        encode = json.JSONEncoder(ensure_ascii=False).encode
        ours = zip(*table.values(), strict=True)
        done = iter(
            [
                f"{body}{comma}{encode(dict(zip(names, o, strict=True)))[1:]}"
                for (body, comma), o in zip(rows, ours, strict=True)
            ]
        )
        for line in lines:
            body = line.rstrip("\r\n")
            out.append((next(done) if body.strip() else body) + (line[len(body) :] or "\n"))
        data = "".join(out).encode(self.codec, "backslashreplace")
        return Piece(_pack(data, self.packing), len(texts), labels, services, statuses)


# ---- Parquet


class _Parquet:
    """Arrow record batches; the part is a row of Arrow streams, the Parquet file is made of it at the end."""

    repeats = False  # the padding of Arrow's bytes is anyone's
    head = b""

    def __init__(self, stream: Source, layout: Layout, classifier: Classifier, chunk_rows: int) -> None:
        try:
            import pyarrow as pa
            from pyarrow import parquet
        except ImportError:
            raise FileError("Parquet needs pyarrow: pip install 'outsourcing-classifier[arrow]'") from None
        try:
            self._file = parquet.ParquetFile(stream.raw)
            schema = self._file.schema_arrow
        except (pa.ArrowException, OSError):
            raise FileError(f"{stream.name}: not a Parquet file, or a damaged one") from None
        if len(schema) > _MOST_COLUMNS:
            raise FileError(f"{stream.name}: {len(schema)} columns; at most {_MOST_COLUMNS}")
        try:
            self.schema = arrow_schema(
                schema, layout.text, prefix=layout.prefix, columns=layout.columns, evidence=layout.evidence
            )
        except (KeyError, ValueError, TypeError) as error:
            raise FileError(f"{stream.name}: {error.args[0]}") from None
        self._name, self._rows = stream.name, chunk_rows
        self._total = stream.total or 0
        self._job = _ArrowJob(layout, classifier)

    def chunks(self) -> Iterator[Chunk]:
        import pyarrow as pa

        rows, all_rows = 0, max(1, self._file.metadata.num_rows)
        try:
            for batch in self._file.iter_batches(batch_size=self._rows):
                rows += batch.num_rows
                yield Chunk(_to_ipc(batch), rows, self._total * rows // all_rows)
        except (pa.ArrowException, OSError):
            raise FileError(f"{self._name}: damaged after row {rows}") from None

    def job(self) -> Callable[[Chunk], Piece]:
        return self._job

    def make(self, part: Path, target: Path) -> None:
        """The Parquet file from the part."""
        import pyarrow as pa
        from pyarrow import parquet

        held: list[Any] = []
        count = 0
        with open(part, "rb") as file, parquet.ParquetWriter(str(target), self.schema) as writer:
            size = os.fstat(file.fileno()).st_size
            while file.tell() < size:
                for batch in pa.ipc.open_stream(file):
                    held.append(batch)
                    count += batch.num_rows
                if count >= _ROW_GROUP:
                    writer.write_table(pa.Table.from_batches(held), row_group_size=count)
                    held, count = [], 0
            if held:
                writer.write_table(pa.Table.from_batches(held), row_group_size=max(1, count))


@dataclass(frozen=True)
class _ArrowJob(_Job):
    def __call__(self, chunk: Chunk) -> Piece:
        import pyarrow as pa

        batch = pa.ipc.open_stream(chunk.data).read_next_batch()
        layout = self.layout
        needed = tuple(dict.fromkeys((*layout.columns, "label", "service", "status")))
        spare = "\0"  # a prefix that no file has, for the columns that are not written
        done = classify_arrow(
            batch,
            layout.text,
            prefix=spare,
            columns=needed,
            evidence=layout.evidence,
            classifier=self.classifier,
        )
        label, service, status = (done.column(spare + n).to_pylist() for n in ("label", "service", "status"))
        if layout.fail_on_row_error and not ROW_ERRORS.isdisjoint(status):
            row = next(i for i, s in enumerate(status) if s in ROW_ERRORS)
            return self.refused(f"status {status[row]}", row)
        schema = arrow_schema(
            batch.schema, layout.text, prefix=layout.prefix, columns=layout.columns, evidence=layout.evidence
        )
        ours = [done.column(spare + c) for c in chosen_columns(layout.columns, layout.evidence)]
        written = pa.RecordBatch.from_arrays([*batch.columns, *ours], schema=schema)
        counts = Counter(label), Counter([s or "-" for s in service]), Counter(status)
        return Piece(_to_ipc(written), batch.num_rows, *counts)


def _to_ipc(batch: Any) -> bytes:
    import pyarrow as pa

    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return bytes(sink.getvalue().to_pybytes())


def _columns(header: list[str], layout: Layout, name: str) -> tuple[int, list[str]]:
    try:
        place = text_index(header, layout.text)
        return place, output_columns(header, layout.prefix, layout.columns, layout.evidence)
    except (KeyError, ValueError) as error:
        raise FileError(f"{name}: {error.args[0]}") from None


def _format_of(source: str | Path, target: str | Path, said: str | None) -> str:
    if said is not None and said not in FORMATS:
        raise FileError(f"no format {said!r}; there are: {', '.join(FORMATS)}")
    suffix = stem_and_packing(source)[0]
    ours, theirs = _SUFFIXES.get(suffix), _SUFFIXES.get(stem_and_packing(target)[0])
    kind = said or ours or (theirs if str(source) == "-" else None) or "csv"
    if said is None and suffix == ".json":
        raise FileError(f"{source}: for one JSON object a line say --format jsonl; other JSON is not read")
    if theirs is not None and theirs != kind:
        raise FileError(f"{target}: the output has the input's format, {kind}, and so should its name")
    return kind


def _codec(encoding: str, delimiter: str = ",") -> str:
    """The codec's own name. Raises FileError where single bytes do not mean what they mean in ASCII."""
    ascii_ = bytes(range(128))
    try:
        name = codecs.lookup(encoding).name
        text = ascii_.decode(encoding)
        single = len(bytes(range(256)).decode(encoding, "replace")) == 256
    except (LookupError, UnicodeError, ValueError):
        try:
            codecs.lookup(encoding)
        except LookupError:
            raise FileError(f"no encoding {encoding!r}") from None
        raise FileError(f"{encoding} is not supported for CSV; convert the file to UTF-8") from None
    if name == "utf-8-sig":
        name = "utf-8"
    if text != ascii_.decode("ascii") or name in _STATEFUL or name.startswith("iso2022"):
        raise FileError(f"{encoding} is not supported for CSV; convert the file to UTF-8")
    if len(delimiter) != 1 or not delimiter.isascii() or delimiter in '"\r\n\0':
        raise FileError("the delimiter must be one ASCII character, neither a quote nor a line end")
    if delimiter >= "0" and delimiter != ";" and name != "utf-8" and not single:
        raise FileError(f"{delimiter} may be half a letter in {encoding}; convert the file to UTF-8")
    return name


def _fallback(classifier: Classifier) -> str:
    """What decides besides the rules."""
    model = getattr(getattr(classifier, "_model", None), "manifest", {}).get("sha256", "none")
    return f"{model}, precision {getattr(classifier, 'target_precision', None)}"


def _libraries(kind: str, packing: str | None) -> str:
    """What the bytes of the output depend on besides."""
    if kind == "parquet":
        import pyarrow as pa

        return f"pyarrow {pa.__version__}"
    if packing == "gzip":
        return f"zlib {zlib.ZLIB_RUNTIME_VERSION}"
    return f"zstandard {zstandard_library().__version__}" if packing else "-"
