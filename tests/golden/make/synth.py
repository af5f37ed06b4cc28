"""Synthetic checkpoints: the published tensors' names and shapes, filled by a rule.

The published checkpoints are too large to keep, so the goldens are made with weights that anyone can
fill again, bit for bit, from a manifest: a list of names, shapes, scales, offsets.

    h    = FNV-1a 64 of the tensor's name (UTF-8)
    x(i) = splitmix64's finaliser of (h + (i + 1) * 0x9E3779B97F4A7C15 mod 2^64), i the flat
           row-major index
    u(i) = (x(i) >> 40) / 2^24                      in [0, 1)
    w(i) = float32(offset + scale * (2 u(i) - 1))   computed in double, no fused multiply-add

tests/support/synth.c does the same in C. The makers' random inputs are filled by the same rule, from
names of their own.
"""
import json
import math
import os

import numpy as np

MANIFESTS = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "manifest")
CHUNK = 1 << 22
MASK64 = (1 << 64) - 1
GOLDEN_RATIO = 0x9E3779B97F4A7C15


def mix(z):
    """splitmix64's finaliser, of a Python integer or an array of uint64."""
    if isinstance(z, np.ndarray):
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK64
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK64
    return z ^ (z >> 31)


def fnv1a64(text):
    h = 0xCBF29CE484222325
    for byte in text.encode():
        h = ((h ^ byte) * 0x100000001B3) & MASK64
    return h


def fill(name, shape, scale, offset=0.0):
    """The tensor of that name, float32."""
    count, h = math.prod(shape), np.uint64(fnv1a64(name))
    out = np.empty(count, np.float32)
    for begin in range(0, count, CHUNK):
        end = min(count, begin + CHUNK)
        x = mix(h + np.arange(begin + 1, end + 1, dtype=np.uint64) * np.uint64(GOLDEN_RATIO))
        u = (x >> np.uint64(40)).astype(np.float64) * 2.0 ** -24
        out[begin:end] = offset + scale * (2.0 * u - 1.0)
    return out.reshape(shape)


class Stream:
    """The splitmix64 stream of src/tracker/random.h: state += 0x9E3779B97F4A7C15, then its finaliser."""

    def __init__(self, seed):
        self.state = seed & MASK64

    def next(self):
        self.state = (self.state + GOLDEN_RATIO) & MASK64
        return mix(self.state)

    def randint(self, n):
        return (self.next() >> 11) % n

    def permute(self, n):
        p = list(range(n))
        for i in range(n - 1, 0, -1):
            j = self.randint(i + 1)
            p[i], p[j] = p[j], p[i]
        return p


def default_range(name, shape):
    """(scale, offset) that keep the activations of a deep random network of order one."""
    leaf = name.rsplit(".", 1)[-1]
    if "gamma" in leaf or leaf in ("lambda1", "lambda2"):  # LayerScale
        return 0.05, 0.1
    if len(shape) <= 1:
        return (0.1, 1.0) if leaf == "weight" else (0.05, 0.0)  # a norm's gain; biases
    if "token" in leaf or "embed" in leaf or "pos" in leaf:  # learned tokens, positions
        return 0.3, 0.0
    return math.sqrt(3.0 / max(1, math.prod(shape[1:]))), 0.0


def load_manifest(name):
    with open(os.path.join(MANIFESTS, name + ".json")) as file:
        return json.load(file)


def weights(name, without=()):
    """The tensors of a manifest, one after the other: (name, float32 array)."""
    for row in load_manifest(name)["tensors"]:
        if row["name"] not in without:
            yield row["name"], fill(row["name"], row["shape"], row["scale"], row["offset"])


def write_manifest(path, model, config, shapes, ranges):
    """`shapes`: {name: shape}; `ranges`: {name: (scale, offset)} where default_range will not do."""
    rows = []
    for name, shape in shapes.items():
        scale, offset = ranges.get(name) or default_range(name, tuple(shape))
        rows.append({"name": name, "shape": [int(n) for n in shape], "scale": scale, "offset": offset})
    with open(path, "w") as file:
        file.write('{"model": %s,\n "config": %s,\n "tensors": [\n' % (json.dumps(model), json.dumps(config)))
        file.write(",\n".join("  " + json.dumps(row) for row in rows) + "\n]}\n")
