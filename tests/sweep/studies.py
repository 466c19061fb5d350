"""What the study of a sweep under `outputs/` holds."""

from pathlib import Path

from ptft.sweep.study import Study


def trials(name):
    """Return the trials of a sweep."""
    study = Study.open(Path("outputs", name))
    found = study.trials()
    study.close()
    return found
