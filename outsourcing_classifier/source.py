"""The input as bytes: unpacked, counted, cut into chunks of whole records."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, NamedTuple

from outsourcing_classifier.output import FileError

_PACKED = {".gz": "gzip", ".zst": "zstd", ".zstd": "zstd"}
_MAGIC = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
_MOST_RECORD = 128 << 20  # bytes; what is longer is an open quote
_HEAD = 1 << 16  # bytes that say how long a row is
_CHUNK = (1 << 18, 1 << 22)  # bytes at least and at most, and between them
ROWS = 8_000  # rows a chunk, about


class Chunk(NamedTuple):
    """Whole records. ``offset``: bytes of the unpacked input before them; ``read``: of the file, after."""

    data: bytes
    offset: int
    read: int


class Blocks:
    """Cuts a byte stream into chunks of whole records."""

    def __init__(self, stream: Source, whole: Callable[[bytes], int], chunk_rows: int) -> None:
        self._stream, self._whole = stream, whole
        self._rest = stream.read(_HEAD)
        length = len(self._rest) / (self._rest.count(b"\n") or 1)
        least, most = _CHUNK
        if chunk_rows != ROWS:
            least = 1
        self._size = int(min(max(length * chunk_rows, least), most))
        self._offset = 0
        self._ended = not self._rest

    def first_record(self) -> bytes:
        """The first record, taken out of the stream; empty where there is none."""
        end = 0
        while True:
            end = self._rest.find(b"\n", end) + 1
            if end and self._whole(self._rest[:end]) == end:
                break
            if not end:
                end = len(self._rest)
                if not self._more(self._size):
                    self._last(self._rest)
                    break
        record, self._rest = self._rest[:end], self._rest[end:]
        self._offset += len(record)
        return record

    def chunks(self) -> Iterator[Chunk]:
        """The others."""
        while True:
            short = self._size - len(self._rest)
            more = self._more(short if short > 0 else 0) if not self._ended else False
            cut = self._whole(self._rest[: self._size])
            while not cut and more:
                more = self._more(max(self._size, len(self._rest)))
                cut = self._whole(self._rest)
            if not cut and self._rest:
                self._last(self._rest)
                cut = len(self._rest)
            if not cut:
                return
            data, self._rest = self._rest[:cut], self._rest[cut:]
            yield Chunk(data, self._offset, self._stream.position)
            self._offset += cut

    def _more(self, size: int) -> bool:
        """Read on. Returns False at the end of the stream."""
        if not size:
            return True
        if len(self._rest) > _MOST_RECORD:
            raise FileError(
                f"{self._stream.name}: a record of more than {_MOST_RECORD >> 20} MB begins at byte "
                f"{self._offset}; is a quote opened there and never closed?"
            )
        data = self._stream.read(size)
        self._rest += data
        self._ended = not data
        return bool(data)

    def _last(self, rest: bytes) -> None:
        """Whether what has no line end is a whole record all the same."""
        good = self._whole(rest + b"\n")
        if good <= len(rest):
            raise FileError(
                f"{self._stream.name}: the record at byte {self._offset + good} opens a quote and never closes it"
            )


class Source(AbstractContextManager["Source"]):
    """The bytes of a file or of standard input, unpacked."""

    def __init__(self, path: str | Path) -> None:
        self._path = path
        self.name = "standard input" if str(path) == "-" else str(path)
        self.total: int | None = None
        self.position = 0

    def __enter__(self) -> Source:
        if str(self._path) == "-":
            self.raw: BinaryIO = sys.stdin.buffer
        else:
            try:
                self.raw = open(self._path, "rb")
                self._stat = os.fstat(self.raw.fileno())
            except OSError as error:
                raise FileError(f"{self._path}: {error.strerror}") from None
            self.total = self._stat.st_size if os.path.isfile(self._path) else None
        self._unpacked: Any = None
        self._held = b""
        self._begun = False
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if str(self._path) != "-":
            self.raw.close()

    def fingerprint(self) -> str:
        """What a changed file would not have in common with this one. For a pipe there is none."""
        if self.total is None:
            return "a pipe"
        with open(self._path, "rb") as file:
            ends = hashlib.blake2b(file.read(_HEAD), digest_size=16)
            file.seek(max(0, self.total - _HEAD))
            ends.update(file.read(_HEAD))
        return f"{self.total} bytes of {self._stat.st_mtime_ns} ns, {ends.hexdigest()}"

    def read(self, size: int) -> bytes:
        """``size`` unpacked bytes; fewer at the end only."""
        if not self._begun:
            self._begin()
        parts = []
        try:
            while size > 0 and (data := self._unpacked.read(size)):
                parts.append(data)
                size -= len(data)
        except EOFError:
            raise FileError(f"{self.name}: ends in the middle; is the download complete?") from None
        except (gzip.BadGzipFile, zlib.error):
            raise FileError(f"{self.name}: damaged gzip data") from None
        except OSError as error:
            raise FileError(f"{self.name}: {error.strerror}") from None
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _begin(self) -> None:
        self._begun = True
        counted = _Counted(self)
        self._held = counted.read(4)
        while 0 < len(self._held) < 4 and (more := self.raw.read(4 - len(self._held))):
            self._held += more
        self.position = 0
        kind = next((k for magic, k in _MAGIC.items() if self._held.startswith(magic)), None)
        said = packing_of(self._path)
        if said and kind != said:
            raise FileError(f"{self.name}: no {said} file, whatever its name says")
        if kind == "gzip":
            self._unpacked = gzip.GzipFile(fileobj=io.BufferedReader(counted, 1 << 17), mode="rb")
        elif kind == "zstd":
            self._unpacked = _Unzstd(counted, self.name)
        else:
            self._unpacked = counted


class _Counted(io.RawIOBase):
    """The packed bytes, counted."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        source = self._source
        if source._held:
            data, source._held = source._held[:size], source._held[size:]
        else:
            data = source.raw.read(size)
        source.position += len(data)
        return data

    def readinto(self, buffer: Any) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


class _Unzstd:
    """Frames of zstd; knows an end in the middle, which the library's own stream reader does not."""

    def __init__(self, stream: io.RawIOBase, name: str) -> None:
        self._zstd = zstandard_library()
        self._stream, self._name = stream, name
        self._frame: Any = None
        self._rest = b""
        self._ready = b""

    def read(self, size: int) -> bytes:
        while not self._ready:
            data = self._rest or self._stream.read(1 << 14) or b""
            self._rest = b""
            if not data:
                if self._frame is not None:
                    raise EOFError
                return b""
            if self._frame is None:
                self._frame = self._zstd.ZstdDecompressor(max_window_size=1 << 27).decompressobj()
            try:
                self._ready = self._frame.decompress(data)
            except self._zstd.ZstdError:
                raise FileError(f"{self._name}: damaged zstd data") from None
            if self._frame.eof:
                self._rest, self._frame = self._frame.unused_data, None
        out, self._ready = self._ready[:size], self._ready[size:]
        return out


def zstandard_library() -> Any:
    try:
        import zstandard
    except ImportError:
        raise FileError("zstd needs the package zstandard: pip install 'outsourcing-classifier[zstd]'") from None
    return zstandard


def stem_and_packing(path: str | Path) -> tuple[str, str]:
    """The suffix of a name without its packing, and the packing's suffix."""
    whole = Path(path)
    last = whole.suffix.lower()
    return (Path(whole.stem).suffix.lower(), last) if last in _PACKED else (last, "")


def packing_of(path: str | Path) -> str | None:
    return None if str(path) == "-" else _PACKED.get(stem_and_packing(path)[1])
