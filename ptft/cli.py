"""The command line: one thin command a verb. Nothing heavy is imported before one runs, so help answers at once."""

import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer

from ptft.errors import FAILED, INTERRUPTED, PtftError

app = typer.Typer(
    name="ptft",
    help="Pre-train, fine-tune, evaluate, compress and use models from one command line.",
    epilog="Start with: ptft finetune    or see what there is: ptft list",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
VERBS = ("pretrain", "finetune", "evaluate", "compress", "predict")
TRIAL = "--trial"
"""What a process of a sweep is called with in place of a verb; it is told the rest on standard input."""
_REST: dict[str, Any] = {"allow_extra_args": True, "ignore_unknown_options": True}
_GRAMMAR = """\b
Settings are written key=value, options of a group group=option:
  optimizer.lr=1e-3   model=vision/vgg   engine.max=5ep   name=first
\b
  -m               run one job for each value: optimizer.lr=1e-2,1e-3
  --cfg job        show the config and stop
  --config-dir DIR your own config files win over the built-in ones
  --plugin PACKAGE your own classes may stand in a config
  --hydra-help     all other flags, which are Hydra's
\b
`ptft list` names every group and option. docs/config.md explains the rest."""


@app.command(context_settings=_REST, epilog=_GRAMMAR)
def pretrain(context: typer.Context) -> None:
    """Pre-train a model: learn features without labels, or a task of its own.

    \b
    ptft pretrain
    ptft pretrain experiment=vision/digits_simclr name=ssl
    ptft pretrain task=vision/rotation augmentation=none engine.max=20ep
    """
    _launch("pretrain", context.args)


@app.command(context_settings=_REST, epilog=_GRAMMAR)
def finetune(context: typer.Context) -> None:
    """Fine-tune a model on labels, from scratch or from a run's weights.

    \b
    ptft finetune
    ptft finetune experiment=vision/digits init_from=ssl name=ft
    ptft finetune -m optimizer.lr=1e-2,1e-3 engine.seed=0,1,2
    ptft finetune resume=ft engine.max=20ep
    """
    _launch("finetune", context.args)


@app.command(context_settings=_REST, epilog=_GRAMMAR)
def evaluate(context: typer.Context) -> None:
    """Evaluate a run: exact metrics with intervals, by class and group, pictures of its mistakes; or compare runs.

    \b
    ptft evaluate run=ft
    ptft evaluate run=@latest split=val checkpoint=last
    ptft evaluate run=ft data.path=new/ split=all
    ptft evaluate run=ft evaluate.by=camera evaluate.explain=gradcam
    ptft evaluate run=ft,scratch
    ptft evaluate run=ft gate.metric=test/accuracy gate.min=0.9
    """
    _launch("evaluate", context.args)


@app.command(context_settings=_REST, epilog=_GRAMMAR)
def predict(context: typer.Context) -> None:
    """Predict with a run: what it says of each row of a file, of the files in a folder, or of a text.

    Rows come as csv, tsv, json lines, parquet or lines of text and leave as json lines or csv, in order, with
    probabilities, entities and their places, answers or text. A stopped prediction goes on with resume=true.

    \b
    ptft predict run=spam input=mails.csv output=judged.csv
    ptft predict run=spam input="Win a prize now!"
    ptft predict run=photos input=holiday/ output=holiday.jsonl
    cat lines.txt | ptft predict run=spam input=- > judged.jsonl
    ptft predict run=plays prompt="To be, or not"
    """
    _launch("predict", context.args)


@app.command(context_settings=_REST, epilog=_GRAMMAR)
def compress(context: typer.Context) -> None:
    """Compress a run: prune, distil, quantise, export; every stage measured on the real metric and the real runtime.

    A gate (compression.max_drop, in points) refuses to call a bad result good: exit code 3 names the stage, and the
    best one that passes is delivered. Stopped and typed again, it goes on with the stages that are done.

    \b
    ptft compress run=ft name=small
    ptft compress run=ft compression=prune_int8 compression.max_drop=0.5 name=small
    ptft compress run=ft compression=prune_int8 compression.steps.prune.ratio=0.6
    ptft compress run=ft compression=prune_int8 compression.search=true compression.budget=30
    ptft list compressions
    """
    _launch("compress", context.args)


@app.command("list")
def list_(
    group: Annotated[str | None, typer.Argument(help="models, data, tasks, optimizers, experiments ...")] = None,
    config_dir: Annotated[str | None, typer.Option(help="Your own config files, listed too.")] = None,
) -> None:
    """List the options of a config group, all groups, or every way to fine-tune.

    \b
    ptft list
    ptft list models
    ptft list experiments
    ptft list strategies
    """
    from shutil import get_terminal_size

    from ptft.command.listing import list_options

    width = get_terminal_size().columns if sys.stdout.isatty() else None  # in a pipe a line stays one line
    _guarded(lambda: print(list_options(group, config_dir, width)))


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import PackageNotFoundError, version

        try:
            print(f"ptft {version('ptft')}")
        except PackageNotFoundError:
            print("ptft (not installed: run from its source tree)")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Pre-train, fine-tune, evaluate, compress and use models from one command line."""


def _launch(verb: str, arguments: list[str]) -> None:
    """Check the command line, then import what it needs and run it."""

    def check_and_run() -> None:
        from ptft.config.hydra_app import launch

        launch(verb, arguments, _Command(verb), tell)

    _guarded(check_and_run)


def _run_trial() -> None:
    """Run the one trial of a sweep that standard input describes, in this process."""
    import json
    import os

    from ptft.config.hydra_app import run_trial
    from ptft.sweep.processes import watch

    request = json.load(sys.stdin)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    watch(int(request["lifeline"]))
    run_trial(request, _Command(str(request["verb"])))


class _Command:
    """The function behind a verb, imported when it is called: it brings torch with it."""

    def __init__(self, verb: str) -> None:
        self.verb = verb

    def __call__(self, config: dict[str, Any], invocation: Any) -> Any:
        """Run the command."""
        from importlib import import_module

        return import_module(f"ptft.command.{self.verb}").run(config, invocation)


def _guarded(action: Callable[[], object]) -> None:
    """Do something; a problem the user can mend is told without a traceback, and becomes the exit code."""
    try:
        action()
    except PtftError as error:
        tell(str(error))
        raise typer.Exit(error.exit_code) from None
    except KeyboardInterrupt:
        tell("interrupted")
        raise typer.Exit(INTERRUPTED) from None
    except BrokenPipeError:  # the reader of our output went away: `ptft list | head`
        sys.stderr.close()
        raise typer.Exit(FAILED) from None


def tell(message: str) -> None:
    """Print an error on stderr; its text is shown as it is, without markup or control characters."""
    from ptft.runtime.text import printable, wrapped

    text = printable(message)
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.markup import escape

        screen = Console(stderr=True, highlight=False)
        head, line_break, rest = text.partition("\n")
        head, rest = wrapped(head, screen.width), wrapped(rest, screen.width) if rest else ""
        screen.print(f"[bold red]{escape(head)}[/]{line_break}{escape(rest)}", soft_wrap=True)
    else:
        print(text, file=sys.stderr)


def main() -> None:
    """Run the command line.

    A verb is called at once when it is not asked for help: Typer would only hand its arguments on to Hydra, after a
    quarter of a second for converting options of its own.
    """
    words = sys.argv[1:]
    try:
        if words == [TRIAL]:
            _guarded(_run_trial)
        elif words and words[0] in VERBS and not {"-h", "--help"} & set(words):
            _launch(words[0], words[1:])
        else:
            app()
    except typer.Exit as stop:
        sys.exit(stop.exit_code)
    except KeyboardInterrupt:  # a second one, while the first was being told
        sys.exit(INTERRUPTED)
