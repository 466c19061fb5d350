"""TensorBoard keeps each point of a run that was stopped and resumed, once."""

import pytest

from ptft.logger.tensorboard import TensorBoard

accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")


def test_a_resumed_run_keeps_each_point_once(tmp_path):
    first = TensorBoard(tmp_path, 0)
    for step in (5, 10, 15):  # the checkpoint is that of step 10
        first.scalars(step, {"train/loss": float(step)})
    first.close()
    second = TensorBoard(tmp_path, 10)
    second.scalars(15, {"train/loss": 150.0})
    second.close()
    events = accumulator.EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [(event.step, event.value) for event in events.Scalars("train/loss")] == [(5, 5), (10, 10), (15, 150)]
