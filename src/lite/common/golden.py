"""Holds the PyTorch models against the goldens: one line a tensor, exit status 1 on a failure.

    python3 -m front.check [--golden DIR]      (or tracker.check, sam.check)

DIR as tests/golden: manifest/, front/, tracker/, sam/. Tolerances are those of its README: error =
max |ours - golden| / max(1, max |golden|).
"""
import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from common import tensorfile
from common.splitmix import splitmix64

GOLDEN = Path(__file__).resolve().parents[3] / "tests" / "golden"
UNIT, WHOLE, ENCODED = 2e-5, 1e-4, 1e-3


class Golden:
    """One file's tensors; floats as float32."""

    def __init__(self, path: Path):
        file = tensorfile.Reader(path)
        self.tensors, self.meta = file.tensors(), file.metadata

    def __getitem__(self, name: str) -> Tensor:
        tensor = self.tensors[name]
        return tensor.float() if tensor.is_floating_point() and tensor.dtype != torch.float64 else tensor


class Report:
    def __init__(self):
        self.failed = 0

    def line(self, good: bool, name: str, what: str) -> None:
        self.failed += not good
        print(f"{'ok    ' if good else 'FAILED'} {name:44s} {what}", flush=True)

    def error(self, name: str, ours: Tensor, golden: Tensor, tolerance: float) -> None:
        if ours.shape != golden.shape:
            self.line(False, name, f"shape {tuple(ours.shape)}, golden {tuple(golden.shape)}")
            return
        off = (ours.double() - golden.double()).abs().max().item()
        error = off / max(1.0, golden.double().abs().max().item())
        self.line(error <= tolerance, name, f"{error:.1e} (at most {tolerance:.0e})")

    def share(self, name: str, ours: Tensor, golden: Tensor, limit: float, pixels: bool = False) -> None:
        """95 % of the tracks, the last but one axis, within `limit` everywhere: of pixels, or as in `error`."""
        worst = (ours - golden).abs().flatten(0, -3).amax(0).amax(-1)
        worst = worst if pixels else worst / golden.abs().max().clamp_min(1)
        share = (worst <= limit).double().mean().item()
        self.line(share >= 0.95, name, f"{100 * share:.1f} % of tracks within {limit:g}")


def synthetic(model: torch.nn.Module, manifest: dict, prefix: str = "") -> torch.nn.Module:
    """Fills the model by the rule of the synthetic checkpoints (tests/support/synth.h)."""
    rows, own, mask = {t["name"]: t for t in manifest["tensors"]}, model.state_dict(), (1 << 64) - 1
    for name, tensor in own.items():
        row, h = rows[prefix + name], 0xCBF29CE484222325
        if row["shape"] != list(tensor.shape):
            sys.exit(f"{prefix + name}: {list(tensor.shape)}, published {row['shape']}")
        for byte in (prefix + name).encode():
            h = (h ^ byte) * 0x100000001B3 & mask
        u = (splitmix64(np.uint64(h), tensor.numel())[0] >> np.uint64(40)) / 2.0 ** 24
        values = (row["offset"] + row["scale"] * (2 * u - 1)).astype(np.float32)
        tensor.copy_(torch.from_numpy(values).view_as(tensor))
    return model.eval()


def read_manifest(folder: Path, name: str) -> dict:
    return json.loads((folder / "manifest" / f"{name}.json").read_text())


def main(check: Callable[[Path, Report], None]) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--golden", type=Path, default=GOLDEN)
    report = Report()
    with torch.inference_mode():
        check(parser.parse_args().golden, report)
    print(f"{report.failed} failed")
    return report.failed > 0
