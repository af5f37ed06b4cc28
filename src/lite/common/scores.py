"""Scores of tracks, depth and cameras against ground truth, and the floors to hold them against.

Ground truth is a dictionary: queries [N, 3] (t, x, y), tracks [T, N, 2], visible [T, N], xyz_world
[T, N, 3], depth [T, h, w], c2w [T, 4, 4], size (W, H) of the video, and depth_step, depth_offset: row
i of depth lies at continuous image position i * step + offset. A result is what spatrack writes.
"""
import cv2
import numpy as np

THRESHOLDS = (1, 2, 4, 8, 16)
WIDTH = 480  # of the frames in whose pixels `reprojection` is
SKY = 25.0   # depth from which on it is not scored


def of_tracks(gt: dict, tracks: np.ndarray, visible: np.ndarray) -> dict:
    """Means over all frames after each query's own: delta_avg is the share of visible points within
    1, 2, 4, 8 and 16 px at 256x256, averaged (TAP-Vid); AJ the average Jaccard; balanced the mean of
    the accuracies on visible and on hidden points, for which calling everything visible gives 0.5."""
    truth, seen = gt["tracks"], gt["visible"]
    after = np.arange(len(truth))[:, None] > gt["queries"][None, :, 0]
    error = np.linalg.norm((truth - tracks) * (256 / np.array(gt["size"])), axis=-1)
    there = max(1, (seen & after).sum())
    within, jaccard = [], []
    for threshold in THRESHOLDS:
        near = error < threshold
        within.append((near & seen & after).sum() / there)
        wrong = (visible & after & ~(near & seen)).sum()
        jaccard.append((near & seen & visible & after).sum() / max(1, (seen & after).sum() + wrong))
    found = (seen & visible & after).sum() / there
    rejected = (~seen & ~visible & after).sum() / max(1, (~seen & after).sum())
    shares = {f"within {t} px": share for t, share in zip(THRESHOLDS, within)}
    return {"delta_avg": np.mean(within), **shares, "AJ": np.mean(jaccard),
            "balanced": (found + rejected) / 2}


def sampled(gt: dict, depth: np.ndarray) -> np.ndarray:
    """A prediction [T, h', w'] at the positions of the true depth."""
    width, height = gt["size"]
    rows, columns = depth.shape[1:]

    def at(count: int, size: int, pixels: int) -> np.ndarray:
        position = np.arange(count) * gt["depth_step"] + gt["depth_offset"]
        return (position * size / pixels).astype(int).clip(0, size - 1)
    y, x = at(gt["depth"].shape[1], rows, height), at(gt["depth"].shape[2], columns, width)
    return depth[:, y][:, :, x].astype(np.float64)


def of_depth(gt: dict, depth: np.ndarray) -> tuple[float, float]:
    """-> (mean relative error after one scale for the clip, the median ratio; that scale)."""
    predicted, truth = sampled(gt, depth), gt["depth"].astype(np.float64)
    valid = (truth < SKY) & (predicted > 0)
    if not valid.any():
        return float("nan"), 1.0
    scale = np.median(truth[valid] / predicted[valid])
    return np.mean(np.abs(predicted[valid] * scale - truth[valid]) / truth[valid]), scale


def relative(poses: np.ndarray) -> np.ndarray:
    poses = poses.astype(np.float64)
    return np.linalg.inv(poses[0]) @ poses


def angles(rotations: np.ndarray) -> np.ndarray:
    trace = np.trace(rotations, axis1=-2, axis2=-1)
    return np.degrees(np.arccos(np.clip((trace - 1) / 2, -1, 1)))


def of_cameras(gt: dict, c2w: np.ndarray) -> dict:
    """Mean error of rotation, in degrees, and of position after one scale, over the mean distance
    from the first camera; both relative to the first frame."""
    truth, ours = relative(gt["c2w"]), relative(c2w)
    off = truth[:, :3, :3].swapaxes(1, 2) @ ours[:, :3, :3]
    a, b = truth[:, :3, 3], ours[:, :3, 3]
    scale = (a * b).sum() / max(1e-12, (b * b).sum())
    length = max(1e-9, np.linalg.norm(a, axis=-1).mean())
    error = np.linalg.norm(a - scale * b, axis=-1).mean()
    return {"rotation": angles(off).mean(), "translation": error / length}


def of_points(gt: dict, coords: np.ndarray, scale: float) -> float:
    """Share of visible 3D points within 5, 10, 20 and 40 % of the median depth of the truth; coords
    are in the first camera's axes."""
    first = np.linalg.inv(gt["c2w"][0].astype(np.float64))
    truth = gt["xyz_world"].astype(np.float64) @ first[:3, :3].T + first[:3, 3]
    error = np.linalg.norm(truth - scale * coords, axis=-1)[gt["visible"]]
    limit = np.median(truth[..., 2])
    return np.mean([(error < limit * part).mean() for part in (0.05, 0.1, 0.2, 0.4)])


def reprojection(result: dict) -> np.ndarray:
    """Distance [T, N] of coords, projected through their frames' cameras, from tracks2d, in pixels of an
    input WIDTH wide; infinite behind a camera, NaN where the result calls a point hidden."""
    w2c, k = (result[name].astype(np.float64)[:, None] for name in ("extrinsics", "intrinsics_input"))
    points = w2c[..., :3, :3] @ result["coords"].astype(np.float64)[..., None] + w2c[..., :3, 3:]
    at = (k @ points)[..., 0]
    ahead = at[..., 2] > 0
    xy = at[..., :2] / np.where(ahead, at[..., 2], 1)[..., None]
    off = np.linalg.norm(xy - result["tracks2d"], axis=-1) * (WIDTH / float(result["size"][0]))
    return np.where(result["visibs"][..., 0] > 0.5, np.where(ahead, off, np.inf), np.nan)


def of_result(gt: dict, result: dict) -> dict:
    visible = result["visibs"][..., 0] > 0.5
    if visible.shape != gt["visible"].shape:
        raise ValueError(f"{visible.shape} tracks, ground truth has {gt['visible'].shape}")
    out = of_tracks(gt, result["tracks2d"].astype(np.float64), visible)
    out["abs_rel"], scale = of_depth(gt, result["depths"])
    out.update(of_cameras(gt, np.linalg.inv(result["extrinsics"].astype(np.float64))))
    out["apd3d"] = of_points(gt, result["coords"].astype(np.float64), scale)
    out["reprojection"] = np.nanmedian(reprojection(result))
    return out


def lucas_kanade(gray: list[np.ndarray], queries: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pyramidal Lucas-Kanade with OpenCV's defaults from frame to frame -> tracks [T, N, 2], visible
    [T, N]; a point is lost for good when the way back misses it by 1.5 px."""
    tracks = np.repeat(queries[None, :, 1:], len(gray), 0).astype(np.float32)
    visible = np.ones(tracks.shape[:2], bool)
    for t in range(len(gray) - 1):
        live = queries[:, 0] <= t
        if not live.any():
            continue
        start = tracks[t, live].reshape(-1, 1, 2)
        end, found, _ = cv2.calcOpticalFlowPyrLK(gray[t], gray[t + 1], start, None)
        back, _, _ = cv2.calcOpticalFlowPyrLK(gray[t + 1], gray[t], end, None)
        tracks[t + 1, live] = end[:, 0]
        missed = np.linalg.norm((start - back)[:, 0], axis=-1)
        visible[t + 1, live] = visible[t, live] & (missed < 1.5) & (found[:, 0] > 0)
    return tracks, visible


def floors(gt: dict, frames: list[np.ndarray], prior: np.ndarray) -> dict:
    """The same scores without a network: Lucas-Kanade, its positions with everything called visible,
    constant depth, a prior depth map [h, w] that saw no image, a camera that stands still."""
    gray = [cv2.cvtColor(f, cv2.COLOR_RGB2GRAY) for f in frames]
    tracks, visible = lucas_kanade(gray, gt["queries"])
    out = of_tracks(gt, tracks, visible)
    out["AJ, all visible"] = of_tracks(gt, tracks, np.ones_like(visible))["AJ"]
    truth = gt["depth"].astype(np.float64)
    valid = truth < SKY
    constant = np.median(truth[valid])
    out["abs_rel"] = np.mean(np.abs(truth[valid] - constant) / truth[valid])
    out["abs_rel, prior"] = of_depth(gt, np.repeat(prior[None], len(truth), 0))[0]
    still = np.repeat(gt["c2w"][:1], len(truth), 0)
    out.update(of_cameras(gt, still))
    return out
