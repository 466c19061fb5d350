"""What every `optimizer:` node takes beside its own arguments, with meaning and unit.

No torch here: the check at the door reads this dataclass before anything heavy is imported.
"""

from dataclasses import dataclass, field
from typing import Any

from ptft.types import NonNegativeFloat, PositiveFloat, PositiveShare


@dataclass(frozen=True, kw_only=True)
class OptimizerSettings:
    """How parameters are grouped and penalised, whatever the optimizer.

    Attributes:
        phases: For each phase of the task, arguments of the optimizer that replace the common ones.
        l1: Weight of the sum of absolute values of the decayed parameters, added to the loss.
        decay_all: Let weight decay and l1 act on norms, biases and embeddings too.
        layer_decay: Factor on the learning rate from one part of the model to the one below it: head, blocks, stem.
        head_multiplier: Factor on the learning rate of the head.
    """

    phases: dict[str, dict[str, Any]] = field(default_factory=dict)
    l1: NonNegativeFloat = 0.0
    decay_all: bool = False
    layer_decay: PositiveShare = 1.0
    head_multiplier: PositiveFloat = 1.0
