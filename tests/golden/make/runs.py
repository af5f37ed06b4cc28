"""The tracker's goldens of whole runs, and of units as they work within one.

A run is recorded from outside (Recorder): hooks on modules and wrappers around functions note what goes in and out, and
local variables of the public implementation's loop. In the goldens of runs T frames, N tracks; tracks are in
processing order, sorted by frame, but in `out.*` in the order of `in.queries`. it<k> is what an iteration leaves:
`xy` pixels of the tracker's frame, `cam_points` and `c2w`, `intrinsics` with the new cameras, `c2w_init` before their
adjustment, `xyz_unreplaced` the points before unreliable ones are replaced, `replaced` which were,
`static` which went into the adjustment, `vis`, `conf`, `dyn`, `weight` logits, `ba_stats` as
bundle.statistics.
"""
import contextlib
import functools
import sys

import numpy as np
import torch

from make import bundle, catalog, reference, scene, tracker

# Local variables of the refiner's loop that are kept.
START = """queries queries_z queries_z_unc queries_rgb queries_point_map queries_point_map_ queries_xyz
intrs intrs_org cam_gt""".split()
TOKEN = """x x_depth vis confidence dynamic_prob pro_analysis_w coords coords_xyz corr_embs
corr_depth_embs rel_pos_emb_input rel_xyz_emb_input q_xyz_cam rel_pos_query_glob intrs""".split()
LEVEL = """coords_xyz_init coords_proj_curr corr_feat corr_point_map corr_point_feat corr_volume
corr_emb track_feat_support track_feat_support3d track_point_map_support rel_pos_query_idx
rel_pos_target_idx rel_pos_query rel_pos_target queried_feat target_feat valid_mask""".split()
GEOMETRY = """coords_append coords_xyz_append coords_xyz_append_refine coords_xyz_unproj depth_unproj
depth_unproj_neg unc_unproj idx_neg thre1 thre2 jitter_mask replace_mask vis_est conf_est mask_out
dynamic_prob_curr queries_z queries_z_unc queries_xyz_i intrs_org coords coords_xyz delta_xyz vis
confidence dynamic_prob pro_analysis_w""".split()
OUTPUTS = "c2w intrinsics point_map conf_depth track3d track2d vis conf".split()


# Recording a run ---------------------------------------------------------------------------------

def refiner_locals():
    """Local variables of the refiner's forward, which is among the callers."""
    frame = sys._getframe(1)
    while not (frame.f_code.co_name == "forward" and "TrackRefiner.py" in frame.f_code.co_filename):
        frame = frame.f_back
    return dict(frame.f_locals)


def copies(variables, names):
    return {name: variables[name].clone() for name in names if isinstance(variables.get(name), torch.Tensor)}


class Recorder:
    """windows: for each window {"support", "start", "it": [of each iteration]}."""

    def __init__(self, ref, model, levels_of=None):
        """levels_of: the iteration whose correlation levels are kept."""
        self.ref, self.net, self.levels_of = ref, model.spatrack.Track3D, levels_of
        self.windows, self.in_cameras = [], False

    def note(self, **values):
        self.windows[-1]["it"][-1].update(values)

    @contextlib.contextmanager
    def on(self):
        hooks = [self.net.corr_mlp.register_forward_pre_hook(self.before_level),
                 self.net.corr_depth_mlp.register_forward_hook(self.after_level),
                 self.net.updateformer3D.register_forward_hook(self.after_update)]
        with self.wrapped():
            try:
                yield self
            finally:
                for handle in hooks:
                    handle.remove()

    def before_level(self, _module, _arguments):
        """corr_mlp opens every level."""
        v, window = refiner_locals(), self.windows[-1]
        if v["i"] == 0:
            window["it"].append({"levels": []})
        if v["it"] == 0 and v["i"] == 0:
            window["start"] = copies(v, START)
            window["start"].update(min_pts=self.net.min_pts.clone(), max_pts=self.net.max_pts.clone())
            for i in range(4):
                window["start"][f"fmap{i}"] = v["fmaps_pyramid"][i][:, ::3, ::8, ::6, ::8].clone()
                window["start"][f"point_map{i}"] = v["point_map_pyramid"][i][:, ::3, :, ::2, ::2].clone()

    def after_level(self, _module, arguments, output):
        """corr_depth_mlp closes it."""
        if len(self.windows[-1]["it"]) - 1 == self.levels_of:
            v = copies(refiner_locals(), LEVEL)
            v.update(corr_depth_raw=arguments[0].clone(), corr_depth_emb=output.clone())
            self.windows[-1]["it"][-1]["levels"].append(v)

    def after_update(self, _module, _arguments, output):
        self.note(token=copies(refiner_locals(), TOKEN), delta=[d.clone() for d in output[:4]])

    def noting(self, function, name):
        """The function, whose arguments and result are noted as NAME_in, NAME_out."""
        def call(*arguments, **named):
            result = function(*arguments, **named)
            self.note(**{name + "_in": arguments, name + "_out": result})
            return result
        return call

    def wrapped(self):
        ref, net = self.ref, self.net
        support, cameras, rigid = ref.spatrack.get_track_points, net.cam_from_track, net.track_from_cam
        adjust, solve = ref.refiner.ba_pycolmap, ref.ba.pyceres.solve

        def get_track_points(*arguments, **named):
            q = support(*arguments, **named)
            self.windows.append({"it": [], "support": q.clone()})
            return q

        def cam_from_track(*arguments, **named):
            if named.get("only_cam_pts"):
                return cameras(*arguments, **named)
            self.note(geometry=copies(refiner_locals(), GEOMETRY), cam_in=[x.clone() for x in arguments],
                      tracks_xyz=named["tracks_xyz"].clone(), c2w_before=net.c2w_est_curr.clone())
            self.in_cameras = True
            result = cameras(*arguments, **named)
            self.in_cameras = False
            self.note(cam_out=[x.clone() for x in result])
            return result

        def track_from_cam(q, c2w, k, **named):
            result = rigid(q, c2w, k, **named)
            if self.in_cameras:
                self.note(rigid_in=(q.clone(), c2w.clone(), k.clone()), rigid_out=result)
            return result

        def ba_pycolmap(*arguments, **named):
            self.note(ba_in=arguments, ba_stats=np.zeros(6))
            result = adjust(*arguments, **named)
            self.note(ba_out=result)
            return result

        def keep_summary(options, problem, summary):
            result = solve(options, problem, summary)
            self.note(ba_stats=bundle.statistics(summary))
            return result

        return reference.patched(
            (ref.spatrack, "get_track_points", get_track_points),
            (net, "cam_from_track", cam_from_track), (net, "track_from_cam", track_from_cam),
            (ref.refiner, "extract_static_from_3DTracks",
             self.noting(ref.refiner.extract_static_from_3DTracks, "static")),
            (ref.refiner, "key_fr_wprocrustes", self.noting(ref.refiner.key_fr_wprocrustes, "procrustes")),
            (ref.refiner, "ba_pycolmap", ba_pycolmap), (ref.ba.pyceres, "solve", keep_summary))


@functools.lru_cache(1)
def recorded(folder, run):
    """(scene, windows, what the run returns) of one of RUNS."""
    mode, size, seed, vo_points, levels_of = RUNS[run]
    ref, model = reference.tracker(folder), tracker.predictor(folder, mode)
    s = scene.render(*size, seed=seed)
    recorder = Recorder(ref, model, levels_of)
    with recorder.on():
        result = tracker.track(folder, model, s, vo_points)
    return s, recorder.windows, result


# Mode; frames, height, width, queries and seed of the scene; support points; iteration whose levels are kept.
RUNS = {"offline": ("offline", (6, 294, 518, 24), 1, 120, 1), "online": ("online", (34, 98, 168, 8), 2, 72, None),
        # Frame 0 shares least with an end in every iteration, and the public key frame is 1.
        "key_frame": ("offline", (3, 98, 168, 16), 1, 120, None)}


# What is kept of one -----------------------------------------------------------------------------

def inputs(s):
    return {"in." + k: v for k, v in s.items()}


def outputs(result, stride):
    """What the run returns; maps at every `stride`-th row and column."""
    o = dict(zip(OUTPUTS, result))
    o["point_map"] = o["point_map"][:, :, ::stride, ::stride]
    o["conf_depth"] = o["conf_depth"][:, ::stride, ::stride]
    return {"out." + k: v for k, v in o.items()}


def start_of(window):
    start = {k: v[0] if v.dim() > 1 else v for k, v in window["start"].items()
             if k not in ("queries_xyz", "queries_point_map_")}
    return {**{"start." + k: v for k, v in start.items()}, "start.support": window["support"][0]}


def state_of(it, k):
    """What the next iteration, or the output, sees of iteration k."""
    g, out = it["geometry"], it["cam_out"]
    state = {"xy": it["cam_in"][0][0, ..., :2], "cam_points": out[1][0], "xyz_unreplaced": g["coords_xyz_append"][0],
             "vis": g["vis"][0], "conf": g["confidence"][0], "dyn": g["dynamic_prob"][0],
             "weight": g["pro_analysis_w"][0], "replaced": g["replace_mask"][0], "c2w": out[0][0],
             "c2w_init": out[6][0], "intrinsics": out[2].reshape(-1, 3, 3),
             "static": it["static_out"][1].reshape(-1), "ba_stats": it["ba_stats"]}
    return {f"it{k}.{name}": value for name, value in state.items()}


def geometry_of(it):
    """All that goes into and comes out of the geometry of an iteration."""
    g = {"upd." + k: (v[0] if v.dim() > 0 and v.shape[0] == 1 else v) for k, v in it["geometry"].items()}
    out, p, s, r = it["cam_out"], it["procrustes_in"], it["static_in"], it["static_out"]
    g.update({"cam.c2w": out[0][0], "cam.points": out[1][0], "cam.intrinsics": out[2].reshape(-1, 3, 3),
              "cam.c2w_init": out[6][0], "cam.c2w_before": it["c2w_before"][0], "cam.dyn_prob": it["cam_in"][2][0],
              "cam.unc": it["cam_in"][3][0], "cam.weight": it["cam_in"][4][0], "cam.tracks_xyz": it["tracks_xyz"][0]})
    g.update({"procrustes.points": p[0][0], "procrustes.weight": p[2][0], "procrustes.vis": p[3][0, :, :, 0],
              "procrustes.out": it["procrustes_out"][0]})
    g.update({"static.world": s[0][0], "static.dyn": s[1][0], "static.query_world": s[2][0], "static.vis": s[3][0],
              "static.tracks2d": s[4][0], "static.mask": r[1].reshape(-1), "static.order": r[2].reshape(-1),
              "static.points": r[0].reshape(-1, 3), "static.vis_out": r[3][0], "static.tracks2d_out": r[4][0]})
    q, o = it["rigid_in"], it["rigid_out"]
    g.update({"rigid.queries": q[0][0], "rigid.c2w": q[1][0], "rigid.intrinsics": q[2][0], "rigid.proj": o[0][0],
              "rigid.world": o[1][0], "rigid.cam": o[2][0]})
    return {**g, **bundle.arrays_of(it["ba_in"], it["ba_out"], it["ba_stats"])}


SAMPLED = {"map_stride": 8, "fmap": "[::3, ::8, ::6, ::8]", "point_map": "[::3, :, ::2, ::2]"}


@catalog.golden("tracker/offline", slow=True, noise=5e-2)
def offline(folder):
    """A whole run: 6 frames 294 x 518, 24 queries and 120 support points, seed 0

    in.frames, .depth, .conf [6, 294, 518(, 3)], .intrinsics [6, 3, 3], .c2w [6, 4, 4], .queries [24, 3]
    start.queries [144, 3], .queries_z, .queries_z_unc [144, 1], .queries_rgb, .queries_point_map [144, 3]
    start.intrs, .intrs_org [6, 3, 3]            pixels of the feature maps, of the tracker's frame
    start.cam_gt [6, 4, 4], .min_pts, .max_pts [3], .support [120, 3]
    start.fmap0..3 [2, 16, h, w], .point_map0..3 [2, 3, h, w]   sampled: of fmap every 3rd frame, 8th channel, 6th row,
                                                 8th column; of point_map every 3rd frame, 2nd row and column
    it0..3.*                                     xy [6, 144, 2], cam_points, xyz_unreplaced [6, 144, 3], vis, conf,
                                                 dyn, weight, replaced [6, 144], c2w, c2w_init, intrinsics, static
                                                 [144], ba_stats [6]
    out.c2w [6, 4, 4], .intrinsics, .point_map [6, 3, 37, 65], .conf_depth [6, 37, 65]   maps: every 8th
    out.track3d [6, 24, 6], .track2d [6, 24, 3], .vis, .conf [6, 24, 1]
    """
    s, windows, result = recorded(folder, "offline")
    states = [state_of(it, k) for k, it in enumerate(windows[0]["it"])]
    arrays = {**inputs(s), **start_of(windows[0])}
    for state in states:
        arrays.update(state)
    return {**arrays, **outputs(result, 8)}, {"seed": 0, "vo_points": 120, **SAMPLED}


@catalog.golden("tracker/geometry", slow=True, noise=5e-2)
def geometry(folder):
    """The geometry of iteration 1 of `offline`, T = 6, N = 144

    upd.*         before the cameras: the points lifted from depth, which are replaced, with all thresholds
    procrustes.*  points [T, N, 3], weight [1, N], vis [T, N], out [T, 4, 4]
    rigid.*       queries [T, N, 4], c2w, intrinsics, proj [T, N, 3], world [N, 3], cam [T, N, 3]
    static.*      which tracks are still: world, dyn, query_world, vis, tracks2d; mask [N], order, points [120, 3],
                  vis_out, tracks2d_out
    ba.*          as in `ba_tiny`
    cam.*         c2w [T, 4, 4], points [T, N, 3], intrinsics, c2w_init, c2w_before, dyn_prob [T, N], unc [N, 1],
                  weight [T, N], tracks_xyz [T, N, 3]
    """
    return geometry_of(recorded(folder, "offline")[1][0]["it"][1]), {"iteration": 1, "run": "offline"}


@catalog.golden("tracker/online", slow=True, noise=5e-2)
def online(folder):
    """A whole run in three windows: 34 frames 98 x 168, 8 queries and 72 support points, seed 0

    in.*                  as in `offline`
    winJ.start.*          J = 0..2, T = 20, N = 79 or 80: as in `offline` without maps; xyz_init [20, N, 3] where
                          tracks begin, normalised; queries_xyz [20, N, 4]
    winJ.it3.*            the last iteration of the window
    out.*                 as in `offline`; maps: every 14th row and column
    """
    s, windows, result = recorded(folder, "online")
    arrays = inputs(s)
    for j, window in enumerate(windows):
        values = {k: v for k, v in start_of(window).items() if "map" not in k}
        values.update(state_of(window["it"][-1], len(window["it"]) - 1))
        values["start.xyz_init"] = window["start"]["queries_point_map_"][0]
        values["start.queries_xyz"] = window["start"]["queries_xyz"][0]
        arrays.update((f"win{j}.{k}", v) for k, v in values.items())
    return {**arrays, **outputs(result, 14)}, {"seed": 0, "vo_points": 72, "map_stride": 14}


@catalog.golden("tracker/key_frame", noise=5e-2)
def key_frame(folder):
    """A whole run whose key frame is easily taken wrongly: 3 frames 98 x 168, 16 queries and 120 support points

    As `offline`, N = 136, with it<k>.shared [3], what each frame shares with an end, and it<k>.key_frame [1], the
    frame between the ends that shares least. Frame 0 shares least of all, and a program that takes it is 5e-3 off
    in it0.c2w_init.
    """
    s, windows, result = recorded(folder, "key_frame")
    arrays = {**inputs(s), **start_of(windows[0])}
    for k, it in enumerate(windows[0]["it"]):
        of_frames = bundle.shared(it["procrustes_in"][3][0, :, :, 0])
        arrays.update({**state_of(it, k), f"it{k}.shared": of_frames,
                       f"it{k}.key_frame": np.array(1 + of_frames[1:-1].argmin(), np.int64)})
    return {**arrays, **outputs(result, 8)}, {"seed": 0, "vo_points": 120, **SAMPLED}


@catalog.golden("tracker/key_frame_geometry", noise=1e-3)
def key_frame_geometry(folder):
    """The geometry of iteration 0 of `key_frame`, laid out as `geometry`: T = 3, N = 136"""
    return geometry_of(recorded(folder, "key_frame")[1][0]["it"][0]), {"iteration": 0, "run": "key_frame"}


# Units as they work within `offline` -------------------------------------------------------------

PER_TRACK = ("track_feat_support", "track_feat_support3d", "track_point_map_support", "rel_pos_query_idx",
             "rel_pos_query")


def some_tracks(count):
    """Queries and support points."""
    return [0, 5, 11, count - 20, count - 10, count - 1]


def level(number):
    def make(folder):
        it = recorded(folder, "offline")[1][0]["it"][1]
        count, v, arrays, t = it["token"]["coords"].shape[2], it["levels"][number], {}, [0, 2, 5]
        n = some_tracks(count)
        for name, x in v.items():
            if name in PER_TRACK:
                arrays[name] = x[0][n]
            elif name in ("coords_xyz_init", "coords_proj_curr"):
                arrays[name] = x[t][:, n]
            elif name == "corr_depth_raw" or x.dim() > 3:
                arrays[name] = x.reshape(1, -1, count, *x.shape[3:])[0][t][:, n]
        del arrays["corr_volume"]
        arrays["corr_volume"] = v["corr_volume"][0][t[:2]][:, n[:3]]
        d = v["corr_point_map"] - v["coords_xyz_init"].reshape(1, -1, count, 1, 1, 3)
        d = torch.sort(d.norm(dim=-1).flatten(3)[0][t][:, n], -1).values
        arrays["gap_17_18"] = d[..., 17] - d[..., 16]
        return arrays, {"tracks": n, "frames": t, "iteration": 1, "level": number}
    make.__doc__ = f"""Correlation on level {number} of iteration 1, 6 tracks in 3 frames

    coords_xyz_init [3, 6, 3], coords_proj_curr [3, 6, 2]    where tracks are believed
    track_feat_support, track_feat_support3d [6, 7, 7, 128], track_point_map_support [6, 7, 7, 3]   around the query
    corr_feat, corr_point_feat [3, 6, 7, 7, 128], corr_point_map [3, 6, 7, 7, 3]    around it in the frame
    corr_volume [2, 3, 7, 7, 7, 7], corr_emb [3, 6, 256]     of 2 frames and 3 tracks; its embedding
    rel_pos_query_idx, rel_pos_query [6, 16, .], rel_pos_target_idx, rel_pos_target [3, 6, 16, .]   16 nearest
                                                             neighbours in 3D and their positions
    queried_feat, target_feat [3, 6, 16, 128], valid_mask [3, 6, 1]
    corr_depth_raw, corr_depth_emb [3, 6, 256]
    gap_17_18 [3, 6]                                         from the last neighbour chosen to the next
    """
    return make


catalog.golden("tracker/level0", slow=True, noise=1e-3)(level(0))
catalog.golden("tracker/level2", slow=True, noise=1e-3)(level(2))


@catalog.golden("tracker/tokens", slow=True, noise=5e-3)
def tokens(folder):
    """The tokens of iteration 1 and their parts, 6 tracks

    x, x_depth [6, 6, 1110]                      track, frame, channel: the tokens of 2D and of 3D
    vis, confidence, dynamic_prob, pro_analysis_w [6, 6], coords, coords_xyz [6, 6, 3]    frame, track, as the rest
    corr_embs, corr_depth_embs [6, 6, 1024], rel_pos_emb_input, rel_xyz_emb_input [6, 6, 84],
    rel_pos_query_glob [6, 6, 150], q_xyz_cam [6, 6, 4]
    c2w_before [6, 4, 4], intrs [6, 3, 3], min_pts, max_pts [3], queries [6, 3], queries_z [6, 1],
    queries_xyz [6, 6, 4]
    delta.*                                      outputs of the update: coords_vis_conf [6, 6, 4], xyz, dyn, weight
    """
    window = recorded(folder, "offline")[1][0]
    it, start, arrays = window["it"][1], window["start"], {}
    n = some_tracks(it["token"]["coords"].shape[2])
    for name, x in it["token"].items():
        if name != "intrs":
            arrays[name] = x[0][n] if name in ("x", "x_depth") else x[0][:, n]
    arrays.update(c2w_before=it["c2w_before"][0], intrs=it["token"]["intrs"][0], min_pts=start["min_pts"],
                  max_pts=start["max_pts"], queries=start["queries"][0][n], queries_z=start["queries_z"][0][n],
                  queries_xyz=start["queries_xyz"][0][:, n])
    arrays.update(("delta." + k, d[0][n]) for k, d in zip(("coords_vis_conf", "xyz", "dyn", "weight"), it["delta"]))
    return arrays, {"tracks": n, "iteration": 1, "note": "delta: outputs of the full run"}


def first_calls(watched):
    """Hooks that keep {NAME.in0, .in1, .out} of the first call of each (name, module, rows of the batch)."""
    kept, hooks = {}, []
    for name, module, rows in watched:
        def hook(_module, arguments, named, output, name=name, rows=rows):
            if name + ".out" not in kept:
                kept.update((f"{name}.in{i}", a[rows].clone()) for i, a in enumerate(arguments[:2]))
                kept[name + ".out"] = output[rows].clone()
        hooks.append(module.register_forward_hook(hook, with_kwargs=True))
    return kept, hooks


@catalog.golden("tracker/updateformer", slow=True, noise=1e-3)
def updateformer(folder):
    """The update transformer on 40 tracks of iteration 1

    x, x_depth [40, 6, 1110]                     in
    flow_vis_conf [40, 6, 4], xyz [40, 6, 3], dyn, weight [40, 6, 1]    out
    block.KIND.0.in0, .in1, .out [1, tracks, 384]  the first block of each kind, row 0 of the batch (6 rows of the time
                                                 blocks); in1 where it attends to others
    """
    token, net = recorded(folder, "offline")[1][0]["it"][1]["token"], tracker.refiner(folder)
    x, x_depth = token["x"][:, :40], token["x_depth"][:, :40]
    former, former3d, one = net.updateformer, net.updateformer3D, slice(0, 1)
    watched = [("time_blocks.0", former.time_blocks[0], slice(0, 6)),
               ("time_blocks_new.0", former3d.time_blocks_new[0], slice(0, 6))]
    watched += [(name + ".0", getattr(former, name)[0], one) for name in
                ("space_virtual2point_blocks", "space_virtual_blocks", "space_point2virtual_blocks")]
    watched += [(name + ".0", getattr(former3d, name)[0], one) for name in
                ("space_track3d2switcher_blocks", "space_virtual2switcher_blocks", "space_switcher2virtual_blocks",
                 "space_switcher_blocks", "space_switcher2track3d_blocks")]
    blocks, hooks = first_calls(watched)
    flow, xyz, dyn, weight, _, _ = former3d(x, x_depth, former)
    for handle in hooks:
        handle.remove()
    arrays = {"x": x[0], "x_depth": x_depth[0], "flow_vis_conf": flow[0], "xyz": xyz[0], "dyn": dyn[0],
              "weight": weight[0], **{"block." + k: v for k, v in blocks.items()}}
    return arrays, {"note": "40 tracks of iteration 1; blocks: batch row 0 (6 rows for the time blocks)"}
