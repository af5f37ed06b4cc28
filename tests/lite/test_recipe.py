#!/usr/bin/env python3
"""The recipe of the lite weights on a toy schedule: clips, training of tracker and front, export.

    test_recipe.py BUILD SOURCE

Proves that a clip is the same for a seed and true to its tracks, that both losses fall, that training goes
on where it was stopped, and that C and PyTorch agree about the exported checkpoints on a rendered clip.
Exit status 77 (skipped) where PyTorch, OpenCV or safetensors are missing.
"""
import json
import os
import re
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

try:
    import cv2
    import numpy as np
    import torch
    from safetensors import safe_open
    from safetensors.torch import save_file
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)

BUILD, SOURCE = (Path(a).resolve() for a in sys.argv[1:3])
LITE = SOURCE / "src" / "lite"
sys.path.insert(0, str(LITE))
import world  # noqa: E402
import world_degrade  # noqa: E402

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
torch.set_num_threads(1)
FRAMES, TRAIN, HELD = 8, 3, 2


def python(name: str, *args) -> str:
    """Runs a script of src/lite and returns what it printed."""
    done = subprocess.run([sys.executable, LITE / name, *map(str, args)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True)
    if done.returncode:
        raise AssertionError(f"{name} failed:\n{done.stdout[-3000:]}")
    return done.stdout


class Recipe(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.root = Path(cls.folder.name)
        cls.clips = cls.root / "clips"
        python("world.py", cls.clips / "train", "--first", 0, "--count", TRAIN, "--frames", FRAMES)
        python("world.py", cls.clips / "held", "--first", 900000, "--count", HELD, "--frames", FRAMES)

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def clip(self, path="train/00000.npz") -> dict:
        return dict(np.load(self.clips / path))

    def test_a_seed_gives_the_same_clip(self):
        again, clip = world.render(0, FRAMES), self.clip()
        for name, array in clip.items():
            np.testing.assert_array_equal(array, again[name], name)

    def test_tracks_follow_the_surface(self):
        """The undegraded colour at a visible point stays what it was; of hidden points it does not."""
        degrade, world_degrade.degrade = world_degrade.degrade, lambda rng, linear, flow: np.sqrt(linear.clip(0, 1))
        try:
            clip = world.render(3, FRAMES)
        finally:
            world_degrade.degrade = degrade
        rng = np.random.default_rng(0)
        height, width = clip["depth"].shape[1:]
        query = np.stack([0 * (x := rng.integers(0, width, 1000)), x, rng.integers(0, height, 1000)], 1)
        xy, visible, _ = (a.numpy() for a in world.tracks(clip, query))
        self.assertLess(np.abs(xy[0] - query[:, 1:]).max(), 1e-3)
        self.assertTrue(visible[0].all())
        colour = cv2.remap(clip["video"][-1], xy[-1, :, :1], xy[-1, :, 1:], cv2.INTER_LINEAR)[:, 0]
        off = np.abs(colour - clip["video"][0][query[:, 2], query[:, 1]]).mean(-1)
        self.assertLess(np.median(off[visible[-1]]), 0.03)

    def input(self) -> Path:
        """A rendered clip with its geometry, as tests/bench/bench.c and twin.py take it."""
        path, clip = self.root / "input.safetensors", self.clip()
        size = (192, 144)
        video = np.stack([cv2.resize(f, size, interpolation=cv2.INTER_AREA) for f in clip["video"]])
        depth = np.stack([cv2.resize(f.astype(np.float32), size, interpolation=cv2.INTER_NEAREST) for f in clip["depth"]])
        scaled = clip["k"] * np.array([[0.75], [0.75], [1]], np.float32)
        query = np.stack([np.arange(32) % 2 * 3, 10 + np.arange(32) * 37 % 170, 10 + np.arange(32) * 53 % 120], 1)
        arrays = {"video": video.transpose(0, 3, 1, 2), "depth": depth, "confident": np.ones_like(depth),
                  "intrinsics": scaled, "c2w": clip["c2w"], "query": query}
        save_file({k: torch.from_numpy(np.ascontiguousarray(a, np.float32)) for k, a in arrays.items()}, path)
        return path

    def check_agreement(self, stage: str, exported: Path, *more) -> None:
        """C and PyTorch on the same clip with the exported weights: the means of every output."""
        folder = self.root / stage
        folder.mkdir(exist_ok=True)
        with safe_open(str(exported), framework="pt") as file:
            meta = file.metadata()
        for key in ("config", "trained", "seed"):
            self.assertIn(key, meta)
        (folder / "config.json").write_text(meta["config"])
        os.replace(exported, folder / "model.safetensors")
        clip = self.input()
        ours = subprocess.run([BUILD / "tests" / "bench", stage, folder, clip, "1", *more], check=True,
                              stdout=subprocess.PIPE, text=True).stdout
        twin = subprocess.run([sys.executable, SOURCE / "tests" / "bench" / "twin.py", stage, folder, clip, *more],
                              check=True, stdout=subprocess.PIPE, text=True).stdout
        np.testing.assert_allclose(json.loads(ours)["means"], json.loads(twin)["means"], rtol=2e-3, atol=2e-3)

    def test_tracker(self):
        state, out = self.root / "tracker", self.root / "offline.safetensors"
        common = ("--clips", self.clips, "--state", state)
        python("train_features.py", *common, "--steps", 20, "--held", 1)
        log = python("train_features.py", *common, "--steps", 40, "--held", 1)
        self.assertIn("goes on after step 20", log)
        log = python("train_tracker.py", *common, "--steps", 48, "--tracks", 16, "--held", 1)
        first, last = map(float, re.search(r"first and last quarter: ([\d.]+) ([\d.]+)", log).groups())
        self.assertLess(last, first)
        python("export_tracker.py", *common, "--held", HELD, "--output", out)
        self.check_agreement("tracker", out, "32")

    def test_front(self):
        run, out = self.root / "run", self.root / "front.safetensors"
        clips = ("--train", self.clips / "train", "--held", self.clips / "held")
        log = python("train_front.py", run, *clips, "--toy")
        steps = [json.loads(line) for line in log.splitlines() if line.startswith('{"step"')]
        depth = [s["depth"] for s in steps if "depth" in s]
        self.assertLess(depth[-1], depth[0])
        python("train_front.py", run, "--export", out)
        self.check_agreement("front", out)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
