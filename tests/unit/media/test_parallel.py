from __future__ import annotations

import multiprocessing
import pickle
import subprocess
import sys
import threading
import time

import pytest
import torch

from maeum.media.parallel import Crew, read_ahead


def test_tasks_wait_for_the_outcomes_they_need():
    crew = Crew(2)
    order = []

    def slow():
        time.sleep(0.05)
        order.append("slow")
        return 2

    first = crew.start(slow)
    second = crew.start(lambda: order.append("quick") or 3)
    both = crew.start(lambda a, b: order.append("both") or a * b, first, second)
    assert both.result(5) == 6
    assert order == ["quick", "slow", "both"]


def test_one_thread_is_enough_for_any_chain():
    crew = Crew(1)
    task = crew.start(lambda: 0)
    for _ in range(20):
        task = crew.start(lambda n: n + 1, task)
    assert task.result(5) == 20


def test_what_a_task_raises_comes_out_of_those_that_need_it():
    crew = Crew(2)
    bad = crew.start(lambda: 1 / 0)
    after = crew.start(lambda number: number, bad)
    with pytest.raises(ZeroDivisionError):
        after.result(5)


def test_each_thread_computes_on_one_processor_and_the_callers_setting_stays():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert Crew(3).map(lambda _: torch.get_num_threads(), range(9)) == [1] * 9
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_a_copy_makes_its_own_threads():
    crew = Crew(2)
    crew.map(abs, [1])
    copied = pickle.loads(pickle.dumps(crew))
    assert copied.map(abs, [-1, -2]) == [1, 2]


def test_a_program_may_end_while_tasks_run():
    """Nothing is printed about tasks that can no longer begin."""
    code = (
        "import time; from maeum.media.parallel import Crew; crew = Crew(1);"
        "first = crew.start(lambda: time.sleep(0.3)); crew.start(lambda _: None, first)"
    )
    ended = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert ended.stderr == ""


def test_map_keeps_the_order():
    assert Crew(3).map(lambda n: (time.sleep(0.01 * (3 - n)), n)[1], range(3)) == [0, 1, 2]


class TestReadAhead:
    def test_same_items_in_order(self):
        assert list(read_ahead(range(100), 3)) == list(range(100))
        assert list(read_ahead([])) == []

    def test_only_a_few_early_and_by_one_thread(self):
        fetched, threads = [], set()

        def source():
            for n in range(50):
                fetched.append(n)
                threads.add(threading.current_thread().name)
                yield n

        for used, _ in enumerate(read_ahead(source(), 2), start=1):
            assert len(fetched) <= used + 3
        assert len(threads) == 1

    def test_an_error_comes_after_what_was_before_it(self):
        def source():
            yield 1
            raise ValueError("broken")

        items = read_ahead(source())
        assert next(items) == 1
        with pytest.raises(ValueError, match="broken"):
            next(items)

    def test_closing_stops_the_thread(self):
        items = read_ahead(iter(int, 1), 2)  # without end
        next(items)
        items.close()
        assert not any(t.name == "maeum-read-ahead" for t in threading.enumerate())


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="no fork here")
def test_a_forked_process_makes_its_own_threads():
    """In a program of its own: what other tests left running in this one may be in the middle of anything."""
    done = subprocess.run([sys.executable, "-c", FORK], capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout.split() == ["[2,", "4]", "[6,", "8]"], done.stderr


FORK = """
import multiprocessing
from maeum.media.parallel import Crew

def child(crew):
    print(crew.map(lambda number: 2 * number, [3, 4]), flush=True)

crew = Crew(2)
print(crew.map(lambda number: 2 * number, [1, 2]), flush=True)
process = multiprocessing.get_context("fork").Process(target=child, args=(crew,))
process.start()
process.join(30)
process.kill()
"""
