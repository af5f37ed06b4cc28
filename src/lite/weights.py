"""Checkpoints as the published ones are laid out: a folder of config.json and model.safetensors."""
import json
from pathlib import Path

import torch

import tensorfile


def read_config(folder: str | Path) -> dict:
    return json.loads((Path(folder) / "config.json").read_text())


def load(model: torch.nn.Module, folder: str | Path, prefix: str = "") -> None:
    """Copies every tensor that `model` has from the checkpoint, whose names carry `prefix`."""
    read(model, Path(folder) / "model.safetensors", prefix)


def read(model: torch.nn.Module, path: str | Path, prefix: str = "") -> None:
    """The same from one file, as export.py writes it."""
    file = tensorfile.Reader(path)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            tensor.copy_(file[prefix + name])
