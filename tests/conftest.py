"""Fixtures for every test: one thread, no network, tiny runs that are trained once."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: on a busy machine idle OpenMP threads spin for seconds
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import socket
import sys

import pytest

sys.modules.setdefault("openvino_telemetry", None)  # OpenVINO reports what it is used for unless it is kept from it


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    """Refuse every connection: nothing in ptft may reach out unless it is asked to."""

    def refuse(self, address):
        raise AssertionError(f"a test tried to connect to {address}")

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture(autouse=True)
def undrawn_exhibits(request, monkeypatch):
    """Leave exhibits of evaluations empty, which saves most of their time; the marker `drawn` has them drawn."""
    if "ptft.command.evaluate" in sys.modules and not request.node.get_closest_marker("drawn"):
        monkeypatch.setattr("ptft.command.evaluate.draw", lambda exhibit, heading, pictures: b"\x89PNG")


@pytest.fixture
def ptft(tmp_path, monkeypatch):
    """Run a ptft command in this process, in a folder of its own: ptft("finetune", "engine.max=2st", name="a").

    Returns the objective; problems come as exceptions.
    """
    monkeypatch.chdir(tmp_path)

    def run(verb, *arguments, **settings):
        from ptft.cli import _Command
        from ptft.config.hydra_app import _for_hydra, launch

        kept = []

        def command(config, invocation):
            found = _Command(verb)(config, invocation)
            kept.append(_for_hydra(found))
            return found

        launch(verb, [*arguments, *(f"{key}={value}" for key, value in settings.items())], command)
        return kept[0] if kept else None

    return run
