"""How much memory a run's own network takes in PyTorch: a process of its own, `python -m ptft.command.eager_probe`."""

import sys
from collections.abc import Sequence
from pathlib import Path

from ptft.compression.memory_probe import peak_bytes, report


def main(arguments: Sequence[str]) -> None:
    """Build the network of a run, run a batch, and print the peak memory as the last line.

    Args:
        arguments: The run of the compression, whose config is used; the run that is compressed; its checkpoint; an .npz
            file with a batch; threads; trusted packages.
    """
    before = peak_bytes()
    import numpy as np
    import torch
    import yaml

    from ptft.command.build import Builder
    from ptft.command.held import open_held
    from ptft.command.training import saved_spec
    from ptft.engine.console import Console
    from ptft.engine.run_dir import RunDirectory

    own, parent, named, arrays, threads, *trusted = arguments
    torch.set_num_threads(int(threads))
    if trusted:
        sys.path.append(str(Path.cwd()))  # where packages of --plugin are looked for
    builder = Builder(yaml.safe_load((Path(own) / "config.yaml").read_bytes()), trusted, Console())
    run = RunDirectory.reopen(Path(parent))
    spec = saved_spec(run.path)
    assert spec is not None, "a run that is compressed knows its data"
    network = open_held(run, named).task(builder, spec).eval().get_submodule("model")
    with np.load(arrays, allow_pickle=False) as batch, torch.inference_mode():
        network(*(torch.from_numpy(batch[name]) for name in batch.files))
    print(report(before))


if __name__ == "__main__":
    main(sys.argv[1:])
