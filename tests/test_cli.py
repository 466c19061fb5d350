"""The command line as a person meets it: in a process of its own, with exit codes."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parent.parent


def ptft(*arguments, cwd, code="from ptft.cli import main; main()", **environment):
    """Run a command line; returns the finished process."""
    env = {**os.environ, "PYTHONPATH": str(CHECKOUT), "COLUMNS": "100", **environment}
    command = [sys.executable, "-c", f"import sys; sys.argv[0] = 'ptft'; {code}", *arguments]
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=120)


def test_help_names_the_verbs_and_what_to_type_first(tmp_path):
    shown = ptft("--help", cwd=tmp_path)
    assert shown.returncode == 0
    for word in ("pretrain", "finetune", "evaluate", "compress", "predict", "list", "--version", "ptft finetune"):
        assert word in shown.stdout
    assert "\n  serve" not in shown.stdout


@pytest.mark.parametrize("verb", ["pretrain", "finetune", "evaluate", "compress", "predict"])
def test_the_help_of_a_verb_shows_examples_and_the_grammar(tmp_path, verb):
    shown = ptft(verb, "--help", cwd=tmp_path)
    assert shown.returncode == 0
    assert f"ptft {verb} " in shown.stdout and "optimizer.lr=1e-3" in shown.stdout and "--hydra-help" in shown.stdout
    assert ptft(verb, "engine.seed=1", "-h", cwd=tmp_path).stdout == shown.stdout


def test_help_imports_nothing_heavy(tmp_path):
    heavy = "{'torch', 'hydra', 'omegaconf', 'rich'}"
    code = f"from ptft.cli import main\ntry: main()\nfinally: print({heavy} & set(sys.modules))"
    shown = ptft("--help", cwd=tmp_path, code=f"exec({code!r})")
    assert shown.stdout.endswith("set()\n")


def test_a_refused_command_imports_no_torch_and_leaves_nothing_behind(tmp_path):
    code = "from ptft.cli import main\ntry: main()\nfinally: print('torch' in sys.modules)"
    code = f"exec({code!r})"
    for arguments in (["optimizer.lr=-1"], ["model=vgg", "x=1"], ["init_from=no"], ["optimizer._target_=torch.load"]):
        found = ptft("finetune", *arguments, cwd=tmp_path, code=code)
        assert (found.returncode, found.stdout) == (2, "False\n"), found.stderr
        assert "Traceback" not in found.stderr and "nothing was started" in found.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["fintune"], "finetune"),
        (["finetune", "--no-such"], "--no-such"),
        (["list", "modles"], "did you mean `models`"),
        (["list", "--config-dir", "nowhere"], "nowhere"),
        (["evaluate"], "run=NAME"),
        (["predict"], "run=NAME"),
        (["predict", "-m", "run=a,b"], "runs one job"),
    ],
)
def test_wrong_usage_ends_with_code_2_and_no_traceback(tmp_path, arguments, words):
    found = ptft(*arguments, cwd=tmp_path)
    assert found.returncode == 2 and words in found.stderr and "Traceback" not in found.stderr


FAKE = """
import sys, types
from ptft.errors import *
module = types.ModuleType("ptft.command.finetune")
def run(config, invocation):
    {body}
module.run = run
sys.modules["ptft.command.finetune"] = module
from ptft.cli import main
main()
"""


@pytest.mark.parametrize(
    ("body", "code", "words"),
    [
        ("return []", 0, ""),
        ("raise DataError('no data [/] [link=x]')", 1, "no data [/] [link=x]"),
        ("raise GateError('gate')", 3, "gate"),
        ("raise Interrupted('stopped', 130)", 130, "stopped"),
        ("raise Interrupted('stopped', 143)", 143, "stopped"),
        ("raise KeyboardInterrupt", 130, "interrupted"),
        ("raise RuntimeError('a bug')", 1, "Traceback"),
        ("raise PtftError('a\\x1b[31mb\\u202e')", 1, "a\\x1b[31mb\\u202e"),
    ],
)
def test_each_ending_has_its_exit_code_and_message(tmp_path, body, code, words):
    found = ptft("finetune", cwd=tmp_path, code=f"exec({FAKE.format(body=body)!r})")
    assert found.returncode == code, found.stderr
    assert words in found.stderr and "\x1b" not in found.stderr
    assert ("Traceback" in found.stderr) == ("RuntimeError" in body)
    if code == 0:
        assert found.stderr == ""


def test_the_version_is_told(tmp_path):
    shown = ptft("--version", cwd=tmp_path)
    assert shown.returncode == 0 and shown.stdout.startswith("ptft ")


def test_verbs_are_completed(tmp_path):
    found = ptft(cwd=tmp_path, _PTFT_COMPLETE="complete_bash", COMP_WORDS="ptft fi", COMP_CWORD="1")
    assert found.stdout.split() == ["finetune"]


def test_list_names_groups_and_options_with_one_line_each(tmp_path):
    groups = ptft("list", cwd=tmp_path).stdout
    for group in ("model", "data", "task", "optimizer", "schedule", "augmentation", "adapt", "logger", "experiment"):
        assert f"\n{group} " in f"\n{groups}"
    models = ptft("list", "models", cwd=tmp_path).stdout.splitlines()
    assert all(len(line.split(None, 1)) == 2 for line in models) and any("vision/vgg " in line for line in models)
    assert ptft("list", "model", cwd=tmp_path).stdout.splitlines() == models


def test_list_shows_the_users_own_options(tmp_path):
    (tmp_path / "my" / "model").mkdir(parents=True)
    (tmp_path / "my" / "model" / "mine.yaml").write_text("# @package model\n# My net\n_target_: x.Y\n")
    assert "mine" in ptft("list", "models", "--config-dir", "my", cwd=tmp_path).stdout
    assert "My net" in ptft("list", "models", "--config-dir", "my", cwd=tmp_path).stdout


def test_a_reader_that_goes_away_is_no_error(tmp_path):
    env = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    process = subprocess.Popen(
        [sys.executable, "-m", "ptft", "list"], cwd=tmp_path, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    process.stdout.close()
    error = process.stderr.read()
    process.wait(timeout=60)
    assert b"Traceback" not in error


def test_no_traceback_follows_what_hydra_shows_when_its_reader_goes_away(tmp_path):
    command = f"{sys.executable} -m ptft finetune --info | head -1"
    env = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    done = subprocess.run(command, shell=True, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert "Hydra" in done.stdout and "Traceback" not in done.stderr


def test_an_error_on_a_terminal_is_shown_as_it_is(tmp_path):
    import pty

    main, side = pty.openpty()
    env = {**os.environ, "PYTHONPATH": str(CHECKOUT), "TERM": "xterm"}
    command = [sys.executable, "-m", "ptft", "finetune", "+a='[link=x]y[/]'"]
    process = subprocess.Popen(command, cwd=tmp_path, env=env, stdout=subprocess.DEVNULL, stderr=side)
    os.close(side)
    shown, end = b"", time.monotonic() + 60
    while time.monotonic() < end:
        try:
            part = os.read(main, 1000)
        except OSError:
            break
        shown += part
        if not part:
            break
    assert process.wait(timeout=60) == 2
    assert b"a problem in the configuration" in shown and b"Traceback" not in shown
