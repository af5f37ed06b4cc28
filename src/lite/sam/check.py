"""Holds SAM against its goldens (common/golden.py)."""
import sys
from pathlib import Path

from torch import Tensor

from common.golden import UNIT, Golden, Report, main, read_manifest, synthetic
from sam.model import Sam, upscale


def check(folder: Path, report: Report) -> None:
    manifest = read_manifest(folder, "sam_tiny")
    model = synthetic(Sam(manifest["config"]), manifest)

    def error(g: Golden, unit: str, name: str, ours: Tensor, tolerance: float = UNIT) -> None:
        stride = int(g.meta.get("stride." + name, 1))
        report.error(f"{unit} {name}", ours.flatten()[::stride] if stride > 1 else ours, g[name], tolerance)

    g = Golden(folder / "sam/vision_layers.safetensors")
    for i in range(2):
        error(g, "vision_layers", f"layer{i}.output", model.vision_encoder.layers[i](g[f"layer{i}.input"]))

    g = Golden(folder / "sam/prompt_tiny.safetensors")
    kinds = ("point", "negative", "posneg", "skipped", "box", "box_points")
    prompts = {kind: [g[f"{kind}.{part}"] if f"{kind}.{part}" in g.tensors else None
                      for part in ("points", "labels", "boxes")] for kind in kinds}
    for kind in kinds:
        error(g, "prompt", f"{kind}.sparse", model.sparse(*prompts[kind])[0])
    error(g, "prompt", "image_position", model.image_position()[0])

    g = Golden(folder / "sam/decoder_tiny.safetensors")
    for kind in kinds:
        masks, iou = model.decode(g["image_embeddings"][None], g[f"{kind}.sparse"][None])
        for part, ours in (("masks", masks[0, 1:]), ("single_mask", masks[0, :1]), ("iou", iou[0, 1:]),
                           ("single_iou", iou[0, :1])):
            error(g, "decoder", f"{kind}.{part}", ours)

    g = Golden(folder / "sam/postprocess.safetensors")
    for name in ("landscape", "portrait", "square"):
        shapes = [tuple(g.tensors[f"{name}.{part}"].tolist()) for part in ("reshaped_size", "size")]
        error(g, "postprocess", f"{name}.logits", upscale(g["logits"][None], 256, *shapes)[0], 5e-5)


if __name__ == "__main__":
    sys.exit(main(check))
