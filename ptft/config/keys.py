"""The keys that stand at the top of a config, with their meaning; the root YAML files hold the same ones.

Plain dataclasses that the check reads as source (see `signature.py`), like the settings of every other part.
"""

from dataclasses import dataclass, field
from typing import Any, Literal

from ptft.types import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, UnitFloat


@dataclass(frozen=True, kw_only=True)
class GateSettings:
    """What a metric must reach for the command to end with exit code 0.

    Attributes:
        metric: With its split: `test/accuracy`.
        min: The least value that passes.
        max: The largest value that passes.
    """

    metric: str
    min: float | None = None
    max: float | None = None


@dataclass(frozen=True, kw_only=True)
class DistilSettings:
    """How a network learns from a trained run beside the task's own loss.

    Attributes:
        teacher: The run to learn from: a name, `@latest` or a path.
        checkpoint: `best`, `last` or the step of a checkpoint of it.
        temperature: What logits are divided by before they are compared (arXiv 1503.02531).
        share: Share of the teacher's outputs in the loss; the rest is the task's own; 1: labels play no part.
        hidden: Weight of how far the hidden states of evenly mapped blocks are apart.
        attention: Weight of how differently the last attention relates tokens, for transformers.
    """

    teacher: str | int
    checkpoint: str | int = "best"
    temperature: PositiveFloat = 4.0
    share: UnitFloat = 0.9
    hidden: NonNegativeFloat = 0.0
    attention: NonNegativeFloat = 0.0


@dataclass(frozen=True, kw_only=True)
class ReportSettings:
    """What an evaluation tells beside its table.

    Attributes:
        by: A column of the data: results for each of its values, worst first; null: none.
        explain: gradcam: where in a picture the evidence for its prediction lies; null: nothing.
        pictures: Draw confusion matrix, reliability diagram and the most confident mistakes into report/.
    """

    by: str | None = None
    explain: Literal["gradcam"] | None = None
    pictures: bool = True


@dataclass(frozen=True, kw_only=True)
class SweepSettings:
    """How a sweep (`-m`) runs.

    Attributes:
        trials: How many points are tried; null: all of a grid, 20 otherwise.
        seeds: Trials of each point, with `engine.seed` and those after it; a point counts with their mean.
        parallel: How many trials run at once; the cores are shared among them.
        timeout: Minutes that one trial may take; null: as many as it likes.
        budget: Minutes after which no trial is started; null: all are.
        max_failures: More failed trials end the sweep; null: it goes on whatever fails.
        resume: A sweep to go on with: its name or path; nothing else need be typed.
        retry: Run the failed trials of a resumed sweep again.
        space: Settings with several values, as they would be typed; those on the command line stand before them.
    """

    trials: PositiveInt | None = None
    seeds: PositiveInt = 1
    parallel: PositiveInt = 1
    timeout: PositiveFloat | None = None
    budget: PositiveFloat | None = None
    max_failures: NonNegativeInt | None = None
    resume: str | int | None = None
    retry: bool = False
    space: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class TrainingKeys:
    """Keys of `pretrain` and `finetune`.

    Attributes:
        command: The verb an experiment is for.
        experiment: The experiment chosen, for the record.
        name: The run becomes `<output_root>/<name>`; null: a name is made.
        output_root: The folder of all runs.
        overwrite: Replace a finished run of this name.
        resume: A run to go on with: a name, `@latest` or a path.
        auto_resume: Go on with the run of this name if there is one, else start it.
        offline: Never touch the network.
        init_from: Where initial weights come from: a run, a path, `torchvision:...` or `hub:org/name`.
        init_partial: Accept weights that fit only in part.
        objective: The metric that decides what is best: `val/accuracy:max`, or a list; null: the task's headline.
        gate: What a metric must reach.
        distil: A trained run to learn from, and how much; null: none.
        sweep: How a sweep runs.
    """

    command: Literal["pretrain", "finetune"] | None = None
    experiment: str | list[str] | None = None
    name: str | int | None = None
    output_root: str = "outputs"
    overwrite: bool = False
    resume: str | int | None = None
    auto_resume: bool = False
    offline: bool = False
    init_from: str | int | None = None
    init_partial: bool = False
    objective: str | list[str] | None = None
    gate: GateSettings | None = None
    distil: DistilSettings | None = None
    sweep: SweepSettings = SweepSettings()


@dataclass(frozen=True, kw_only=True)
class EvaluationKeys:
    """Keys of `evaluate`.

    Attributes:
        run: The run to evaluate: a name, `@latest` or a path; several (`run=a,b`) are compared with the first.
        checkpoint: `best`, `last` or the step of a checkpoint.
        split: The split to evaluate on; `all`: every example of the data.
        evaluate: What is told beside the table.
        sweep: How a sweep runs.
    """

    run: str | int | list[str | int]
    checkpoint: str | int = "best"
    split: Literal["train", "val", "test", "all"] = "test"
    evaluate: ReportSettings = ReportSettings()
    experiment: str | list[str] | None = None
    name: str | int | None = None
    output_root: str = "outputs"
    overwrite: bool = False
    offline: bool = False
    objective: str | list[str] | None = None
    gate: GateSettings | None = None
    sweep: SweepSettings = SweepSettings()


@dataclass(frozen=True, kw_only=True)
class PredictionKeys:
    """Keys of `predict`.

    Attributes:
        run: The run to predict with: a name, `@latest` or a path.
        input: A file of rows, a folder, a picture, a text; `-`: lines of standard input.
        prompt: A text that a language model goes on from, or several; in place of `input`.
        output: A file, `.jsonl` or `.csv`; `-`: json lines on standard output.
        checkpoint: `best`, `last` or the step of a checkpoint.
        columns: The column of each field that the data read, where it is not the one that the run's data name.
        id: The column that names a row; null: its number, from 1, or its file.
        keep: Columns of the input that the output repeats: `read` (what the model read), `all`, or a list.
        on_bad_sample: error: stop at the first row that cannot be read; skip: write why in its place.
        resume: Go on with an output that was stopped, after the rows it holds.
        overwrite: Start an output anew that is there.
    """

    run: str | int
    input: str | None = None
    prompt: str | list[str] | None = None
    output: str = "-"
    checkpoint: str | int = "best"
    columns: dict[str, str] | None = None
    id: str | None = None
    keep: Literal["read", "all"] | list[str] = "read"
    on_bad_sample: Literal["error", "skip"] = "error"
    resume: bool = False
    overwrite: bool = False
    experiment: str | list[str] | None = None
    output_root: str = "outputs"
    offline: bool = False


@dataclass(frozen=True, kw_only=True)
class RecoverySettings:
    """How a network recovers from what a step did to it: by training, the uncompressed run being its teacher.

    Attributes:
        lr_scale: Learning rate as a share of the run's own, `optimizer.lr`.
        temperature: What logits are divided by before they are compared (arXiv 1503.02531).
        share: Share of the teacher in the loss; the rest is the task's own; 0: no teacher.
        hidden: Weight of the likeness of hidden states, for transformers.
        attention: Weight of the likeness of what attention relates, for transformers.
    """

    lr_scale: PositiveFloat = 0.2
    temperature: PositiveFloat = 4.0
    share: UnitFloat = 0.9
    hidden: NonNegativeFloat = 0.0
    attention: NonNegativeFloat = 0.0


@dataclass(frozen=True, kw_only=True)
class MeasurementSettings:
    """How stages are measured.

    Attributes:
        threads: Threads of a runtime, and of PyTorch beside it.
        batch_sizes: Examples of one forward pass whose time is taken.
        rounds: How often all stages are timed in turn.
        memory: Measure the peak memory of each, in processes of their own.
    """

    threads: PositiveInt = 1
    batch_sizes: list[PositiveInt] = field(default_factory=lambda: [1, 32])
    rounds: PositiveInt = 15
    memory: bool = True


@dataclass(frozen=True, kw_only=True)
class CompressionSettings:
    """A pipeline of compression: named steps in order, what they may cost, how the result is measured.

    Attributes:
        steps: A component each, by name; null takes one out.
        max_drop: The most that the headline metric may fall on validation: in points, or in percent of a loss;
            null: no gate.
        prefer: Which of the stages that pass is delivered.
        recovery: How networks recover between steps.
        measure: How stages are measured.
        search: Walk ratios and precisions in place of the steps' own, and deliver the Pareto front.
        ratios: The ratios that a search walks, each going on from the one before.
        budget: Minutes after which a search begins no further candidate; null: all are tried.
    """

    steps: dict[str, dict[str, Any] | None] = field(default_factory=dict)
    max_drop: NonNegativeFloat | None = None
    prefer: Literal["last", "smallest", "fastest"] = "last"
    recovery: RecoverySettings = RecoverySettings()
    measure: MeasurementSettings = MeasurementSettings()
    search: bool = False
    ratios: list[UnitFloat] = field(default_factory=lambda: [0.25, 0.5, 0.65, 0.8])
    budget: PositiveFloat | None = None


@dataclass(frozen=True, kw_only=True)
class CompressionKeys:
    """Keys of `compress`.

    Attributes:
        command: The verb an experiment is for.
        run: The run to compress: a name, `@latest` or a path.
        checkpoint: `best`, `last` or the step of a checkpoint.
        compression: The steps, and what they may cost.
        sweep: How a sweep runs.
    """

    command: Literal["compress"] | None = None
    run: str | int
    checkpoint: str | int = "best"
    compression: CompressionSettings = CompressionSettings()
    sweep: SweepSettings = SweepSettings()
    experiment: str | list[str] | None = None
    name: str | int | None = None
    output_root: str = "outputs"
    overwrite: bool = False
    offline: bool = False


Keys = type[TrainingKeys] | type[EvaluationKeys] | type[PredictionKeys] | type[CompressionKeys]
KEYS: dict[str, Keys] = {
    "pretrain": TrainingKeys,
    "finetune": TrainingKeys,
    "evaluate": EvaluationKeys,
    "predict": PredictionKeys,
    "compress": CompressionKeys,
}
"""The keys of each verb."""
OF_A_RUN = ("evaluate", "predict", "compress")
"""Verbs that start from the config of the run that `run=` names."""
