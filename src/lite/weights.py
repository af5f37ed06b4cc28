"""Checkpoints as the published ones are laid out: a folder of config.json and model.safetensors."""
import json
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file


def read_config(folder: str | Path) -> dict:
    return json.loads((Path(folder) / "config.json").read_text())


def load(model: torch.nn.Module, folder: str | Path, prefix: str = "") -> None:
    """Copies every tensor that `model` has from the checkpoint, whose names carry `prefix`."""
    own = model.state_dict()
    with safe_open(str(Path(folder) / "model.safetensors"), framework="pt") as file, torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(file.get_tensor(prefix + name))


def save(model: torch.nn.Module, config: dict, folder: str | Path, prefix: str = "") -> None:
    Path(folder).mkdir(parents=True, exist_ok=True)
    (Path(folder) / "config.json").write_text(json.dumps(config))
    tensors = {prefix + name: t.detach().contiguous() for name, t in model.state_dict().items()}
    save_file(tensors, str(Path(folder) / "model.safetensors"), {"format": "pt"})
