"""Work in threads: results in order, errors in order, threads that end."""

import threading

import pytest

from ptft.runtime.threads import map_in_threads


@pytest.mark.parametrize("count", [0, 1, 63, 64, 1000])
@pytest.mark.parametrize("threads", [1, 3])
def test_results_come_in_the_order_of_the_items(count, threads):
    assert list(map_in_threads(lambda item: item * 2, range(count), threads)) == [2 * item for item in range(count)]


def test_the_first_error_is_raised_and_the_threads_end():
    before = threading.active_count()

    def fail(item):
        if item >= 100:
            raise ValueError(item)
        return item

    with pytest.raises(ValueError, match=r"^100$"):
        list(map_in_threads(fail, range(1000), 2))
    assert threading.active_count() == before


def test_few_items_are_taken_ahead():
    started = []
    results = map_in_threads(started.append, range(10_000), 2)
    next(results)
    results.close()
    assert len(started) < 1000
