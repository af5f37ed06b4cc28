"""safetensors files: a length, a JSON header with dtype, shape and place of every tensor, then their bytes."""
import json
import struct
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from common.files import replacing

DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
          "I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8,
          "U8": torch.uint8, "BOOL": torch.bool}
NAMES = {dtype: name for name, dtype in DTYPES.items()}


class Reader:
    """A mapped file: a tensor is read, and copied, when it is asked for."""

    def __init__(self, path: str | Path):
        self.bytes = torch.from_numpy(np.memmap(path, np.uint8, "c"))
        self.begin = 8 + struct.unpack("<Q", self.bytes[:8].numpy().tobytes())[0]
        self.rows = json.loads(self.bytes[8:self.begin].numpy().tobytes())
        self.metadata: dict[str, str] = self.rows.pop("__metadata__", {})

    def __getitem__(self, name: str) -> Tensor:
        row = self.rows[name]
        first, end = (self.begin + at for at in row["data_offsets"])
        return self.bytes[first:end].clone().view(DTYPES[row["dtype"]]).view(row["shape"])

    def tensors(self) -> dict[str, Tensor]:
        return {name: self[name] for name in self.rows}


def write(path: str | Path, tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> int:
    """The file appears whole; returns its size. Wider elements come first, so that all are aligned."""
    path, header, blobs, at = Path(path), {}, [], 0
    if metadata:
        header["__metadata__"] = metadata
    for name, tensor in sorted(tensors.items(), key=lambda item: -item[1].element_size()):
        flat = tensor.detach().contiguous().view(-1)
        blob = flat.view(torch.uint8).numpy().tobytes()
        header[name] = {"dtype": NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [at, at + len(blob)]}
        blobs.append(blob)
        at += len(blob)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 64)
    with replacing(path) as part, open(part, "wb") as file:
        file.writelines([struct.pack("<Q", len(text)), text, *blobs])
    return 8 + len(text) + at
