"""The training engine: one loop for pre-training, fine-tuning and everything that trains.

    for each step:  take a batch, update, average the weights, and now and then: log, evaluate, save

It owns time - device, precision, cadence, checkpoints, logging - and names no task, no model and no data set.
"""

import contextlib
import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import torch

from ptft.data.data_module import Batch, BatchPlan, DataModule
from ptft.engine.average import Average, saved_average
from ptft.engine.cadence import Cadence
from ptft.engine.checkpoint import Checkpoint, CheckpointStore
from ptft.engine.console import Console
from ptft.engine.ema import Ema
from ptft.engine.evaluate import EVALUATION_BATCH, Evaluation, evaluate
from ptft.engine.hooks import Hooks
from ptft.engine.nonfinite import check_finite
from ptft.engine.objective import Objective, Tracker
from ptft.engine.optimize import PhaseOptimizer
from ptft.engine.plan import Plan
from ptft.engine.profile import Profiler
from ptft.engine.recorder import Recorder
from ptft.engine.settings import EngineSettings
from ptft.engine.signals import StopRequest
from ptft.engine.stopwatch import Stopwatch
from ptft.engine.swa import Swa
from ptft.engine.update import Update
from ptft.engine.weights import least_bytes, load_own, own_tensors
from ptft.engine.window import Window
from ptft.errors import CheckpointError, Interrupted, PtftError
from ptft.runtime.device import peak_memory_bytes
from ptft.runtime.distributed import World
from ptft.runtime.duration import Clock, Duration
from ptft.runtime.precision import Precision
from ptft.task.task import Task


class Engine:
    """Trains a task on a data set and keeps what is needed to go on, to the bit, after any interruption.

    Args:
        task: The task on its device, laid out as the plan says.
        data: The data set, set up.
        optimizers: One optimizer a phase.
        settings: The engine's settings.
        plan: What their `auto` became.
        clock: What turns durations into steps.
        objective: The metric that decides what is best.
        store: Where checkpoints go.
        recorder: Where metrics and pictures go.
        console: What a person sees.
    """

    def __init__(
        self,
        task: Task,
        data: DataModule,
        optimizers: Mapping[str, PhaseOptimizer],
        settings: EngineSettings,
        *,
        plan: Plan,
        clock: Clock,
        objective: Objective,
        store: CheckpointStore,
        recorder: Recorder,
        console: Console,
    ) -> None:
        self.task = task
        self.data = data
        self.optimizers = optimizers
        self.settings = settings
        self.plan = plan
        self.store = store
        self.recorder = recorder
        self.console = console
        self.device = torch.device(plan.device)
        self.precision = Precision(plan.precision, self.device)
        self.world = World()
        self.clock = clock
        self.max_steps = clock.max_steps or 0
        self.stop_step = self.max_steps
        if settings.stop_at is not None:
            self.stop_step = min(Duration.parse(settings.stop_at, "engine.stop_at").steps(clock), self.max_steps)
        self.log_cadence = Cadence(settings.log_every, clock, "engine.log_every")
        self.evaluation_cadence = Cadence(settings.evaluate_every, clock, "engine.evaluate_every")
        self.checkpoint_cadence = Cadence(settings.checkpoint_every, clock, "engine.checkpoint_every")
        self.step = 0
        self.stopwatch = Stopwatch()
        self.tracker = Tracker(objective, settings.early_stopping)
        self.window = Window(self.device)
        self.average = self._make_average()
        self.hooks = Hooks()
        self.evaluation_loaders = data.evaluation_loaders(self._batch_plan(max(settings.batch_size, EVALUATION_BATCH)))
        self._stop = StopRequest()

    # --- The loop ---

    def fit(self) -> Tracker:
        """Train from where the engine stands to the end and return what was best.

        Raises:
            DivergedError: A gradient was not finite, and `on_nonfinite` is stop.
            Interrupted: SIGINT or SIGTERM came; a checkpoint of the step it stopped at was written.
            PtftError: The device ran out of memory, or a checkpoint could not be written.
        """
        if self.settings.compile:
            self.task.compile()
        update = Update(
            self.task,
            self.optimizers,
            self.window,
            self.precision,
            seed=self.settings.seed,
            micro_batch_size=self.plan.micro_batch_size,
            world=self.world,
        )
        if self.step in self.store.steps():
            self._tidy()
        if self.tracker.should_stop:
            return self.tracker
        self.store.check_space(least_bytes(self.task, self.optimizers.values(), averaged=self.average is not None))
        self.task.train()
        self.hooks.apply(self.step)
        self.stopwatch.start(self.step)
        profiler = Profiler(self.settings.profile, self.recorder.report, self.stop_step - self.step)
        with self._stop.listening(), profiler:
            try:
                self._loop(update, profiler)
            except torch.OutOfMemoryError as error:
                raise PtftError(
                    f"out of memory at step {self.step + 1}: {str(error).splitlines()[0]}; "
                    f"start anew with an engine.micro_batch_size smaller than {self.plan.micro_batch_size}"
                ) from error
        return self.tracker

    def _loop(self, update: Update, profiler: Profiler) -> None:
        start, average = self.step, self.average
        next_edge = self._next_edge(start)
        batches = self._batches(start)
        with self.console.progress(start, self.stop_step, self.settings.batch_size) as line:
            self.line = line
            for step in range(start, self.stop_step):
                update(next(batches), step, self.max_steps)
                if average is not None:
                    average.update(step)
                self.step = step + 1
                line.advance(step + 1)
                profiler.step()
                if step + 1 >= next_edge or self._stop.signal is not None:
                    self._edge(step + 1)
                    self.hooks.apply(step + 1)
                    next_edge = self._next_edge(step + 1)
                    if self.tracker.should_stop:
                        tracker = self.tracker
                        self.console.say(f"stopped early: no better {tracker.objective} since step {tracker.best_step}")
                        break
            if self.stop_step == 0:  # nothing to train: still a checkpoint and its metrics
                self._edge(0)

    def _edge(self, step: int) -> None:
        """Do what is due after a step: log, evaluate, save, stop. The one place in the loop that synchronises."""
        check_finite(self.optimizers.values(), step, self.settings.on_nonfinite, self.console.warn)
        last = step == self.stop_step
        row: dict[str, float] = {}
        if self.log_cadence.due(step) or last:
            row |= self._train_values(step)
        is_best = False
        if self.evaluation_cadence.due(step) or last:
            is_best = self._evaluate(step, row)
        if row:
            self.recorder.row(self._position(step), row)
        last = last or self.tracker.should_stop
        stop = self._stop.signal
        if is_best or last or stop is not None or self.checkpoint_cadence.due(step):
            self.save(is_best)
            stop = self._stop.signal  # it may have come while saving
        if stop is not None and not last:
            raise Interrupted(
                f"stopped by {stop.name} after step {step} of {self.stop_step}; a checkpoint was written",
                self._stop.exit_code,
            )

    def _next_edge(self, step: int) -> float:
        """Return the next number of steps done at which something is due."""
        cadences = (self.log_cadence, self.evaluation_cadence, self.checkpoint_cadence, self.hooks)
        return min(self.stop_step, *(cadence.next_due(step) for cadence in cadences))

    # --- What is due ---

    def _train_values(self, step: int) -> dict[str, float]:
        values = {f"train/{name}": value for name, value in self.window.take().items()}
        for phase, optimizer in self.optimizers.items():
            suffix = f"/{phase}" if len(self.optimizers) > 1 else ""
            values[f"train/lr{suffix}"] = optimizer.lr
            if optimizer.last_norm is not None:
                values[f"train/gradient_norm{suffix}"] = float(optimizer.last_norm)
        values["examples_per_second"] = self.stopwatch.steps_per_second(step) * self.settings.batch_size
        self.line.show({name: value for name, value in values.items() if name == "train/loss"})
        return values

    def _evaluate(self, step: int, row: dict[str, float]) -> bool:
        """Evaluate, add the metrics to the row, and tell whether they are the best so far."""
        split = self.tracker.objective.split
        result = self.evaluate(split)
        row |= {f"{split}/{name}": value for name, value in result.metrics.items()}
        is_best = self.tracker.observe(result.metrics, step)
        value = result.metrics[self.tracker.objective.metric.name]
        for optimizer in self.optimizers.values():
            optimizer.schedule.schedule.observe(value, is_best)
        self.recorder.media(step, result.media)
        self.line.show({str(self.tracker.objective): value})
        self.stopwatch.exclude(result.seconds)
        self._announce(step, row, is_best)
        return is_best

    def evaluate(self, split: str, *, with_intervals: bool = False) -> Evaluation:
        """Evaluate a split with the averaged weights, if there are any, else with the live ones."""
        options: dict[str, Any] = {"max_batches": self.settings.evaluation_batches, "with_intervals": with_intervals}
        with self.average.applied() if self.average is not None else contextlib.nullcontext():
            return evaluate(self.task, self.evaluation_loaders, split, self.precision, **options)

    def _announce(self, step: int, row: Mapping[str, float], is_best: bool) -> None:
        objective = self.tracker.objective
        loss = f"{objective.split}/loss"
        shown = dict.fromkeys((str(objective), loss if loss in row else "train/loss"))
        values = [f"{name} {row[name]:.4f}" for name in shown if name in row]
        epoch = [f"epoch {self._epoch(step):.1f}"] if self.clock.num_examples else []
        parts = [f"step {step}/{self.stop_step}", *epoch, *values, *(["best"] if is_best else [])]
        self.console.say("  ".join(parts))

    # --- State ---

    def save(self, is_best: bool) -> None:
        """Write a checkpoint of this step, point `last` (and `best`) at it, and remove old ones."""
        step = self.step
        self.store.save(step, own_tensors(self.task), self.state_dict())
        if is_best:
            self._point_best(step)
        self.store.clean()

    def _tidy(self) -> None:
        """Bring the checkpoints of a resumed run to where an uninterrupted one has them.

        A crash may have come between a checkpoint, its pointers and the removal of old ones, or newer ones are damaged.
        """
        best = self.tracker.best_step
        if best is not None:
            try:
                self.store.load(best)
            except CheckpointError as error:
                self.console.warn(f"{error}; of the best checkpoint no more is left, so it is chosen anew from here on")
                self.tracker.forget_best()
            self._point_best(self.tracker.best_step or self.step)
        self.store.point("last", self.step)
        self.store.clean()

    def _point_best(self, step: int) -> None:
        self.store.point("best", step, objective=str(self.tracker.objective), value=self.tracker.best)

    def state_dict(self) -> dict[str, Any]:
        """Return everything but the task's tensors that a bit-identical continuation needs.

        The order of the data and all random numbers are pure functions of the seed and the step.
        """
        return {
            "step": self.step,
            "stopwatch": self.stopwatch.state_dict(),
            "plan": self.plan.to_json(),
            "optimizers": {phase: optimizer.state_dict() for phase, optimizer in self.optimizers.items()},
            "tracker": self.tracker.state_dict(),
            "window": self.window.state_dict(),
            "average": self.average.state_dict() if self.average is not None else None,
        }

    def load(self, checkpoint: Checkpoint) -> None:
        """Go back to a checkpoint.

        Raises:
            CheckpointError: It does not fit the task, its optimizers or the settings.
        """
        state = checkpoint.state
        try:
            load_own(self.task, checkpoint.tensors)
            for phase, optimizer in self.optimizers.items():
                optimizer.load_state_dict(state["optimizers"][phase])
            self.tracker.load_state_dict(state["tracker"])
            self.window.load_state_dict(state["window"])
            if self.average is not None:
                self.average.load_state_dict(saved_average(state))
        except (KeyError, ValueError, RuntimeError) as error:
            raise CheckpointError(f"checkpoint of step {checkpoint.step} does not fit this run: {error}") from error
        self.step = checkpoint.step
        self.stopwatch.load_state_dict(state["stopwatch"])

    def cost(self) -> dict[str, float]:
        """Return what the training took: seconds, CPU seconds, examples, peak memory in bytes."""
        return {
            **{name: round(value, 3) for name, value in self.stopwatch.state_dict().items()},
            "examples": self.step * self.settings.batch_size,
            "peak_memory_bytes": peak_memory_bytes(self.device),
        }

    # --- Small helpers ---

    def _make_average(self) -> Average | None:
        names, settings = set(own_tensors(self.task)), self.settings
        if settings.swa is not None:
            return Swa(self.task, settings.swa, names, self.clock, self.console.warn)
        return Ema(self.task, settings.ema, names) if settings.ema is not None else None

    def _batches(self, start: int) -> Iterator[Batch]:
        count = self.settings.overfit_batches
        if not count:
            return iter(self.data.train_loader(self._batch_plan(self.settings.batch_size, start)))
        first = list(itertools.islice(self.data.train_loader(self._batch_plan(self.settings.batch_size)), count))
        return (first[step % count] for step in itertools.count(start))

    def _batch_plan(self, batch_size: int, start: int = 0) -> BatchPlan:
        return BatchPlan(
            batch_size=batch_size,
            seed=self.settings.seed,
            start_step=start,
            views=self.task.views,
            transform=self.task.own_transform,
            device=self.device,
            rank=self.world.rank,
            world=self.world.size,
        )

    def _epoch(self, step: int) -> float:
        return step * self.settings.batch_size / (self.clock.num_examples or 1)

    def _position(self, step: int) -> dict[str, float]:
        self.stopwatch.tick()
        return {
            "step": step,
            "epoch": round(self._epoch(step), 4),
            "time": round(self.stopwatch.seconds, 3),
            "cpu": round(self.stopwatch.cpu_seconds, 3),
        }
