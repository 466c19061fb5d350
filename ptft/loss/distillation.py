"""Knowledge distillation (Hinton, Vinyals and Dean, arXiv 1503.02531) as a sum over the batch."""

import torch.nn.functional as F
from torch import Tensor

from ptft.loss.cast import at_least_float32


def distillation_sum(logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    """Return T^2 * KL(teacher || student) of the softened distributions, summed over the batch.

    T^2 keeps the size of the gradient the same at any temperature (section 2 of the paper).

    Args:
        logits: (B, C) of the student.
        teacher_logits: (B, C) of the teacher; no gradient flows into them.
        temperature: T, what logits are divided by before softmax.
    """
    student, teacher = (
        at_least_float32(values).div(temperature).log_softmax(dim=1) for values in (logits, teacher_logits.detach())
    )
    return F.kl_div(student, teacher, reduction="sum", log_target=True) * temperature**2
