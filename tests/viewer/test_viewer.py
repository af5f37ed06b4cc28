#!/usr/bin/env python3
"""The page of --viewer in a browser: Debian's chromium, without a window; all is skipped where it is missing.

    test_viewer.py SPATRACK SOURCE_ROOT SYNTH [part of a case's name]
"""
import base64
import functools
import os
import re
import shutil
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../cli"))
sys.path.insert(0, HERE)
import browser as chromium  # noqa: E402
from arrays import read_npz, write_npz  # noqa: E402
from program import BALL, finish, good, path, place, read, write  # noqa: E402
from tap import Skip  # noqa: E402

HOSTILE = "<script>alert(1)<script>.mp4"
NAMED = "</script><img src=x onerror=alert(2)>"
# A picture of the canvas as rows of RGBA from below; one of the same picture has the same text.
HELPERS = """
function pixels() {
    paint();
    const gl = painter.gl, data = new Uint8Array(4 * canvas.width * canvas.height);
    gl.readPixels(0, 0, canvas.width, canvas.height, gl.RGBA, gl.UNSIGNED_BYTE, data);
    return data;
}
function base64(data) {
    let text = '';
    for (let i = 0; i < data.length; i += 8192)
        text += String.fromCharCode(...data.subarray(i, i + 8192));
    return btoa(text);
}
function difference(a, b) {
    return a.reduce((n, value, i) => n + (value !== b[i]), 0);
}
function colours() {
    return new Set(new Uint32Array(pixels().buffer)).size;
}
/* As a user does: changes the control of a setting. Returns how many bytes of the picture change. */
function drive(key, value) {
    const before = pixels(), control = document.getElementById('set-' + key);
    if (control.type === 'checkbox')
        control.click();
    else if (control.getAttribute('role') === 'radiogroup')
        control.querySelector(`[value=${value}]`).click();
    else {
        control.value = value;
        control.dispatchEvent(new Event(control.tagName === 'SELECT' ? 'change' : 'input'));
    }
    return difference(before, pixels());
}
"""
the_browser = None


def page(name="page.html", address="", width=900, height=600):
    """The browser, with a page opened."""
    global the_browser
    results()
    if the_browser is None:
        the_browser = chromium.Browser(width, height)
    the_browser.resize(width, height)
    the_browser.errors.clear()
    the_browser.requests.clear()
    the_browser.open(path(name), address)
    the_browser.evaluate(HELPERS)
    return the_browser


@functools.cache
def results():
    """A run of the whole clip, named to do harm, with two objects."""
    if not chromium.find():
        raise Skip("there is no chromium")
    shutil.copy(BALL, path(HOSTILE))
    good(HOSTILE, "-q", "--vo-points", 20, "--iters", 1, "--grid", 7, "--point", "crate=363,250", "--point",
         NAMED + "=138,228", "-o", "r.npz", "--viewer", "page.html")
    return read_npz(path("r.npz"))


# What the file is --------------------------------------------------------------------------------

def a_page_is_one_file_and_asks_for_nothing_else():
    b = page()
    assert os.path.getsize(path("page.html")) < 8_000_000
    assert b.requests == [f"file://{path('page.html')}"], b.requests
    assert b.errors == [], b.errors
    assert not re.search(r"""(src|href)=["']?(https?:|//)|@import|importScripts|fetch\(|XMLHttpRequest|WebSocket""",
                         read("page.html").decode().split("id='result'")[0])


def hostile_names_are_text():
    b = page()
    assert HOSTILE.encode() not in read("page.html") and NAMED.encode() not in read("page.html")
    assert b.evaluate("$('name').textContent") == HOSTILE and HOSTILE in b.evaluate("document.title")
    assert NAMED in b.evaluate("document.querySelector('.objects').textContent")
    assert b.evaluate("document.querySelectorAll('#name *, .objects img, #sections script').length") == 0
    assert b.errors == []


def a_page_that_is_too_large_is_reduced_and_says_so():
    results()
    good(BALL, "-q", "--vo-points", 20, "--iters", 1, "--grid", 7, "-o", "small.npz", "--viewer", "small.html",
         "--viewer-size", 0.4)
    assert os.path.getsize(path("small.html")) <= 400_000
    b = page("small.html")
    note = b.evaluate("$('note').hidden ? '' : $('note').textContent")
    assert note.startswith("Reduced to fit in 0.4 MB. One frame in "), note
    assert b.evaluate("clip.frames") < 24 and b.errors == []
    assert page().evaluate("$('note').hidden")


def a_finished_result_gives_the_same_scene():
    results()
    good("r.npz", "-q", "--viewer", "again.html")
    numbers = "[clip.name, [...clip.points.subarray(0, 600)], [...clip.seen.subarray(0, 400)], [...clip.maps.rgba.subarray(0, 400)]]"
    _, points, seen, rgba = page().evaluate(numbers)
    b = page("again.html")
    name, *again = b.evaluate(numbers)
    assert name == "r.npz" and b.errors == []
    for got, expected, most in zip(again, (points, seen, rgba), (3e-4, 0, 1)):
        close(got, expected, most)


# What it shows -----------------------------------------------------------------------------------

def frames_differ_and_are_not_blank():
    shots = []
    for t in (0, 11, 23):
        b = page(address=f"#frame={t}")
        shots.append(b.screenshot())
        assert b.evaluate("colours()") > 2000
        assert b.evaluate("$('now').textContent").startswith(f"{t + 1} / 24")
        assert b.errors == []
    assert len(set(shots)) == 3


def looking_through_the_camera_shows_the_frame():
    r = results()
    frames, _, h, w = r["video"].shape
    video = r["video"].values
    b = page(address="#mode=through&tracks=0&cameras=0&grid=0")
    # The canvas as large as the maps, over two grounds: what they share is covered by the cloud.
    b.evaluate("""function seen(t) {
        settings.frame = t;
        [canvas.width, canvas.height] = [clip.maps.w, clip.maps.h];
        const lens = cameraOf(clip, settings, orbit, [canvas.width, canvas.height]), gl = painter.gl;
        return [[0, 0, 0], [255, 255, 255]].map(ground => {
            painter.paint(settings, lens, ground, ground);
            const data = new Uint8Array(4 * canvas.width * canvas.height);
            gl.readPixels(0, 0, canvas.width, canvas.height, gl.RGBA, gl.UNSIGNED_BYTE, data);
            return base64(data);
        });
    }""")
    assert b.evaluate("[clip.maps.w, clip.maps.h]") == [w, h]
    for t in (0, 9, 23):
        black, white = (base64_bytes(text) for text in b.evaluate(f"seen({t})"))

        def off(frame):
            total = covered = 0
            for y in range(h):
                row = 4 * (h - 1 - y) * w
                for x in range(w):
                    at = row + 4 * x
                    if black[at:at + 3] != white[at:at + 3]:
                        continue
                    covered += 1
                    first = (3 * frame * h + y) * w + x
                    total += sum(abs(black[at + c] - 255 * video[first + c * h * w]) for c in range(3))
            return total / covered / 3, covered / h / w
        (mean, covered), (other, _) = off(t), off((t + 6) % frames)
        print(f"# frame {t}: off by {mean:.2f} of 255 on {100 * covered:.1f} %; another frame by {other:.1f}")
        assert mean < 4 and covered > 0.99 and other > 3 * mean


def base64_bytes(text):
    return base64.b64decode(text)


def the_page_holds_the_results_numbers():
    r = results()
    frames, tracks = r["coords"].shape[:2]
    b = page()
    assert b.evaluate("[clip.frames, clip.tracks, ...clip.size]") == [frames, tracks, 480, 360]
    close(b.evaluate("[...clip.points]"), r["coords"].values, 2e-4)
    close(b.evaluate("[...clip.seen].filter((_, i) => i % 2 === 0).map(x => x / 255)"),
          [min(max(v, 0), 1) for v in r["visibs"].values], 0.003)
    pixels = b.evaluate("clip.poses.flatMap((_, t) => clip.starts.flatMap((_, n) => inputPixel(clip, t, n)))")
    refined = [v == v for v in r["sigma"].values for _ in range(2)]  # where both are one estimate
    off = [abs(a - e) for a, e, same in zip(pixels, r["tracks2d"].values, refined) if same]
    assert len(off) > 100 and max(off) < 0.5
    close(b.evaluate("[...clip.maps.depth.subarray(0, 500)]"), r["depths"].values[:500], 0.01)
    assert b.evaluate("clip.objectNames") == ["crate", NAMED]
    assert b.evaluate("[...clip.object]") == list(r["object"].values)


def close(got, expected, most):
    assert len(got) == len(expected), (len(got), len(expected))
    off = max(abs(a - e) for a, e in zip(got, expected))
    assert off <= most, off


# What it can do ----------------------------------------------------------------------------------

# A value for the control of each setting, and in which view it makes a difference.
CONTROLS = {
    "mode": ("through", ""), "fov": (70, ""), "cloud": (0, ""), "cloudColour": ("depth", ""), "pointSize": (3, ""),
    "opacity": (0.4, ""), "nearest": (0.5, ""), "farthest": (0.5, ""), "confidence": (0.9, ""), "edge": (0.01, ""),
    "keep": (1, ""), "stride": (9, "keep=1"), "tracks": (0, ""), "trackColour": ("time", ""), "trail": (3, ""),
    "tail": (1, ""), "lineWidth": (6, ""), "ballSize": (3, ""), "rich": (1, ""),
    "through": (1, "view=0,0,1,2.5,0.4,2,0"),
    "visibility": (1, ""), "trackConfidence": (1, ""), "cameras": (0, ""), "cameraSize": (2, ""), "path": (0, ""),
    "allCameras": (1, ""), "grid": (0, ""), "axes": (1, ""), "background": ("black", ""), "theme": ("dark", ""),
}


def every_control_changes_the_picture():
    b = page()
    playback = {"frame", "speed", "loop"}
    assert set(b.evaluate("ITEMS.map(item => item.key)")) == set(CONTROLS) | playback
    more = [("trackColour", (colour, "")) for colour in ("object", "motion", "picture")]
    more.append(("cloudColour", ("confidence", "")))
    for key, (value, where) in [*CONTROLS.items(), *more]:
        fresh(b, f"#frame=16&{where}")
        changed = b.evaluate(f"drive('{key}', '{value}')")
        assert changed > 40, (key, value, changed)
        assert b.errors == [], (key, value, b.errors)
    fresh(b, "#frame=16")
    assert b.evaluate("drive('mode', 'follow'), settings.frame = 2, drive('mode', 'orbit')") > 40
    fresh(b, "#frame=16")
    assert b.evaluate("""(() => {
        const before = pixels();
        document.querySelector('[data-object]').click();
        return difference(before, pixels());
    })()""") > 40


def fresh(b, address):
    """The opened page as if it were opened with this address."""
    b.evaluate(f"orbit.moved = false, readAddress('{address}', orbit), applyTheme(), show(clip)")


def reset_brings_back_the_first_picture():
    b = page(address="#frame=16")
    first = b.evaluate("base64(pixels())")
    for key, (value, _) in CONTROLS.items():
        b.evaluate(f"drive('{key}', '{value}')")
    b.drag((300, 300), (350, 320))
    assert b.evaluate("base64(pixels())") != first
    for action in ("reset", "home"):
        b.evaluate(f"document.querySelector('#panel [data-do={action}]').click()")
    b.evaluate("pointer = [-1, -1]")
    assert b.evaluate("base64(pixels())") == first


def an_address_shows_the_same_view():
    b = page(address="#frame=7")
    b.drag((300, 300), (400, 330))
    for key in ("pointSize", "trackColour", "path", "theme"):
        b.evaluate(f"drive('{key}', '{CONTROLS[key][0]}')")
    b.evaluate("document.querySelector('[data-object]').click()")
    b.wait("location.hash.includes('theme=dark') && location.hash.includes('view=')")
    b.evaluate("$('panel').hidden = true, pointer = [-1, -1]")
    picture, address = b.evaluate("[base64(pixels()), location.hash]")
    b = page(address=address)
    b.evaluate("$('panel').hidden = true")
    share = f"difference(Uint8Array.from(atob('{picture}'), c => c.charCodeAt(0)), pixels()) / pixels().length"
    same = b.evaluate(share)
    b.evaluate("goHome()")
    print(f"# {100 * same:.2f} % of the bytes differ, of another view {100 * b.evaluate(share):.2f} %")
    assert same < 0.02 < 0.1 < b.evaluate(share)
    for bad in ("#frame=x&view=1,2&mode=constructor&pointSize=-7&nonsense&hidden=&=", "#view=,,,,,,&frame=99999&%zz"):
        b = page(address=bad)
        assert b.errors == [] and b.evaluate("colours()") > 2000, bad


def keys_do_what_the_help_says():
    b = page()
    b.key("ArrowRight")
    b.key("ArrowRight")
    b.key("ArrowLeft")
    assert b.evaluate("settings.frame") == 1
    b.key("End")
    assert b.evaluate("settings.frame") == 23
    b.key("ArrowRight")  # round, as it loops
    assert b.evaluate("settings.frame") == 0
    for key, setting in (("c", "cloud"), ("t", "tracks"), ("v", "cameras"), ("g", "grid"), ("l", "loop")):
        before = b.evaluate(f"settings.{setting}")
        b.key(key)
        assert b.evaluate(f"settings.{setting}") != before, key
    for key, mode in (("2", "follow"), ("3", "through"), ("1", "orbit")):
        b.key(key)
        assert b.evaluate("settings.mode") == mode
    yaw, away = b.evaluate("[orbit.yaw, orbit.distance]")
    b.key("ArrowLeft", shift=True)
    b.key("+")
    assert b.evaluate("orbit.yaw") != yaw and b.evaluate("orbit.distance") < away
    b.key("r")
    assert b.evaluate("orbit.yaw") == yaw
    b.key("h")
    assert b.evaluate("$('panel').hidden")
    b.key("?")
    assert b.evaluate("$('help').open") and b.errors == []


def playing_goes_on_and_ends_or_loops():
    b = page(address="#loop=0&speed=8")
    b.key(" ")
    b.wait("!playing")
    assert b.evaluate("settings.frame") == 23
    b.key("l")
    b.key(" ")
    b.evaluate("globalThis.rounds = 0, globalThis.last = 0")
    b.evaluate("""(function watch() {
        rounds += settings.frame < last;
        last = settings.frame;
        requestAnimationFrame(watch);
    })()""")
    b.wait("rounds > 1 && playing")
    b.evaluate("$('play').click()")
    assert not b.evaluate("playing") and b.errors == []
    # A frame takes as long as in the video: 12 frames a second.
    assert abs(b.evaluate("clip.rate") - 12) < 1e-6
    b.evaluate("settings.speed = 0.25, settings.frame = 0, play(), playedFrom -= 1010, advance(), stop()")
    assert b.evaluate("settings.frame") == 3


def pointers_turn_move_and_zoom():
    b = page()
    start = b.evaluate("[orbit.yaw, orbit.pitch, orbit.distance, ...orbit.target]")
    b.drag((300, 300), (380, 340))
    turned = b.evaluate("[orbit.yaw, orbit.pitch, orbit.distance, ...orbit.target]")
    assert turned[0] > start[0] and turned[1] > start[1] and turned[2:] == start[2:]
    b.drag((300, 300), (380, 340), button="right", buttons=2)
    assert b.evaluate("[orbit.yaw, orbit.pitch, orbit.distance]") == turned[:3]
    assert b.evaluate("orbit.target") != start[3:]
    b.mouse("mouseWheel", 300, 300, deltaX=0, deltaY=-200)
    b.wait(f"orbit.distance < {start[2]}")
    for mode in ("orbit", "follow"):  # a double click brings a point to the middle
        b = page(address=f"#frame=8&mode={mode}&tracks=0")
        b.evaluate("globalThis.spot = pixelAt(clip, settings, camera, 250, 260)")
        for count in (1, 2):
            for kind in ("mousePressed", "mouseReleased"):
                b.mouse(kind, 250, 260, button="left", clickCount=count)
        b.wait("orbit.moved")
        b.settle()
        x, y = b.evaluate("pixel(camera.lens, apply(camera.view, spot.point))")
        width, height = b.evaluate("freeArea()")
        assert abs(x - width / 2) < 1 and abs(y - height / 2) < 1, (mode, x, y)
    b = page(address="#mode=through&frame=9")
    b.drag((300, 300), (340, 300))
    assert b.evaluate("settings.mode") == "orbit"
    assert b.errors == []


def fingers_turn_and_pinch():
    b = page(width=390, height=700)
    yaw, away = b.evaluate("[orbit.yaw, orbit.distance]")
    b.touch("touchStart", (150, 300))
    for x in (160, 175, 190):
        b.touch("touchMove", (x, 300))
    b.touch("touchEnd")
    assert b.evaluate("orbit.yaw") > yaw
    b.touch("touchStart", (150, 300), (200, 300))
    for x in (10, 25, 40):
        b.touch("touchMove", (150 - x, 300), (200 + x, 300))
    b.touch("touchEnd")
    assert b.evaluate("orbit.distance") < away and b.errors == []


def the_pointer_reads_a_points_values():
    r = results()
    b = page(address="#frame=5")
    n, x, y = b.evaluate("""(() => {
        for (let n = 0; n < clip.tracks; n++) {
            const at = pixel(camera.lens, apply(camera.view, pointOf(clip, 5, n)));
            if (isShown(clip, settings, 5, n) && trackAt(clip, settings, camera, ...at, 3) === n) return [n, ...at];
        } })()""")
    b.mouse("mouseMoved", x, y)
    b.wait("!$('values').hidden")
    text = b.evaluate("$('values').innerText")
    world = [float(v) for v in re.search(r"world\s+(.*)", text).group(1).split(",")]
    tracks = r["coords"].shape[1]
    close(world, r["coords"].values[3 * (5 * tracks + n):3 * (5 * tracks + n) + 3], 2e-3)
    assert text.startswith(f"Track {n}") and "visibility" in text and "confidence" in text, text
    b.drag((x, y), (x, y))
    b.mouse("mouseMoved", 5, 300)
    b.key("ArrowRight")
    assert b.evaluate("selected") == n and b.evaluate("$('values').innerText").startswith(f"Track {n}")
    b.key("Escape")
    b.evaluate("drive('tracks')")
    b.mouse("mouseMoved", 300, 250)
    b.wait("$('values').innerText.startsWith('Point')")
    assert "depth" in b.evaluate("$('values').innerText") and b.errors == []


def another_result_is_opened():
    """Dropped, and chosen; one like the predecessor's, tracks alone, what is no result."""
    r = results()
    b = page("small.html" if os.path.exists(path("small.html")) else "page.html")
    drop(b, "r.npz")
    b.wait("clip.name === 'r.npz'")
    b.settle()
    frames, tracks = r["coords"].shape[:2]
    assert b.evaluate("[clip.frames, clip.tracks]") == [frames, tracks] and b.evaluate("colours()") > 2000
    assert b.evaluate("$('name').textContent") == "r.npz" and b.evaluate("clip.objectNames") == ["crate", NAMED]
    assert b.evaluate("[...clip.points.subarray(0, 30)]") == list(r["coords"].values[:30])

    keys = ("coords", "extrinsics", "intrinsics", "depths", "video", "visibs")
    theirs = {key: (r[key].shape, r[key].values) for key in keys}
    write_npz(path("theirs.npz"), **theirs, unc_metric=(r["confs_depth"].shape, r["confs_depth"].values))
    drop(b, "theirs.npz")
    b.wait("clip.name === 'theirs.npz'")
    assert b.evaluate("clip.tracks") == tracks and b.evaluate("colours()") > 2000
    assert b.evaluate("clip.size") == [r["video"].shape[3], r["video"].shape[2]]

    write_npz(path("tracks.npz"), coords=(*theirs["coords"], "<f8", True), extrinsics=theirs["extrinsics"],
              intrinsics=theirs["intrinsics"])
    root = b.call("DOM.getDocument")["root"]["nodeId"]
    node = b.call("DOM.querySelector", nodeId=root, selector="#file")["nodeId"]
    b.call("DOM.setFileInputFiles", nodeId=node, files=[path("tracks.npz")])
    b.wait("clip.name === 'tracks.npz'")
    b.settle()
    assert b.evaluate("clip.maps") is None and b.evaluate("colours()") > 30
    close(b.evaluate("[...clip.points.subarray(0, 300)]"), r["coords"].values[:300], 1e-6)
    assert b.evaluate("document.querySelector('#set-cloud')") is None
    assert b.errors == [], b.errors

    write("no.npz", b"PK, but no archive" * 10)
    drop(b, "no.npz")
    b.wait("!$('message').hidden")
    assert "no.npz cannot be opened" in b.evaluate("$('message').textContent")
    assert b.evaluate("clip.name") == "tracks.npz" and b.errors == []


def drop(b, name):
    data = {"items": [], "files": [path(name)], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        b.call("Input.dispatchDragEvent", type=kind, x=300, y=300, data=data)


def a_picture_can_be_saved():
    b = page(address="#frame=3")
    b.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=place("saved"))
    b.evaluate("document.querySelector('[data-do=save]').click()")
    for _ in range(200):
        found = [name for name in os.listdir(path("saved")) if name.endswith(".png")]
        if found:
            break
        time.sleep(0.05)
    assert len(found) == 1 and found[0].endswith("-3.png"), os.listdir(path("saved"))
    assert read(os.path.join("saved", found[0])).startswith(b"\x89PNG") and b.errors == []


def the_panel_moves_and_hides():
    b = page(width=1100, height=700)
    where = "(({left, top}) => [left, top])($('panel').getBoundingClientRect())"
    left, top = b.evaluate(where)
    b.drag((left + 60, top + 18), (left - 240, top + 78))
    assert b.evaluate(where) == [left - 300, top + 60]
    b.drag((left - 240, top + 78), (-2000, -2000))
    x, y = b.evaluate(where)
    assert x >= 0 and y >= 0
    b.evaluate("document.querySelector('#grip button').click()")
    assert b.evaluate("$('panel').hidden") and b.evaluate("getComputedStyle($('show')).display") != "none"
    b.evaluate("$('show').click()")
    assert not b.evaluate("$('panel').hidden") and b.errors == []


def a_phone_shows_the_scene_first():
    b = page(width=360, height=640)
    assert b.evaluate("$('panel').hidden") and b.evaluate("document.documentElement.scrollWidth") <= 360
    b.evaluate("$('show').click()")
    b.settle()
    box = b.evaluate("(({left, right, top, bottom}) => [left, right, top, bottom])($('panel').getBoundingClientRect())")
    bar = b.evaluate("$('transport').getBoundingClientRect().top")
    assert 0 <= box[0] and box[1] <= 360 and box[2] > 640 * 0.4 and box[3] <= bar, (box, bar)
    buttons = "[...document.querySelectorAll('#transport button')]"
    assert b.evaluate(f"{buttons}.every(button => button.getBoundingClientRect().width >= 30)")


def every_control_has_a_name():
    b = page()
    b.evaluate("document.querySelectorAll('[aria-expanded=false]').forEach(x => x.click())")
    nodes = b.call("Accessibility.getFullAXTree")["nodes"]
    roles = ("button", "slider", "switch", "checkbox", "radio", "combobox", "radiogroup", "img", "image")
    controls = [n for n in nodes if not n.get("ignored") and n.get("role", {}).get("value") in roles]
    nameless = [n["role"]["value"] for n in controls if not n.get("name", {}).get("value")]
    assert len(controls) > 40 and nameless == [], nameless


def the_page_is_light_or_dark_as_the_system_is():
    for scheme in ("dark", "light"):
        b = page()
        b.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        b.wait(f"document.documentElement.dataset.theme === '{scheme}'")
        b.settle()
        corner = b.evaluate("[...pixels().subarray(0, 3)]")
        assert (max(corner) < 60) == (scheme == "dark"), (scheme, corner)
    b.call("Emulation.setEmulatedMedia", features=[])


try:
    finish([a_page_is_one_file_and_asks_for_nothing_else, hostile_names_are_text,
            a_page_that_is_too_large_is_reduced_and_says_so, a_finished_result_gives_the_same_scene, frames_differ_and_are_not_blank,
            looking_through_the_camera_shows_the_frame, the_page_holds_the_results_numbers,
            every_control_changes_the_picture, reset_brings_back_the_first_picture, an_address_shows_the_same_view,
            keys_do_what_the_help_says, playing_goes_on_and_ends_or_loops, pointers_turn_move_and_zoom,
            fingers_turn_and_pinch, the_pointer_reads_a_points_values, another_result_is_opened, a_picture_can_be_saved,
            the_panel_moves_and_hides, a_phone_shows_the_scene_first, every_control_has_a_name,
            the_page_is_light_or_dark_as_the_system_is])
finally:
    if the_browser:
        the_browser.close()
