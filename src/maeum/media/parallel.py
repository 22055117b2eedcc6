"""Work on several processor threads: independent parts side by side, and reading ahead of what is being worked on."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch

T = TypeVar("T")
U = TypeVar("U")

#: How long a thread that reads ahead waits before it looks whether it is still wanted, in seconds.
_WAIT_S = 0.1


class Crew:
    """Threads that share independent parts of a job; each computes on one processor.

    torch's own threads split single operations, and many small ones then wait for each other more than they work.

    Args:
        threads: how many; None takes as many as torch uses.
    """

    def __init__(self, threads: int | None = None) -> None:
        self.threads = threads or torch.get_num_threads()
        self._pool: ThreadPoolExecutor | None = None

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """While this lasts, torch computes on one thread here, and `map` and `later` use the crew's."""
        before = torch.get_num_threads()
        torch.set_num_threads(1)
        if self.threads > 1 and self._pool is None:
            # A thread keeps the number that torch.get_num_threads tells it first.
            self._pool = ThreadPoolExecutor(self.threads, "maeum", initializer=torch.get_num_threads)
        try:
            yield
        finally:
            torch.set_num_threads(before)

    def map(self, do: Callable[[T], U], parts: Iterable[T]) -> list[U]:
        """``do`` of every part, in their order."""
        listed = list(parts)
        if self._pool is None or len(listed) < 2:
            return [do(part) for part in listed]
        return list(self._pool.map(do, listed))

    def later(self, do: Callable[[T], U], part: T) -> Future[U]:
        """Begin with ``do(part)``; its ``result()`` waits for the end."""
        if self._pool is not None:
            return self._pool.submit(do, part)
        done: Future[U] = Future()
        done.set_result(do(part))
        return done


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
