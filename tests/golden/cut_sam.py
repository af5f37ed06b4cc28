#!/usr/bin/env python3
"""Makes sam/ of this folder from the full goldens: what the tests read, cut down.

    tests/golden/cut_sam.py SHARED/golden

A cut tensor keeps every k-th value in row-major order and says so in the file's metadata, as
"stride.NAME": "k". The tests read the full files the same way.
"""
import json
import math
import shutil
import struct
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
MANIFESTS = ("sam_tiny", "sam_base")

# For each file the tensors kept, with their stride; a name ending in * stands for all that begin so.
KEEP = {
    "preprocess": {"landscape_up.image": 1, "landscape_up.resized": 5, "landscape_up.pixel_values": 61,
                   "portrait_down.image": 1, "portrait_down.resized": 5, "portrait_down.pixel_values": 61},
    "mask_use": {"resize_up.image": 1, "resize_up.resized": 3, "resize_down.image": 1,
                 "resize_down.resized": 3, "resize_half.image": 1, "resize_half.resized": 3},
    "vision_layers": {"layer0.input": 1, "layer0.norm1": 7, "layer0.attn": 7, "layer0.output": 7,
                      "layer1.input": 1, "layer1.norm1": 7, "layer1.attn": 7, "layer1.output": 7},
    "vision_tiny": {"image": 1, "pixel_values": 61, "patches_plus_position": 7, "layer*": 7,
                    "output": 7},
    "prompt_tiny": {"point.*": 1, "negative.*": 1, "posneg.*": 1, "skipped.*": 1, "box.*": 1,
                    "box_points.*": 1, "image_position": 7, "no_mask.dense_corner": 1},
    "prompt_base": {"point.*": 1, "skipped.*": 1, "box_points.*": 1, "image_position": 1},
    "decoder_tiny": {"image_embeddings": 1, "box_points.block*": 7, "box_points.tokens": 1,
                     "box_points.upscaled": 31, "box_points.hyper": 1, "*.masks": 13,
                     "*.single_mask": 13, "*.iou": 1, "*.single_iou": 1, "*.sparse": 1},
    "postprocess": {"logits": 1, "*.reshaped_size": 1, "*.size": 1, "landscape.logits": 5,
                    "portrait.logits": 5, "square.logits": 5, "landscape.masks": 5,
                    "portrait.masks": 5, "square.masks": 5, "large.masks": 7},
    "e2e_tiny": {"landscape.image": 1, "portrait.image": 1, "*.low_res": 13, "*.iou": 1, "*.points": 1,
                 "*.labels": 1, "*.box": 1, "*.mask": 3},
}
DROPPED = ("square.posneg.", "full.", "upscaled1")
WIDTH = {"F32": 4, "I32": 4, "U8": 1}


def stride_of(rules: dict, name: str) -> int:
    """0: left out."""
    for rule, stride in rules.items():
        head, star, tail = rule.partition("*")
        if name == rule or (star and name.startswith(head) and name.endswith(tail)):
            return stride
    return 0


def cut(source: Path, rules: dict, target: Path) -> int:
    raw = source.read_bytes()
    length = struct.unpack("<Q", raw[:8])[0]
    header, data = json.loads(raw[8:8 + length]), raw[8 + length:]
    meta, out, blobs, at = header.pop("__metadata__", {}), {}, [], 0
    for name, entry in header.items():
        stride = 0 if any(part in name for part in DROPPED) else stride_of(rules, name)
        if not stride:
            continue
        (begin, end), width, shape = entry["data_offsets"], WIDTH[entry["dtype"]], entry["shape"]
        blob = data[begin:end]
        if stride > 1:
            count = math.prod(shape)
            blob = b"".join(blob[i * width:(i + 1) * width] for i in range(0, count, stride))
            shape, meta["stride." + name] = [len(blob) // width], str(stride)
        out[name] = {"dtype": entry["dtype"], "shape": shape, "data_offsets": [at, at + len(blob)]}
        blobs.append(blob)
        at += len(blob)
    text = json.dumps({"__metadata__": meta, **out}, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    target.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(blobs))
    return target.stat().st_size


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    shared, total = Path(sys.argv[1]), 0
    (HERE / "sam").mkdir(exist_ok=True)
    for name, rules in KEEP.items():
        size = cut(shared / "sam" / f"{name}.safetensors", rules, HERE / "sam" / f"{name}.safetensors")
        total += size
        print(f"{name}: {size} bytes")
    for name in MANIFESTS:
        shutil.copyfile(shared / "manifest" / f"{name}.json", HERE / "manifest" / f"{name}.json")
        total += (HERE / "manifest" / f"{name}.json").stat().st_size
    print(f"together {total} bytes")


if __name__ == "__main__":
    main()
