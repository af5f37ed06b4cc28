#!/usr/bin/env python3
"""The benchmark's PyTorch side; tests/bench/run starts it.

    twin.py inputs OUT FRAMES QUERIES         a clip with its geometry, for both sides
    twin.py picture OUT                       a picture with a point, for both sides
    twin.py front|sam CHECKPOINT INPUT        one timed run, one line of JSON as from bench.c
    twin.py tracker CHECKPOINT INPUT SUPPORT [--best]
    twin.py cuda MANIFEST FRAMES HEIGHT WIDTH the front on a GPU as the reference runs it, its best time
    twin.py pipeline MANIFESTS FRAMES HEIGHT WIDTH QUERIES SUPPORT
                                              likewise SAM base, the front and the tracker, one by one

The tracker runs the reference's way of computing unless --best is given (src/lite/tracker/window.py).
"""
import json
import os
import sys
import tempfile
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "src" / "lite"))
from common import checkpoint, compat, tensorfile
from common.frames import MEAN, STD
from front.model import Front
from sam.model import Sam, upscale
from tracker import window
from tracker.model import PREFIX, Tracker

HEIGHT, WIDTH = 294, 518
SAM_HEIGHT, SAM_WIDTH = 576, 1024  # what the model sees of a 16:9 picture


def inputs(path: str, frames: int, queries: int, height: int = HEIGHT, width: int = WIDTH) -> None:
    """Smooth moving textures, a slanted surface with a step, a camera that moves sideways."""
    t = torch.arange(frames).view(-1, 1, 1)
    y, x = torch.arange(height).view(1, -1, 1), torch.arange(width).view(1, 1, -1)
    waves = [0.05 * x + 0.03 * y + 0.1 * t, 0.11 * x - 0.07 * y + 0.2 * t, 0.023 * x + 0.19 * y - 0.1 * t]
    video = torch.stack([127.5 * (1 + w.sin() * (0.013 * (x + y)).cos()) for w in waves], 1)
    depth = 2 + 0.002 * x + 0.003 * y - 0.6 * ((x > 180) & (x < 300) & (y > 90) & (y < 220)) + 0 * t
    k = torch.tensor([[450.0, 0, width / 2], [0, 450, height / 2], [0, 0, 1]]).repeat(frames, 1, 1)
    c2w = torch.eye(4).repeat(frames, 1, 1)
    c2w[:, 0, 3] = 0.01 * torch.arange(frames)
    n = torch.arange(queries)
    query = torch.stack([n % 2 * (frames // 2), 20 + n * 37 % (width - 40), 20 + n * 53 % (height - 40)], 1)
    tensorfile.write(path, {"video": video.float(), "depth": depth.float(),
                            "confident": torch.ones(frames, height, width), "intrinsics": k, "c2w": c2w,
                            "query": query.float()})


def picture(path: str) -> None:
    """Textures and a disc, of the size that needs no resize on its way into SAM base."""
    y, x = torch.arange(SAM_HEIGHT)[:, None], torch.arange(SAM_WIDTH)
    waves = torch.stack([0.05 * x + 0.03 * y, 0.11 * x - 0.07 * y, 0.023 * x + 0.19 * y], -1)
    disc = ((x - 500) ** 2 + (y - 300) ** 2 < 150 ** 2)[..., None]
    rgb = 127.5 * (1 + waves.sin() * torch.where(disc, 0.3, 1.0))
    tensorfile.write(path, {"rgb": rgb.to(torch.uint8), "point": torch.tensor([500.0, 300.0])})


def segment(model: Sam, rgb: torch.Tensor, point: torch.Tensor) -> list[torch.Tensor]:
    """The share of the picture in the mask, and the mask's predicted IoU."""
    if model.crop_scale:
        from sam import crop  # OpenCV is only needed here
        mask, iou = crop.segment(model, rgb.numpy(), {"points": [point.numpy()]})
        return [torch.from_numpy(mask), torch.tensor(iou)]
    mean, std = (torch.tensor(v) * 255 for v in (MEAN, STD))
    pixels = ((rgb.float() - mean) / std).permute(2, 0, 1)[None]
    pixels = torch.nn.functional.pad(pixels, (0, model.side - rgb.shape[1], 0, model.side - rgb.shape[0]))
    masks, iou = model(pixels, point[None], torch.ones(1, dtype=torch.int32))
    size = tuple(rgb.shape[:2])
    return [upscale(masks[:, 1:2], model.side, size, size) > 0, iou[0, 1]]


def loaded(kind: type, folder: str, prefix: str) -> torch.nn.Module:
    model = compat.unset(kind, checkpoint.read_config(folder)).eval()
    checkpoint.load(model, folder, prefix)
    return model


DEVICE = "cuda" if torch.cuda.is_available() else "cpu"  # where the GPU's runs are tried out small


def anything(model: torch.nn.Module) -> torch.nn.Module:
    """Any weights, on the device."""
    model = model.to_empty(device=DEVICE).eval()
    with torch.no_grad():
        for p in model.parameters():
            p.normal_(0, p[0].numel() ** -0.5) if p.ndim > 1 else p.uniform_(0.5, 1)
    return model


def untouched(kind: type, manifest: str | Path) -> torch.nn.Module:
    with torch.device("meta"):
        return kind(json.loads(Path(manifest).read_text())["config"])


def best(run, times: int = 4) -> dict:
    """Seconds of the best run but for the first, which is given too, and the most memory."""
    seconds, peak = [], 0
    with torch.inference_mode(), torch.device(DEVICE):
        for _ in range(times):
            begin = time.monotonic()
            run()
            if DEVICE == "cuda":
                torch.cuda.synchronize()
                peak = torch.cuda.max_memory_allocated()
            seconds.append(time.monotonic() - begin)
    return {"seconds": min(seconds[1:]), "first": seconds[0], "peak_bytes": peak, "torch": torch.__version__}


def time_front(manifest: str | Path, frames: int, height: int, width: int) -> dict:
    """The aggregator in bf16 under autocast, scaled_dot_product_attention; its matrices in bf16, which
    autocast would otherwise cast each time; heads in f32."""
    model = anything(untouched(Front, manifest))
    for module in model.aggregator.modules():
        if isinstance(module, torch.nn.Linear):
            module.to(torch.bfloat16)
    video = 255 * torch.rand(frames, 3, height, width, device=DEVICE)

    def run():
        with torch.autocast(DEVICE, torch.bfloat16):
            taps = [tap.float() for tap in model.aggregator(model.normalise(video))]
        model.camera_head(taps[-1][:, 0])
        model.depth_head(taps, height, width, model.patch)
    return best(run)


def under_autocast(call):
    """The call in bf16, what it returns in f32."""
    def run(*given):
        with torch.autocast(DEVICE, torch.bfloat16):
            out = call(*given)
        return {k: v.float() for k, v in out.items()} if isinstance(out, dict) else out.float()
    return run


def time_tracker(manifest: Path, path: str, support: int) -> dict:
    """The network under autocast as the published program runs it, its geometry in f32."""
    from common.golden import synthetic  # by the rule of the synthetic weights: any others may find no geometry
    manifest = json.loads(manifest.read_text())
    model = synthetic(Tracker(manifest["config"]), manifest, PREFIX).to(DEVICE)
    model.fnet.forward, model.update = under_autocast(model.fnet.forward), under_autocast(model.update)
    g = {name: t.to(DEVICE) for name, t in tensorfile.Reader(path).tensors().items()}
    clip = window.Clip(g["video"], g["depth"], g["confident"], g["intrinsics"], g["c2w"], g["query"])
    return best(lambda: window.run(model, clip, support=support, reference_way=True), 3)


def time_sam(manifest: Path, path: str) -> dict:
    model = anything(untouched(Sam, manifest))
    g = {name: t.to(DEVICE) for name, t in tensorfile.Reader(path).tensors().items()}
    return best(lambda: segment(model, g["rgb"], g["point"]))


def time_pipeline(folder: str, frames: int, height: int, width: int, queries: int, support: int) -> dict:
    """One model after the other, as the pipeline runs them; loading is not counted."""
    folder = Path(folder)
    with tempfile.TemporaryDirectory() as held:
        picture(f"{held}/picture")
        inputs(f"{held}/clip", frames, queries, height, width)
        parts = {"sam": time_sam(folder / "sam_base.json", f"{held}/picture"),
                 "front": time_front(folder / "front.json", frames, height, width),
                 "tracker": time_tracker(folder / "tracker_offline.json", f"{held}/clip", support)}
    return {"seconds": sum(part["seconds"] for part in parts.values()), **parts}


def main() -> None:
    what, path, *rest = sys.argv[1:]
    if what in ("cuda", "pipeline"):
        timed = time_front if what == "cuda" else time_pipeline
        print(json.dumps(timed(path, *(int(size) for size in rest))))
        return
    if what == "inputs":
        inputs(path, int(rest[0]), int(rest[1]))
        return
    if what == "picture":
        picture(path)
        return
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    g = tensorfile.Reader(rest[0]).tensors()
    with torch.inference_mode():
        if what == "front":
            model = loaded(Front, path, "")
            begin = time.monotonic(), time.process_time()
            out = model(g["video"])
            parts = out["depth"], out["confidence"], out["pose_enc"]
        elif what == "sam":
            model = loaded(Sam, path, "")
            begin = time.monotonic(), time.process_time()
            parts = segment(model, g["rgb"], g["point"])
        else:
            model = loaded(Tracker, path, PREFIX)
            clip = window.Clip(g["video"], g["depth"], g["confident"], g["intrinsics"], g["c2w"], g["query"])
            begin = time.monotonic(), time.process_time()
            out = window.run(model, clip, support=int(rest[1]), reference_way="--best" not in rest)
            parts = out["tracks"], out["visibility"], out["c2w"]
    print(json.dumps({"seconds": time.monotonic() - begin[0], "cpu": time.process_time() - begin[1],
                      "means": [p.double().mean().item() for p in parts]}))


if __name__ == "__main__":
    main()
