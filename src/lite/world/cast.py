"""The renderer with its inner loops in C (cast.c), built when it is imported: several times
faster on a CPU than render.py alone, with the same images."""
import ctypes
import os
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from world import render

Float, Int = ctypes.c_float, ctypes.c_int32
SURFACE = np.dtype([
    ("kind", "i4"), ("slope", "f4"), ("gloss", "f4"), ("texels", "f4"), ("cover_texels", "f4"),
    ("cover_share", "f4"), ("scales", "f4", 3), ("textures", "i4", 6), ("emissive", "i4", 6),
    ("offsets", "f4", (6, 2)), ("local", "f4", (3, 4)), ("centre", "f4", 3), ("reach", "f4"),
    ("bounds", "i4", 4)])


class World(ctypes.Structure):
    _fields_ = [
        ("count", Int), ("textures", Int), ("lamp", Int), ("shadows", Int), ("eye", Float * 3),
        ("focal", Float), ("place", Float * 3), ("range", Float), ("power", Float),
        ("ambient", Float), ("tint", Float * 3), ("surfaces", ctypes.c_void_p),
        ("atlas", ctypes.c_void_p)]


def build() -> ctypes.CDLL:
    source = Path(__file__).with_name("cast.c")
    with tempfile.TemporaryDirectory() as folder:
        library = f"{folder}/cast.so"
        options = ["-O3", "-fno-math-errno", "-fno-trapping-math"]
        if " avx2 " in Path("/proc/cpuinfo").read_text():
            options += ["-mavx2", "-mfma"]
        compiler = os.environ.get("CC", "cc").split()
        subprocess.run([*compiler, *options, "-shared", "-fPIC", "-o", library, source, "-lm"],
                       check=True)
        return ctypes.CDLL(library)


LIBRARY = build()


def pointer(array: Tensor) -> ctypes.c_void_p:
    assert array.is_contiguous()
    return ctypes.c_void_p(array.data_ptr())


class Renderer(render.Renderer):
    def __init__(self, scene, height, width):
        super().__init__(scene, height, width)
        self.surfaces = np.zeros(len(scene.surfaces), SURFACE)
        for row, s in zip(self.surfaces, scene.surfaces):
            row["kind"], row["slope"], row["gloss"] = s.prim.kind, s.prim.taper / 2, s.gloss
            row["texels"], row["cover_texels"] = s.texels, s.cover_texels
            row["cover_share"], row["offsets"] = s.cover_share, s.offsets
            row["textures"], row["emissive"] = s.textures, s.emissive
            row["scales"] = np.linalg.norm(s.prim.affine[:3, :3], axis=0)

    def prepare(self, time: float) -> None:
        super().prepare(time)
        self.surfaces["local"], self.surfaces["bounds"] = self.rows.numpy(), self.bounds
        self.surfaces["centre"], self.surfaces["reach"] = self.to_world[:, :3, 3], self.reach
        light = self.light
        place = light["position" if light["lamp"] else "direction"]
        self.world = World(len(self.surfaces), len(self.scene.textures), light["lamp"],
                           self.scene.shadows, tuple(self.c2w[:3, 3]), self.k[0, 0], tuple(place),
                           light["reach"], light["power"], light["ambient"], tuple(light["tint"]),
                           self.surfaces.ctypes.data, None)

    def trace(self, xy: Tensor, d: Tensor, whole: bool) -> tuple[Tensor, Tensor]:
        count = xy.shape[1]
        depth, seen = torch.empty(count), torch.empty(count, dtype=torch.int64)
        LIBRARY.trace(ctypes.byref(self.world), count, self.width if whole else 0, pointer(xy),
                      pointer(d), pointer(depth), pointer(seen))
        return depth, seen

    def shade(self, d: Tensor, depth: Tensor, seen: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        count = len(depth)
        image, face = torch.empty(count, 3), torch.empty(count, dtype=torch.int64)
        dark = torch.empty(count, dtype=torch.bool)
        self.world.atlas = self.tables["atlas"].data_ptr()
        LIBRARY.shade(ctypes.byref(self.world), count, pointer(d), pointer(depth), pointer(seen),
                      pointer(image), pointer(face), pointer(dark))
        return image, face, dark
