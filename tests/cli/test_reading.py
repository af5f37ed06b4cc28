"""Videos as they are met: turned and mirrored, without times, with several streams. See program.py."""
import os
import re
import struct

from arrays import read_npz
from program import *

FRONT = ["--stop-after", "front", "--max-side", "64"]


def turned(name, source, *matrix):
    """An MP4 whose track has the display matrix a, b, c, d."""
    data = bytearray(read(source))
    at = data.index(b"tkhd") + 44
    for k, value in zip((0, 1, 3, 4), matrix):
        data[at + 4 * k:at + 4 * k + 4] = struct.pack(">i", round(value * 65536))
    return write(name, bytes(data))


def silenced(name, source, keeps_time):
    """A transport stream of video whose frames have no time, but for those that are to keep it."""
    data, count = bytearray(read(source)), 0
    for at in range(0, len(data), 188):
        payload = at + 4 + (1 + data[at + 4] if data[at + 3] & 0x20 else 0)
        if data[at + 1] & 0x40 and data[payload:payload + 3] == b"\0\0\1":
            if not keeps_time(count):
                data[payload + 7] &= 0x3f
            count += 1
    return write(name, bytes(data))


def times(video, *more):
    """Times and numbers of the used frames."""
    good(video, *FRONT, "-q", *more, "-o", "times.npz")
    arrays = read_npz(path("times.npz"))
    at = arrays["timestamps"].values
    assert all(a < b for a, b in zip(at, at[1:])), at
    return list(at), list(arrays["frame_index"].values)


def expect_rate(at, rate, first=None):
    assert all(abs(b - a - 1 / rate) < 2e-3 for a, b in zip(at, at[1:])), at
    assert first is None or abs(at[0] - first) < 2e-3, at


def b_frames(name, *how):
    return test_clip(name, "96x72", 10, *how, "-bf", "2")


# Turned and mirrored -----------------------------------------------------------------------------

def quarter_turns_of_mirrored_frames_keep_their_sides():
    source = test_clip("plain.mp4", "96x48", 2)
    for matrix, tall in [((-1, 0, 0, 1), False), ((1, 0, 0, -1), False), ((0, 1, 1, 0), True),
                         ((0, -1, -1, 0), True), ((0, 1, -1, 0), True)]:
        done = good(turned("way.mp4", source, *matrix), *FRONT, "--portrait", "fit", "-o", "way.npz")
        h, w = read_npz(path("way.npz"))["video"].shape[-2:]
        assert (h > w) == tall and not complaints(done.stderr)[:-1], (matrix, h, w, done.stderr)


def other_angles_are_said():
    source = test_clip("plain.mp4", "96x48", 2)
    for matrix, words in [((.866, .5, -.5, .866), "rotated by 30 degrees clockwise; frames are turned by 0"),
                          ((-.174, .985, -.985, -.174), "by 100 degrees clockwise; frames are turned by 90"),
                          ((.985, .174, .174, -.985), "by -170 degrees clockwise; frames are turned by -180")]:
        done = good(turned("slant.mp4", source, *matrix), *FRONT, "-q", "-o", "slant.npz")
        assert len(done.stderr.splitlines()) == 1 and words in done.stderr, done.stderr


# Times -------------------------------------------------------------------------------------------

def times_of_an_avi_grow_to_its_end():
    for codec in ("libx264", "mpeg4"):
        video = b_frames(codec + ".avi", "-c:v", codec)
        at, index = times(video)
        expect_rate(at, 5)
        assert index == list(range(10))
        later, index = times(video, "--start", 1.2)
        assert index == [6, 7, 8, 9] and later == at[6:], (index, later)


def leading_frames_are_counted_back():
    source = b_frames("b.ts", "-c:v", "libx264")
    at, _ = times(source)
    for name, keeps in [("lead.ts", lambda n: n > 3), ("one.ts", lambda n: n == 5), ("two.ts", lambda n: n % 4 == 1)]:
        video = silenced(name, source, keeps)
        expect_rate(times(video)[0], 5, at[0])
        early, index = times(video, "--max-frames", 2, "--start", 0.4)
        assert index == [2, 3], index
        expect_rate(early, 5, at[2])


def streams_without_times_have_their_rate():
    for name, how in [("raw.h264", ("-c:v", "libx264")), ("raw.m4v", ("-c:v", "mpeg4"))]:
        at, index = times(b_frames(name, *how))
        expect_rate(at, 1 / (at[1] - at[0]))
        assert len(at) == 10, index


def a_clock_that_begins_again_goes_on():
    b_frames("b.ts", "-c:v", "libx264")
    write("twice.ts", read("b.ts") * 2)
    at, index = times(path("twice.ts"))
    assert index == list(range(20))
    expect_rate(at, 5)
    assert times(path("twice.ts"), "--start", 1.6)[1] == list(range(8, 20))


def repeated_times_grow():
    for name, time in [("zero.mkv", "0"), ("pairs.mkv", "2*trunc(N/2)*200"), ("back.mkv", "200*if(eq(N,3),1,N)")]:
        if not os.path.exists(path(name)):
            ffmpeg("-f", "lavfi", "-i", "testsrc=s=96x72:r=5", "-frames:v", "8", "-c:v", "mjpeg", "-bsf:v",
                   "setts=ts='" + time.replace(",", "\\,") + "':time_base=1/1000", name)
        assert times(path(name))[1] == list(range(8)), name


def the_overlay_has_every_frame():
    silenced("lead.ts", b_frames("b.ts", "-c:v", "libx264"), lambda n: n > 3)
    for video in (b_frames("libx264.avi", "-c:v", "libx264"), path("lead.ts")):
        good(video, "--grid", 2, "--iters", 1, "--vo-points", 20, "-q", "-o", "drawn.npz", "--overlay", "drawn.mp4")
        count = tool("ffprobe", "-v", "error", "-count_frames", "-show_entries", "stream=nb_read_frames", "-of",
                     "csv=p=0", "drawn.mp4")
        assert int(count) == len(read_npz(path("drawn.npz"))["timestamps"].values) == 10, (video, count)


# Streams -----------------------------------------------------------------------------------------

def two_sizes(name, *maps):
    return clip(name, "-f", "lavfi", "-i", "testsrc=s=64x96:r=5:d=0.4", "-f", "lavfi", "-i",
                "testsrc=s=192x96:r=5:d=0.4", "-f", "lavfi", "-i", "sine=d=0.4", *maps, "-c:v", "libx264",
                "-pix_fmt", "yuv420p")


def shape(video, *more):
    """Whether the stream that is read is wide, and what is said of others."""
    done = good(video, *FRONT, *more, "--portrait", "fit", "-q", "-o", "shape.npz")
    h, w = read_npz(path("shape.npz"))["video"].shape[-2:]
    return w > h, done.stderr


def the_largest_stream_is_read():
    for name, maps, number in [("first.mkv", ("-map", "0", "-map", "1"), 1),
                               ("second.mkv", ("-map", "1", "-map", "0"), 0),
                               ("sound.mp4", ("-map", "2", "-map", "0", "-map", "1"), 2),
                               ("both.ts", ("-map", "0", "-map", "1"), 1)]:
        wide, said = shape(two_sizes(name, *maps))
        assert wide and re.fullmatch(rf"spatrack: 2 videos .* stream {number} .*--stream.*\n", said), (name, said)


def a_stream_can_be_chosen():
    video = two_sizes("sound.mp4", "-map", "2", "-map", "0", "-map", "1")
    assert shape(video, "--stream", 1) == (False, "")
    assert shape(video, "--stream", 2) == (True, "")
    assert json.loads(read_npz(path("shape.npz"))["version"].values)["settings"]["stream"] == 2
    good(video, "--stream", 1, "--grid", 2, *FAST, "-q", "-o", "s.npz", "--overlay", "s.mp4")
    size = tool("ffprobe", "-v", "error", "-show_entries", "stream=width,height", "-of", "csv=p=0", "s.mp4")
    assert size.strip() == b"64,96", size


def one_video_beside_a_cover_is_no_choice():
    test_clip("plain.mp4", "96x48", 2)
    ffmpeg("-f", "lavfi", "-i", "testsrc=s=200x300:r=5", "-frames:v", "1", "cover.png")
    ffmpeg("-i", "plain.mp4", "-i", "cover.png", "-map", "0", "-map", "1", "-c", "copy", "-disposition:v:1",
           "attached_pic", "covered.mp4")
    assert shape(path("covered.mp4")) == (True, "")
    assert shape(path("covered.mp4"), "--stream", 1) == (False, "")


def refusals():
    two_sizes("sound.mp4", "-map", "2", "-map", "0", "-map", "1")
    for number in (0, 3, 99):
        yield f"stream {number}", ["sound.mp4", "--stream", number, "-o", "x.npz"], 3, "is no video"
    for number in ("-1", "x", "1.5"):
        yield f"stream {number}", ["sound.mp4", "--stream", number, "-o", "x.npz"], 2, "--stream takes"
    yield "stream of images", ["cover.png", "--stream", 1, "-o", "x.npz"], 3, "stream 1 is no video"


finish([quarter_turns_of_mirrored_frames_keep_their_sides, other_angles_are_said,
        times_of_an_avi_grow_to_its_end, leading_frames_are_counted_back, streams_without_times_have_their_rate,
        a_clock_that_begins_again_goes_on, repeated_times_grow, the_overlay_has_every_frame,
        the_largest_stream_is_read, a_stream_can_be_chosen, one_video_beside_a_cover_is_no_choice], refusals())
