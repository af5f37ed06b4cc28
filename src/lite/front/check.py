"""Holds the front against its goldens (common/golden.py)."""
import sys
from pathlib import Path

from common.frames import working_video
from common.golden import UNIT, WHOLE, Golden, Report, main, read_manifest, synthetic
from front.model import Front, cameras, rope_table, rotate


def check(folder: Path, report: Report) -> None:
    manifest = read_manifest(folder, "front_tiny")
    config = manifest["config"]
    model = synthetic(Front(config), manifest)
    patch = config["patch_size"]

    g = Golden(folder / "front/patch_embed.safetensors")
    images = model.normalise(255 * g["images"])
    report.error("patch_embed normalised", images[:1], g["normalised"], UNIT)
    report.error("patch_embed patch_tokens", model.aggregator.patch_embed(images), g["patch_tokens"], UNIT)
    for grid in ((21, 37), (37, 28), (11, 37), (37, 37), (29, 37)):
        report.error("patch_embed pos_%dx%d" % grid, model.aggregator.patch_embed.positions(*grid)[..., ::8],
                     g["pos_%dx%d" % grid], UNIT)

    g = Golden(folder / "front/blocks.safetensors")
    rope = rope_table(g["positions"][0], 64, config["rope_base"])
    report.error("blocks rope", rotate(g["rope.input"], rope), g["rope.output"], UNIT)
    report.error("blocks frame1", model.aggregator.frame_blocks[1](g["input"], rope), g["frame1.output"], UNIT)
    whole = model.aggregator.global_blocks[1](g["input"].view(1, -1, config["embed_dim"]),
                                              tuple(t.repeat(2, 1) for t in rope))
    report.error("blocks global1", whole.view_as(g["input"]), g["global1.output"], UNIT)

    g = Golden(folder / "front/aggregator.safetensors")
    for i, out in enumerate(model.aggregator(model.normalise(255 * g["images"]))):
        report.error(f"aggregator out{i}", out, g[f"out{i}"], UNIT)

    g = Golden(folder / "front/camera.safetensors")
    report.error("camera poses", model.camera_head(g["tokens"]), g["poses"], UNIT)
    published = model.camera_head.pose_branch.fc2.bias.clone()
    model.camera_head.pose_branch.fc2.bias.copy_(g["low.bias"])
    report.error("camera low.poses", model.camera_head(g["tokens"]), g["low.poses"], UNIT)
    model.camera_head.pose_branch.fc2.bias.copy_(published)
    c2w, k = cameras(g["encoding"], 294, 518)
    report.error("camera camera_to_world", c2w, g["camera_to_world"], UNIT)
    report.error("camera intrinsics_294x518", k, g["intrinsics_294x518"], UNIT)

    g = Golden(folder / "front/dpt.safetensors")
    taps = [g[f"tokens{k}"] for k in range(4)]
    depth, confidence = model.depth_head(taps, 98, 140, patch)
    report.error("dpt depth", depth, g["depth"], UNIT)
    report.error("dpt conf", confidence, g["conf"], UNIT)
    report.error("dpt rcu", model.depth_head.scratch.refinenet3.resConfUnit1(g["rcu.input"]),
                 g["rcu.output"], UNIT)

    for name, stride in (("tiny", 7), ("tiny_chunks", 13)):
        g = Golden(folder / f"front/{name}.safetensors")
        video = working_video(g["frames"], config["img_size"], patch)
        out = model(video)
        c2w, k = cameras(out["pose_enc"], *video.shape[2:])
        report.error(f"{name} depth", out["depth"][:, ::stride, ::stride], g["depth"], WHOLE)
        report.error(f"{name} confidence", out["confidence"][:, ::stride, ::stride], g["unc_metric"], WHOLE)
        report.error(f"{name} pose_enc", out["pose_enc"], g["pose_encoding"][-1], WHOLE)
        report.error(f"{name} c2w", c2w, g["poses_pred"], WHOLE)
        report.error(f"{name} intrinsics", k, g["intrs"], WHOLE)


if __name__ == "__main__":
    sys.exit(main(check))
