#!/usr/bin/env python3
"""weights.mk against a server on loopback that looks like Hugging Face. Prints TAP."""
import hashlib
import http.server
import os
import subprocess
import sys
import tempfile
import threading

MAKEFILE = sys.argv[1]
PAYLOAD = bytes(range(256)) * 4000  # a megabyte, so that a transfer can be cut half way
CONFIG, README = b'{"model": {}}', b"---\nlicense: cc-by-nc-4.0\n---\n# A model\n"
REPO = "Yuxihenry/SpatialTrackerV2_Front"


class Hub(http.server.BaseHTTPRequestHandler):
    """Serves files[path]; cuts the payload after `cut` bytes when that is set."""
    files, requests, cut = {}, [], None

    def do_GET(self):
        Hub.requests.append((self.path, self.headers.get("Range")))
        body = Hub.files.get(self.path)
        if body is None:
            self.send_error(404)
            return
        start = 0
        if self.headers.get("Range"):
            start = int(self.headers["Range"].split("=")[1].split("-")[0])
        if start >= len(body) > 0:
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        self.end_headers()
        cut = Hub.cut if body is PAYLOAD else None
        self.wfile.write(body[start:cut])
        if cut is not None:
            self.close_connection = True

    def log_message(self, *_):
        pass


def publish(repo=REPO, revision="main", payload=PAYLOAD, digest=None, config=CONFIG, readme=README):
    digest = digest or hashlib.sha256(payload).hexdigest()
    pointer = (f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\n"
               f"size {len(payload)}\n").encode()
    Hub.files = {f"/{repo}/raw/{revision}/model.safetensors": pointer,
                 f"/{repo}/resolve/{revision}/model.safetensors": payload}
    for name, body in (("config.json", config), ("README.md", readme)):
        if body is not None:
            Hub.files[f"/{repo}/resolve/{revision}/{name}"] = body
    Hub.requests, Hub.cut = [], None


def make(folder, *arguments):
    return subprocess.run(["make", "-s", "-f", MAKEFILE, f"DEST={folder}", f"BASE={BASE}",
                           "CURL=curl --fail --silent --show-error --location", *arguments],
                          capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60)


def listing(folder):
    return sorted(os.listdir(os.path.join(folder, "front")))


def payload_requests():
    return [r for r in Hub.requests if "/resolve/" in r[0] and r[0].endswith("safetensors")]


WHOLE = ["README.md", "config.json", "model.safetensors", "model.sha256"]


def downloads_and_verifies(folder):
    publish()
    done = make(folder, "front")
    assert done.returncode == 0, done.stderr
    assert "licence of " + REPO + ": cc-by-nc-4.0" in done.stdout, done.stdout
    assert listing(folder) == WHOLE, listing(folder)
    with open(os.path.join(folder, "front", "model.safetensors"), "rb") as file:
        assert file.read() == PAYLOAD


def second_run_downloads_nothing(folder):
    publish()
    make(folder, "front")
    assert len(payload_requests()) == 1
    done = make(folder, "front")
    assert done.returncode == 0 and "up to date" in done.stdout
    assert len(payload_requests()) == 1


def goes_on_after_a_cut(folder):
    publish()
    Hub.cut = 300000
    done = make(folder, "front")
    assert done.returncode != 0 and "make again goes on" in done.stderr, done.stderr
    assert "model.safetensors" not in listing(folder)
    Hub.cut = None
    done = make(folder, "front")
    assert done.returncode == 0, done.stderr
    assert payload_requests()[-1][1] == "bytes=300000-", payload_requests()
    assert listing(folder) == WHOLE


def new_revision_drops_a_part_of_the_old(folder):
    publish()
    Hub.cut = 300000
    make(folder, "front")
    publish(payload=PAYLOAD[::-1])
    done = make(folder, "front")
    assert done.returncode == 0, done.stderr
    assert payload_requests()[-1][1] is None


def wrong_sum_is_refused(folder):
    publish(digest="0" * 64)
    done = make(folder, "front")
    assert done.returncode != 0
    assert done.stderr.count("weights.mk: front:") == 1 and "SHA-256" in done.stderr
    assert listing(folder) == ["README.md", "config.json"], listing(folder)


def old_file_survives_a_failure(folder):
    publish()
    make(folder, "front")
    publish(digest="1" * 64)
    assert make(folder, "front").returncode != 0
    assert "model.safetensors" in listing(folder)


def missing_repository_is_told(folder):
    publish(repo="someone/else")
    done = make(folder, "front")
    assert done.returncode != 0 and "cannot fetch" in done.stderr
    assert listing(folder) == []


def revision_can_be_pinned(folder):
    publish(revision="abc123")
    assert make(folder, "front").returncode != 0
    assert make(folder, "front", "REVISION=abc123").returncode == 0
    assert make(folder, "front", "REVISION_front=abc123").returncode == 0


def config_may_be_missing(folder):
    publish(config=None, readme=None)
    done = make(folder, "front")
    assert done.returncode == 0 and "not stated" in done.stdout
    assert listing(folder) == ["model.safetensors", "model.sha256"], listing(folder)


def every_model_has_its_repository(folder):
    for model, repo in (("offline", "Yuxihenry/SpatialTrackerV2-Offline"),
                        ("online", "Yuxihenry/SpatialTrackerV2-Online"),
                        ("sam-base", "facebook/sam-vit-base"),
                        ("sam-large", "facebook/sam-vit-large"),
                        ("sam-huge", "facebook/sam-vit-huge")):
        publish(repo=repo)
        done = make(folder, model)
        assert done.returncode == 0, (model, done.stderr)
        assert os.path.exists(os.path.join(folder, model, "model.safetensors"))


def names_with_spaces_are_fine(folder):
    publish()
    folder = os.path.join(folder, "my weights")
    assert make(folder, "front").returncode == 0
    assert listing(folder) == WHOLE


def a_gpu_gets_its_copy(folder):
    program, asked = os.path.join(folder, "fake"), os.path.join(folder, "asked")
    for devices, expected in (("cuda: not built in", 0), ("cuda 0: H100, 79.1 GB, 78.0 GB free", 1)):
        with open(program, "w") as file:
            file.write(f"#!/bin/sh\nif test \"$1\" = --info; then echo '{devices}'; else echo \"$@\" >> {asked}; fi\n")
        os.chmod(program, 0o755)
        publish()
        done = make(folder, "front", f"SPATRACK={program}")
        assert done.returncode == 0, done.stderr
        assert os.path.exists(asked) == expected
    publish(repo="Yuxihenry/SpatialTrackerV2-Offline")
    assert make(folder, "offline", f"SPATRACK={program}").returncode == 0
    with open(asked) as file:
        assert file.read() == f"--prepare --weights {folder}\n"


def help_lists_the_models(folder):
    done = make(folder)
    assert done.returncode == 0 and "sam-huge" in done.stdout and os.listdir(folder) == []


CASES = [downloads_and_verifies, second_run_downloads_nothing, goes_on_after_a_cut,
         new_revision_drops_a_part_of_the_old, wrong_sum_is_refused, old_file_survives_a_failure,
         missing_repository_is_told, revision_can_be_pinned, config_may_be_missing,
         every_model_has_its_repository, names_with_spaces_are_fine, a_gpu_gets_its_copy,
         help_lists_the_models]

server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
threading.Thread(target=server.serve_forever, daemon=True).start()
BASE = f"http://127.0.0.1:{server.server_port}"
print(f"1..{len(CASES)}")
failures = 0
for number, case in enumerate(CASES, 1):
    with tempfile.TemporaryDirectory() as root:
        try:
            case(root)
            print(f"ok {number} - {case.__name__}")
        except Exception as error:  # a failed case is reported and the others go on
            failures += 1
            print(f"not ok {number} - {case.__name__}\n# {error!r}")
sys.exit(failures > 0)
