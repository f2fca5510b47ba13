"""A file that appears whole or not at all, and can be continued after a crash.

Beside the target lie, while a run is on, ``.NAME.part`` (the output so far) and ``.NAME.journal``
(how much of it is safely on the disk, and for what input and options it was made). The part is
synchronised before the journal says so, and the journal is replaced, never rewritten: whenever the
power goes, the journal that is found describes bytes that are there.
"""

from __future__ import annotations

import json
import os
import stat
import sys
import time
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

_FORMAT = 1  # of the journal
_BLOCK = 1 << 20


class FileError(ValueError):
    """An input that cannot be read or an output that cannot be written; the message says what to do."""


class StoppedError(FileError):
    """The run could not go on for a reason outside the input: no space left, a worker killed."""


class Output:
    """Where a run writes. Use it as a context manager and call :meth:`finish` at the end.

    ``path`` is "-" (standard output), a device or pipe (written as it goes), or a file. ``key`` says
    what the output is made of; a run is continued only where it is the same. ``progress`` holds what
    the last :meth:`checkpoint` of the run that is continued was given, or None where it begins.

    Raises :class:`FileError`; :class:`StoppedError` where the disk is full.
    """

    def __init__(
        self,
        path: str | Path,
        key: Mapping[str, object],
        *,
        overwrite: bool = False,
        resume: bool = False,
        every: float = 5.0,
    ) -> None:
        self.name = "standard output" if str(path) == "-" else str(path)
        self.progress: dict[str, Any] | None = None
        self.done = False
        self._key = {name: str(value) for name, value in key.items()}
        self._overwrite, self._resume, self._every = overwrite, resume, every
        self._target = None if str(path) == "-" or _is_special(path) else Path(os.path.realpath(path))
        self._special = None if str(path) == "-" else path
        self._handle = -1
        self._bytes = self._crc = 0
        self._finished = False
        self._saved = time.monotonic()
        if self._target is not None:
            self._part = self._target.with_name(f".{self._target.name}.part")
            self._journal = self._target.with_name(f".{self._target.name}.journal")
            self._final = self._target.with_name(f".{self._target.name}.final")

    def __enter__(self) -> Output:
        try:
            self._open()
        except OSError as error:
            self._close()
            raise FileError(f"{self.name}: {error.strerror}") from None
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._target is not None and kind is not None and not self._keeps(kind) and not self._finished:
                self._remove(self._journal, self._part, self._final)
        finally:
            self._close()

    def write(self, data: bytes) -> None:
        """Append to the output."""
        view = memoryview(data)
        try:
            if self._target is None and self._handle < 0:
                sys.stdout.buffer.write(data)
                return
            while view:
                view = view[os.write(self._handle, view) :]
        except BrokenPipeError:
            raise
        except OSError as error:
            raise self._stopped(error) from None
        self._bytes += len(data)
        self._crc = zlib.crc32(data, self._crc)

    def checkpoint(self, progress: Mapping[str, Any], *, done: bool = False) -> None:
        """Let a later run continue from here; does nothing within ``every`` seconds of the last time."""
        if self._target is None or (not done and time.monotonic() - self._saved < self._every):
            return
        entry = {"journal": _FORMAT, "key": self._key, "bytes": self._bytes, "crc": self._crc}
        entry.update(done=done, progress=dict(progress))
        fresh = self._journal.with_name(self._journal.name + ".new")
        try:
            os.fsync(self._handle)
            with open(fresh, "wb") as file:
                file.write(json.dumps(entry).encode())
                file.flush()
                os.fsync(file.fileno())
            os.replace(fresh, self._journal)
            _sync_folder(self._target.parent)
        except OSError as error:
            self._remove(fresh)
            raise self._stopped(error) from None
        self._saved = time.monotonic()

    def finish(self, progress: Mapping[str, Any], make: Callable[[Path, Path], None] | None = None) -> None:
        """Put the output in its place. ``make(part, new)`` writes what shall stand there instead."""
        if self._target is None:
            if self._handle < 0:
                sys.stdout.buffer.flush()
            return
        if not self.done:
            self.checkpoint(progress, done=True)
        try:
            if make is not None and self._part.exists():
                make(self._part, self._final)
                _sync(self._final)
                _sync_folder(self._target.parent)
                self._remove(self._part)  # from here on the other one is known to be whole
            ready = self._part if make is None else self._final
            if ready.exists():
                mask = os.umask(0)
                os.umask(mask)
                os.chmod(ready, 0o666 & ~mask)
                os.replace(ready, self._target)
                _sync_folder(self._target.parent)
            self._finished = True
            self._remove(self._journal)
        except OSError as error:
            raise self._stopped(error) from None

    def _open(self) -> None:
        if self._target is None:
            if self._special is not None:
                self._handle = os.open(self._special, os.O_WRONLY)
            return
        if self._target.is_dir():
            raise FileError(f"{self.name} is a folder")
        entry = self._entry() if self._resume else None
        whole = entry is not None and entry["done"] and not self._part.exists()
        placed = whole and not self._final.exists() and self._target.exists()
        if self._target.exists() and not self._overwrite and not placed:
            raise FileError(f"{self.name} exists; say --overwrite to replace it")
        if placed or (whole and self._final.exists()):
            self._take(entry)
            return
        self._handle = os.open(self._part, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o600)
        self._lock()
        if self._resume:
            entry = self._entry()  # another run may have gone on before the lock was ours
        if entry is not None and os.fstat(self._handle).st_size > 0:
            self._check(entry)
            self._take(entry)
        else:
            self._remove(self._journal)
        os.ftruncate(self._handle, self._bytes)
        os.lseek(self._handle, self._bytes, os.SEEK_SET)

    def _take(self, entry: Any) -> None:
        self.progress, self.done = entry["progress"], entry["done"]
        self._bytes, self._crc = entry["bytes"], entry["crc"]

    def _entry(self) -> dict[str, Any] | None:
        """The journal of the run to continue. Raises FileError where it is for something else."""
        try:
            entry = json.loads(self._journal.read_bytes())
            key = dict(entry["key"])
            sane = entry["journal"] == _FORMAT and {"bytes", "crc", "done", "progress"} <= set(entry)
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError):
            sane = False
        if not sane:
            raise FileError(f"{self._journal}: no journal of this version; start anew without --resume")
        changed = [n for n in {**key, **self._key} if key.get(n) != self._key.get(n)]
        if changed:
            was = "; ".join(f"{n} was {key.get(n, '-')}, is {self._key.get(n, '-')}" for n in changed)
            raise FileError(f"{self.name}: cannot resume, {was}; start anew without --resume")
        return dict(entry)

    def _check(self, entry: dict[str, Any]) -> None:
        """That the bytes which the journal describes are there."""
        left, crc = int(entry["bytes"]), 0
        os.lseek(self._handle, 0, os.SEEK_SET)
        while left and (data := os.read(self._handle, min(left, _BLOCK))):
            crc = zlib.crc32(data, crc)
            left -= len(data)
        if left or crc != entry["crc"]:
            raise FileError(f"{self._part}: changed since the run stopped; start anew without --resume")

    def _lock(self) -> None:
        try:
            import fcntl
        except ImportError:  # Windows
            return
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            same = os.path.samestat(os.fstat(self._handle), os.stat(self._part))
        except (BlockingIOError, FileNotFoundError):
            same = False
        if not same:
            raise FileError(f"{self.name}: another run is writing it")

    def _keeps(self, kind: type[BaseException]) -> bool:
        return self._resume and (issubclass(kind, StoppedError) or not issubclass(kind, FileError))

    def _stopped(self, error: OSError) -> StoppedError:
        kept = "; what is done is kept, run again with --resume" if self._resume and self._target else ""
        return StoppedError(f"{self.name}: {error.strerror}{kept}")

    def _close(self) -> None:
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    @staticmethod
    def _remove(*paths: Path) -> None:
        for path in paths:
            path.unlink(missing_ok=True)


def _is_special(path: str | Path) -> bool:
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def _sync(path: Path) -> None:
    with open(path, "rb") as file:
        os.fsync(file.fileno())


def _sync_folder(path: Path) -> None:
    if os.name == "nt":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
