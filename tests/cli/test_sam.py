#!/usr/bin/env python3
"""Points, boxes and masks of the real program, with the tiny synthetic SAM and the built-in one.
Prints TAP.

    tests/cli/test_sam.py SPATRACK SOURCE_ROOT SYNTH [part of a case's name]

Needs only the standard library; SYNTH is the build's program that writes synthetic checkpoints.
"""
import ast
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import zipfile
import zlib

from tap import complaints, run_cases

SPATRACK, ROOT, SYNTH = map(os.path.abspath, sys.argv[1:4])
BALL = os.path.join(ROOT, "tests/data/ball.mp4")
WIDTH, HEIGHT = 480, 360
FAST = ["--max-frames", "3", "--vo-points", "20", "--iters", "1"]
TEMPORARY = tempfile.mkdtemp(prefix="spatrack-sam-")
BARE = {**{k: v for k, v in os.environ.items() if k != "SPATRACK_WEIGHTS"}, "HOME": TEMPORARY,
        "XDG_DATA_HOME": os.path.join(TEMPORARY, "none")}
DATA = os.path.join(TEMPORARY, "data")
WITH_SAM = {**BARE, "XDG_DATA_HOME": DATA}
ON_BALL, BESIDE = "240,180", "20,300"
DISC = 74.5, 255.5, 73, 70  # the ball in frame 0: centre, half axes


def path(*names):
    return os.path.join(TEMPORARY, *names)


def run(*arguments, environment=None):
    return subprocess.run([SPATRACK, *map(str, arguments)], cwd=TEMPORARY, stdin=subprocess.DEVNULL,
                          env=environment or WITH_SAM, capture_output=True, timeout=300)


def good(*arguments, **more):
    done = run(*arguments, **more)
    assert done.returncode == 0, (done.returncode, done.stderr.decode()[-600:])
    return done.stderr.decode()


def make_sam(folder, name):
    target = os.path.join(folder, "spatrack/weights", name)
    os.makedirs(target)
    subprocess.run([SYNTH, os.path.join(ROOT, "tests/golden/manifest/sam_tiny.json"), target],
                   check=True)
    return target


def blind_sam():
    """Weights whose first mask is 0 everywhere: nothing is above it."""
    folder = os.path.join(TEMPORARY, "blind")
    shutil.copytree(os.path.join(DATA, "spatrack/weights"), folder)
    with open(os.path.join(folder, "sam-base/model.safetensors"), "r+b") as file:
        size = struct.unpack("<Q", file.read(8))[0]
        for name, tensor in json.loads(file.read(size)).items():
            if "mlps.1.proj_out" in name:
                begin, end = tensor["data_offsets"]
                file.seek(8 + size + begin)
                file.write(bytes(end - begin))
    return folder


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def write_png(name, width, height, pixels, depth=8, colour=0, extra=b""):
    """`pixels`: the rows, each without its filter byte."""
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row for row in pixels))
    with open(path(name), "wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + extra + chunk(b"IDAT", data) +
                   chunk(b"IEND", b""))
    return path(name)


def read_png(name):
    """Rows of an 8-bit gray PNG."""
    with open(path(name), "rb") as file:
        data = file.read()
    width, height, depth, colour = struct.unpack(">IIBB", data[16:26])
    assert (depth, colour) == (8, 0)
    packed, at = b"", 8
    while at < len(data):
        size, kind = struct.unpack(">I4s", data[at:at + 8])
        packed += data[at + 8:at + 8 + size] if kind == b"IDAT" else b""
        at += size + 12
    raw, rows, above = zlib.decompress(packed), [], bytes(width)
    for y in range(height):
        method, line = raw[y * (width + 1)], bytearray(raw[y * (width + 1) + 1:(y + 1) * (width + 1)])
        for x in range(width):
            a, b, c = (line[x - 1] if x else 0), above[x], (above[x - 1] if x else 0)
            p = a + b - c
            paeth = min((abs(p - a), 0, a), (abs(p - b), 1, b), (abs(p - c), 2, c))[2]
            line[x] = (line[x] + (0, a, b, (a + b) // 2, paeth)[method]) & 255
        above = bytes(line)
        rows.append(above)
    return rows


def read_npz(name):
    arrays = {}
    with zipfile.ZipFile(path(name)) as archive:
        for member in archive.namelist():
            data = archive.read(member)
            size = struct.unpack("<H", data[8:10])[0]
            head, data = ast.literal_eval(data[10:10 + size].decode()), data[10 + size:]
            kind = head["descr"][1:]
            if kind.startswith("U"):
                text, step = data.decode("utf-32-le"), int(kind[1:])
                values = [text[i:i + step].rstrip("\0") for i in range(0, len(text), step)]
            else:
                code = {"f4": "f", "f8": "d", "i8": "q"}[kind]
                values = struct.unpack(f"<{len(data) // struct.calcsize(code)}{code}", data)
            arrays[member[:-4]] = (head["shape"], values)
    return arrays


def lies_on(rows, value, x, y):
    """The working frame's pixel around x, y, which is larger than one of the mask, has that value."""
    return any(row[max(0, int(x) - 3):int(x) + 2].count(value) for row in rows[max(0, int(y) - 3):int(y) + 2])


# What works --------------------------------------------------------------------------------------

def the_mask_can_be_had_alone():
    told = good(BALL, "--point", ON_BALL, "--point", BESIDE + ",-", "--mask-out", "alone.png",
                "--stop-after", "sam", "--report", "alone.json", "-v")
    rows = read_png("alone.png")
    assert (len(rows[0]), len(rows)) == (WIDTH, HEIGHT)
    assert set(b"".join(rows)) <= {0, 255} and "sam-base" in told and "left out" not in told
    with open(path("alone.json")) as file:
        report = json.load(file)
    assert [stage["name"] for stage in report["stages"]] == ["frames", "sam"]
    assert report["settings"]["point"] == [ON_BALL, BESIDE + ",-"]
    assert not os.path.exists(path("ball.npz"))
    good(BALL, "--box", "150,80,330,260", "--mask-out", "box.png", "--stop-after", "sam",
         "--mask-select", "best", "--sam", "base")
    assert read_png("box.png") != rows


def tracks_start_on_the_mask():
    good(BALL, "--point", ON_BALL, "--prompt-frame", 1, "--mask-out", "start.png", "-o", "start.npz",
         "--grid", 9, *FAST)
    rows, arrays = read_png("start.png"), read_npz("start.npz")
    shape, queries = arrays["queries"]
    assert 0 < shape[0] <= 81 and "object" not in arrays
    for t, x, y in zip(*[iter(queries)] * 3):
        assert t == 1 and lies_on(rows, 255, x, y), (x, y)


def several_objects_have_names():
    good(BALL, "--box", "left half=0,0,230,350", "--point", "\u7403=" + ON_BALL, "--point",
         "left half=100,100", "--mask-out", "two.png", "-o", "two.npz", "--grid", 9, *FAST)
    rows, arrays = read_png("two.png"), read_npz("two.npz")
    assert arrays["object_names"] == ((2,), ["\u7403", "left half"]), arrays["object_names"]
    assert set(b"".join(rows)) <= {0, 127, 255}
    shape, objects = arrays["object"]
    assert shape == arrays["queries"][0][:1] and set(objects) <= {0, 1}
    for index, (_, x, y) in zip(objects, zip(*[iter(arrays["queries"][1])] * 3)):
        assert lies_on(rows, (127, 255)[index], x, y), (index, x, y)


def threads_change_no_mask():
    for threads in (1, 3):
        good(BALL, "--point", ON_BALL, "--mask-out", f"threads{threads}.png", "--stop-after", "sam",
             "--threads", threads)
    assert read_png("threads1.png") == read_png("threads3.png")


def masks_of_any_kind_are_read():
    """The left half: one bit, 16 bits barely above 0, a palette, RGB, RGBA; in other sizes."""
    half = [("bit.png", 16, [b"\xff\x00"] * 12, 1, 0, b""),
            ("faint.png", 20, [b"\0\1" * 10 + b"\0\0" * 10] * 15, 16, 0, b""),
            ("palette.png", 4, [b"\1\1\0\0"] * 3, 8, 3, chunk(b"PLTE", b"\0\0\0\0\0\1")),
            ("rgb.png", WIDTH, [b"\0\0\2" * (WIDTH // 2) + bytes(3 * WIDTH // 2)] * HEIGHT, 8, 2, b""),
            ("rgba.png", 2, [b"\xff\xff\xff\xff\xff\xff\xff\0"], 8, 6, b"")]
    for name, width, rows, depth, colour, extra in half:
        write_png(name, width, len(rows), rows, depth, colour, extra)
        good(BALL, "--mask", name, "--grid", 6, "-o", "kinds.npz", *FAST)
        (count, _), queries = read_npz("kinds.npz")["queries"]
        assert count == 18 and all(x < WIDTH / 2 for x in queries[1::3]), (name, count)


def no_prompt_opens_no_sam():
    folder = os.path.join(TEMPORARY, "broken")
    with open(os.path.join(make_sam(folder, "sam-base"), "model.safetensors"), "wb") as file:
        file.write(b"broken")
    environment = {**BARE, "XDG_DATA_HOME": folder}
    good(BALL, "-o", "without.npz", "--grid", 2, *FAST, environment=environment)
    done = run(BALL, "--point", ON_BALL, "-o", "with.npz", environment=environment)
    assert done.returncode == 4 and b"sam-base" in done.stderr, done.stderr


def overlap_with_the_ball(name):
    """IoU of a mask of frame 0."""
    x0, y0, a, b = DISC
    both = either = 0
    for y, row in enumerate(read_png(name)):
        for x, value in enumerate(row):
            ball = ((x - x0) / a) ** 2 + ((y - y0) / b) ** 2 < 1
            both += ball and value > 0
            either += ball or value > 0
    return both / either


def the_built_in_sam_finds_the_ball():
    x0, y0, a, b = DISC
    box, point = f"{x0 - a},{y0 - b},{x0 + a},{y0 + b}", f"{x0},{y0}"
    for prompt, least in ((["--box", box], 0.65), (["--point", point], 0.55)):
        told = good(BALL, *prompt, "--mask-out", "lite.png", "--stop-after", "sam", environment=BARE)
        lines = [line for line in told.splitlines() if "built-in" in line]
        assert len(lines) == 1 and "lite weights for SAM" in lines[0] and "sam-base" in lines[0], told
        assert overlap_with_the_ball("lite.png") >= least, (prompt, overlap_with_the_ball("lite.png"))
    good(BALL, *prompt, "--mask-out", "asked.png", "--stop-after", "sam", "--sam", "lite")
    assert read_png("asked.png") == read_png("lite.png")
    good(BALL, *prompt, "--mask-out", "beside.png", "--stop-after", "sam", "--weights", TEMPORARY)
    assert read_png("beside.png") == read_png("lite.png")


def the_built_in_weights_track_an_object():
    x0, y0, a, b = DISC
    told = good(BALL, "--point", f"ball={x0},{y0}", "--box", "crate=300,193,426,307", "-o", "lite.npz",
                "--mask-out", "both.png", "--grid", 12, *FAST, environment=BARE)
    assert told.count("using the built-in lite weights") == 2, told
    arrays, rows = read_npz("lite.npz"), read_png("both.png")
    shape, objects = arrays["object"]
    assert shape[0] > 4 and set(objects) == {0, 1}, arrays["object"]
    for index, (t, x, y) in zip(objects, zip(*[iter(arrays["queries"][1])] * 3)):
        assert t == 0 and lies_on(rows, (127, 255)[index], x, y), (index, x, y)


# What is refused ---------------------------------------------------------------------------------

def refused():
    out, point = ["-o", "no.npz"], ["--point", ON_BALL]
    mask = ["--mask-out", "no.png"]
    for text in ("", "1", "1,", "1,2,3", "a,2", "1,2,+", "-1,2", "nan,2", "=1,2", "x" * 64 + "=1,2", "1e3,2"):
        yield f"point {text[:9]}", [BALL, "--point", text, *out], 2, "--point"
    for text in ("1,2,3", "1,2,3,4,5", "1,2,3,-"):
        yield f"box {text}", [BALL, "--box", text, *out], 2, "--box"
    yield "box without area", [BALL, "--box", "9,9,9,40", *out], 2, "no area"
    yield "box turned round", [BALL, "--box", "90,90,9,9", *out], 2, "no area"
    yield "two boxes", [BALL, "--box", "a=1,1,9,9", "--box", "a=2,2,8,8", *out], 2, "second box for a"
    yield "background alone", [BALL, *point, "--point", "a=1,2,-", *out], 2, "lies on a"
    yield "too many", [BALL, *(point * 65), *out], 2, "64 times"
    yield "point outside", [BALL, "--point", "480,10", *out, *mask], 2, "480,10 lies outside"
    yield "box outside", [BALL, "--box", "1,1,20,360", *out, *mask], 2, "20,360 lies outside"
    yield "point and queries", [BALL, *point, "--queries", "q.csv", *out], 2, "--queries"
    yield "point and mask", [BALL, *point, "--mask", "m.png", *out], 2, "--mask"
    yield "point and front", [BALL, *point, "--stop-after", "front", *out], 2, "--stop-after front"
    yield "mask without point", [BALL, *mask, *out], 2, "--mask-out needs"
    yield "frame without point", [BALL, "--prompt-frame", 2, *out], 2, "--prompt-frame needs"
    yield "sam without point", [BALL, "--stop-after", "sam"], 2, "--stop-after sam needs"
    yield "sam without mask", [BALL, *point, "--stop-after", "sam"], 2, "give --mask-out"
    yield "mask of another kind", [BALL, *point, "--mask-out", "no.jpg", *out], 2, ".png"
    yield "mask over the report", [BALL, *point, *mask, "--report", "no.png", *out], 2, "replace no.png"
    yield "mask nowhere", [BALL, *point, "--mask-out", "none/no.png", *out], 7, "--mask-out"
    yield "no such frame", [BALL, *point, "--prompt-frame", 3, *FAST, *out], 2, "used frames 0..2"
    yield "no such frame alone", [BALL, *point, "--prompt-frame", 99, "--stop-after", "sam", *mask], 2, \
        "used frames 0..23"
    yield "huge", [BALL, *point, "--sam", "huge", *out], 4, "make -f weights.mk sam-huge"
    yield "none in --weights", [BALL, *point, "--sam", "base", "--weights", TEMPORARY, *out], 4, \
        "weights.mk sam-base"
    yield "nothing there", [BALL, *point, "--weights", blind_sam(), *mask, "--stop-after", "sam"], 2, \
        "SAM found nothing there"
    huge = struct.pack(">IIBBBBB", 32768, 32768, 8, 0, 0, 0, 0)
    with open(path("bomb.png"), "wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", huge) +
                   chunk(b"IDAT", zlib.compress(bytes(1 << 20))) + chunk(b"IEND", b""))
    yield "PNG bomb", [BALL, "--mask", "bomb.png", *out], 3, "32768x32768 pixels"
    rows = [bytes(range(1, 41))] * 30
    with open(write_png("hurt.png", 40, 30, rows), "r+b") as file:
        file.seek(45)
        file.write(b"\x13\x37")
    yield "corrupt PNG", [BALL, "--mask", "hurt.png", *out], 3, "hurt.png"
    yield "empty PNG", [BALL, "--mask", write_png("none.png", 8, 8, [bytes(8)] * 8), *out], 2, \
        "no point of the"


def check_refused(arguments, code, message):
    before = sorted(os.listdir(TEMPORARY))
    done = run(*arguments)
    lines = [line for line in complaints(done.stderr) if line.startswith("spatrack: ")]
    assert done.returncode == code, (done.returncode, lines)
    assert len(lines) == 1 and message in lines[0], lines
    assert sorted(os.listdir(TEMPORARY)) == before


def case_list():
    for case in (the_mask_can_be_had_alone, tracks_start_on_the_mask, several_objects_have_names,
                 threads_change_no_mask, masks_of_any_kind_are_read, no_prompt_opens_no_sam,
                 the_built_in_sam_finds_the_ball, the_built_in_weights_track_an_object):
        yield case.__name__, case
    for name, *rest in refused():
        yield "refused: " + name, lambda rest=rest: check_refused(*rest)


def main():
    make_sam(DATA, "sam-base")
    failures = run_cases(case_list(), *sys.argv[4:5])
    shutil.rmtree(TEMPORARY)
    sys.exit(failures > 0)


main()
