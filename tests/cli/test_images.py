#!/usr/bin/env python3
"""Photographs and numbered images: their order, how they are turned, gaps in their numbers. Prints TAP."""
import os
import struct

from arrays import chunk, read_npz, write_png
from program import ffmpeg, finish, good, path, place, read, refused, write
from tap import complaints

OUT = ["-o", path("t.npz")]
FRONT = ["--stop-after", "front", "--no-compress"]
W, H = 96, 64  # of the picture as it is shown
STORED = {1: "null", 2: "hflip", 3: "hflip,vflip", 4: "vflip", 5: "transpose=cclock_flip", 6: "transpose=cclock",
          7: "transpose=clock_flip", 8: "transpose=clock"}  # what EXIF's orientations undo


def shown(video, *arguments):
    """The saved frames as planes of values, and the lines that were printed besides."""
    out = path("out.npz")
    lines = complaints(good(video, "-q", "-o", out, *FRONT, *arguments).stderr)
    array = read_npz(out)["video"]
    size = array.shape[1] * array.shape[2] * array.shape[3]
    return array.shape, [array.values[t:t + size] for t in range(0, len(array.values), size)], lines


def gray(name, level):
    return write_png(path(name), 32, [bytes([level]) * 32] * 32)


def levels(video, *arguments):
    """Each frame's brightness, as it was given to gray()."""
    _, frames, lines = shown(video, *arguments)
    return [round(255 * frame[len(frame) // 2]) for frame in frames], lines


def order(folder, *names):
    """Images in the order in which they should be read, written in another."""
    place(folder)
    for i, name in sorted(enumerate(names), key=lambda pair: pair[1][::-1]):
        gray(os.path.join(folder, name), 10 * (i + 1))
    found, lines = levels(path(folder))
    assert found == [10 * (i + 1) for i in range(len(names))], found
    assert lines == [], lines


def numbers_of_a_folder_are_counted():
    order("counted", *(f"frame_{i}.png" for i in range(1, 13)))


def several_numbers_are_compared_in_turn():
    order("turn", "a1b2.png", "a1b10.png", "a2b1.png", "a10b1.png", "b1.png")


def leading_zeros_do_not_count():
    order("zeros", "f08.png", "f9.png", "f010.png", "f10.png", "f00000000000000000000011.png",
          "f99999999999999999999998.png", "f99999999999999999999999.png")


def tiff_tag(orientation, order):
    return (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "IHHHIHHI", 8, 1, 0x112, 3, 1,
                                                                  orientation, 0, 0)


def tag_jpeg(data, orientation):
    exif = b"Exif\0\0" + tiff_tag(orientation, "<>"[orientation & 1])
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + data[2:]


def tag_png(data, orientation):
    return data[:33] + chunk(b"eXIf", tiff_tag(orientation, "<>"[orientation & 1])) + data[33:]


def tag_webp(data, orientation):
    def part(name, body):
        return name + struct.pack("<I", len(body)) + body + b"\0" * (len(body) & 1)
    wide, high = (W, H) if orientation < 5 else (H, W)
    size = struct.pack("<I", wide - 1)[:3] + struct.pack("<I", high - 1)[:3]
    body = data[12:] if data[12:16] != b"VP8X" else data[30:]
    return b"RIFF" + part(b"", b"WEBP" + part(b"VP8X", b"\x08\0\0\0" + size) + body +
                          part(b"EXIF", tiff_tag(orientation, "<")))


def tag_tiff(data, orientation):
    at = struct.unpack_from("<I", data, 4)[0]
    count = struct.unpack_from("<H", data, at)[0]
    entries = [data[at + 2 + 12 * i:at + 14 + 12 * i] for i in range(count)]
    entries.append(struct.pack("<HHIHH", 0x112, 3, 1, orientation, 0))
    entries.sort(key=lambda entry: struct.unpack_from("<H", entry))
    data += b"\0" * (len(data) & 1)
    return (data[:4] + struct.pack("<I", len(data)) + data[8:] + struct.pack("<H", count + 1) +
            b"".join(entries) + b"\0\0\0\0")


TAGS = {"jpg": tag_jpeg, "png": tag_png, "webp": tag_webp, "tif": tag_tiff}


def picture(name, orientation):
    """One picture, stored turned, with a tag that turns it back."""
    end = name.split(".")[-1]
    ffmpeg("-f", "lavfi", "-i", f"testsrc=s={W}x{H}", "-vf", STORED[orientation] + ",format=yuvj444p"
           if end == "jpg" else STORED[orientation], "-frames:v", "1", "-update", "1",
           *(["-q:v", "2"] if end == "jpg" else ["-lossless", "1"] if end == "webp" else []), name)
    return write(name, TAGS[end](read(name), orientation))


def same_pictures(video, count, *arguments):
    shape, frames, lines = shown(video, *arguments)
    assert shape[0] == count and shape[2] < shape[3], shape
    for frame in frames[1:]:
        worst = sorted(abs(a - b) for a, b in zip(frames[0], frame))
        assert worst[len(worst) * 95 // 100] < 0.1, worst[-1]
    assert lines == [], lines


def all_orientations_of_a_folder():
    place("exif")
    for orientation in STORED:
        picture(f"exif/p{orientation}.jpg", orientation)
    same_pictures(path("exif"), 8)


def all_orientations_of_a_pattern():
    same_pictures(path("exif/p%d.jpg"), 8)


def orientations_of_a_mixed_folder():
    place("mixed")
    for i, end in enumerate(TAGS):
        for orientation in (1, 4, 5, 6):
            picture(f"mixed/{orientation}{i}.{end}", orientation)
    same_pictures(path("mixed"), 16)


def an_image_alone_is_turned():
    for orientation, end in ((6, "jpg"), (7, "png"), (5, "webp"), (8, "tif")):
        same_pictures(picture(f"alone.{end}", orientation), 1)


def what_is_no_orientation_is_ignored():
    place("odd")
    plain = read("exif/p1.jpg")
    write("odd/0.jpg", plain)
    for i, value in enumerate((0, 9, 65535)):
        write(f"odd/{i + 1}.jpg", tag_jpeg(plain[:2] + plain[2 + 36:], value))
    png = read(picture("odd/8.png", 1))
    for size in (0, 7, 8, 9, 10, 20, 21):
        cut = chunk(b"eXIf", tiff_tag(6, "<")[:size])
        write(f"odd/1{size}.png", png[:33] + cut + png[33:])
    same_pictures(path("odd"), 12)


def a_pattern_starts_anywhere():
    place("late")
    for i in range(4):
        gray(f"late/f{97 + i}.png", 20 * (i + 1))
    assert levels(path("late/f%d.png")) == ([20, 40, 60, 80], [])
    assert levels("late/f%d.png") == ([20, 40, 60, 80], [])
    place("late/100%")
    for i in range(3):
        gray(f"late/100%/{1000007 + i:09d}_7.png", 20 * (i + 1))
    assert levels(path("late/100%%/%09d_7.png")) == ([20, 40, 60], [])


def a_number_of_folders_is_a_pattern():
    for i in range(9, 12):
        place(f"shots/s{i}")
        gray(f"shots/s{i}/f.png", 20 * (i - 8))
    place("shots/s12")
    assert levels(path("shots/s%d/f.png")) == ([20, 40, 60], [])


def a_gap_is_said():
    place("gap")
    for i in (1, 2, 4, 5):
        gray(f"gap/f{i:04d}.png", 20 * i)
    found, lines = levels(path("gap/f%04d.png"))
    assert found == [20, 40] and len(lines) == 1, lines
    assert "number 3 is missing" in lines[0] and "only 2 of 4 images" in lines[0], lines
    found, lines = levels(path("gap"))
    assert found == [20, 40, 80, 100] and lines == []
    for i in (1, 2):
        os.rename(path(f"gap/f{i:04d}.png"), path(f"gap/f{i + 7:04d}.png"))
    found, lines = levels(path("gap/f%04d.png"), "--stride", 2)
    assert found == [80] and "number 6 is missing" in lines[0] and "only 2 of 4 images" in lines[0], lines


def names_of_other_widths_are_not_of_the_pattern():
    place("widths")
    for name in ("f8.png", "f008.png", "f0009.png", "f010.png", "f-01.png", "fx.png", "f009.png.bak"):
        gray(os.path.join("widths", name), 50)
    found, lines = levels(path("widths/f%03d.png"))
    assert found == [50] and "number 9 is missing" in lines[0] and "only 1 of 2" in lines[0], lines


def patterns_without_images_are_refused():
    place("empty")
    refused(3, "no image has a name of this pattern", path("empty/g%d.png"), *OUT)
    refused(3, "none/: No such file", path("none/g%d.png"), *OUT)
    refused(3, "no image has a name of this pattern", path("empty/%012d.png"), *OUT)


finish([numbers_of_a_folder_are_counted, several_numbers_are_compared_in_turn, leading_zeros_do_not_count,
        all_orientations_of_a_folder, all_orientations_of_a_pattern, orientations_of_a_mixed_folder,
        an_image_alone_is_turned, what_is_no_orientation_is_ignored, a_pattern_starts_anywhere,
        a_number_of_folders_is_a_pattern, a_gap_is_said, names_of_other_widths_are_not_of_the_pattern,
        patterns_without_images_are_refused])
