"""Safetensors files, what of a golden is stored, and how far two are apart."""
import json
import struct

import numpy as np

DTYPES = {"F32": np.float32, "F16": np.float16, "F64": np.float64, "I32": np.int32, "I64": np.int64, "U8": np.uint8,
          "BOOL": np.bool_}
NAMES = {np.dtype(dtype): name for name, dtype in DTYPES.items()}
# What is stored of a dtype, by the model.
STORED = {"front": {np.int64: np.int32}, "tracker": {},
          "sam": {np.int64: np.int32, np.float64: np.float32, np.bool_: np.uint8}}


def host(value, model):
    """A tensor, array or number as a contiguous array of at least one dimension."""
    value = value.detach().cpu().numpy() if hasattr(value, "detach") else np.asarray(value)
    value = value.astype(STORED[model].get(value.dtype.type, value.dtype))
    return np.ascontiguousarray(value)


def header_bytes(entries, metadata):
    """The length and the JSON header, padded to eight bytes."""
    text = json.dumps({**({"__metadata__": metadata} if metadata else {}), **entries}, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text


def entries_of(tensors):
    """Header entries of (name, dtype's name, shape, bytes), one behind the other."""
    entries, at = {}, 0
    for name, dtype, shape, size in tensors:
        entries[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [at, at + size]}
        at += size
    return entries


def write(path, arrays, metadata=None):
    """Tensors in the dictionary's order."""
    metadata = {k: str(v) for k, v in (metadata or {}).items()}
    entries = entries_of((k, NAMES[a.dtype], a.shape, a.nbytes) for k, a in arrays.items())
    with open(path, "wb") as file:
        file.write(header_bytes(entries, metadata))
        for array in arrays.values():
            file.write(array.tobytes())


def read(path):
    """({name: array}, metadata)."""
    with open(path, "rb") as file:
        header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
        data = file.read()
    metadata = header.pop("__metadata__", {})
    return {name: np.frombuffer(data[slice(*entry["data_offsets"])], DTYPES[entry["dtype"]]).reshape(entry["shape"])
            for name, entry in header.items()}, metadata


def stride_of(rules, name):
    """0: left out. A rule may hold one *, which stands for anything."""
    for rule, stride in rules.items():
        head, star, tail = rule.partition("*")
        if name == rule or (star and name.startswith(head) and name.endswith(tail)):
            return stride
    return 0


def cut(arrays, metadata, rules):
    """What the tests read: of each tensor that a rule names every k-th value in row-major order. The metadata
    says so, as "stride.NAME": "k"."""
    kept, metadata = {}, dict(metadata)
    for name, array in arrays.items():
        stride = stride_of(rules, name)
        if stride > 1:
            array = np.ascontiguousarray(array.reshape(-1)[::stride])
            metadata["stride." + name] = str(stride)
        if stride:
            kept[name] = array
    return kept, metadata


def compare(made, kept):
    """(largest difference, its tensor, what else differs). Of floats max |made - kept| / max(1, max |kept|); of
    what is discrete the entries that differ are counted, and more than one in twenty are a difference of 1."""
    largest, where, other = 0.0, "", []
    for name in [*kept, *(name for name in made if name not in kept)]:
        if name not in kept or name not in made or made[name].shape != kept[name].shape or \
                made[name].dtype != kept[name].dtype:
            largest, where = np.inf, name
            other.append(name + " is not in both, or has another dtype or shape")
            continue
        a, b = made[name].astype(np.float64), kept[name].astype(np.float64)
        if kept[name].dtype.kind == "f":
            gap = np.abs(np.where(a == b, 0, a - b)).max(initial=0) / max(1.0, np.abs(b[np.isfinite(b)]).max(initial=0))
        else:
            count = np.count_nonzero(a != b)
            gap = float(count > b.size / 20)
            other += [f"{count} of {b.size} of {name}"] if count else []
        if not gap <= largest:
            largest, where = float(gap), name
    return largest, where, "; ".join(other)
