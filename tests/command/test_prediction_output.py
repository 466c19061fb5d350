"""Predictions that were stopped: what is there stays whole, and going on ends with the same bytes."""

import json
import os
import signal
from pathlib import Path

import pytest

from ptft.command import predict as command
from ptft.command.prediction_format import JsonLines, Table
from ptft.command.prediction_output import RowFile
from ptft.errors import ConfigError, Interrupted, PtftError
from ptft.runtime import files
from ptft.runtime.records import facts_of, part_of

ROWS = [{"id": number, "text": f'row {number}\n"x"', "share": number / 3} for number in range(9)]
FACTS = {"run": "r", "data": {"text": "a"}, "rows": 9}


def opened(path, *, resume=False, overwrite=False, **facts):
    form = Table((), errors=False) if path.suffix == ".csv" else JsonLines()
    return RowFile(path, form, {**FACTS, **facts}, resume=resume, overwrite=overwrite)


def written(path, rows):
    """Write some rows and stop as a killed process does: without a word."""
    output = opened(path)
    for row in rows:
        output.write([row])
    os.close(output._descriptor)


def whole(path):
    """Return what a file of all rows holds."""
    with opened(path) as output:
        output.write(ROWS)
        output.finish()
    data = path.read_bytes()
    path.unlink()
    return data


@pytest.mark.parametrize("name", ["out.jsonl", "out.csv"])
def test_a_file_that_was_cut_anywhere_goes_on_to_the_same_bytes(tmp_path, name):
    path = tmp_path / name
    expected = whole(path)
    for cut in range(0, len(expected), 13):
        written(path, [])
        part_of(path).write_bytes(expected[:cut])
        with opened(path, resume=True) as output:
            assert output.rows == 0 or output.last == output.shown(ROWS[output.rows - 1])
            output.write(ROWS[output.rows :])
            assert not path.exists()
            output.finish()
        assert path.read_bytes() == expected
        assert not part_of(path).exists() and not facts_of(path).exists()
        path.unlink()


def test_rows_that_were_made_otherwise_are_not_gone_on_with(tmp_path):
    path = tmp_path / "out.jsonl"
    written(path, ROWS[:3])
    before = part_of(path).read_bytes()
    with pytest.raises(ConfigError, match=r"were made with data\.text a, and now it is b; .*overwrite=true"):
        opened(path, resume=True, data={"text": "b"})
    facts_of(path).write_text("[")
    with pytest.raises(ConfigError, match="is missing or damaged"):
        opened(path, resume=True)
    assert part_of(path).read_bytes() == before


@pytest.mark.parametrize(
    ("name", "damage"), [("out.jsonl", b"\0\0\n"), ("out.csv", b"1,2,3,4\n"), ("out.jsonl", b"3\n")]
)
def test_damaged_rows_are_told(tmp_path, name, damage):
    path = tmp_path / name
    written(path, ROWS[:3])
    with part_of(path).open("ab") as file:
        file.write(damage)
    with pytest.raises(ConfigError, match=r"out\.\w+\.part is damaged .*overwrite=true"):
        opened(path, resume=True)


def test_one_process_at_a_time_writes_an_output(tmp_path):
    path = tmp_path / "out.jsonl"
    with opened(path) as output:
        output.write(ROWS[:1])
        for settings in ({"resume": True}, {"overwrite": True}):
            with pytest.raises(PtftError, match="another process writes"):
                opened(path, **settings)
        output.finish()
    assert len(path.read_bytes().splitlines()) == 1


def test_a_file_that_came_into_being_meanwhile_is_not_written_over(tmp_path):
    path = tmp_path / "out.jsonl"
    with opened(path) as output:
        output.write(ROWS)
        path.write_text("mine")
        with pytest.raises(PtftError, match="come into being meanwhile"):
            output.finish()
    assert path.read_text() == "mine" and len(part_of(path).read_bytes().splitlines()) == 9
    with opened(path, overwrite=True) as output:
        output.write(ROWS[:2])
        output.finish()
    assert len(path.read_bytes().splitlines()) == 2


def test_what_a_refused_command_began_is_taken_away_and_what_holds_rows_is_not(tmp_path):
    path = tmp_path / "out.jsonl"
    with pytest.raises(ValueError), opened(path):
        raise ValueError
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError), opened(path) as output:
        output.write(ROWS[:1])
        raise ValueError
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.jsonl.part", "out.jsonl.part.json"]


def test_a_full_disk_is_named_and_what_is_there_stays_whole(tmp_path, monkeypatch):
    path = tmp_path / "out.jsonl"
    expected = whole(path)
    write_all = files.write_all

    def full(descriptor, data):
        write_all(descriptor, data[:20])
        raise OSError(28, "No space left on device")

    told = r"No space left on device\. It holds 4 rows\. Make room there, then .*resume=true"
    with opened(path) as output:
        output.write(ROWS[:4])
        with monkeypatch.context() as patch, pytest.raises(PtftError, match=told):
            patch.setattr(files, "write_all", full)
            output.write(ROWS[4:])
    with opened(path, resume=True) as output:
        assert output.rows == 4
        output.write(ROWS[4:])
        output.finish()
    assert path.read_bytes() == expected


def test_numbers_that_json_does_not_know_and_torn_surrogates_are_written_all_the_same():
    rows = [{"id": 1, "x": [float("nan"), {"y": float("inf")}], "text": "a\ud800"}, {"id": 2, "text": "é"}]
    lines = JsonLines().encode(rows).decode().splitlines()
    assert json.loads(lines[0]) == {"id": 1, "x": [None, {"y": None}], "text": "a\ud800"}
    assert json.loads(lines[1])["text"] == "é"
    assert JsonLines().encode([{"text": "é"}]) == '{"text": "é"}\n'.encode()
    assert b"null" in Table((), errors=False).encode([{"x": [float("nan")]}])


def test_a_table_refuses_a_field_that_its_header_does_not_have():
    table = Table(("a", "b"), errors=True)
    first = table.encode([{"id": 1, "error": "x"}, {"id": 2, "p": {"b": 0.25, "a": 0.75}}])
    assert first.decode().splitlines() == ["id,p.a,p.b,error", "1,,,x", "2,0.75,0.25,"]
    with pytest.raises(PtftError, match=r"further field `q`.*output=NAME\.jsonl"):
        table.encode([{"id": 3, "q": 1}])


class Texts:
    """A predictor that says how long a text is; SIGTERM comes while the window with a given row is predicted."""

    def __init__(self, stop=None):
        self.stop, self.seen, self.data = stop, 0, None

    def predict(self, window, *, skip):
        self.seen += len(window)
        if self.stop is not None and self.seen >= self.stop:
            os.kill(os.getpid(), signal.SIGTERM)
        return [{"length": len(row.fields["text"])} for row in window]


def run(path, predictor, count, **settings):
    """Send rows through the loop of the command."""
    from ptft.command.prediction_input import Row, Source
    from ptft.engine.signals import StopRequest

    rows = (Row(n, f"line {n}", {"text": "x" * n}, {"text": "x" * n}) for n in range(1, count + 1))
    source = Source(rows, count, "rows", {})
    with opened(path, **settings) as output, StopRequest().listening() as stop:
        command._predict({"on_bad_sample": "error"}, predictor, source, output, stop)
        output.finish()


@pytest.mark.parametrize("stop", [1, 16, 17, 40, 50])
def test_a_signal_leaves_whole_windows_and_going_on_ends_with_the_same_bytes(tmp_path, monkeypatch, stop):
    monkeypatch.setattr(command, "WINDOW", 16)
    run(tmp_path / "whole.jsonl", Texts(), 50)
    path = tmp_path / "out.jsonl"
    with pytest.raises(Interrupted) as stopped:
        run(path, Texts(stop), 50)
    assert stopped.value.exit_code == 143
    held = len(part_of(path).read_bytes().splitlines()) if part_of(path).exists() else 0
    assert held == (stop - 1) // 16 * 16
    again = Texts()
    run(path, again, 50, resume=True)
    assert path.read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
    assert again.seen == 50 - held  # nothing is predicted twice


def test_the_last_row_that_is_there_is_held_against_the_input(tmp_path, monkeypatch):
    monkeypatch.setattr(command, "WINDOW", 16)
    path = tmp_path / "out.jsonl"
    with pytest.raises(Interrupted):
        run(path, Texts(40), 50)
    part = part_of(path)
    rows = part.read_bytes()
    part.write_bytes(rows.replace(b'"id": 32,', b'"id": 33,'))
    with pytest.raises(ConfigError, match="has id 33, and the input has 32"):
        run(path, Texts(), 50, resume=True)
    part.write_bytes(rows)
    with pytest.raises(ConfigError, match="holds 32 rows, and the input only 20"):
        run(path, Texts(), 20, resume=True)


def test_an_interrupted_command_names_the_command_that_goes_on():
    from ptft.config.invocation import Invocation

    class Output:
        rows = 32

    invocation = Invocation(
        verb="predict", argv=("ptft", "predict", "run=a", "input=b c", "output=o.csv", "overwrite=true")
    )
    told = command._going_on(Interrupted("stopped by SIGINT", 130), {"output": "o.csv"}, invocation, Output())
    assert told == (
        "stopped by SIGINT: 32 rows are written\ngo on with: ptft predict run=a 'input=b c' output=o.csv resume=true"
    )


def test_the_loop_says_when_the_input_was_empty(tmp_path):
    with pytest.raises(ConfigError, match="holds no rows"):
        run(Path(tmp_path) / "out.jsonl", Texts(), 0)
