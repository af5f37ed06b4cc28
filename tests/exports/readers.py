#!/usr/bin/env python3
"""What other programs' readers find in the exports, next to the result as numpy reads it: usd-core, plyfile,
trimesh, pycolmap (PyPI) and OpenCV; each case is skipped where its package is missing. Prints TAP, and the figures as comments.

    readers.py SPATRACK SOURCE_ROOT SYNTH [part of a case's name]
"""
import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "cli"))
from arrays import png_chunks  # noqa: E402
from program import BALL, FAST, finish, good, path  # noqa: E402
from tap import Skip  # noqa: E402

try:
    import numpy as np
except ImportError:
    np = None

FLIP = (1, -1, -1)  # from x right, y down, z forward to x right, y up, z backward
MOST = 1e-5         # of the unit of length


def needs(*names):
    """Imports packages."""
    if np is None:
        raise Skip("there is no numpy")
    found = []
    for name in names:
        try:
            found.append(__import__(name))
        except ImportError:
            raise Skip(f"there is no {name}") from None
    return found


def exports():
    """The result of one run, which wrote the others beside it."""
    if not os.path.exists(path("r.npz")):
        good(BALL, "-q", "-o", "r.npz", "--usd", "r.usda", "--usd-cloud", "--ply", "r.ply", "--cameras", "r.chan",
             "--colmap", "model", "--depth", "depth")
    return np.load(path("r.npz"))


def most(name, values, limit):
    value = float(np.abs(values).max())
    print(f"# {name}: at most {value:.3g}")
    assert value <= limit, (name, value)


def seen(r, points):
    """[T, N, 2] pixels of the input, of points [T, N, 3] of the world, by the result's own cameras."""
    e = r["extrinsics"].astype(float)[:, None]
    p = r["intrinsics_input"].astype(float)[:, None] @ (e[..., :3, :3] @ points[..., None] + e[..., :3, 3:])
    return p[..., :2, 0] / p[..., 2:, 0]


def stage():
    needs("pxr")
    from pxr import Usd, UsdGeom
    r = exports()
    scene = Usd.Stage.Open(path("r.usda"))
    return r, scene, UsdGeom, [Usd.TimeCode(t + 1) for t in range(len(r["coords"]))]


def usd_knows_axes_units_and_times():
    r, scene, geom, times = stage()
    assert geom.GetStageUpAxis(scene) == "Y" and geom.GetStageMetersPerUnit(scene) == 1
    assert scene.GetDefaultPrim().GetPath() == "/Scene"
    assert (scene.GetStartTimeCode(), scene.GetEndTimeCode()) == (1, len(times))
    step = np.diff(r["timestamps"]).mean()
    most("rate, share", scene.GetTimeCodesPerSecond() * step - 1, 1e-6)


def usd_cameras_stand_where_the_results_do():
    r, scene, geom, times = stage()
    camera = geom.Camera(scene.GetPrimAtPath("/Scene/Camera"))
    ours = np.linalg.inv(r["extrinsics"].astype(float))
    flip = np.diag([*FLIP, 1.0])
    got = np.array([np.array(camera.ComputeLocalToWorldTransform(t)).T for t in times])
    most("camera to world", got - flip @ ours @ flip, MOST)
    assert np.abs(got[-1] - got[0]).max() > 1e-3


def usd_points_stand_where_the_results_do():
    r, scene, geom, times = stage()
    points = geom.Points(scene.GetPrimAtPath("/Scene/Tracks"))
    got = np.array([points.GetPointsAttr().Get(t) for t in times])
    most("points", got - r["coords"] * FLIP, MOST)
    assert list(points.GetIdsAttr().Get()) == list(range(got.shape[1]))
    assert len(points.GetWidthsAttr().Get()) == got.shape[1]
    api = geom.PrimvarsAPI(points)
    visible = np.array([api.GetPrimvar("visible").Get(t) for t in times])
    assert (visible == (r["visibs"][..., 0] > 0.5)).all()
    most("dynamic", np.array(api.GetPrimvar("dynamic").Get()) - r["dynamic"], 0)
    sigma = np.array([api.GetPrimvar("sigma").Get(t) for t in times])
    assert np.array_equal(sigma, r["sigma"], equal_nan=True) and np.isnan(sigma).any()
    for name in ("visible", "sigma", "dynamic", "displayColor"):
        primvar = api.GetPrimvar(name)
        assert primvar.GetInterpolation() == "vertex", name
        assert len(primvar.Get(times[0])) == got.shape[1], name


def usd_camera_sees_the_tracks():
    """Through UsdGeomCamera's own frustum."""
    r, scene, geom, times = stage()
    camera = geom.Camera(scene.GetPrimAtPath("/Scene/Camera"))
    points = geom.Points(scene.GetPrimAtPath("/Scene/Tracks"))
    w, h = r["size"]
    pixels = []
    for t in times:
        frustum = camera.GetCamera(t).frustum
        matrix = np.array(frustum.ComputeViewMatrix() * frustum.ComputeProjectionMatrix())
        clip = np.c_[np.array(points.GetPointsAttr().Get(t), float), np.ones(len(r["queries"]))] @ matrix
        ndc = clip[:, :2] / clip[:, 3:]
        pixels.append(np.c_[(ndc[:, 0] + 1) / 2 * w - 0.5, (1 - ndc[:, 1]) / 2 * h - 0.5])
    ours = seen(r, r["coords"].astype(float))
    most("pixels, next to the result's cameras", np.array(pixels) - ours, 0.01)
    visible = r["visibs"][..., 0] > 0.5
    usd = np.linalg.norm(np.array(pixels) - r["tracks2d"], axis=-1)[visible]
    npz = np.linalg.norm(ours - r["tracks2d"], axis=-1)[visible]
    print(f"# pixels from tracks2d, mean and most: USD {usd.mean():.4g} {usd.max():.4g}, npz {npz.mean():.4g} {npz.max():.4g}")
    assert (usd <= npz + 0.01).all()


def usd_cloud_is_the_first_frames_depth():
    r, scene, geom, times = stage()
    cloud = geom.Points(scene.GetPrimAtPath("/Scene/Cloud"))
    z = -np.array(cloud.GetPointsAttr().Get())[:, 2]
    depth = r["depths"][0][r["confs_depth"][0] > 0.5]
    colour = np.array(geom.PrimvarsAPI(cloud).GetPrimvar("displayColor").Get())
    assert len(colour) == len(z) == len(cloud.GetWidthsAttr().Get())
    share = np.abs(np.percentile(z, [10, 50, 90]) / np.percentile(depth, [10, 50, 90]) - 1)
    most("quantiles of depth, share", share, 0.01)
    srgb = np.where(colour <= 0.0031308, 12.92 * colour, 1.055 * colour ** (1 / 2.4) - 0.055)
    video = r["video"][0][:, r["confs_depth"][0] > 0.5].T
    most("mean colour", srgb.mean(0) - video.mean(0), 0.01)


def check_vertices(r, xyz, rgb):
    """Every point is in some frame near what its depth says, and has its colour there."""
    k, e = r["intrinsics"].astype(float), r["extrinsics"].astype(float)
    h, w = r["depths"].shape[1:]
    nearest = np.full(len(xyz), np.inf)
    colour = np.full(len(xyz), np.inf)
    for t in range(len(e)):
        camera = xyz @ e[t, :3, :3].T + e[t, :3, 3]
        p = camera @ k[t].T
        x, y = np.rint(p[:, :2] / p[:, 2:]).astype(int).T
        inside = (x >= 0) & (x < w) & (y >= 0) & (y < h) & (camera[:, 2] > 0)
        x, y = np.clip(x, 0, w - 1), np.clip(y, 0, h - 1)
        off = np.where(inside, np.abs(r["depths"][t, y, x] / camera[:, 2] - 1), np.inf)
        nearest = np.minimum(nearest, off)
        colour = np.minimum(colour, np.where(off < 0.1, np.abs(r["video"][t][:, y, x].T * 255 - rgb).max(1), np.inf))
    print(f"# {len(xyz)} vertices; off the nearest frame's depth by a median share of {np.median(nearest):.3g}; "
          f"colour off by a median of {np.median(colour):.3g} of 255")
    assert np.median(nearest) < 0.01 and np.mean(nearest < 0.1) > 0.95 and np.median(colour) < 8


def plyfile_reads_the_cloud_and_the_tracks():
    plyfile, = needs("plyfile")
    r = exports()
    ply = plyfile.PlyData.read(path("r.ply"))
    vertex, track = ply["vertex"].data, ply["track"].data
    assert ply.byte_order == "<" and not ply.text
    frames, tracks = r["coords"].shape[:2]
    assert len(track) == frames * tracks and len(vertex) > 1000
    got = np.stack([track[c] for c in "xyz"], -1).reshape(tracks, frames, 3).swapaxes(0, 1)
    most("points of tracks", got - r["coords"], MOST)
    assert (track["track"].reshape(tracks, frames).T == np.arange(tracks)).all()
    assert (track["frame"].reshape(tracks, frames) == np.arange(frames)).all()
    assert (track["visible"].reshape(tracks, frames).T == (r["visibs"][..., 0] > 0.5)).all()
    most("confidence", track["confidence"].reshape(tracks, frames).T - r["confs"][..., 0], 0)
    check_vertices(r, np.stack([vertex[c] for c in "xyz"], -1).astype(float),
                   np.stack([vertex[c] for c in ("red", "green", "blue")], -1).astype(float))


def trimesh_reads_the_cloud():
    plyfile, trimesh = needs("plyfile", "trimesh")
    exports()
    cloud = trimesh.load(path("r.ply"))
    vertex = plyfile.PlyData.read(path("r.ply"))["vertex"].data
    assert isinstance(cloud, trimesh.PointCloud) and len(cloud.vertices) == len(vertex)
    most("vertices, next to plyfile's", cloud.vertices - np.stack([vertex[c] for c in "xyz"], -1), 0)
    assert (cloud.colors[:, 0] == vertex["red"]).all()


def plyfile_and_trimesh_read_a_cloud_of_each_frame():
    plyfile, trimesh = needs("plyfile", "trimesh")
    good(BALL, "-q", "--max-frames", "3", "--vo-points", "20", "-o", "p.npz", "--ply", "p_%d.ply")
    r = np.load(path("p.npz"))
    for t in range(3):
        ply = plyfile.PlyData.read(path(f"p_{t}.ply"))
        xyz = np.stack([ply["vertex"].data[c] for c in "xyz"], -1).astype(float)
        e, trusted = r["extrinsics"][t].astype(float), r["confs_depth"][t] > 0.5
        most("depth of a frame's points", (xyz @ e[:3, :3].T + e[:3, 3])[:, 2] - r["depths"][t][trusted], MOST)
        tracks = ply["track"].data
        most("points of tracks", np.stack([tracks[c] for c in "xyz"], -1) - r["coords"][t], MOST)
        cloud = trimesh.load(path(f"p_{t}.ply"))
        assert isinstance(cloud, trimesh.PointCloud) and len(cloud.vertices) == len(xyz)


def reprojection(r, mean, times, n):
    return np.linalg.norm(seen(r, np.broadcast_to(mean, (len(r["coords"]), 1, 3)))[times, 0] -
                          r["tracks2d"][times, n], axis=1).mean()


def pycolmap_reads_the_model():
    pycolmap, = needs("pycolmap")
    r = exports()
    model = pycolmap.Reconstruction(path("model/sparse/0"))
    print(f"# {model.num_images()} images, {model.num_points3D()} points, track length {model.compute_mean_track_length():.2f}")
    assert model.num_images() == len(r["coords"]) and model.compute_mean_track_length() > 5
    for t in range(len(r["coords"])):
        image = model.images[t + 1]
        k, e = r["intrinsics_input"][t], r["extrinsics"][t]
        most("w2c", image.cam_from_world().matrix() - e[:3], 1e-6)
        most("K", image.camera.calibration_matrix() - (k + [[0, 0, .5], [0, 0, .5], [0, 0, 0]]), 1e-4)
        assert (image.camera.width, image.camera.height) == tuple(r["size"])


def pycolmaps_reprojection_error_is_that_of_the_result():
    pycolmap, = needs("pycolmap")
    r = exports()
    model = pycolmap.Reconstruction(path("model/sparse/0"))
    said = model.compute_mean_reprojection_error()
    model.update_point_3d_errors()
    found = model.compute_mean_reprojection_error()
    ok = (r["visibs"][..., 0] > .5) & (r["confs"][..., 0] > .5) & np.isfinite(r["sigma"])
    ok &= ((r["tracks2d"] >= -.5) & (r["tracks2d"] <= r["size"] - .5)).all(-1)
    ours = []
    for n in np.flatnonzero((r["dynamic"] < .5) & (ok.sum(0) >= 3)):
        times = np.flatnonzero(ok[:, n])
        error = reprojection(r, r["coords"][times, n].astype(float).mean(0), times, n)
        if error <= 0.02 * r["size"].max():
            ours.append(error)
    print(f"# {len(ours)} points; mean reprojection error in pixels: file {said:.6f}, pycolmap {found:.6f}, npz {np.mean(ours):.6f}")
    assert len(ours) == model.num_points3D() and len(ours) > 20
    most("mean errors, pixels", np.array([said, found]) - np.mean(ours), 1e-3)


def transforms_are_the_poses():
    needs("numpy")
    r = exports()
    with open(path("model/transforms.json"), encoding="utf-8") as file:
        frames = json.load(file)["frames"]
    got = np.array([frame["transform_matrix"] for frame in frames])
    most("c2w", got @ np.diag([*FLIP, 1.0]) - np.linalg.inv(r["extrinsics"].astype(float)), MOST)


def opencv_reads_depth_as_exr():
    os.environ["OPENCV_IO_ENABLE_OPENEXR"] = "1"
    cv2, = needs("cv2")
    r = exports()
    exr = cv2.imread(path("depth/depth_000003.exr"), cv2.IMREAD_UNCHANGED)
    if exr is None:
        raise Skip("this OpenCV reads no EXR")
    assert exr.dtype == np.float32 and np.array_equal(exr, r["depths"][3])


def opencv_reads_depth_as_png():
    cv2, = needs("cv2")
    good(BALL, "-q", *FAST, "-o", "d.npz", "--depth", "depth16", "--depth-format", "png")
    name = path("depth16/depth_000002.png")
    text = dict(data.split(b"\0") for kind, data in png_chunks(name) if kind == b"tEXt")
    step = float(text[b"depth_scale"])
    png = cv2.imread(name, cv2.IMREAD_UNCHANGED)
    assert png.dtype == np.uint16
    most("PNG's depth, steps", (png * step - np.load(path("d.npz"))["depths"][2]) / step, 0.501)


def a_chan_turns_as_nuke_does():
    """Rotation order ZXY: about z first, then x, then y."""
    needs("numpy")
    r = exports()
    rows = np.loadtxt(path("r.chan"))
    flip = np.diag([*FLIP, 1.0])
    ours = flip @ np.linalg.inv(r["extrinsics"].astype(float)) @ flip
    assert (rows[:, 0] == np.arange(1, len(ours) + 1)).all()
    most("positions", rows[:, 1:4] - ours[:, :3, 3], MOST)
    x, y, z = np.radians(rows[:, 4:7]).T
    one, nil = np.ones_like(x), np.zeros_like(x)

    def matrix(*rows):
        return np.stack([np.stack(row, -1) for row in rows], -2)
    about_x = matrix((one, nil, nil), (nil, np.cos(x), -np.sin(x)), (nil, np.sin(x), np.cos(x)))
    about_y = matrix((np.cos(y), nil, np.sin(y)), (nil, one, nil), (-np.sin(y), nil, np.cos(y)))
    about_z = matrix((np.cos(z), -np.sin(z), nil), (np.sin(z), np.cos(z), nil), (nil, nil, one))
    most("rotations", about_y @ about_x @ about_z - ours[:, :3, :3], MOST)
    fov = np.degrees(2 * np.arctan(r["size"][1] / 2 / r["intrinsics_input"][:, 1, 1].astype(float)))
    most("field of view, degrees", rows[:, 7] - fov, 1e-4)


finish([usd_knows_axes_units_and_times, usd_cameras_stand_where_the_results_do, usd_points_stand_where_the_results_do,
        usd_camera_sees_the_tracks, usd_cloud_is_the_first_frames_depth, plyfile_reads_the_cloud_and_the_tracks,
        trimesh_reads_the_cloud, plyfile_and_trimesh_read_a_cloud_of_each_frame, pycolmap_reads_the_model,
        pycolmaps_reprojection_error_is_that_of_the_result, transforms_are_the_poses, opencv_reads_depth_as_exr,
        opencv_reads_depth_as_png, a_chan_turns_as_nuke_does])
