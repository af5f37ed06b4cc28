"""Checkpoints: a folder of config.json and model.safetensors as published, or one file with the
configuration inside as embedded in the program."""
import json
from pathlib import Path

import torch

from common import tensorfile


def read_config(folder: str | Path) -> dict:
    return json.loads((Path(folder) / "config.json").read_text())


def load(model: torch.nn.Module, folder: str | Path, prefix: str = "") -> None:
    """Copies every tensor that `model` has from the checkpoint, whose names carry `prefix`."""
    read(model, Path(folder) / "model.safetensors", prefix)


def read(model: torch.nn.Module, path: str | Path, prefix: str = "") -> None:
    """The same from one file, as `write` makes it."""
    file = tensorfile.Reader(path)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            tensor.copy_(file[prefix + name])


def write(path: Path, model: torch.nn.Module, config: dict, metadata: dict, prefix: str = "") -> int:
    """One F16 file. `metadata` holds what training has to say (steps, seed, scores); returns the size."""
    tensors = {prefix + name: tensor.half() for name, tensor in model.state_dict().items()}
    return tensorfile.write(path, tensors, {"config": json.dumps(config), "trained": "yes",
                                            **{k: json.dumps(v) for k, v in metadata.items()}})
