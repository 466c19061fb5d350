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


def test_what_was_done_before_counts_for_no_rate_and_an_unknown_total_has_no_end(monkeypatch, capsys):
    monkeypatch.setattr(progress, "_PIPE_SECONDS", 0.0)
    monkeypatch.setattr(progress.time, "monotonic", iter(range(100)).__next__)
    with progress.progress("predicting", 40, "rows", done=20) as advance:
        advance(10)
    with progress.progress("predicting", None, "rows") as advance:
        advance(1000)
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("predicting: 30/40  ") and "left" in first
    rate = float(first.split()[2])
    assert rate <= 10  # ten in a second at the least, not thirty
    assert second.startswith("predicting: 1,000  ") and "left" not in second
