#!/usr/bin/env python3
"""Renders many scenes with a few frames each, for the front alone: it profits from scenes, not from
frames of one scene. Files as world.py's, T = 4, spread over the time of a whole clip.

    front_scenes.py OUT --first SEED --count N
"""
import argparse
from pathlib import Path

import numpy as np
import torch

import world
import world_degrade
import world_render
import world_scene


def render(seed: int, frames: int, height: int, width: int) -> dict:
    """A scene as world.py chooses them, seen at `frames` random times; no motion blur, no codec."""
    for attempt in range(100):
        rng = np.random.default_rng([seed, attempt, frames])
        renderer = world_render.Renderer(world_scene.build(rng, 24), height, width)
        if world.varied(renderer, 24):
            break
    times = (np.arange(frames) + rng.uniform(0, 1, frames)) / frames
    shots = [renderer.frame(time) for time in times]

    def stack(name: str) -> np.ndarray:
        return np.stack([np.asarray(shot[name]) for shot in shots])

    video = world_degrade.tone(rng, stack("image")).round().astype(np.uint8)
    return {"video": video, "depth": stack("depth").astype(np.float16), "k": stack("k").astype(np.float32),
            "c2w": stack("c2w").astype(np.float32), "seed": np.int64(seed)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--first", type=int, required=True, metavar="SEED")
    parser.add_argument("--count", type=int, required=True)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    world_render.compile_kernels()
    for seed in range(args.first, args.first + args.count):
        path = args.out / f"{seed:07d}.npz"
        if not path.exists():
            world.save(path, render(seed, 4, 192, 256))


if __name__ == "__main__":
    main()
