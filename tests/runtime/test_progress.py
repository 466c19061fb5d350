"""Progress of long work before a run: on standard error, lines in a pipe, a bar on a terminal."""

from ptft.runtime import progress


def test_progress_is_told_in_plain_lines_on_standard_error_in_a_pipe(monkeypatch, capsys):
    monkeypatch.setattr(progress, "_PIPE_SECONDS", 0.0)
    with progress.progress("caching pictures", 4, "pictures") as advance:
        for _ in range(4):
            advance(1)
    out, told = capsys.readouterr()
    lines = told.splitlines()
    assert out == "" and len(lines) == 4
    assert lines[0].startswith("caching pictures: 1/4  ") and lines[0].endswith(" left")
    assert lines[3].startswith("caching pictures: 4/4") and "pictures/s" in lines[3] and lines[3].endswith("0:00 left")


def test_short_work_tells_nothing_in_a_pipe(capsys):
    with progress.progress("caching pictures", 2, "pictures") as advance:
        advance(2)
    assert capsys.readouterr() == ("", "")


def test_progress_is_a_bar_on_a_terminal(monkeypatch, capsys):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    with progress.progress("caching pictures", 2, "pictures") as advance:
        advance(1)
        advance(1)
    assert capsys.readouterr().out == ""
