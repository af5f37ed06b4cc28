"""Writes a model as an embedded checkpoint: one F16 safetensors file with the configuration inside."""
import json
import os
import struct
from pathlib import Path

import torch


def write(path: Path, model: torch.nn.Module, config: dict, metadata: dict, prefix: str = "") -> int:
    """`metadata` holds what training has to say (steps, seed, scores); returns the file's size."""
    header, blobs, at = {"__metadata__": {"config": json.dumps(config), "trained": "yes",
                                          **{k: json.dumps(v) for k, v in metadata.items()}}}, [], 0
    for name, tensor in model.state_dict().items():
        blob = tensor.detach().half().contiguous().numpy().tobytes()
        header[prefix + name] = {"dtype": "F16", "shape": list(tensor.shape),
                                 "data_offsets": [at, at + len(blob)]}
        blobs.append(blob)
        at += len(blob)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 64)
    part = path.with_suffix(".part")
    part.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(blobs))
    os.replace(part, path)
    return 8 + len(text) + at
