"""NPZ and PNG files, written and read with the standard library alone."""
import ast
import functools
import struct
import zipfile
import zlib

CODES = {"f2": "e", "f4": "f", "f8": "d", "i1": "b", "i2": "h", "i4": "i", "i8": "q", "b1": "?", "u1": "B",
         "u2": "H", "u4": "I", "u8": "Q"}


class Array:
    """An array as numpy would see it; its values are one flat tuple, a list of texts, or the text alone."""

    def __init__(self, dtype, shape, data):
        self.dtype, self.shape, self.data = dtype, shape, data

    @functools.cached_property
    def values(self):
        if self.dtype.startswith("<U"):
            step = 4 * int(self.dtype[2:])
            texts = [self.data[at:at + step].decode("utf-32-le").rstrip("\0") for at in range(0, len(self.data), step)]
            return texts if self.shape else texts[0]
        code = CODES[self.dtype[1:]]
        return struct.unpack(f"<{len(self.data) // struct.calcsize(code)}{code}", self.data)

    def __eq__(self, other):
        """To the last byte, what is no number included."""
        return (self.dtype, self.shape, self.data) == (other.dtype, other.shape, other.data)


def read_npz(path):
    arrays = {}
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            data = archive.read(name)  # fails where its CRC is another
            assert data[:8] == b"\x93NUMPY\x01\0"
            size = struct.unpack("<H", data[8:10])[0]
            head = ast.literal_eval(data[10:10 + size].decode())
            assert not head["fortran_order"]
            arrays[name[:-4]] = Array(head["descr"], head["shape"], data[10 + size:])
    return arrays


def fortran_order(shape, values):
    """Row-major values in the order in which the first axis runs fastest."""
    step = len(values) // shape[0] if shape else 1
    if len(shape) < 2:
        return list(values)
    rows = [fortran_order(shape[1:], values[i * step:(i + 1) * step]) for i in range(shape[0])]
    return [value for column in zip(*rows) for value in column]


def npy(shape, values, dtype="<f4", fortran=False):
    head = f"{{'descr': '{dtype}', 'fortran_order': {fortran}, 'shape': {tuple(shape)!r}, }}"
    head += " " * (-(len(head) + 11) % 64) + "\n"
    order = ">" if dtype[0] == ">" else "<"
    return (b"\x93NUMPY\x01\0" + struct.pack("<H", len(head)) + head.encode() +
            struct.pack(f"{order}{len(values)}{CODES[dtype[1:]]}",
                        *(fortran_order(shape, values) if fortran else values)))


def write_npz(path, **arrays):
    """Each of (shape, values), and then its dtype and whether it is in Fortran order."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            archive.writestr(name + ".npy", npy(*array))


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def write_png(path, width, rows, depth=8, colour=0, extra=b"", height=None):
    """`rows`: each without its filter byte; `height` when the header is to lie about them."""
    head = struct.pack(">IIBBBBB", width, height or len(rows), depth, colour, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row for row in rows))
    with open(path, "wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + extra + chunk(b"IDAT", data) +
                   chunk(b"IEND", b""))
    return path


def png_chunks(path):
    """(kind, data) of each."""
    with open(path, "rb") as file:
        data = file.read()
    at = 8
    while at < len(data):
        size, kind = struct.unpack(">I4s", data[at:at + 8])
        yield kind, data[at + 8:at + 8 + size]
        at += size + 12


def read_png(path, depth=8, colour=0):
    """Rows of a PNG, gray of 8 bits unless another depth and colour are named, as bytes."""
    chunks = list(png_chunks(path))
    width, height, *form = struct.unpack(">IIBB", chunks[0][1][:10])
    assert form == [depth, colour], form
    step = depth // 8 * {0: 1, 2: 3}[colour]
    width *= step
    packed = b"".join(data for kind, data in chunks if kind == b"IDAT")
    raw, rows, above = zlib.decompress(packed), [], bytes(width)
    for y in range(height):
        method, line = raw[y * (width + 1)], bytearray(raw[y * (width + 1) + 1:(y + 1) * (width + 1)])
        for x in range(width):
            a, b, c = (line[x - step] if x >= step else 0), above[x], (above[x - step] if x >= step else 0)
            p = a + b - c
            paeth = min((abs(p - a), 0, a), (abs(p - b), 1, b), (abs(p - c), 2, c))[2]
            line[x] = (line[x] + (0, a, b, (a + b) // 2, paeth)[method]) & 255
        above = bytes(line)
        rows.append(above)
    return rows


def near(ours, theirs, most=1e-5):
    """Every value is within `most` of the other's."""
    ours, theirs = list(ours), list(theirs)
    assert len(ours) == len(theirs), (len(ours), len(theirs))
    far = [(i, a, b) for i, (a, b) in enumerate(zip(ours, theirs)) if not abs(a - b) <= most]
    assert not far, far[:3]


def rows(values, width):
    return [values[i:i + width] for i in range(0, len(values), width)]
