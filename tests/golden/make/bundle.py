"""The tracker's goldens of geometry alone: bundle adjustment, and the fit of first cameras.

Problems of made points, so that they are small.
"""
import numpy as np
import torch

from make import catalog, reference
from make.tracker import noise


# Bundle adjustment -------------------------------------------------------------------------------

def statistics(s):
    """[successful steps, with the start; unsuccessful steps; initial cost; final cost; residuals; 1 if converged].
    Where there was no adjustment all are 0."""
    return np.array([s.num_successful_steps, s.num_unsuccessful_steps, s.initial_cost, s.final_cost,
                     s.num_residuals_reduced, "NO_CONVERGENCE" not in str(s.termination_type)], np.float64)


def arrays_of(given, result, stats):
    frames = given[1].shape[1]
    return {"ba.points": given[0].reshape(-1, 3), "ba.intrinsics": given[1].reshape(frames, 3, 3),
            "ba.c2w": given[2].reshape(frames, 4, 4), "ba.vis": given[3].reshape(frames, -1),
            "ba.tracks2d": given[4][..., :2].reshape(frames, -1, 2), "ba.size_hw": given[5],
            "ba.out_c2w": result[0].reshape(frames, 4, 4), "ba.out_points": result[1].reshape(-1, 3),
            "ba.out_intrinsics": result[2].reshape(frames, 3, 3), "ba.stats": stats}


def problem(name, frames, count, pixel_noise, pose_noise, point_noise, drop=0.25):
    """Points, K, c2w, visibility, tracks and size as ba_pycolmap takes them."""
    height, width = 336, 588
    k = torch.tensor([[530.0, 0, 292.5], [0, 541.0, 170.0], [0, 0, 1]]).repeat(1, frames, 1, 1)
    points = noise(name + ".p", count, 3) * torch.tensor([1.6, 0.9, 0.8]) + torch.tensor([0, 0, 4.0])
    true = torch.eye(4).repeat(frames, 1, 1)
    for t in range(frames):
        a = 0.02 * t
        true[t, 0, 0] = true[t, 2, 2] = np.cos(a)
        true[t, 0, 2], true[t, 2, 0] = np.sin(a), -np.sin(a)
        true[t, :3, 3] = torch.tensor([0.06 * t, 0.02 * np.sin(t), 0.01 * t])
    w2c = torch.inverse(true)
    seen = torch.einsum("tij,nj->tni", w2c[:, :3, :3], points) + w2c[:, None, :3, 3]
    # SIMPLE_PINHOLE has one focal length, so the observations use fx for both axes.
    uv = seen[..., :2] / seen[..., 2:] * 530.0 + torch.tensor([292.5, 170.0])
    uv = uv + noise(name + ".uv", frames, count, 2, scale=pixel_noise)
    visible = (noise(name + ".vis", frames, count) > 2 * drop - 1) & (uv > 0).all(-1) & (uv[..., 0] < width) & \
        (uv[..., 1] < height)
    begin = true.clone()
    begin[1:, :3, 3] += noise(name + ".t", frames - 1, 3, scale=pose_noise)
    points = points + noise(name + ".dp", count, 3, scale=point_noise)
    return points[None, None], k, begin[None], visible[None], uv[None], torch.tensor([height, width])


def adjusted(ref, given, exact):
    """arrays_of a problem, solved as published or with a dense Schur solver."""
    solve, stats = ref.ba.pyceres.solve, [np.zeros(6)]

    def one_thread(options, ceres_problem, summary):
        options.num_threads = 1
        if exact:
            options.linear_solver_type = ref.ba.LinearSolverType.DENSE_SCHUR
        result = solve(options, ceres_problem, summary)
        stats[0] = statistics(summary)
        return result

    with reference.patched((ref.ba.pyceres, "solve", one_thread)):
        result = ref.ba.ba_pycolmap(*given, training=False)
    return arrays_of(given, result, stats[0])


def bundle(name, *arguments):
    def make(folder):
        ref = reference.tracker(folder)
        given = problem(name, *arguments)
        dense = adjusted(ref, given, True)
        exact = {k.replace("ba.", "ba.exact_"): v for k, v in dense.items() if "out_" in k or "stats" in k}
        return {**adjusted(ref, given, False), **exact}, {"exact": "the same problem with DENSE_SCHUR"}
    make.__doc__ = f"""Bundle adjustment of {arguments[0]} frames, {arguments[1]} points

    ba.points [N, 3], ba.intrinsics [T, 3, 3], ba.c2w [T, 4, 4]   where it begins
    ba.vis [T, N], ba.tracks2d [T, N, 2], ba.size_hw [2]          bool; pixels
    ba.out_points, ba.out_intrinsics, ba.out_c2w, ba.stats [6]    the result; stats as `statistics` has them
    ba.exact_out_*, ba.exact_stats                                with a dense Schur solver
    """
    return make


catalog.golden("tracker/ba_tiny")(bundle("ba_tiny", 4, 60, 0.3, 0.02, 0.02))
catalog.golden("tracker/ba_medium")(bundle("ba_medium", 12, 300, 1.5, 0.05, 0.08))
catalog.golden("tracker/ba_skip")(bundle("ba_skip", 4, 40, 0.3, 0.02, 0.02))  # too few points


# First cameras from tracked points ---------------------------------------------------------------

# What frames see, N, the factor of the weights. The frame that shares least with both ends is ...
CASES = {
    "first": ([0.30, 0.90, 0.80, 0.85], 60, 1.0),        # frame 0
    "last": ([0.90, 0.80, 0.85, 0.30], 60, 1.0),         # the last
    "inner": ([0.90, 0.80, 0.30, 0.60, 0.85], 60, 1.0),  # between
    "three": ([0.90, 0.95, 0.60], 60, 1.0),              # the last, and only one frame is between
    "many": ([0.35, 0.90, 0.70, 0.85], 900, 1.0),        # frame 0; weights add up to more than 50
    "two": ([0.40, 0.90], 60, 1.0),                      # no frame is between: 0 is taken
    "one": ([0.80], 60, 1.0),
}


def moved(name, frames, count, seen, factor):
    """Points of a rigid body that moves, with noise; frame t sees them with weights of about seen[t]."""
    x = noise(name + ".x", count, 3) + torch.tensor([0, 0, 3.0])
    points = torch.empty(frames, count, 3)
    for t in range(frames):
        a = 0.05 * t + 0.01 * t * t
        rotation = torch.tensor([[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]], dtype=torch.float32)
        points[t] = x @ rotation.T + torch.tensor([0.05 * t, -0.03 * t, 0.02 * t * t]) + \
            noise(f"{name}.n{t}", count, 3, scale=0.05)
    vis = (torch.tensor(seen)[:, None] + noise(name + ".v", frames, count, scale=0.1)).clamp(0, 1)
    return points, vis, (noise(name + ".d", count, scale=0.5) + 0.5) * factor


def shared(vis):
    """max(g[0, k], g[T - 1, k]) of every frame k, g = vis vis^T of [T, N]: what it shares with an end."""
    v = vis.double().numpy()
    return np.maximum(v[0] @ v.T, v[-1] @ v.T)


@catalog.golden("tracker/procrustes")
def procrustes(folder):
    """Cameras by weighted Procrustes through a middle key frame, which is never an end

    CASE.points [T, N, 3], .vis [T, N], .weight [N]   CASE: first, last, inner, three, many, two, one
    CASE.shared [T]      what each frame shares with an end: max(g[0, k], g[T - 1, k]), g = vis vis^T
    CASE.key_frame [1]   the key frame taken
    CASE.out [T, 4, 4]   camera to world
    """
    ref, arrays = reference.tracker(folder), {}
    for name, (seen, count, factor) in CASES.items():
        points, vis, weight = moved("procrustes." + name, len(seen), count, seen, factor)
        v = vis[None, :, None]
        taken, argmin = [], torch.argmin
        with reference.patched((torch, "argmin", lambda *a, **k: taken.append(argmin(*a, **k)) or taken[-1])):
            out = ref.geometry.key_fr_wprocrustes(points[None], v * v.permute(0, 2, 1, 3), weight[None, None],
                                                  v.permute(0, 1, 3, 2))
        arrays.update({name + ".points": points, name + ".vis": vis, name + ".weight": weight,
                       name + ".shared": shared(vis), name + ".key_frame": np.array(int(taken[0][0]), np.int64),
                       name + ".out": out[0]})
    return arrays, {"cases": " ".join(CASES)}
