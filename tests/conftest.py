"""Fixtures for every test: one thread, no network, tiny runs that are trained once."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: on a busy machine idle OpenMP threads spin for seconds
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import socket

import pytest


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    """Refuse every connection: nothing in ptft may reach out unless it is asked to."""

    def refuse(self, address):
        raise AssertionError(f"a test tried to connect to {address}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
