"""Writes a model as an embedded checkpoint: one F16 safetensors file with the configuration inside."""
import json
from pathlib import Path

import torch

import tensorfile


def write(path: Path, model: torch.nn.Module, config: dict, metadata: dict, prefix: str = "") -> int:
    """`metadata` holds what training has to say (steps, seed, scores); returns the file's size."""
    tensors = {prefix + name: tensor.half() for name, tensor in model.state_dict().items()}
    return tensorfile.write(path, tensors, {"config": json.dumps(config), "trained": "yes",
                                            **{k: json.dumps(v) for k, v in metadata.items()}})
