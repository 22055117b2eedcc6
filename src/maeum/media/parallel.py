"""Work on several processor threads: independent parts side by side, and reading ahead of what is being worked on."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

import torch

T = TypeVar("T")
U = TypeVar("U")

#: How long a thread that reads ahead waits before it looks whether it is still wanted, in seconds.
_WAIT_S = 0.1


class Crew:
    """Threads that share a job's tasks; each computes on one processor.

    torch's own threads split single operations, and many small ones then wait for each other more than they work.

    Args:
        threads: how many; None takes as many as torch uses.
    """

    def __init__(self, threads: int | None = None) -> None:
        self.threads = threads or torch.get_num_threads()
        self._pool: ThreadPoolExecutor | None = None
        self._process = 0
        self._making = threading.Lock()

    def __getstate__(self) -> dict[str, int]:
        """Threads cannot be copied; a copy makes its own."""
        return {"threads": self.threads}

    def __setstate__(self, state: dict[str, int]) -> None:
        """See `__getstate__`."""
        Crew.__init__(self, state["threads"])

    def start(self, do: Callable[..., U], *needed: Future[Any]) -> Future[U]:
        """Have ``do`` run on the outcomes of other tasks as soon as all of them are known.

        What a needed task or ``do`` raises comes out of the returned future's ``result()``.
        """
        outcome: Future[U] = Future()
        missing = _Countdown(len(needed))

        def run() -> None:
            if not outcome.set_running_or_notify_cancel():
                return
            try:
                outcome.set_result(do(*(task.result() for task in needed)))
            except BaseException as error:  # noqa: BLE001 - raised again where the outcome is used
                outcome.set_exception(error)

        pool = self._threads()

        def begin(_: object = None) -> None:
            if needed and not missing.last():
                return
            try:
                pool.submit(run)
            except RuntimeError:  # the program is ending
                outcome.cancel()

        for task in needed:
            task.add_done_callback(begin)
        if not needed:
            begin()
        return outcome

    def map(self, do: Callable[[T], U], parts: Iterable[T]) -> list[U]:
        """``do`` of every part, in their order."""
        return list(self._threads().map(do, parts))

    def _threads(self) -> ThreadPoolExecutor:
        with self._making:
            if self._pool is None or self._process != os.getpid():  # a forked process has none of its parent's threads
                self._pool, self._process = self._new_threads(), os.getpid()
        return self._pool

    def _new_threads(self) -> ThreadPoolExecutor:
        before = torch.get_num_threads()
        pool = ThreadPoolExecutor(self.threads, "maeum")
        together = threading.Barrier(self.threads)  # every thread takes one of these tasks

        def settle(_: int) -> None:
            torch.set_num_threads(1)
            torch.get_num_threads()  # a thread begins with the number that is set when it first asks
            together.wait()

        list(pool.map(settle, range(self.threads)))
        torch.set_num_threads(before)  # also what threads begin with that others make later
        return pool


class _Countdown:
    """Tells which of ``count`` callers is the last."""

    def __init__(self, count: int) -> None:
        self._left, self._lock = count, threading.Lock()

    def last(self) -> bool:
        with self._lock:
            self._left -= 1
            return self._left == 0


def read_ahead(items: Iterable[T], count: int = 2) -> Generator[T, None, None]:
    """The same items, fetched by a thread of their own, up to ``count`` of them early.

    What the source raises is raised here, at its place. The source is used by that thread alone, and left when this
    iterator is closed.
    """
    ready: queue.Queue[tuple[bool, T | BaseException | None]] = queue.Queue(count)
    unwanted = threading.Event()

    def hand_over(more: bool, what: T | BaseException | None) -> None:
        while not unwanted.is_set():
            try:
                ready.put((more, what), timeout=_WAIT_S)
                return
            except queue.Full:
                continue

    def fetch() -> None:
        end: BaseException | None = None
        try:
            for item in items:
                hand_over(True, item)
                if unwanted.is_set():
                    return
        except BaseException as error:  # noqa: BLE001 - raised again where the items are used
            end = error
        hand_over(False, end)

    reader = threading.Thread(target=fetch, name="maeum-read-ahead", daemon=True)
    reader.start()
    try:
        while True:
            more, what = ready.get()
            if not more:
                if isinstance(what, BaseException):
                    raise what
                return
            yield what  # type: ignore[misc]
    finally:
        unwanted.set()
        reader.join()
