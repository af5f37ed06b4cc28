"""What PyTorch 1.13 (Debian 12) lacks, made from what it has; PyTorch 2 uses its own."""
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

PYTORCH_2 = int(torch.__version__.split(".")[0]) >= 2


def plain_attention(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None = None) -> Tensor:
    """q [..., L, d], k and v [..., S, d], bias [..., L, S] added to the logits: [..., L, d]."""
    logits = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5
    return (logits if bias is None else logits + bias).softmax(-1) @ v


attention = F.scaled_dot_product_attention if PYTORCH_2 else plain_attention


def adamw(groups: list[dict], **options) -> torch.optim.AdamW:
    """One kernel a step where there is one."""
    return torch.optim.AdamW(groups, **options, **({"fused": True} if PYTORCH_2 else {}))


def lerp_(means: list[Tensor], values: list[Tensor], weight: float) -> None:
    """Moves every mean towards its value by a share of the distance."""
    if PYTORCH_2:
        torch._foreach_lerp_(means, values, weight)
        return
    for mean, value in zip(means, values):
        mean.lerp_(value, weight)


def load(path: Path):
    """A training state. The careful reader of PyTorch 1 knows no floats."""
    return torch.load(path, weights_only=PYTORCH_2)


def unset(kind: type, config: dict) -> nn.Module:
    """A model whose parameters hold nothing yet: PyTorch 1 spends time on random ones."""
    if not PYTORCH_2:
        return kind(config)
    with torch.device("meta"):
        model = kind(config)
    return model.to_empty(device="cpu")
