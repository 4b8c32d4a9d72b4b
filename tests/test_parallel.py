"""Work in processes: in order, and none of it left behind."""

import os
from pathlib import Path

import pytest

from segbench.parallel import begun, in_processes

MANY = 50


def squared(number: int) -> int:
    if number < 0:
        raise ValueError(number)
    return number**2


def process(number: int) -> int:
    return os.getpid()


def leave_a_mark(path: Path) -> None:
    """At once for the first, for others not before the context was left."""
    while path.name != "0" and not path.with_name("left").exists():
        os.sched_yield()
    path.touch()


def test_results_are_in_order_and_an_error_is_raised_in_its_turn():
    assert list(in_processes(squared, range(20), 2)) == [n**2 for n in range(20)]
    results = in_processes(squared, [3, 2, -1, 1], 2)
    assert [next(results), next(results)] == [9, 4]
    with pytest.raises(ValueError, match="-1"):
        next(results)


@pytest.mark.parametrize(("items", "workers"), [(20, 1), (3, 2), (0, 2)])
def test_little_work_is_done_here(items: int, workers: int):
    assert set(in_processes(process, range(items), workers)) <= {os.getpid()}


def test_more_workers_than_work_are_no_reason_to_do_it_here():
    assert os.getpid() not in in_processes(process, range(4), 64)


def test_what_has_not_begun_when_the_context_is_left_never_does(tmp_path: Path):
    marks = [tmp_path / str(number) for number in range(MANY)]
    with begun(leave_a_mark, marks, 2) as results:
        next(results)
    (tmp_path / "left").touch()
    list(in_processes(squared, range(20), 2))  # by the same processes, after what they had begun
    assert 1 <= sum(mark.exists() for mark in marks) < 10  # what the two had, or was on its way
