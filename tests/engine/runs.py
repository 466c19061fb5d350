"""Run directories for tests, and a process of its own to make them in."""

import os

from ptft.engine.run_dir import RunDirectory
from ptft.errors import PtftError

FACTS = {"command": "finetune"}


def create(path, overwrite=False, **texts):
    return RunDirectory.create(path, overwrite=overwrite, facts=FACTS, texts={"config.yaml": "a: 1\n", **texts})


def in_child(action):
    """Do something in a process of its own and return its exit status."""
    child = os.fork()
    if child == 0:
        try:
            action()
            os._exit(0)
        except PtftError:
            os._exit(1)
        finally:
            os._exit(99)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def config(tmp_path, name):
    return {"output_root": str(tmp_path), "name": name, "engine": {}}
