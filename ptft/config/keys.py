"""The keys that stand at the top of a config, with their meaning; the root YAML files hold the same ones.

Plain dataclasses that the check reads as source (see `signature.py`), like the settings of every other part.
"""

from dataclasses import dataclass
from typing import Literal


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


@dataclass(frozen=True, kw_only=True)
class EvaluationKeys:
    """Keys of `evaluate`.

    Attributes:
        run: The run to evaluate: a name, `@latest` or a path; several (`run=a,b`) are compared with the first.
        checkpoint: `best`, `last` or the step of a checkpoint.
        split: The split to evaluate on; `all`: every example of the data.
        evaluate: What is told beside the table.
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


KEYS: dict[str, type[TrainingKeys] | type[EvaluationKeys] | type[PredictionKeys]] = {
    "pretrain": TrainingKeys,
    "finetune": TrainingKeys,
    "evaluate": EvaluationKeys,
    "predict": PredictionKeys,
}
"""The keys of each verb."""
OF_A_RUN = ("evaluate", "predict")
"""Verbs that start from the config of the run that `run=` names, and train nothing."""
