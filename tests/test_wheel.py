"""The wheel carries all that an installed ptft needs, in any folder."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder that holds what the wheel holds, as if installed there."""
    pytest.importorskip("hatchling", reason="hatchling builds the wheel; make install brings it")
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
        wheel.extractall(folder / "site")
    return folder / "site"


def run(site, folder, *arguments):
    environment = {**os.environ, "PYTHONPATH": str(site)}
    command = [sys.executable, "-m", "ptft", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_the_wheel_holds_every_config_and_no_test(site):
    shipped = {path.relative_to(ROOT / "configs") for path in (ROOT / "configs").rglob("*.yaml")}
    assert {path.relative_to(site / "ptft/configs") for path in (site / "ptft/configs").rglob("*.yaml")} == shipped
    assert {path.name for path in site.iterdir()} == {"ptft", "hydra_plugins", next(site.glob("*.dist-info")).name}


def test_the_wheel_trains_and_lists_in_another_folder(site, tmp_path):
    where = subprocess.run(
        [sys.executable, "-c", "import ptft.cli; print(ptft.cli.__file__)"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert where.stdout.startswith(str(site))
    assert "vision/vgg" in run(site, tmp_path, "list", "models").stdout
    done = run(site, tmp_path, "finetune", "name=a", "engine.max=2st", "engine.precision=fp32")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "outputs/a/summary.json").is_file()
