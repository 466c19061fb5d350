"""Whole trainings that are killed, stopped, started twice or refused by the disk."""

import json
import os
import random
import time

import pytest

from ptft.engine.run_dir import RunDirectory
from ptft.engine.weights import least_bytes
from ptft.errors import INTERRUPTED, TERMINATED, CheckpointError, Interrupted
from ptft.runtime import files
from tests.engine.disk import Killed
from tests.engine.reference import digest, make, resume
from tests.engine.trials import SIGINT, SIGKILL, SIGTERM, Zygote, result, steps_done


@pytest.fixture(scope="module")
def zygote():
    zygote = Zygote()
    yield zygote
    zygote.close()


@pytest.fixture(scope="module")
def uninterrupted(zygote, tmp_path_factory):
    """The result of the run that nobody disturbs, and the seconds it takes."""
    path = tmp_path_factory.mktemp("whole") / "run"
    zygote.run(path.with_name("first"))  # the first one also warms caches
    started = time.monotonic()
    assert zygote.run(path) == 0
    return result(path), time.monotonic() - started


def kill_and_resume(zygote, path, seconds, generator, kills):
    """Kill a run so many times, each time at a random moment, and resume it until it is done."""
    killed = 0
    for _ in range(kills):
        before = steps_done(path)
        if zygote.run_and_send(path, generator.uniform(0, seconds), SIGKILL) == -SIGKILL:
            killed += 1
        assert steps_done(path) >= before
    assert zygote.run(path) == 0, path.with_name(path.name + ".out").read_text()[-2000:]
    return killed


@pytest.mark.parametrize(("trials", "kills"), [(6, 1), (3, 3)])
def test_a_run_killed_at_random_moments_ends_with_the_same_bits(zygote, uninterrupted, tmp_path, trials, kills):
    expected, seconds = uninterrupted
    generator, killed = random.Random(kills), 0
    for trial in range(trials):
        killed += kill_and_resume(zygote, tmp_path / f"{trial}", seconds, generator, kills)
        assert result(tmp_path / f"{trial}") == expected
    assert killed > 0


@pytest.mark.slow
@pytest.mark.parametrize(("trials", "kills"), [(200, 1), (50, 3)])
def test_many_runs_killed_at_random_moments_end_with_the_same_bits(zygote, uninterrupted, tmp_path, trials, kills):
    test_a_run_killed_at_random_moments_ends_with_the_same_bits(zygote, uninterrupted, tmp_path, trials, kills)


def stop_and_resume(zygote, path, seconds, expected, number, code):
    """Stop a run by a signal at some moment; it must be recorded, and the resumed run must have the same bits."""
    status = zygote.run_and_send(path, seconds, number)
    output = path.with_name(path.name + ".out")
    if status in (0, -number):  # it was done, or its run directory was still being made
        made = output.exists() and f"run {path}\n" in output.read_text()
        assert status == 0 or not made
    else:
        assert status == code, output.read_text()[-2000:]
        if f"run {path}\n" in output.read_text():  # else it was still being made
            record = RunDirectory.reopen(path).record
            assert (record["status"], record["exit_code"]) == ("interrupted", code)
        if (path / "metrics.jsonl").exists() and "a checkpoint was written" in output.read_text():
            assert f"after step {steps_done(path)} of 40" in output.read_text()
            assert f"resume={path}" in output.read_text()
    assert zygote.run(path) == 0
    assert result(path) == expected
    return status


@pytest.mark.parametrize(("number", "code"), [(SIGTERM, TERMINATED), (SIGINT, INTERRUPTED)])
def test_a_signal_stops_a_run_at_its_next_step_with_a_checkpoint(
    zygote, uninterrupted, tmp_path, number, code, trials=3
):
    expected, seconds = uninterrupted
    generator = random.Random(int(number))
    statuses = [
        stop_and_resume(zygote, tmp_path / f"{trial}", generator.uniform(0.1, 0.6) * seconds, expected, number, code)
        for trial in range(trials)
    ]
    assert code in statuses


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(SIGTERM, TERMINATED), (SIGINT, INTERRUPTED)])
def test_signals_at_many_moments(zygote, uninterrupted, tmp_path, number, code):
    test_a_signal_stops_a_run_at_its_next_step_with_a_checkpoint(
        zygote, uninterrupted, tmp_path, number, code, trials=50
    )


def test_a_second_interrupt_stops_at_once_and_leaves_valid_files(zygote, uninterrupted, tmp_path):
    expected, seconds = uninterrupted
    for trial in range(3):
        path = tmp_path / f"{trial}"
        assert zygote.run_and_send(path, (0.3 + 0.2 * trial) * seconds, SIGINT, SIGINT) in (INTERRUPTED, 0)
        assert zygote.run(path) == 0
        assert result(path) == expected


def test_of_two_processes_on_one_run_exactly_one_runs(zygote, uninterrupted, tmp_path, trials=3):
    expected, seconds = uninterrupted
    for trial in range(trials):
        path = tmp_path / f"{trial}"
        zygote.run_and_send(path, 0.3 * seconds, SIGKILL)  # the kernel lets go of the dead one's lock
        if (path / "summary.json").exists():
            continue  # too fast: it was done
        first = zygote.start(path)
        time.sleep(0.05 * trial / trials)
        second = zygote.start(path)
        statuses = sorted([zygote.wait(first), zygote.wait(second)])
        output = path.with_name(path.name + ".out").read_text()
        assert statuses == [0, 1], output[-2000:]
        assert "is in use by process" in output
        assert result(path) == expected


@pytest.mark.slow
def test_of_two_processes_started_at_many_moments_exactly_one_runs(zygote, uninterrupted, tmp_path):
    test_of_two_processes_on_one_run_exactly_one_runs(zygote, uninterrupted, tmp_path, trials=50)


def test_a_finished_run_that_is_resumed_stays_as_it_is(zygote, uninterrupted, tmp_path):
    path = tmp_path / "run"
    assert zygote.run(path) == 0
    before = {file: (file.read_bytes(), file.stat().st_mtime_ns) for file in path.rglob("*") if file.is_file()}
    assert zygote.run(path) == 0
    after = {file: (file.read_bytes(), file.stat().st_mtime_ns) for file in path.rglob("*") if file.is_file()}
    assert after == before
    assert "is finished: 40 steps done" in path.with_name("run.out").read_text()


def test_a_finished_run_goes_on_when_it_is_made_longer(zygote, tmp_path):
    path = tmp_path / "run"
    assert zygote.run(path, "engine.stop_at=20st") == 0
    assert zygote.run(path) == 0
    assert json.loads((path / "summary.json").read_bytes())["steps"] == 40
    assert [row["step"] for row in RunDirectory.reopen(path).read_metrics()] == [
        4,
        8,
        10,
        12,
        16,
        20,
        24,
        28,
        30,
        32,
        36,
        40,
    ]


def test_a_run_whose_every_checkpoint_is_damaged_ends_with_an_error(zygote, tmp_path):
    path = tmp_path / "run"
    assert zygote.run(path, "engine.stop_at=20st") == 0
    for file in path.glob("checkpoints/*/model.safetensors"):
        file.write_bytes(file.read_bytes()[:-1])
    assert zygote.run(path) == 1
    output = path.with_name("run.out").read_text()
    assert "model.safetensors is damaged" in output
    assert "no checkpoint in" in output


def test_a_damaged_checkpoint_is_passed_over_with_a_warning_and_the_bits_stay_the_same(zygote, uninterrupted, tmp_path):
    path = tmp_path / "run"
    assert zygote.run(path, "engine.stop_at=20st") == 0
    damaged = path / "checkpoints" / "step_00000020" / "state.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"\xff")
    assert zygote.run(path) == 0
    output = path.with_name("run.out").read_text()
    assert f"warning: {damaged} is damaged" in output
    assert "resumed at step 18 of 40" in output
    # The stop at step 20 added a log line and an evaluation that the whole run has, too.
    assert result(path) == uninterrupted[0]


def test_a_run_killed_before_its_first_checkpoint_starts_again_without_doubled_metrics(zygote, tmp_path):
    path, rare = (
        tmp_path / "run",
        ("engine.checkpoint_every=1000st", "engine.evaluate_every=1000st", "engine.max=400st"),
    )
    pid = zygote.start(path, *rare)
    while not (path / "metrics.jsonl").exists():
        time.sleep(0.001)
    os.kill(pid, SIGKILL)
    zygote.wait(pid)
    assert steps_done(path) == 0
    assert zygote.run(path, *rare) == 0
    assert [row["step"] for row in RunDirectory.reopen(path).read_metrics()] == list(range(4, 401, 4))


# --- The same at chosen moments, in this process ---


@pytest.fixture(scope="module")
def reference_digest(tmp_path_factory):
    engine = make(tmp_path_factory.mktemp("reference") / "run")
    engine.fit()
    return digest(engine)


@pytest.mark.parametrize(
    ("moment", "step"), [("evaluate", 10), ("_train_values", 4), ("_train_values", 12), ("save", 6), ("save", 10)]
)
def test_a_signal_that_comes_between_two_steps_keeps_that_step(tmp_path, reference_digest, moment, step):
    engine = make(tmp_path / "run")
    original = getattr(engine, moment)

    def interrupted(*arguments, **settings):
        if engine.step == step:
            os.kill(os.getpid(), SIGTERM)
        return original(*arguments, **settings)

    setattr(engine, moment, interrupted)
    with pytest.raises(Interrupted, match=f"stopped by SIGTERM after step {step} of 40; a checkpoint was written"):
        engine.fit()
    assert engine.store.pointed("last") == step
    engine = resume(tmp_path / "run")
    assert engine.step == step
    engine.fit()
    assert digest(engine) == reference_digest


def test_a_second_interrupt_ends_the_step_itself(tmp_path, reference_digest):
    engine = make(tmp_path / "run")
    engine.task.after_update = lambda step, max_steps: [os.kill(os.getpid(), SIGINT) for _ in range(2 * (step == 7))]
    with pytest.raises(KeyboardInterrupt):
        engine.fit()
    engine = resume(tmp_path / "run")
    assert engine.step == 6
    engine.fit()
    assert digest(engine) == reference_digest


def test_a_crash_between_a_checkpoint_and_its_pointer_loses_no_best(tmp_path, monkeypatch):
    engine = make(tmp_path / "run", keep_last=1)
    point = engine.store.point

    def dying(name, step, **facts):
        if name == "best" and step == 30:
            raise Killed
        point(name, step, **facts)

    monkeypatch.setattr(engine.store, "point", dying)
    with pytest.raises(Killed):
        engine.fit()
    assert engine.store.pointed("best") != 30
    engine = resume(tmp_path / "run", keep_last=1, stop_at="30st")
    engine.fit()
    assert engine.store.steps() == [30]
    assert engine.tracker.best_step == engine.store.pointed("best") == 30


def test_a_best_checkpoint_that_is_damaged_is_told_at_resume_and_chosen_anew(tmp_path):
    engine = make(tmp_path / "run", stop_at="30st", keep_last=10, checkpoint_every="10st")
    engine.tracker.best, engine.tracker.best_step = 2.0, 20  # better than anything to come
    engine.fit()
    engine.store.point("best", 20)
    (engine.store.path(20) / "state.json").write_bytes(b"{}")
    engine = resume(tmp_path / "run", keep_last=10)
    engine.fit()
    assert any("chosen anew" in text for text in engine.console.lines)
    assert engine.tracker.best_step == engine.store.pointed("best") == 40
    assert engine.store.load_named("best").step == 40


def test_what_a_checkpoint_evaluates_to_is_what_was_logged(tmp_path):
    engine = make(tmp_path / "run")
    engine.fit()
    rows = {row["step"]: row for row in engine.recorder.run.read_metrics()}
    for step in (10, 20, 30, 40):
        again = make(tmp_path / "run")
        again.load(again.store.load(step))
        metrics = again.evaluate("val").metrics
        assert {f"val/{name}": value for name, value in metrics.items()}.items() <= rows[step].items()


def test_too_little_room_for_a_checkpoint_is_told_before_the_first_step(tmp_path, monkeypatch):
    engine = make(tmp_path / "run")
    least = least_bytes(engine.task, engine.optimizers.values(), averaged=True)
    engine.task.after_update = lambda step, max_steps: pytest.fail("it trained")
    monkeypatch.setattr(files, "free_bytes", lambda path: least - 1)
    with pytest.raises(CheckpointError, match="no room for a checkpoint"):
        engine.fit()


def test_the_least_size_of_a_checkpoint_is_close_to_its_size(tmp_path):
    engine = make(tmp_path / "run")
    engine.fit()
    size = (engine.store.path(40) / "model.safetensors").stat().st_size
    size += (engine.store.path(40) / "state.safetensors").stat().st_size
    least = least_bytes(engine.task, engine.optimizers.values(), averaged=True)
    assert 0.5 * size < least <= size
