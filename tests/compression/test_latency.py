import gc
import itertools
import statistics

import numpy as np
import pytest
import torch
from torch import nn

from ptft.compression import latency
from ptft.compression.latency import Latency, balanced_orders, measure_latency, ratio
from ptft.model.artefact import Artefact


class Bench:
    """Contenders that take a given time by a clock of their own, and what was called."""

    def __init__(self, **milliseconds):
        self.now = 0
        self.called = []
        self.milliseconds = milliseconds
        self.contenders = {name: self.contender(name) for name in milliseconds}

    def contender(self, name):
        def call():
            self.called.append(name)
            takes = self.milliseconds[name]
            self.now += int(1e6 * (takes(len(self.called)) if callable(takes) else takes))

        return call

    def clock(self):
        return self.now

    def visits(self):
        """Names in the order of visits, after the first warm calls."""
        return [name for place, name in enumerate(self.called) if place == 0 or self.called[place - 1] != name]


def test_contenders_take_turns_and_none_always_follows_the_same_one():
    bench = Bench(a=1, b=2, c=5)
    measure_latency(bench.contenders, rounds=6, seconds=0.01, clock=bench.clock)
    number = 6 * 3
    visits = bench.visits()
    assert visits[:3] == ["a", "b", "c"]  # warm-up
    follows = {}
    for before, name in itertools.pairwise(visits[3:]):
        follows.setdefault(name, set()).add(before)
    assert number - 6 <= len(visits) - 3 <= number  # two visits in a row look like one
    assert all(len(names) == 2 for names in follows.values())


@pytest.mark.parametrize("number", [2, 3, 4, 5, 8])
def test_in_a_cycle_each_follows_each_other_equally_often(number):
    cycle = number if number % 2 == 0 else 2 * number
    orders = [order for order, _ in zip(balanced_orders(number), range(cycle), strict=False)]
    counts = {}
    for order in orders:
        assert sorted(order) == list(range(number))
        for pair in itertools.pairwise(order):
            counts[pair] = counts.get(pair, 0) + 1
    assert len(counts) == number * (number - 1)
    assert set(counts.values()) == {cycle // number}


def test_percentiles_are_those_of_all_calls_but_the_warm_ones():
    bench = Bench(a=lambda count: 1 + (count * 37 % 11) / 10)
    times = []
    original = bench.contenders["a"]

    def call():
        before = bench.now
        original()
        times.append((bench.now - before) * 1e-9)

    found = measure_latency({"a": call}, rounds=7, seconds=0.02, clock=bench.clock)["a"]
    assert len(found.rounds) == 7
    each = found.calls // 7
    extra = -(-each // 10)
    visits = np.array(times[-7 * (each + extra) :]).reshape(7, each + extra)[:, extra:]
    assert found.p50 == pytest.approx(np.percentile(visits, 50), rel=1e-12)
    assert found.p95 == pytest.approx(np.percentile(visits, 95), rel=1e-12)
    assert found.rounds == pytest.approx(np.median(visits, axis=1), rel=1e-12)


def test_a_fast_contender_is_called_until_the_visit_is_long_enough():
    bench = Bench(fast=0.5, slow=40)
    found = measure_latency(bench.contenders, rounds=5, seconds=0.02, clock=bench.clock)
    assert found["fast"].calls == 5 * 40
    assert found["slow"].calls == 5 * 1


def test_slow_contenders_get_fewer_rounds_but_never_less_than_five():
    bench = Bench(slow=1000)
    assert len(measure_latency(bench.contenders, rounds=15, most_seconds=20, clock=bench.clock)["slow"].rounds) == 10
    assert len(measure_latency(bench.contenders, rounds=15, most_seconds=1, clock=bench.clock)["slow"].rounds) == 5


def test_a_ratio_is_the_median_of_the_ratios_of_each_round():
    slow = Latency(3.0, 4.0, 3, (2.0, 9.0, 30.0))
    fast = Latency(1.0, 2.0, 3, (1.0, 3.0, 2.0))
    assert ratio(slow, fast) == statistics.median([2.0, 3.0, 15.0])


def test_a_busy_moment_that_meets_both_leaves_the_ratio_as_it_is():
    def busy(milliseconds):
        return lambda count: milliseconds * (3 if 60 < count < 150 else 1)

    bench = Bench(a=busy(4), b=busy(2))
    found = measure_latency(bench.contenders, rounds=15, seconds=0.01, clock=bench.clock)
    assert ratio(found["a"], found["b"]) == pytest.approx(2.0)
    assert max(found["a"].rounds) > 2 * min(found["a"].rounds)


def test_the_garbage_collector_is_as_it_was_afterwards():
    assert gc.isenabled()
    seen = set()
    measure_latency({"a": lambda: seen.add(gc.isenabled())}, rounds=5, seconds=1e-6)
    assert False in seen and gc.isenabled()

    def fails():
        if not gc.isenabled():
            raise RuntimeError

    with pytest.raises(RuntimeError):
        measure_latency({"a": fails}, rounds=5, seconds=1e-6)
    assert gc.isenabled()


def test_an_eager_network_runs_on_all_inputs_in_order_without_gradients():
    class Pair(nn.Module):
        def forward(self, first, second):
            assert torch.is_inference_mode_enabled()
            return first - second

    inputs = {"first": np.full((2, 3), 5.0, np.float32), "second": np.ones((2, 3), np.float32)}
    assert latency.eager_runner(Pair().eval(), inputs)().tolist() == [[4.0] * 3] * 2
    with pytest.raises(AssertionError):
        latency.eager_runner(Pair(), inputs)


def test_stages_are_measured_at_each_batch_size_with_the_threads_asked_for(monkeypatch, tmp_path):
    opened, threads = [], set()

    class Session:
        def run(self, inputs):
            opened[-1][1].add(inputs["image"].shape)
            threads.add(torch.get_num_threads())
            return []

    def open_session(path, runtime, *, threads):
        opened.append(((path.name, runtime, threads), set()))
        return Session()

    monkeypatch.setattr(latency, "open_session", open_session)
    monkeypatch.setattr(
        latency, "measure_latency", lambda contenders, rounds: {k: call() and 0 for k, call in contenders.items()}
    )
    artefact = Artefact(folder=tmp_path, runtime="onnxruntime", precision="int8", file="model.onnx", inputs=("image",),
                        outputs=("logits",), files={})  # fmt: skip
    before = torch.get_num_threads()
    inputs = {"image": np.zeros((4, 1, 2, 2), np.float32)}
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 2, bias=False)).eval()
    monkeypatch.setattr(network, "forward", lambda image: threads.add(torch.get_num_threads()))
    found = latency.measure_stages({"parent": network}, {"int8": artefact}, inputs, threads=3, batch_sizes=(1, 6))
    assert {name: sorted(values) for name, values in found.items()} == {"parent": [1, 6], "int8": [1, 6]}
    assert opened == [
        (("model.onnx", "onnxruntime", 3), {(1, 1, 2, 2)}),
        (("model.onnx", "onnxruntime", 3), {(6, 1, 2, 2)}),
    ]
    assert threads == {3} and torch.get_num_threads() == before


def test_a_batch_is_made_longer_or_shorter_by_whole_examples():
    ids = np.arange(6).reshape(3, 2)
    assert latency.with_batch_size({"ids": ids}, 1)["ids"].tolist() == [[0, 1]]
    assert latency.with_batch_size({"ids": ids}, 5)["ids"].tolist() == [[0, 1], [2, 3], [4, 5], [0, 1], [2, 3]]


def test_facts_tell_cpu_threads_versions_and_the_length_of_texts():
    facts = latency.machine_facts(2, {"input_ids": np.zeros((32, 77), np.int64)})
    assert facts["threads"] == 2 and facts["sequence_length"] == 77
    assert facts["cpu"] and facts["torch"] == torch.__version__
    assert isinstance(facts["cpu_flags"], list)
    assert "sequence_length" not in latency.machine_facts(1, {"image": np.zeros((2, 1, 8, 8), np.float32)})


@pytest.mark.parametrize(
    ("idle", "threads", "warned"), [(2.0, 2, False), (1.8, 2, False), (1.0, 2, True), (0.0, 1, True)]
)
def test_a_busy_machine_is_a_warning(monkeypatch, idle, threads, warned):
    seconds = iter([100.0, 100.0 + idle * 0.5])
    monkeypatch.setattr(latency, "_idle_seconds", lambda: next(seconds))
    monkeypatch.setattr(latency, "cores", lambda: 2)
    monkeypatch.setattr(latency.time, "sleep", lambda seconds: None)
    told = latency.busy_warning(threads, 0.5)
    assert (told is not None) == warned
    assert not warned or f"{idle:.1f} of 2 cores are idle and {threads} are measured" in told


def test_a_system_that_tells_nothing_of_its_cores_is_no_warning(monkeypatch):
    monkeypatch.setattr(latency, "_idle_seconds", lambda: None)
    assert latency.busy_warning(2, 0.001) is None
