#!/usr/bin/env python3
"""The recipe of the lite weights on a toy schedule: clips, training of tracker, front and SAM, export.

    test_recipe.py BUILD SOURCE [Recipe.TEST...]

Proves that a clip is the same for a seed and true to its tracks, that C and PyTorch render the same,
that every loss falls, that training goes on where it was stopped, that cameras begin as the reference's
do, and that C and PyTorch agree about the exported checkpoints on a rendered clip.
Where PyTorch or OpenCV are missing it goes on under the system's interpreter; where that lacks them too,
exit status 77 (skipped).
"""
import json
import multiprocessing
import os
import re
import runpy
import shutil
import subprocess
import sys
import tempfile
import unittest
import unittest.mock
from pathlib import Path

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
try:
    import cv2
    import numpy as np
    import torch
except ImportError as missing:
    system = "/usr/bin/python3"
    if sys.executable != system and os.path.exists(system):
        os.execv(system, [system, *sys.argv])
    print(f"skipped: {missing}")
    sys.exit(77)

BUILD, SOURCE = (Path(a).resolve() for a in sys.argv[1:3])
LITE = SOURCE / "src" / "lite"
sys.path.insert(0, str(LITE))
from common import checkpoint, golden, tensorfile  # noqa: E402
from common.config import FRONT, SAM  # noqa: E402
from front import data, init, losses, teacher  # noqa: E402
from front.model import Front  # noqa: E402
from sam.train import middle  # noqa: E402
from tracker import check  # noqa: E402
from world import cast, clips, degrade, photos, render, scene  # noqa: E402

torch.set_num_threads(1)
cv2.setNumThreads(1)
FRAMES, TRAIN, HELD = 8, 3, 2  # frames enough for a second window of the online mode


def run_here(name: str, args: tuple, output: int) -> None:
    os.dup2(output, 1)
    os.dup2(output, 2)
    sys.argv = [name, *map(str, args)]
    if name.endswith(".py"):
        runpy.run_path(name, run_name="__main__")
    else:
        runpy.run_module(name, run_name="__main__", alter_sys=True)


def python(name: str, *args) -> str:
    """Runs a module of src/lite or a file as a program, in a copy of this process, which has imported PyTorch
    already. Returns what it printed."""
    with tempfile.TemporaryFile("w+") as output:
        process = multiprocessing.get_context("fork").Process(target=run_here, args=(name, args, output.fileno()))
        process.start()
        process.join()
        output.seek(0)
        printed = output.read()
    if process.exitcode:
        raise AssertionError(f"{name} failed with status {process.exitcode}:\n{printed[-3000:]}")
    return printed


class Recipe(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.root = Path(cls.folder.name)
        cls.clips = cls.root / "clips"
        for name, first, count in (("train", 0, TRAIN), ("held", 900000, HELD)):
            python("world.clips", cls.clips / name, "--first", first, "--count", count,
                   "--frames", FRAMES)

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def clip(self, path="train/00000.npz") -> dict:
        return dict(np.load(self.clips / path))

    def test_a_seed_gives_the_same_clip(self):
        again, clip = clips.make(0, FRAMES), self.clip()
        for name, array in clip.items():
            np.testing.assert_array_equal(array, again[name], name)

    def test_photographs_change_textures_alone(self):
        folder = self.root / "photos"
        folder.mkdir()
        rng = np.random.default_rng(0)
        cv2.imwrite(str(folder / "00000.jpg"), rng.integers(0, 256, (160, 300, 3), np.uint8))
        python("world.clips", self.root / "with", "--first", 0, "--count", 1, "--frames", FRAMES, "--photos", folder)
        pictured, clip = self.clip(self.root / "with" / "00000.npz"), self.clip()
        for name, array in clip.items():
            self.assertEqual(name == "video", not np.array_equal(array, pictured[name]), name)

    def test_what_is_taken_for_a_picture(self):
        """Photographs are; normal maps, sheets with holes, flat colours and icons are not."""
        rng = np.random.default_rng(0)
        coarse = cv2.resize(rng.uniform(0, 1, (150, 200, 3)).astype(np.float32), (800, 600))
        picture = (255 * coarse).astype(np.uint8)
        holes = np.dstack([picture, np.full(picture.shape[:2], 255, np.uint8)])
        holes[100:300, :, 3] = 0
        normals = (np.array([225, 118, 118]) + 30 * coarse).clip(0, 255).astype(np.uint8)
        for image, good in ((picture, True), (holes, False), (normals, False), (picture[:90], False),
                            (np.full_like(picture, 90), False)):
            found = photos.picture(cv2.imencode(".png", image)[1].tobytes())
            self.assertEqual(found is not None, good)
            self.assertTrue(found is None or max(found.shape) == photos.LONGEST)

    def test_tracks_follow_the_surface(self):
        """The undegraded colour at a visible point stays what it was."""
        def plain(rng, linear, flow):
            return np.sqrt(linear.clip(0, 1))
        with unittest.mock.patch.object(degrade, "degrade", plain):
            clip = clips.make(3, FRAMES)
        rng = np.random.default_rng(0)
        height, width = clip["depth"].shape[1:]
        x, y = rng.integers(0, width, 1000), rng.integers(0, height, 1000)
        query = np.stack([0 * x, x, y], 1)
        xy, visible, _ = (a.numpy() for a in clips.tracks(clip, query))
        self.assertLess(np.abs(xy[0] - query[:, 1:]).max(), 1e-3)
        self.assertTrue(visible[0].all())
        colour = cv2.remap(clip["video"][-1], xy[-1, :, :1], xy[-1, :, 1:], cv2.INTER_LINEAR)[:, 0]
        off = np.abs(colour - clip["video"][0][query[:, 2], query[:, 1]]).mean(-1)
        self.assertLess(np.median(off[visible[-1]]), 0.03)

    def test_c_and_pytorch_render_the_same(self):
        built = scene.build(np.random.default_rng(1), FRAMES)
        torch_frame = render.Renderer(built, 96, 128).frame(0.2)
        frame = cast.Renderer(built, 96, 128).frame(0.2)
        self.assertLess((torch_frame["depth"] - frame["depth"]).abs().median().item(), 1e-4)
        off = (torch_frame["image"] - frame["image"]).abs().amax(-1)
        self.assertLess((off > 0.02).float().mean().item(), 0.002)

    def input(self, frames: int = FRAMES) -> Path:
        """A rendered clip with its geometry, as tests/bench/bench.c and twin.py take it."""
        path, clip = self.root / f"input{frames}.safetensors", self.clip()
        size = (192, 144)
        video = np.stack([cv2.resize(f, size, interpolation=cv2.INTER_AREA) for f in clip["video"]])
        depth = np.stack([cv2.resize(f.astype(np.float32), size, interpolation=cv2.INTER_NEAREST)
                          for f in clip["depth"]])
        scaled = clip["k"] * np.array([[0.75], [0.75], [1]], np.float32)
        n = np.arange(32)
        query = np.stack([n % 2 * min(3, frames - 1), 10 + n * 37 % 170, 10 + n * 53 % 120], 1)
        arrays = {"video": video.transpose(0, 3, 1, 2), "depth": depth,
                  "confident": np.ones_like(depth), "intrinsics": scaled, "c2w": clip["c2w"]}
        arrays = {name: array[:frames] for name, array in arrays.items()} | {"query": query}
        tensorfile.write(path, {name: torch.from_numpy(np.ascontiguousarray(array, np.float32))
                                for name, array in arrays.items()})
        return path

    def picture(self, side: int) -> Path:
        """A rendered frame with a point on its largest object, as bench.c and twin.py take it."""
        path, clip = self.root / "picture.safetensors", self.clip("held/900001.npz")
        size = (side, side * 3 // 4)
        rgb = cv2.resize(clip["video"][0], size, interpolation=cv2.INTER_AREA)
        label = cv2.resize(clip["label"][0], size, interpolation=cv2.INTER_NEAREST)
        mask = label == 1 + np.bincount(label.ravel())[1:].argmax()
        point = torch.from_numpy(middle(mask))
        tensorfile.write(path, {"rgb": torch.from_numpy(rgb), "point": point})
        return path

    def check_agreement(self, stage: str, exported: Path, clip: Path, *more) -> list[float]:
        """C and PyTorch on the same clip with the exported weights: the means of every output."""
        folder = self.root / exported.stem
        folder.mkdir(exist_ok=True)
        meta = tensorfile.Reader(exported).metadata
        for key in ("config", "trained", "seed"):
            self.assertIn(key, meta)
        (folder / "config.json").write_text(meta["config"])
        shutil.copy(exported, folder / "model.safetensors")
        printed = (subprocess.run([BUILD / "tests" / "bench", stage, folder, clip, "1", *more], check=True,
                                  stdout=subprocess.PIPE, text=True).stdout,
                   python(str(SOURCE / "tests" / "bench" / "twin.py"), stage, folder, clip, *more))
        ours, twin = (json.loads(text.splitlines()[-1]) for text in printed)
        np.testing.assert_allclose(ours["means"], twin["means"], rtol=2e-3, atol=2e-3)
        return ours["means"]

    def check_fall(self, log: str) -> None:
        losses = re.search(r"first and last quarter: ([\d.]+) ([\d.]+)", log).groups()
        self.assertLess(float(losses[1]), float(losses[0]))

    def test_tracker(self):
        state, out = self.root / "tracker", self.root / "offline.safetensors"
        common = ("--clips", self.clips, "--state", state)
        log = python("tracker.features", *common, "--steps", 16, "--held", 1)
        self.check_fall(log)
        log = python("tracker.features", *common, "--steps", 17, "--held", 1)
        self.assertIn("goes on after step 16", log)
        log = python("tracker.train", *common, "--toy", "--steps", 24, "--tracks", 16, "--held", 1)
        self.check_fall(log)
        python("tracker.export", *common, "--held", HELD, "--output", out)
        self.check_agreement("tracker", out, self.input(), "32")

    def test_agreement_on_an_image_and_a_pair(self):
        """Where the reference stops (src/tracker/README.md, "Where ours differs")."""
        for frames in (1, 2):
            self.check_agreement("tracker", LITE / "offline.safetensors", self.input(frames), "200")

    def test_first_cameras_are_the_references(self):
        report = golden.Report()
        check.check_cameras(golden.GOLDEN, report)
        self.assertEqual(report.failed, 0)

    def test_front(self):
        run, out = self.root / "run", self.root / "front.safetensors"
        clips = ("--train", self.clips / "train", "--held", self.clips / "held")
        log = python("front.train", run, *clips, "--toy", "--rate", 4e-3)
        steps = [json.loads(line) for line in log.splitlines() if line.startswith('{"step"')]
        depth = [s["depth"] for s in steps if "depth" in s]
        self.assertLess(depth[-1], depth[0])
        python("front.train", run, *clips, "--export", out)
        self.check_agreement("front", out, self.input())

    def test_disagreeing_frames_turn_a_fit_as_the_loss_says(self):
        """Against Kabsch's rotation between the points that a made error of depth moves; a scale turns nothing."""
        train = data.Clips([self.clips / "train"], (192, 256))
        _, depth, _, places, points, seen = data.batch(train, 1, 0, 1, 2)
        self.assertGreater(int(seen[0].sum()), 40)
        grid = 2 * places / torch.tensor([depth.shape[2] - 1, depth.shape[1] - 1.0]) - 1
        ramp = torch.linspace(-0.1, 0.1, depth.shape[2]).expand_as(depth)
        for error, turns in ((0 * ramp, False), (0 * ramp + torch.tensor([0, 0.3])[:, None, None], False),
                             (ramp * torch.tensor([0, 1.0])[:, None, None], True)):
            turn = losses.agreement_losses(error, places, points, seen, 1)[1].item()
            at = torch.nn.functional.grid_sample(error[:, None], grid[:, None], align_corners=True)[:, 0, 0]
            first, other = (at.exp()[..., None] * points)[:, seen[0]].double()
            u, _, v = torch.linalg.svd((first - first.mean(0)).T @ (other - other.mean(0)))
            trace = (v.T @ torch.diag(torch.tensor([1, 1, torch.det(v.T @ u.T)], dtype=torch.float64)) @ u.T).trace()
            angle = torch.arccos(((trace - 1) / 2).clamp(-1, 1)).item()
            self.assertEqual(turns, angle > 0.01)
            self.assertAlmostEqual(turn, angle, delta=0.15 * angle + 1e-6)

    def test_a_grown_front_begins_as_it_was(self):
        torch.manual_seed(0)
        old, new = Front({**FRONT, "pe_depth": 1, "pe_mlp_ratio": 2, "agg_mlp_ratio": 1}), Front(FRONT)
        for name, parameter in old.named_parameters():
            if name.endswith("gamma"):
                torch.nn.init.constant_(parameter, 0.5)
        checkpoint.write(self.root / "small.safetensors", old, FRONT, {})
        checkpoint.read(old, self.root / "small.safetensors")
        init.grown(new, self.root / "small.safetensors")
        video = torch.from_numpy(self.clip()["video"][:2].transpose(0, 3, 1, 2)).float()
        with torch.no_grad():
            before, after = old(video), new(video)
        for name in before:
            np.testing.assert_allclose(after[name], before[name], rtol=1e-4, atol=1e-5)

    def test_front_with_a_teacher(self):
        """One of random features here, as the real ones come from the net."""
        weights, taught, photos = self.root / "features.pth", self.root / "taught", self.root / "pictures"
        photos.mkdir()
        cv2.imwrite(str(photos / "00000.jpg"), self.clip()["video"][0])
        torch.manual_seed(0)
        torch.save(teacher.Features().state_dict(), weights)
        clips = ("--train", self.clips / "train", "--held", self.clips / "held")
        log = python("front.teacher", taught, *clips, "--weights", weights, "--steps", 12)
        self.check_fall(log)
        log = python("front.train", self.root / "pupil", *clips, "--toy", "--start", LITE / "front.safetensors",
                     "--rate", 1e-3, "--teacher", taught / "teacher.pt", "--photos", photos)
        said = [json.loads(line).get("pictures' depth", 0) for line in log.splitlines() if '"minutes"' in line]
        self.assertLess(said[-1], said[0])

    def test_sam(self):
        state, out, clips = self.root / "sam-state", self.root / "sam.safetensors", self.root / "sam-clips"
        (clips / "held").mkdir(parents=True)
        for name in ("train", "held/900000.npz"):  # one clip to validate on
            (clips / name).symlink_to(self.clips / name)
        common = ("--clips", clips, "--state", state, "--images", 4)
        log = python("sam.train", *common, "--steps", 12)
        self.check_fall(log)
        log = python("sam.train", *common, "--steps", 13)
        self.assertIn("goes on after step 12", log)
        python("sam.train", *common, "--export", out)
        self.check_agreement("sam", out, self.picture(SAM["image_size"]))

    def test_sam_goes_on_from_an_export(self):
        """Two processes that share their gradients begin with what the built-in weights can do."""
        log = python("sam.train", "--clips", self.clips, "--state", self.root / "sam-pair", "--held", 1,
                     "--start", LITE / "sam.safetensors", "--rate", 1e-6, "--steps", 2, "--images", 4, "--processes", 2)
        found = re.findall(r"step 2 .* 'box': ([0-9.]+)", log)
        self.assertEqual(len(found), 1, log)
        self.assertGreater(float(found[0]), 0.5)

    def test_built_in_sam(self):
        """The trained weights, where C and PyTorch have a mask to agree about."""
        share, iou = self.check_agreement("sam", LITE / "sam.safetensors", self.picture(SAM["image_size"]))
        self.assertTrue(0.002 < share < 0.5, share)
        self.assertTrue(0.1 < iou < 1.1, iou)


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]], verbosity=2)
