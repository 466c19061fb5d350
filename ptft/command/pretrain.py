"""`ptft pretrain`: train a model without labels, or with labels that come for free."""

from typing import Any

from ptft.command.training import train
from ptft.config.invocation import Invocation
from ptft.sweep.trial import Measured


def run(config: dict[str, Any], invocation: Invocation) -> list[Measured]:
    """Train as the config says and return the objective."""
    return train(config, invocation)
