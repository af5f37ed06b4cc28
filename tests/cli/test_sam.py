#!/usr/bin/env python3
"""Points, boxes and masks of the real program, with the tiny synthetic SAM and the built-in one.
Prints TAP."""
import json
import os
import shutil
import struct

import program
from arrays import chunk, read_npz, read_png, write_png
from program import BALL, TEMPORARY, finish, path, refused, report_of, synthetic, write

BARE = program.ENVIRONMENT
DATA = path("data")
WITH_SAM = {**BARE, "XDG_DATA_HOME": DATA}
WIDTH, HEIGHT = 480, 360
FAST = ["--max-frames", "3", "--vo-points", "20", "--iters", "1"]
ON_BALL, BESIDE = "240,180", "20,300"
DISC = 74.5, 255.5, 73, 70  # the ball in frame 0: centre, half axes


def good(*arguments, env=WITH_SAM):
    return program.good(*arguments, env=env).stderr


def blind_sam():
    """Weights whose first mask is 0 everywhere: nothing is above it."""
    folder = path("blind")
    shutil.copytree(os.path.join(DATA, "spatrack/weights"), folder)
    with open(os.path.join(folder, "sam-base/model.safetensors"), "r+b") as file:
        size = struct.unpack("<Q", file.read(8))[0]
        for name, tensor in json.loads(file.read(size)).items():
            if "mlps.1.proj_out" in name:
                begin, end = tensor["data_offsets"]
                file.seek(8 + size + begin)
                file.write(bytes(end - begin))
    return folder


def lies_on(rows, value, x, y):
    """The working frame's pixel around x, y, which is larger than one of the mask, has that value."""
    return any(row[max(0, int(x) - 3):int(x) + 2].count(value) for row in rows[max(0, int(y) - 3):int(y) + 2])


# What works --------------------------------------------------------------------------------------

def the_mask_can_be_had_alone():
    notes = good(BALL, "--point", ON_BALL, "--point", BESIDE + ",-", "--mask-out", "alone.png",
                 "--stop-after", "sam", "--report", "alone.json", "-v")
    rows = read_png(path("alone.png"))
    assert (len(rows[0]), len(rows)) == (WIDTH, HEIGHT)
    assert set(b"".join(rows)) <= {0, 255} and "sam-base" in notes and "left out" not in notes
    found = report_of("alone.json")
    assert [stage["name"] for stage in found["stages"]] == ["frames", "sam"]
    assert found["settings"]["point"] == [ON_BALL, BESIDE + ",-"]
    assert not os.path.exists(path("ball.npz"))
    good(BALL, "--box", "150,80,330,260", "--mask-out", "box.png", "--stop-after", "sam",
         "--mask-select", "best", "--sam", "base")
    assert read_png(path("box.png")) != rows


def tracks_start_on_the_mask():
    good(BALL, "--point", ON_BALL, "--prompt-frame", 1, "--mask-out", "start.png", "-o", "start.npz",
         "--grid", 9, *FAST)
    rows, arrays = read_png(path("start.png")), read_npz(path("start.npz"))
    queries = arrays["queries"]
    assert 0 < queries.shape[0] <= 81 and "object" not in arrays
    for t, x, y in zip(*[iter(queries.values)] * 3):
        assert t == 1 and lies_on(rows, 255, x, y), (x, y)


def several_objects_have_names():
    good(BALL, "--box", "left half=0,0,230,350", "--point", "\u7403=" + ON_BALL, "--point",
         "left half=100,100", "--mask-out", "two.png", "-o", "two.npz", "--grid", 9, *FAST)
    rows, arrays = read_png(path("two.png")), read_npz(path("two.npz"))
    assert arrays["object_names"].values == ["\u7403", "left half"], arrays["object_names"].values
    assert set(b"".join(rows)) <= {0, 127, 255}
    objects, queries = arrays["object"], arrays["queries"]
    assert objects.shape == queries.shape[:1] and set(objects.values) <= {0, 1}
    for index, (_, x, y) in zip(objects.values, zip(*[iter(queries.values)] * 3)):
        assert lies_on(rows, (127, 255)[index], x, y), (index, x, y)


def threads_change_no_mask():
    for threads in (1, 3):
        good(BALL, "--point", ON_BALL, "--mask-out", f"threads{threads}.png", "--stop-after", "sam",
             "--threads", threads)
    assert read_png(path("threads1.png")) == read_png(path("threads3.png"))


def masks_of_any_kind_are_read():
    """The left half: one bit, 16 bits barely above 0, a palette, RGB, RGBA; in other sizes."""
    half = [("bit.png", 16, [b"\xff\x00"] * 12, 1, 0, b""),
            ("faint.png", 20, [b"\0\1" * 10 + b"\0\0" * 10] * 15, 16, 0, b""),
            ("palette.png", 4, [b"\1\1\0\0"] * 3, 8, 3, chunk(b"PLTE", b"\0\0\0\0\0\1")),
            ("rgb.png", WIDTH, [b"\0\0\2" * (WIDTH // 2) + bytes(3 * WIDTH // 2)] * HEIGHT, 8, 2, b""),
            ("rgba.png", 2, [b"\xff\xff\xff\xff\xff\xff\xff\0"], 8, 6, b"")]
    for name, width, rows, depth, colour, extra in half:
        write_png(path(name), width, rows, depth, colour, extra)
        good(BALL, "--mask", name, "--grid", 6, "-o", "kinds.npz", *FAST)
        queries = read_npz(path("kinds.npz"))["queries"]
        assert queries.shape[0] == 18 and all(x < WIDTH / 2 for x in queries.values[1::3]), (name, queries.shape)


def no_prompt_opens_no_sam():
    write(os.path.join(synthetic("sam_tiny", "broken/spatrack/weights/sam-base"), "model.safetensors"), "broken")
    broken = {**BARE, "XDG_DATA_HOME": path("broken")}
    good(BALL, "-o", "without.npz", "--grid", 2, *FAST, env=broken)
    refused(4, "sam-base", BALL, "--point", ON_BALL, "-o", "with.npz", env=broken)


def overlap_with_the_ball(name):
    """IoU of a mask of frame 0."""
    x0, y0, a, b = DISC
    both = either = 0
    for y, row in enumerate(read_png(path(name))):
        for x, value in enumerate(row):
            ball = ((x - x0) / a) ** 2 + ((y - y0) / b) ** 2 < 1
            both += ball and value > 0
            either += ball or value > 0
    return both / either


def the_built_in_sam_finds_the_ball():
    x0, y0, a, b = DISC
    box, point = f"{x0 - a},{y0 - b},{x0 + a},{y0 + b}", f"{x0},{y0}"
    for prompt, minimum in ((["--box", box], 0.65), (["--point", point], 0.55)):
        notes = good(BALL, *prompt, "--mask-out", "lite.png", "--stop-after", "sam", env=BARE)
        lines = [line for line in notes.splitlines() if "built-in" in line]
        assert len(lines) == 1 and "lite weights for SAM" in lines[0] and "sam-base" in lines[0], notes
        assert overlap_with_the_ball("lite.png") >= minimum, (prompt, overlap_with_the_ball("lite.png"))
    good(BALL, *prompt, "--mask-out", "asked.png", "--stop-after", "sam", "--sam", "lite")
    assert read_png(path("asked.png")) == read_png(path("lite.png"))
    good(BALL, *prompt, "--mask-out", "beside.png", "--stop-after", "sam", "--weights", TEMPORARY)
    assert read_png(path("beside.png")) == read_png(path("lite.png"))


def the_built_in_weights_track_an_object():
    x0, y0, a, b = DISC
    notes = good(BALL, "--point", f"ball={x0},{y0}", "--box", "crate=300,193,426,307", "-o", "lite.npz",
                 "--mask-out", "both.png", "--grid", 12, *FAST, env=BARE)
    assert notes.count("using the built-in lite weights") == 2, notes
    arrays, rows = read_npz(path("lite.npz")), read_png(path("both.png"))
    objects, queries = arrays["object"], arrays["queries"]
    assert objects.shape[0] > 4 and set(objects.values) == {0, 1}, objects.values
    for index, (t, x, y) in zip(objects.values, zip(*[iter(queries.values)] * 3)):
        assert t == 0 and lies_on(rows, (127, 255)[index], x, y), (index, x, y)


# What is refused ---------------------------------------------------------------------------------

def bad_cases():
    out, point = ["-o", "no.npz"], ["--point", ON_BALL]
    mask = ["--mask-out", "no.png"]
    for text in ("", "1", "1,", "1,2,3", "a,2", "1,2,+", "-1,2", "nan,2", "=1,2", "x" * 64 + "=1,2", "1e3,2"):
        yield f"point {text[:9]}", [BALL, "--point", text, *out], 2, "--point"
    for text in ("1,2,3", "1,2,3,4,5", "1,2,3,-"):
        yield f"box {text}", [BALL, "--box", text, *out], 2, "--box"
    yield "box without area", [BALL, "--box", "9,9,9,40", *out], 2, "no area"
    yield "box turned round", [BALL, "--box", "90,90,9,9", *out], 2, "no area"
    yield "two boxes", [BALL, "--box", "a=1,1,9,9", "--box", "a=2,2,8,8", *out], 2, "second box for a"
    yield "background alone", [BALL, *point, "--point", "a=1,2,-", *out], 2, "every --point of a ends"
    yield "too many", [BALL, *(point * 65), *out], 2, "64 times"
    yield "point outside", [BALL, "--point", "480,10", *out, *mask], 2, "480,10 lies outside"
    yield "box outside", [BALL, "--box", "1,360,20,400", *out, *mask], 2, "1,360,20,400 lies outside"
    yield "point and queries", [BALL, *point, "--queries", "q.csv", *out], 2, "--queries"
    yield "point and mask", [BALL, *point, "--mask", "m.png", *out], 2, "--mask"
    yield "point and front", [BALL, *point, "--stop-after", "front", *out], 2, "--stop-after front"
    yield "mask without point", [BALL, *mask, *out], 2, "--mask-out needs"
    yield "frame without point", [BALL, "--prompt-frame", 2, *out], 2, "--prompt-frame needs"
    yield "sam without point", [BALL, "--stop-after", "sam"], 2, "--stop-after sam needs"
    yield "sam without mask", [BALL, *point, "--stop-after", "sam"], 2, "give --mask-out"
    yield "mask of another kind", [BALL, *point, "--mask-out", "no.jpg", *out], 2, ".png"
    yield "mask over the report", [BALL, *point, *mask, "--report", "no.png", *out], 2, "replace the report"
    yield "mask nowhere", [BALL, *point, "--mask-out", "none/no.png", *out], 7, "--mask-out"
    yield "no such frame", [BALL, *point, "--prompt-frame", 3, *FAST, *out], 2, "used frames 0..2"
    yield "no such frame alone", [BALL, *point, "--prompt-frame", 99, "--stop-after", "sam", *mask], 2, \
        "used frames 0..23"
    yield "huge", [BALL, *point, "--sam", "huge", *out], 4, "make -f weights.mk sam-huge"
    yield "none in --weights", [BALL, *point, "--sam", "base", "--weights", TEMPORARY, *out], 4, \
        "weights.mk sam-base"
    yield "nothing there", [BALL, *point, "--weights", blind_sam(), *mask, "--stop-after", "sam"], 2, \
        "SAM found nothing there"
    write_png(path("bomb.png"), 32768, [bytes(1 << 20)], height=32768)
    yield "PNG bomb", [BALL, "--mask", "bomb.png", *out], 3, "32768x32768 pixels"
    rows = [bytes(range(1, 41))] * 30
    with open(write_png(path("hurt.png"), 40, rows), "r+b") as file:
        file.seek(45)
        file.write(b"\x13\x37")
    yield "corrupt PNG", [BALL, "--mask", "hurt.png", *out], 3, "hurt.png"
    yield "empty PNG", [BALL, "--mask", write_png(path("none.png"), 8, [bytes(8)] * 8), *out], 2, \
        "no point of the"


synthetic("sam_tiny", "data/spatrack/weights/sam-base")
finish([the_mask_can_be_had_alone, tracks_start_on_the_mask, several_objects_have_names,
        threads_change_no_mask, masks_of_any_kind_are_read, no_prompt_opens_no_sam,
        the_built_in_sam_finds_the_ball, the_built_in_weights_track_an_object], bad_cases(), env=WITH_SAM)
