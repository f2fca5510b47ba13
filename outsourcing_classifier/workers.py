"""Spawned processes that share out a stream of tasks and give the results back in order."""

from __future__ import annotations

import contextlib
import pickle
import signal
import traceback
from collections.abc import Callable, Iterator
from multiprocessing import connection, get_context
from multiprocessing.connection import Connection
from typing import Any, TypeVar

from outsourcing_classifier.output import StoppedError

Task = TypeVar("Task")
Result = TypeVar("Result")
_AHEAD = 4  # tasks a worker that may be under way or wait for an earlier one


def in_order(job: Callable[[Task], Result], tasks: Iterator[Task], workers: int) -> Iterator[tuple[Task, Result]]:
    """Each task with its result, in the order of the tasks, whoever was faster.

    One worker is this process. More are spawned, get the pickled ``job`` once and end with this
    process, however it ends: their pipes close. At most 4 tasks a worker are held at a time. What
    ``tasks`` raises is raised after the results of the tasks before.

    Raises :class:`StoppedError` where a worker is killed, RuntimeError where ``job`` raises.
    """
    if workers == 1:
        for task in tasks:
            yield task, job(task)
        return
    context = get_context("spawn")
    payload = pickle.dumps(job, protocol=5)
    pool: dict[Connection, Any] = {}
    try:
        for _ in range(workers):
            here, there = context.Pipe()
            process = context.Process(target=_work, args=(there,), daemon=True)
            process.start()
            there.close()
            pool[here] = process
        for pipe in pool:
            _send(pipe, payload, pool)
        yield from _shared(tasks, pool, workers)
    finally:
        for pipe in pool:
            pipe.close()
        for process in pool.values():
            process.join(0.5)
            if process.is_alive():
                process.terminate()
                process.join()


def _shared(tasks: Iterator[Task], pool: dict[Connection, Any], workers: int) -> Iterator[tuple[Task, Any]]:
    idle = list(pool)
    busy: dict[Connection, tuple[int, Task]] = {}
    ready: dict[int, tuple[Task, Any]] = {}
    sent = given = 0
    following = _next(tasks)
    while True:
        while idle and following is not None and not isinstance(following, Exception):
            if sent - given >= _AHEAD * workers:
                break
            pipe = idle.pop(0)
            _send(pipe, pickle.dumps(following, protocol=5), pool)
            busy[pipe] = (sent, following)
            sent += 1
            following = _next(tasks)
        while given in ready:
            yield ready.pop(given)
            given += 1
        if not busy:
            if isinstance(following, Exception):
                raise following
            if following is None:
                return
            continue
        for woken in connection.wait(list(busy)):
            pipe = next(p for p in busy if p is woken)
            number, task = busy.pop(pipe)
            try:
                good, result = pickle.loads(pipe.recv_bytes())
            except (EOFError, OSError):
                raise _dead(pool[pipe]) from None
            if not good:
                raise RuntimeError(f"a worker failed; please report this:\n{result}")
            ready[number] = (task, result)
            idle.append(pipe)


def _next(tasks: Iterator[Task]) -> Task | Exception | None:
    try:
        return next(tasks, None)
    except Exception as error:
        return error


def _send(pipe: Connection, data: bytes, pool: dict[Connection, Any]) -> None:
    try:
        pipe.send_bytes(data)
    except OSError:
        raise _dead(pool[pipe]) from None


def _dead(process: Any) -> StoppedError:
    process.join(1)
    return StoppedError(
        f"a worker process ended by itself (exit code {process.exitcode}), perhaps out of memory; try fewer --workers"
    )


def _work(pipe: Connection) -> None:
    """A worker's life: the job, then task after task until the pipe closes."""
    with contextlib.suppress(ValueError):
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent says when to stop
    with contextlib.suppress(EOFError, OSError):
        job = pickle.loads(pipe.recv_bytes())
        while True:
            task = pickle.loads(pipe.recv_bytes())
            try:
                answer = (True, job(task))
            except Exception as error:  # its message may hold a text: only the place is told
                answer = (False, "".join(traceback.format_tb(error.__traceback__)) + type(error).__name__)
            pipe.send_bytes(pickle.dumps(answer, protocol=5))
