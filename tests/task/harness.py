"""Plain loops that training and evaluation of a task are compared with: what the engine promises, written by hand."""

import torch

from tests.task.toys import pieces


def total_loss(task, batch, phase, counts=None):
    """Return the loss of a batch, divided by `counts` (its own by default)."""
    counts = task.count(batch, phase) if counts is None else counts
    output = task.loss(task(batch), batch, phase)
    assert set(output.sums) == set(task.count(batch, phase)), "count and loss must name the same terms"
    return sum(
        output.coefficients.get(name, 1.0) * value / (float(counts[name]) or 1) for name, value in output.sums.items()
    )


def gradient(task, batch, phase, micro_batch_size):
    """Return the gradient of a phase's parameters after accumulation over micro-batches."""
    counts = {name: float(count) for name, count in task.count(batch, phase).items()}
    task.zero_grad()
    for piece in pieces(batch, micro_batch_size):
        total_loss(task, piece, phase, counts).backward()
    return {name: parameter.grad.clone() for name, parameter in task.parameters_of(phase).items()}


def assert_cutting_changes_no_gradient(task, batch, sizes=(1, 3, 4)):
    """Compare accumulated gradients with that of the whole batch, phase by phase."""
    for phase in task.phases:
        whole = gradient(task, batch, phase, len(batch["index"]))
        assert any(value.abs().sum() > 0 for value in whole.values())
        for size in sizes:
            for name, value in gradient(task, batch, phase, size).items():
                torch.testing.assert_close(value, whole[name], rtol=1e-9, atol=1e-12, msg=f"{phase} {name} {size}")


def overfit(task, batch, *, phase="model", steps=200, lr=1e-2):
    """Train on one batch and return the loss before and after."""
    task.train()
    optimizer = torch.optim.Adam(task.parameters_of(phase).values(), lr=lr)
    first = float(total_loss(task, batch, phase).detach())
    for _ in range(steps):
        optimizer.zero_grad()
        total_loss(task, batch, phase).backward()
        optimizer.step()
    return first, float(total_loss(task, batch, phase).detach())


@torch.inference_mode()
def evaluate(task, batch, size, train=None):
    """Return metrics, intervals, table and records of a split cut into batches of `size`."""
    task.eval()
    loaders = {"val": pieces(batch, size)} | ({"train": pieces(train, size)} if train else {})
    task.before_evaluation(loaders)
    metrics, records = task.make_metrics(), []
    for piece in loaders["val"]:
        records.append(task.evaluation_step(task(piece), piece, metrics))
    joined = {name: torch.cat([record[name] for record in records]) for name in records[0]}
    assert len({len(value) for value in joined.values()}) == 1 and all(v.device.type == "cpu" for v in joined.values())
    return metrics.compute(), metrics.intervals(), metrics.table(), joined


def assert_batch_size_changes_no_evaluation(task, batch, train=None):
    """Compare evaluations at batch sizes 1, 7, 64 and n; a float64 task makes the network's own rounding vanish."""
    size = len(batch["index"])
    whole = evaluate(task, batch, size, train)
    for cut in (1, 7, 64):
        metrics, intervals, table, records = evaluate(task, batch, cut, train)
        torch.testing.assert_close(metrics, whole[0], rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(intervals, whole[1], rtol=1e-9, atol=1e-9)
        assert table == whole[2]
        assert records.keys() == whole[3].keys()
        for name, value in records.items():
            torch.testing.assert_close(value, whole[3][name], rtol=1e-5, atol=1e-6)
    return whole
