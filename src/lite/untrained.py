#!/usr/bin/env python3
"""Writes the untrained stand-ins front.safetensors and offline.safetensors of this folder.

    src/lite/untrained.py

Names, shapes and values follow the synthetic checkpoints of tests/golden/manifest with smaller
dims; a few biases make depth, confidence and cameras sane numbers. Needs no library.
"""
import json
import os
import struct

HERE = os.path.dirname(os.path.abspath(__file__))
MANIFESTS = os.path.join(HERE, "..", "..", "tests", "golden", "manifest")
MASK = (1 << 64) - 1

FRONT_DIMS = {128: 64, 256: 128, 384: 192, 512: 256, 768: 384, 1024: 512}
FRONT_CONFIG = {"img_size": 252, "embed_dim": 64, "pe_num_heads": 1, "agg_num_heads": 1,
                "cam_num_heads": 2}
TRACKER_DIMS = {64: 16, 96: 24, 128: 32, 416: 104, 256: 64, 512: 128, 384: 32, 768: 64, 1536: 128,
                1110: 342, 1260: 492}
TRACKER_CONFIG = {"model": {"resolution": 168,
                            "Track_cfg": {"base": {"model_resolution": [192, 256]}}}}
BIASES = {"camera_head.pose_branch.fc2.bias": [0, 0, 0, 0, 0, 0, 0.25, 0.18, 0.25],
          "depth_head.scratch.output_conv2.2.bias": [0.7, 2.0]}
UNSCALED = (".q_norm.", ".k_norm.")


def values(name, count, scale, offset):
    """The rule of tests/support/synth.h."""
    h = 0xCBF29CE484222325
    for byte in name.encode():
        h = (h ^ byte) * 0x100000001B3 & MASK
    for i in range(count):
        z = h + (i + 1) * 0x9E3779B97F4A7C15 & MASK
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & MASK
        z = (z ^ z >> 27) * 0x94D049BB133111EB & MASK
        z ^= z >> 31
        yield offset + scale * (2 * (z >> 40) / 2**24 - 1)


def write(path, manifest, dims, config):
    header, blobs, at = {"__metadata__": {"config": json.dumps(config), "trained": "no"}}, [], 0
    for tensor in manifest["tensors"]:
        name = tensor["name"]
        if name.endswith("time_emb"):
            continue
        shape = [d if any(part in name for part in UNSCALED) else dims.get(d, d)
                 for d in tensor["shape"]]
        count = 1
        for d in shape:
            count *= d
        x = BIASES.get(name) or values(name, count, tensor["scale"], tensor["offset"])
        blobs.append(struct.pack(f"<{count}e", *x))
        header[name] = {"dtype": "F16", "shape": shape, "data_offsets": [at, at + 2 * count]}
        at += 2 * count
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 64)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + b"".join(blobs))
    print(f"{path}: {at // 2} values, {at / 1e6:.1f} MB")


def main():
    for name, manifest, dims, changes in (
            ("front", "front_tiny", FRONT_DIMS, FRONT_CONFIG),
            ("offline", "tracker_offline", TRACKER_DIMS, TRACKER_CONFIG)):
        with open(os.path.join(MANIFESTS, manifest + ".json")) as file:
            content = json.load(file)
        write(os.path.join(HERE, name + ".safetensors"), content, dims,
              {**content.get("config", {}), **changes})


if __name__ == "__main__":
    main()
