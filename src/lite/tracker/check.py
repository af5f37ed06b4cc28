"""Holds the tracker against its goldens (common/golden.py)."""
import sys
from pathlib import Path

import torch

from common.golden import ENCODED, UNIT, Golden, Report, main, read_manifest, synthetic
from tracker import bundle, window
from tracker.model import LEVELS, PREFIX, Tracker, TrackState, patches, pyramid, query_patches


def check_levels(folder: Path, model: Tracker, report: Report) -> None:
    for level in (0, 2):
        g = Golden(folder / f"tracker/level{level}.safetensors")
        templates = g["track_feat_support"].flatten(1, 2)
        query = model.query_features(templates, g["track_point_map_support"].flatten(1, 2))
        frames = len(g["coords_proj_curr"])
        features, points = g["corr_feat"].flatten(2, 3), g["corr_point_map"].flatten(2, 3)
        volume = torch.einsum("tnac,nbc->tnab", features, templates)
        report.error(f"level{level} corr_volume", volume[:2, :3].view_as(g["corr_volume"]), g["corr_volume"], UNIT)
        report.error(f"level{level} corr_emb", model.corr_mlp(volume.flatten(2)), g["corr_emb"], UNIT)
        position, target = model.knn_features(points - g["coords_xyz_init"][:, :, None], features)
        report.error(f"level{level} rel_pos_target", position, g["rel_pos_target"], ENCODED)
        report.error(f"level{level} target_feat", target, g["target_feat"], ENCODED)
        report.error(f"level{level} queried_feat", query.expand(frames, -1, -1, -1), g["queried_feat"], ENCODED)
        mixed = model.corr_transformer[0](query[None], target, position)
        report.error(f"level{level} corr_depth_raw", mixed, g["corr_depth_raw"], ENCODED)
        report.error(f"level{level} corr_depth_emb", model.corr_depth_mlp(mixed) * g["valid_mask"],
                     g["corr_depth_emb"], ENCODED)


def check_run(folder: Path, golden: str, model: Tracker, reference_way: bool, report: Report) -> None:
    """A whole run in one window, against each iteration's recorded state."""
    g = Golden(folder / f"tracker/{golden}.safetensors")
    clip = window.Clip(g["in.frames"].permute(0, 3, 1, 2).float(), g["in.depth"], g["in.conf"],
                       g["in.intrinsics"], g["in.c2w"], g["in.queries"])
    name = f"{golden}, reference way" if reference_way else golden
    k = 0

    def after(w: window.Window) -> None:
        nonlocal k
        parts = {"xy": w.track[..., :2], "cam_points": w.point, "xyz_unreplaced": w.unreplaced,
                 **{part: w.logits[part][..., None] for part in ("vis", "conf", "dyn")}}
        if k == 0 and not reference_way:
            check_init(g, name, w, report)
        for part, ours in parts.items():
            recorded = g[f"it{k}.{part}"].view_as(ours)
            if k == 0:
                error = (ours - recorded).abs().max().item()
                limit = 2e-4 if part == "xy" else 1e-4
                report.line(error <= limit, f"{name} it0.{part}", f"{error:.1e} (at most {limit:.0e})")
            else:
                limit = (0.05, 1e-3) if k < 3 else (0.2, 1e-2)
                report.share(f"{name} it{k}.{part}", ours, recorded, limit[part != "xy"], part == "xy")
        cameras = (1e-4, 1e-3, 1e-3, 5e-2)[k]
        for part, ours in (("c2w", w.c2w), ("c2w_init", w.c2w_init), ("intrinsics", w.k)):
            report.error(f"{name} it{k}.{part}", ours, g[f"it{k}.{part}"], cameras)
        # The reference differs from itself in one entry of it3 (src/tracker/README.md, "Tolerances").
        flips = (w.replaced != g[f"it{k}.replaced"]).sum().item()
        report.line(flips <= (0, 0, 1, 20)[k], f"{name} it{k}.replaced", f"{flips} of {w.replaced.numel()} differ")
        k += 1

    out = window.run(model, clip, support=120, seed=int(g.meta["seed"]), reference_way=reference_way, after=after)
    report.share(f"{name} out.track2d", out["tracks"][..., :2], g["out.track2d"][..., :2], 0.2, True)
    report.share(f"{name} out.track3d", out["camera_points"], g["out.track3d"][..., :3], 1e-2)
    report.share(f"{name} out.vis", out["visibility"][..., None], g["out.vis"], 1e-2)
    report.share(f"{name} out.conf", out["confidence"][..., None], g["out.conf"], 1e-2)
    report.error(f"{name} out.c2w", out["c2w"], g["out.c2w"], 5e-2)
    report.error(f"{name} out.intrinsics", out["intrinsics"], g["out.intrinsics"], 1e-4)
    report.error(f"{name} out.depth", out["depth"][:, ::8, ::8], g["out.point_map"][:, 2], UNIT)
    report.error(f"{name} out.valid", out["valid"][:, ::8, ::8], g["out.conf_depth"], UNIT)


def check_init(g: Golden, name: str, w: window.Window, report: Report) -> None:
    report.error(f"{name} start.queries", w.query, g["start.queries"], UNIT)
    report.error(f"{name} start.queries_z", w.z[:, None], g["start.queries_z"], UNIT)
    report.error(f"{name} start.queries_z_unc", w.query_valid[:, None], g["start.queries_z_unc"], UNIT)
    report.error(f"{name} start.min_pts", w.lo, g["start.min_pts"], UNIT)
    report.error(f"{name} start.max_pts", w.hi, g["start.max_pts"], UNIT)
    for level in range(LEVELS):
        report.error(f"{name} start.fmap{level}", w.cache.features[level][::3, ::8, ::6, ::8],
                     g[f"start.fmap{level}"], UNIT)
        report.error(f"{name} start.point_map{level}", w.cache.points[level][::3, :, ::2, ::2],
                     g[f"start.point_map{level}"], UNIT)


def check(folder: Path, report: Report) -> None:
    manifest = read_manifest(folder, "tracker_offline")
    model = synthetic(Tracker(manifest["config"]), manifest, PREFIX)

    g = Golden(folder / "tracker/fnet.safetensors")
    for level, features in enumerate(pyramid(model.fnet(g["input"][0]))):
        report.error(f"fnet pyramid{level}", features, g[f"pyramid{level}"][0], UNIT)

    g = Golden(folder / "tracker/sample.safetensors")
    maps, frame = g["maps"][0], g["frame"][0]
    ours = query_patches(maps, frame, g["xy"][0], 3)
    report.error("sample track_support", ours.transpose(0, 1)[None], g["track_support"], UNIT)
    ours = patches(maps, g["xy_all"], 3).unflatten(2, (7, 7))
    report.error("sample correlation", ours[None], g["correlation"], UNIT)

    check_levels(folder, model, report)

    g = Golden(folder / "tracker/updateformer.safetensors")
    steps = model.updateformer3D(model.updateformer, g["x"], g["x_depth"])
    ours = {"flow_vis_conf": torch.cat([steps["flow"], steps["vis_conf"]], -1),
            "xyz": steps["point"][..., :3], "dyn": steps["point"][..., 3:], "weight": steps["weight"]}
    for part, tensor in ours.items():
        report.error(f"updateformer {part}", tensor.transpose(0, 1), g[part], UNIT)

    check_tokens(folder, model, report)
    for name in ("tiny", "medium", "skip"):
        check_bundle(folder, name, report)
    check_cameras(folder, report)
    for golden in ("offline", "key_frame"):
        for reference_way in (False, True):
            check_run(folder, golden, model, reference_way, report)


def check_tokens(folder: Path, model: Tracker, report: Report) -> None:
    g = Golden(folder / "tracker/tokens.safetensors")
    corr, corr3 = g["corr_embs"], g["corr_depth_embs"]
    state = TrackState(
        xy=g["coords"][..., :2], normal=g["coords_xyz"], valid=torch.ones(corr.shape[:2]),
        rigid=g["q_xyz_cam"][..., 1:], frame=g["queries"][:, 0], vis=g["vis"], conf=g["confidence"],
        dyn=g["dynamic_prob"])
    recorded = [tuple(t[..., 256 * i:256 * i + 256] for t in (corr, corr3)) for i in range(4)]
    model.correlate = lambda cache, level, state, tracks, query: recorded[level]
    token, token3 = model.tokens(None, state, slice(None), [None] * LEVELS)
    del model.correlate
    report.error("tokens x", token, g["x"], ENCODED)
    report.error("tokens x_depth", token3, g["x_depth"], ENCODED)


def check_bundle(folder: Path, name: str, report: Report) -> None:
    g = Golden(folder / f"tracker/ba_{name}.safetensors")
    problem = [g[f"ba.{part}"].numpy() for part in ("c2w", "intrinsics", "points", "tracks2d", "vis")]
    c2w, k, _ = bundle.adjust(*problem)
    report.error(f"ba_{name} c2w", torch.from_numpy(c2w), g["ba.out_c2w"], 1e-4 if name == "medium" else 1e-5)
    report.error(f"ba_{name} intrinsics", torch.from_numpy(k), g["ba.out_intrinsics"], 1e-6)


def check_cameras(folder: Path, report: Report) -> None:
    """First cameras from tracked points, whichever frame shares least with an end."""
    made = Golden(folder / "tracker/procrustes.safetensors")
    cases = [(f"procrustes {case}", made, case) for case in made.meta["cases"].split()]
    cases += [(run, Golden(folder / f"tracker/{run}.safetensors"), "procrustes")
              for run in ("geometry", "key_frame_geometry")]
    for name, g, case in cases:
        points, seen, weight = (g[f"{case}.{part}"] for part in ("points", "vis", "weight"))
        cameras = window.fit_cameras(points, seen, weight.flatten())
        report.error(f"{name} first cameras", cameras, g[f"{case}.out"], UNIT)
        if g is made:
            key, recorded = window.key_frame(seen), g[f"{case}.key_frame"].item()
            report.line(key == recorded, f"{name} key frame", f"{key}, recorded {recorded}")


if __name__ == "__main__":
    sys.exit(main(check))
