#!/usr/bin/env python3
"""What is missing from the input is said, even with -q, and what is whole is silent. Prints TAP."""
import os
import random
import re
import struct

from arrays import read_npz
from program import BALL, SMALL, clip, ffmpeg, finish, good, path, place, read, run, test_clip, write


SAMPLES = {"fast.mp4": ["-c", "copy", "-movflags", "+faststart"],
           "c.mov": ["-c", "copy", "-movflags", "+faststart"],
           "f.mp4": ["-c", "copy", "-movflags", "frag_keyframe+empty_moov"], "c.mkv": ["-c", "copy"],
           "c.flv": ["-c", "copy"], "c.ts": ["-c", "copy"], "c.avi": ["-c:v", "mpeg4"], "c.webm": ["-c:v", "libvpx"],
           "sound.mkv": ["-f", "lavfi", "-i", "sine=d=5", "-c:v", "copy"]}


def sample(name):
    return clip(name, "-i", BALL, *SAMPLES[name])


def lines_of(video, *arguments, **more):
    """What is printed up to the queries, which are wrong, so that no model runs."""
    late = write("late.csv", "99999,1,1\n")
    done = run(video, "-q", "--queries", late, "-o", path("t.npz"), *arguments, **more)
    lines = done.stderr.splitlines()
    assert done.returncode == 2 and "t is 99999" in lines[-1], (done.returncode, lines)
    return lines[:-1]


def one_line(video, pattern, *arguments):
    """The numbers in the only line."""
    lines = lines_of(video, *arguments)
    assert len(lines) == 1 and lines[0].startswith("spatrack: "), lines
    found = re.search(pattern, lines[0])
    assert found, lines
    return [int(number) for number in found.groups()]


def cut(name, share=2 / 3):
    data = read(name)
    return write("cut-" + os.path.basename(name), data[:int(share * len(data))])


def is_short(video, frames=24, *arguments):
    readable, promised = one_line(video, r"only (\d+) of (\d+) frames can be read", *arguments)
    assert promised == frames and 0 < readable < frames, (readable, promised)
    return readable


def a_cut_mp4_says_both_numbers():
    video = cut(sample("fast.mp4"))
    readable = is_short(video)
    good(video, "-o", "short.npz", "--stop-after", "front")
    assert len(read_npz(path("short.npz"))["frame_index"].values) == readable
    assert is_short(cut("fast.mp4", 0.4)) < readable


def other_containers_that_are_cut():
    for name in ("c.mkv", "c.flv", "c.avi", "c.webm", "f.mp4", "c.mov"):
        is_short(cut(sample(name)))


def with_longer_sound():
    is_short(cut(sample("sound.mkv"), 0.5))


def through_a_pipe():
    with open(cut(sample("c.mkv")), "rb") as file:
        lines = lines_of("-", stdin=file)
    assert len(lines) == 1 and "of 24 frames can be read" in lines[0], lines


def what_is_cut_behind_the_used_frames():
    lines = lines_of(cut(sample("fast.mp4")), "--max-frames", 3)
    assert len(lines) == 2 and "left out" in lines[0] and "of 24 frames can be read" in lines[1], lines


def damage(name, share, size):
    data = bytearray(read(name))
    at = int(share * len(data))
    data[at:at + size] = random.Random(3).randbytes(size)
    return write("damaged-" + os.path.basename(name), bytes(data))


def damage_in_the_middle():
    for name in ("fast.mp4", "c.mov"):
        lines = lines_of(damage(sample(name), 0.5, 4000))
        assert len(lines) == 1 and "damage" in lines[0] and re.search(r"\d+ of 24 frames", lines[0]), lines
    for video in (damage(sample("c.ts"), 0.5, 4000), cut("c.ts")):
        one_line(video, r"(\d+) of (\d+) frames (?:are damaged|can be read)")


def a_jpeg_without_its_end():
    folder = place("jpegs")
    ffmpeg("-f", "lavfi", "-i", "testsrc=s=96x72", "-frames:v", "3", "jpegs/f%d.jpg")
    assert lines_of(folder) == []
    whole = read("jpegs/f2.jpg")
    thumbnail = b"\xff\xe1" + struct.pack(">H", 12) + b"Exif\0\0\xff\xd8\xff\xd9"
    write("jpegs/f2.jpg", whole[:2] + thumbnail + whole[2:])
    write("jpegs/f3.jpg", read("jpegs/f3.jpg") + b"whatever is behind it" * 99)
    assert lines_of(folder) == []
    for share in (0.5, 0.7, 0.95):
        write("jpegs/f2.jpg", whole[:2] + thumbnail + whole[2:int(share * len(whole))])
        assert one_line(folder, r"(\d+) of (\d+) frames are damaged") == [1, 3]


def whole_files_are_silent():
    for name, *arguments in (
            ("edit.mp4", "-ss", "0.9", "-i", SMALL, "-c", "copy"), ("t.mp4", "-i", SMALL, "-t", "1.2", "-c", "copy"),
            ("c.gif", "-i", SMALL), ("c.mpg", "-i", SMALL, "-r", "25"),
            ("c.wmv", "-i", SMALL), ("again.avi", "-i", SMALL, "-r", "30", "-c:v", "mpeg4", "-bf", "2"),
            ("inter.mkv", "-i", SMALL, "-c:v", "libx264", "-flags", "+ildct+ilme", "-x264opts", "tff=1"),
            ("raw.h264", "-i", SMALL, "-c", "copy", "-bsf:v", "h264_mp4toannexb"), ("still.png", "-i", SMALL,
                                                                                  "-frames:v", "1")):
        assert lines_of(clip(name, *arguments)) == [], (name, lines_of(path(name)))
    for name in SAMPLES:
        assert lines_of(sample(name)) == [], (name, lines_of(path(name)))


def more_frames_than_asked_for():
    assert lines_of(BALL, "--max-frames", 24) == []
    assert one_line(BALL, r"(\d+) frames left out: used the first (\d+)", "--max-frames", 20) == [4, 20]
    assert one_line(BALL, r"(\d+) frames left out: used the first (\d+)", "--max-frames", 5, "--stride", 4) == [1, 5]
    long = test_clip("long.mp4", "96x72", 100)
    assert one_line(long, r"(\d+) frames left out: used the first (\d+)") == [20, 80]


finish([a_cut_mp4_says_both_numbers, other_containers_that_are_cut, with_longer_sound, through_a_pipe,
        what_is_cut_behind_the_used_frames, damage_in_the_middle, a_jpeg_without_its_end,
        whole_files_are_silent, more_frames_than_asked_for])
