"""SAM's goldens, from the class SamModel of the package transformers (5 or later).

No public checkout is needed; OpenCV and Pillow are, too. TINY is the same class at a fraction of the size, for
pictures of 256 x 256. What the tree keeps is cut down (the tables CUT below; files.cut says how): every k-th value
of a tensor, and only tensors that a test reads. With --full all are written. C = 64 channels in TINY.
"""
import functools
import math

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from transformers import SamConfig, SamImageProcessor, SamModel, SamProcessor

from make import catalog, clips, synth

TIED = {"prompt_encoder.shared_embedding.positional_embedding": "shared_image_embedding.positional_embedding"}
DECODER = dict(hidden=256, mlp=2048, layers=2, heads=8, downsample=2, masks=3, iou_depth=3, iou_hidden=256)
SIZES = {
    "base": dict(hidden=768, layers=12, heads=12, global_layers=[2, 5, 8, 11], image=1024, window=14,
                 pos_feats=128, mask_channels=16, decoder=DECODER),
    "large": dict(hidden=1024, layers=24, heads=16, global_layers=[5, 11, 17, 23], image=1024, window=14,
                  pos_feats=128, mask_channels=16, decoder=DECODER),
    "huge": dict(hidden=1280, layers=32, heads=16, global_layers=[7, 15, 23, 31], image=1024, window=14,
                 pos_feats=128, mask_channels=16, decoder=DECODER),
    "tiny": dict(hidden=64, layers=4, heads=4, global_layers=[1, 3], image=256, window=14, pos_feats=32,
                 mask_channels=16, decoder=dict(hidden=64, mlp=128, layers=2, heads=4, downsample=2, masks=3,
                                                iou_depth=3, iou_hidden=64)),
}
KINDS = ["point", "posneg", "box", "box_points"]


# The model ---------------------------------------------------------------------------------------

def skeleton(size):
    """The model without storage."""
    c, d = SIZES[size], SIZES[size]["decoder"]
    config = SamConfig(
        vision_config=dict(
            hidden_size=c["hidden"], num_hidden_layers=c["layers"], num_attention_heads=c["heads"],
            global_attn_indexes=c["global_layers"], image_size=c["image"], window_size=c["window"],
            num_pos_feats=c["pos_feats"], output_channels=d["hidden"]),
        prompt_encoder_config=dict(
            hidden_size=d["hidden"], image_size=c["image"], mask_input_channels=c["mask_channels"]),
        mask_decoder_config=dict(
            hidden_size=d["hidden"], mlp_dim=d["mlp"], num_hidden_layers=d["layers"],
            num_attention_heads=d["heads"], attention_downsample_rate=d["downsample"],
            num_multimask_outputs=d["masks"], iou_head_depth=d["iou_depth"],
            iou_head_hidden_dim=d["iou_hidden"]))
    config._attn_implementation = "eager"
    with torch.device("meta"):
        return SamModel(config)


@functools.lru_cache(1)
def model_of(size):
    """With the manifest's weights."""
    model = skeleton(size)
    state = {name: torch.from_numpy(value) for name, value in synth.weights("sam_" + size)}
    state.update((alias, state[name]) for alias, name in TIED.items())
    model.load_state_dict(state, strict=True, assign=True)
    return model.eval().requires_grad_(False)


def processor(size):
    s = SIZES[size]["image"]
    return SamProcessor(SamImageProcessor(
        size={"longest_edge": s}, pad_size={"height": s, "width": s},
        mask_size={"longest_edge": s // 4}, mask_pad_size={"height": s // 4, "width": s // 4}))


def weight_range(name, shape):
    """synth's default, except where a tensor's role is not visible in its name."""
    if name.endswith("positional_embedding"):
        return 1.7, 0.0  # published: normal, deviation 1
    if name.endswith(("_token.weight", "_tokens.weight", "_embed.weight")) or ".point_embed." in name:
        return 0.5, 0.0
    if ".upscale_conv" in name and len(shape) == 4:
        return math.sqrt(3.0 / shape[0]), 0.0  # transposed: inputs come first
    return synth.default_range(name, shape)


def config_of(size):
    """The manifest's config, which the C program reads."""
    c, d = SIZES[size], SIZES[size]["decoder"]
    grid = c["image"] // 16
    return {
        "hub": "facebook/sam-vit-" + size if size != "tiny" else None,
        "image_size": c["image"], "patch_size": 16, "grid": grid, "channels": 3,
        "vision_hidden": c["hidden"], "vision_layers": c["layers"], "vision_heads": c["heads"],
        "vision_head_dim": c["hidden"] // c["heads"], "vision_mlp": 4 * c["hidden"],
        "vision_global_layers": c["global_layers"], "vision_window": c["window"],
        "vision_out": d["hidden"], "pos_feats": c["pos_feats"],
        "mask_input_channels": c["mask_channels"], "point_embeddings": 4,
        "decoder_hidden": d["hidden"], "decoder_layers": d["layers"], "decoder_heads": d["heads"],
        "decoder_mlp": d["mlp"], "decoder_downsample": d["downsample"],
        "decoder_multimask": d["masks"], "decoder_mask_tokens": d["masks"] + 1,
        "iou_depth": d["iou_depth"], "iou_hidden": d["iou_hidden"],
        "low_res": 4 * grid,
        "eps": {"vision": 1e-6, "neck": 1e-6, "decoder_blocks": 1e-6, "decoder_final": 1e-5,
                "upscale": 1e-6, "mask_embed": 1e-6},
        "pixel_mean": [0.485, 0.456, 0.406], "pixel_std": [0.229, 0.224, 0.225],
        "mask_threshold": 0.0,
        "tied": TIED,
    }


def manifest(size):
    def make(_folder):
        shapes = {k: tuple(v.shape) for k, v in skeleton(size).state_dict().items() if k not in TIED}
        return config_of(size), shapes, {k: weight_range(k, s) for k, s in shapes.items()}
    return make


for one, size_note in (("tiny", "202 tensors, 0.47 M values"), ("base", "314 tensors, 94 M values"),
                       ("large", "482 tensors, 312 M values"), ("huge", "594 tensors, 641 M values")):
    catalog.manifest("sam_" + one, manifest(one), f"SAM {one}: {size_note}")


class Taps:
    """What chosen modules take first and give, {name: [(argument, (outputs))]} in `seen`, for a block."""

    def __init__(self, model, names):
        self.seen = {name: [] for name in names}
        modules = dict(model.named_modules())
        self.hooks = [modules[name].register_forward_hook(self.hook(name)) for name in names]

    def hook(self, name):
        def keep(_module, arguments, output):
            self.seen[name].append((arguments[0] if arguments else None,
                                    output if isinstance(output, tuple) else (output,)))
        return keep

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for handle in self.hooks:
            handle.remove()

    def out(self, name, item=0):
        return self.seen[name][0][1][item]


# Frames and prompts ------------------------------------------------------------------------------

def first_frame(clip):
    return clips.frames(clip, 0, 1)[0]


def shrink(image, width, height):
    return np.ascontiguousarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA))


def prompt_size(height, width):
    """The size at which the public application takes prompts: shorter side 336, both sides even."""
    scale = 336 / min(height, width)
    return int(height * scale) // 2 * 2, int(width * scale) // 2 * 2


def prompts(kind, height, width):
    """Whole-pixel prompts for a picture: points [n, 2], labels [n], boxes [m, 4]."""
    def at(x, y):
        return [int(x * width), int(y * height)]
    points, labels, boxes = [], [], []
    if kind in ("point", "posneg", "box_points"):
        points, labels = [at(0.52, 0.47)], [1]
    if kind == "posneg":
        points += [at(0.11, 0.16), at(0.60, 0.71), at(0.93, 0.88)]
        labels += [0, 1, 0]
    if kind == "box_points":
        points += [at(0.30, 0.65)]
        labels += [0]
    if kind in ("box", "box_points"):
        boxes = [at(0.21, 0.18) + at(0.83, 0.91)]
    return points, labels, boxes


def encode(proc, image, kind):
    """(all that the processor gives, what of it the model takes)"""
    points, labels, boxes = prompts(kind, *image.shape[:2])
    batch = proc(images=image, return_tensors="pt", input_points=[points] if points else None,
                 input_labels=[labels] if labels else None, input_boxes=[boxes] if boxes else None)
    keep = ("pixel_values", "input_points", "input_labels", "input_boxes")
    return batch, {k: batch[k] for k in keep if k in batch}


def noise(name, shape, scale=1.0):
    return torch.from_numpy(synth.fill("input." + name, shape, scale))


# Pictures ----------------------------------------------------------------------------------------

CUT_PREPROCESS = {f"{case}.{part}": stride for case in ("landscape_up", "portrait_down")
                  for part, stride in (("image", 1), ("resized", 5), ("pixel_values", 61))}


@catalog.golden("sam/preprocess", cut=CUT_PREPROCESS)
def preprocess(_folder):
    """Pictures to the encoder's input, here 128: the longer side resized, normalised, padded

    CASE.image [h, w, 3], .resized [h', w', 3], .pixel_values [3, 128, 128]   u8, u8; CASE: landscape_up,
        landscape_down, portrait_up, portrait_down, square_up, wide_same; pixel_values of three cases
    Kept: landscape_up and portrait_down. The metadata says how far Pillow and an exact resize are.
    """
    room, tall, boxes = (first_frame(clip) for clip in ("room", "tall", "boxes"))
    cases = {"landscape_up": shrink(room, 92, 52), "landscape_down": shrink(room, 250, 139),
             "portrait_up": shrink(tall, 74, 97), "portrait_down": shrink(tall, 181, 236),
             "square_up": shrink(boxes[:, 187:667], 100, 100), "wide_same": shrink(boxes, 128, 71)}
    target, arrays, metadata = 128, {}, {"target": 128}
    proc = SamImageProcessor(size={"longest_edge": target}, pad_size={"height": target, "width": target})
    plain = SamImageProcessor(size={"longest_edge": target}, do_rescale=False, do_normalize=False, do_pad=False)
    for name, image in cases.items():
        whole = proc(images=image, return_tensors="pt")
        resized = plain(images=image, return_tensors="pt")["pixel_values"][0].permute(1, 2, 0).numpy()
        h, w = whole["reshaped_input_sizes"][0].tolist()
        arrays[name + ".image"], arrays[name + ".resized"] = image, resized
        if name in ("landscape_up", "portrait_down", "square_up"):
            arrays[name + ".pixel_values"] = whole["pixel_values"][0]
        pillow = np.asarray(Image.fromarray(image).resize((w, h), Image.BILINEAR))
        exact = F.interpolate(torch.from_numpy(image).permute(2, 0, 1)[None].float(), size=(h, w), mode="bilinear",
                              align_corners=False, antialias=True)[0].permute(1, 2, 0)
        for tag, other in (("pil", pillow.astype(int)), ("float", np.rint(exact.numpy()).astype(int))):
            gap = np.abs(resized.astype(int) - other)
            metadata[f"{name}.differs_from_{tag}"] = f"{(gap > 0).mean():.5f} of values, at most {gap.max()}"
    return arrays, metadata


def prompt_frame():
    """room's first frame as prompts are given on it, u8 [336, 604, 3]."""
    frame = first_frame("room")
    h, w = prompt_size(*frame.shape[:2])
    return cv2.resize(frame, (w, h), interpolation=cv2.INTER_LINEAR)


@catalog.golden("sam/frame_1024")
def frame_1024(_folder):
    """A frame at the size of prompts, and its preparation for 1024

    image [336, 604, 3] u8, reshaped_size [2], resized_sample [82, 147, 3] u8 every 7th row and column,
    pixel_values_sample [3, 64, 64] every 16th
    """
    image, plain = prompt_frame(), SamImageProcessor(do_rescale=False, do_normalize=False, do_pad=False)
    whole = SamImageProcessor()(images=image, return_tensors="pt")
    resized = plain(images=image, return_tensors="pt")["pixel_values"][0].permute(1, 2, 0)
    return {"image": image, "reshaped_size": whole["reshaped_input_sizes"][0], "resized_sample": resized[::7, ::7],
            "pixel_values_sample": whole["pixel_values"][0][:, ::16, ::16]}, \
        {"clip": "room.mp4", "target": 1024, "resized_stride": 7, "pixel_values_stride": 16}


def grid_points(count, height, width):
    margin = width // 64
    t = torch.arange(count, dtype=torch.float32) / float(count - 1)
    y, x = margin + t * (height - 2 * margin), margin + t * (width - 2 * margin)
    return torch.stack([x[None].expand(count, count), y[:, None].expand(count, count)], -1).reshape(-1, 2)


def masks_drawn(room, tall):
    """{name: (mask u8 at the size of prompts, (h, w) of the working frame)}"""
    drawn = cv2.imread(clips.FOLDER + "/room_mask.png", cv2.IMREAD_GRAYSCALE)
    h, w = prompt_size(*room.shape[:2])
    wide = np.uint8(cv2.resize(drawn, (w, h), interpolation=cv2.INTER_NEAREST) > 0) * 255
    h, w = prompt_size(*tall.shape[:2])
    y, x = np.mgrid[:h, :w]
    disc = np.uint8(((x - 0.45 * w) / (0.21 * w)) ** 2 + ((y - 0.6 * h) / (0.3 * h)) ** 2 < 1) * 255
    return {"wide": (wide, (294, 518)), "tall": (disc, (518, 518))}


@catalog.golden("sam/mask_use", cut={f"resize_{case}.{part}": stride for case in ("up", "down", "half")
                                     for part, stride in (("image", 1), ("resized", 3))})
def mask_use(_folder):
    """OpenCV's resize of bytes, and which points of a 50 x 50 grid a mask keeps

    resize_CASE.image, .resized [h, w, 3] u8     CASE: up, down, half
    CASE.mask [h, w], .keep [H, W] u8, .queries [n, 3]   CASE: wide, tall; not kept in the tree, where masks are
                                                 brought to the frame otherwise
    """
    room, tall, arrays = first_frame("room"), first_frame("tall"), {}
    for name, image, size in (("up", shrink(room, 80, 45), (149, 84)), ("down", shrink(tall, 121, 157), (83, 108)),
                              ("half", shrink(room, 120, 68), (60, 34))):
        arrays[f"resize_{name}.image"] = image
        arrays[f"resize_{name}.resized"] = cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)
    for name, (mask, (h, w)) in masks_drawn(room, tall).items():
        keep = cv2.resize(np.repeat(mask[..., None], 3, axis=2), (w, h)).sum(axis=-1) > 0  # as a PNG reader returns it
        points = grid_points(50, h, w)
        cell = points.long().numpy()
        chosen = points.numpy()[keep[cell[:, 1], cell[:, 0]]]
        arrays.update({f"{name}.mask": mask, f"{name}.keep": keep,
                       f"{name}.queries": np.concatenate([np.zeros_like(chosen[:, :1]), chosen], 1)})
    return arrays, {"grid": 50}


# Vision encoder ----------------------------------------------------------------------------------

@catalog.golden("sam/window")
def window(_folder):
    """The image cut into padded windows of 14 x 14, and back

    input [1, 16, 16, 8], windows [4, 14, 14, 8], padded [2], restored [1, 16, 16, 8]
    input64 [1, 64, 64, 2], windows64 [25, 14, 14, 2], padded64 [2]
    """
    layer = model_of("tiny").vision_encoder.layers[0]
    x, y = noise("window", (1, 16, 16, 8)), noise("window64", (1, 64, 64, 2))
    parts, padded = layer.window_partition(x, 14)
    parts64, padded64 = layer.window_partition(y, 14)
    return {"input": x, "windows": parts, "padded": np.int32(padded),
            "restored": layer.window_unpartition(parts, 14, padded, (16, 16)),
            "input64": y, "windows64": parts64, "padded64": np.int32(padded64)}, {"window": 14}


CUT_LAYERS = {f"layer{i}.{part}": stride for i in (0, 1)
              for part, stride in (("input", 1), ("norm1", 7), ("attn", 7), ("output", 7))}


@catalog.golden("sam/vision_layers", cut=CUT_LAYERS)
def vision_layers(_folder):
    """A layer with windows (0) and a global one (1), from the inside

    layerI.input, .output, .norm2, .mlp [1, 16, 16, C]
    layerI.norm1, .attn [windows, s, s, C]       s = 14 (4 windows), 16 (one)
    layerI.qkv, .rel_pos_head2, .probs_head2     not kept
    """
    arrays, heads = {}, SIZES["tiny"]["heads"]
    for index, side in ((0, 14), (1, 16)):
        layer = model_of("tiny").vision_encoder.layers[index]
        x = noise(f"layer{index}", (1, 16, 16, 64), 1.7)
        with Taps(layer, ["layer_norm1", "attn", "attn.qkv", "layer_norm2", "mlp"]) as taps:
            y = layer(x)
        qkv = taps.out("attn.qkv")
        batch = qkv.shape[0] * heads
        q = qkv.reshape(-1, side * side, 3, heads, qkv.shape[-1] // 3 // heads).permute(2, 0, 3, 1, 4)[0]
        rel = layer.attn.get_decomposed_rel_pos(q.reshape(batch, side * side, -1), layer.attn.rel_pos_h,
                                                layer.attn.rel_pos_w, (side, side), (side, side))
        row = 2 if index else heads + 2  # head 2, of window 1 where there are windows: it has padding
        values = {"input": x, "norm1": taps.out("layer_norm1"), "qkv": qkv if index else qkv[1],
                  "rel_pos_head2": rel.reshape(batch, side * side, side * side)[row][::3],
                  "probs_head2": taps.out("attn", item=1)[row][::3], "attn": taps.out("attn"),
                  "norm2": taps.out("layer_norm2"), "mlp": taps.out("mlp"), "output": y}
        arrays.update((f"layer{index}.{name}", value) for name, value in values.items())
    return arrays, {"weights": "sam_tiny", "note": "rel_pos_head2 and probs_head2: every third query row of head 2; "
                    "layer 0 shows window 1 (its last 12 columns are padding)"}


@catalog.golden("sam/vision_tiny", cut={"image": 1, "pixel_values": 61, "patches_plus_position": 7, "layer*": 7,
                                        "output": 7})
def vision_tiny(_folder):
    """The whole vision encoder on a frame

    image [89, 160, 3] u8, pixel_values [3, 256, 256]
    patches, patches_plus_position, layer0..3 [1, 16, 16, C], neck_conv1, neck_norm1, neck_conv2, output [1, C, 16, 16]
    """
    model, image = model_of("tiny"), shrink(first_frame("room"), 160, 89)
    pixels = processor("tiny")(images=image, return_tensors="pt")["pixel_values"]
    layers, neck = [f"layers.{i}" for i in range(4)], ["neck.conv1", "neck.layer_norm1", "neck.conv2"]
    with Taps(model.vision_encoder, ["patch_embed", *layers, *neck]) as taps:
        y = model.vision_encoder(pixels)[0]
    arrays = {"image": image, "pixel_values": pixels[0], "patches": taps.out("patch_embed"),
              "patches_plus_position": taps.seen["layers.0"][0][0]}
    arrays.update((f"layer{i}", taps.out(name)) for i, name in enumerate(layers))
    arrays.update(zip(("neck_conv1", "neck_norm1", "neck_conv2"), map(taps.out, neck)))
    return {**arrays, "output": y}, {"weights": "sam_tiny"}


# Prompts and decoder -----------------------------------------------------------------------------

def coordinate_prompts(size):
    """Prompts already in the padded square's pixels, exact in float32."""
    s = SIZES[size]["image"] / 256.0
    one = [[131.25, 77.5]]
    four = one + [[12.0, 20.75], [160.5, 101.0], [239.875, 131.0]]
    corners = torch.tensor([[[40.5, 21.25, 200.0, 120.75]]]) * s

    def of(points, labels, boxes=None):
        return {"input_points": torch.tensor([[points]], dtype=torch.float32) * s if points else None,
                "input_labels": torch.tensor([[labels]]) if points else None, "input_boxes": boxes}
    return {"point": of(one, [1]), "negative": of(one, [0]), "posneg": of(four, [1, 0, 1, 0]),
            "skipped": of(four, [1, -10, -1, 0]), "box": of(None, None, corners),
            "box_points": of(four[:2], [1, 0], corners)}


def prompt_arrays(model, size, stride=1):
    arrays = {}
    for kind, prompt in coordinate_prompts(size).items():
        sparse, dense = model.prompt_encoder(**prompt, input_masks=None)
        for key, value in prompt.items():
            if value is not None:
                arrays[f"{kind}.{key[6:]}"] = value[0] if key == "input_boxes" else value[0, 0]
        arrays[f"{kind}.sparse"] = sparse[0, 0]
    arrays["no_mask.dense_corner"] = dense[0, :, :2, :2]
    arrays["image_position"] = model.get_image_wide_positional_embeddings()[0][::stride, ::stride, ::stride]
    return arrays


@catalog.golden("sam/prompt_tiny", cut={**{kind + ".*": 1 for kind in ("point", "negative", "posneg", "skipped", "box",
                                                                       "box_points")},
                                        "image_position": 7, "no_mask.dense_corner": 1})
def prompt_tiny(_folder):
    """The prompt encoder, every kind of prompt

    KIND.points [n, 2], .labels [n], .boxes [1, 4], .sparse [tokens, C]   pixels of the padded square; KIND: point,
                                        negative, posneg, skipped (labels -10 and -1), box, box_points
    no_mask.dense_corner [C, 2, 2], image_position [C, 16, 16]
    mask.input [64, 64], mask.dense [C, 16, 16]     not kept
    """
    model = model_of("tiny")
    mask = noise("mask_prompt", (1, 1, 64, 64), 6.0)
    arrays = prompt_arrays(model, "tiny")
    arrays.update({"mask.input": mask[0, 0], "mask.dense": model.prompt_encoder(None, None, None, mask)[1][0]})
    return arrays, {"weights": "sam_tiny"}


@catalog.golden("sam/prompt_base", slow=True, cut={**{kind + ".*": 1 for kind in ("point", "skipped", "box_points")},
                                                   "image_position": 1})
def prompt_base(_folder):
    """The prompt encoder at the published size: as `prompt_tiny`, C = 256; image_position every 8th of each axis"""
    return prompt_arrays(model_of("base"), "base", 8), {"weights": "sam_base", "image_position_stride": 8}


CUT_DECODER = {"image_embeddings": 1, "box_points.block*": 7, "box_points.tokens": 1, "box_points.upscaled": 31,
               "box_points.hyper": 1, "*.masks": 13, "*.single_mask": 13, "*.iou": 1, "*.single_iou": 1, "*.sparse": 1}


@catalog.golden("sam/decoder_tiny", cut=CUT_DECODER)
def decoder_tiny(_folder):
    """The mask decoder for every kind of prompt

    image_embeddings [C, 16, 16]
    KIND.sparse [tokens, C], .masks [3, 64, 64], .iou [3], .single_mask [1, 64, 64], .single_iou [1]
    box_points.blockI.tokens [9, C], .blockI.image [256, C], .tokens [9, C], .upscaled1, .upscaled, .hyper [4, 8]
        upscaled1 is before its norm and is not kept
    """
    model = model_of("tiny")
    decoder, place = model.mask_decoder, model.get_image_wide_positional_embeddings()
    embedding = noise("image_embeddings", (1, 64, 16, 16), 1.7)
    arrays = {"image_embeddings": embedding[0]}
    blocks = [f"transformer.layers.{i}" for i in range(2)]
    hyper = [f"output_hypernetworks_mlps.{i}" for i in range(4)]
    for kind, prompt in coordinate_prompts("tiny").items():
        sparse, dense = model.prompt_encoder(**prompt, input_masks=None)
        with Taps(decoder, ["transformer", "upscale_conv1", "upscale_conv2", *blocks, *hyper]) as taps:
            many, iou = decoder(embedding, place, sparse, dense, multimask_output=True)
            single, single_iou = decoder(embedding, place, sparse, dense, multimask_output=False)
        values = {"sparse": sparse[0, 0], "masks": many[0, 0], "iou": iou[0, 0], "single_mask": single[0, 0],
                  "single_iou": single_iou[0, 0]}
        if kind == "box_points":
            for i, name in enumerate(blocks):
                values[f"block{i}.tokens"], values[f"block{i}.image"] = (taps.out(name, item)[0, 0] for item in (0, 1))
            values.update(tokens=taps.out("transformer")[0, 0], upscaled1=taps.out("upscale_conv1")[0],
                          upscaled=F.gelu(taps.out("upscale_conv2"))[0],
                          hyper=torch.cat([taps.out(name)[0] for name in hyper]))
        arrays.update((f"{kind}.{name}", value) for name, value in values.items())
    return arrays, {"weights": "sam_tiny",
                    "note": "upscaled1 is before its norm; dense prompt is no_mask_embed everywhere"}


# Masks -------------------------------------------------------------------------------------------

def smooth_logits(name, side):
    """Low-resolution logits with broad shapes of both signs."""
    return F.interpolate(noise(name, (1, 3, 9, 9), 8.0), (side, side), mode="bicubic", align_corners=True)[0]


CUT_POSTPROCESS = {"logits": 1, **{f"{case}.{part}": 1 for case in ("landscape", "portrait", "square", "large")
                                   for part in ("size", "reshaped_size")},
                   **{f"{case}.{part}": 5 for case in ("landscape", "portrait", "square")
                      for part in ("logits", "masks")},
                   "large.masks": 7}


@catalog.golden("sam/postprocess", cut=CUT_POSTPROCESS)
def postprocess(_folder):
    """Low-resolution logits to masks of the picture's size

    logits [3, 64, 64]
    CASE.size, .reshaped_size [2], .logits, .masks [3, h, w]   f32, u8; CASE: landscape, portrait, square, large
                                                               (without logits)
    full.*    one mask at 1024, not kept
    """
    proc, low = SamImageProcessor(size={"longest_edge": 256}, pad_size={"height": 256, "width": 256}), \
        smooth_logits("post", 64)
    arrays = {"logits": low}
    for name, size in (("landscape", (50, 89)), ("portrait", (97, 74)), ("square", (60, 60)), ("large", (180, 320))):
        shape = proc._get_preprocess_shape(size, 256)
        arrays[f"{name}.size"], arrays[f"{name}.reshaped_size"] = np.int32(size), np.int32(shape)
        if name != "large":
            arrays[f"{name}.logits"] = proc.post_process_masks(low[None, None], [size], [shape], binarize=False)[0][0]
        arrays[f"{name}.masks"] = proc.post_process_masks(low[None, None], [size], [shape])[0][0]
    low, proc, size = smooth_logits("post1024", 256)[:1], SamImageProcessor(), (336, 604)
    shape = proc._get_preprocess_shape(size, 1024)
    soft = proc.post_process_masks(low[None, None], [size], [shape], binarize=False)[0][0]
    arrays.update({"full.coarse_logits": low[0], "full.size": np.int32(size), "full.reshaped_size": np.int32(shape),
                   "full.logits_sample": soft[0, ::5, ::5], "full.mask": soft[0] > 0})
    return arrays, {"target": 256, "full_target": 1024, "full_stride": 5}


CUT_E2E = {"landscape.image": 1, "portrait.image": 1,
           **{f"{frame}.{kind}.{part}": stride
              for frame, kinds in (("landscape", KINDS), ("portrait", ["posneg"])) for kind in kinds
              for part, stride in (("low_res", 13), ("iou", 1), ("points", 1), ("labels", 1), ("box", 1), ("mask", 3))}}


@catalog.golden("sam/e2e_tiny", cut=CUT_E2E)
def e2e_tiny(_folder):
    """Frames and prompts to masks

    FRAME.image [h, w, 3] u8                     FRAME: landscape, portrait, square (not kept)
    FRAME.KIND.points [n, 2], .labels [n], .box [4]   pixels of the frame; KIND: point, posneg, box, box_points on
                                                 the landscape, posneg on the others
    FRAME.KIND.model_points, .model_box          the same, scaled; not kept
    FRAME.KIND.low_res [3, 64, 64], .iou [3], .mask [3, h, w] u8
    The metadata says how far a run in float64 is.
    """
    model, proc = model_of("tiny"), processor("tiny")
    model_of.cache_clear()  # a second one, that goes to float64
    exact = model_of("tiny").double()
    model_of.cache_clear()
    arrays, metadata = {}, {"weights": "sam_tiny"}
    frames = {"landscape": shrink(first_frame("room"), 160, 89), "portrait": shrink(first_frame("tall"), 92, 120),
              "square": shrink(first_frame("boxes")[:, 187:667], 300, 300)}
    for name, image in frames.items():
        arrays[name + ".image"] = image
        for kind in KINDS if name == "landscape" else ["posneg"]:
            batch, inputs = encode(proc, image, kind)
            got = model(**inputs)
            wide = exact(**{k: v.double() if v.is_floating_point() else v for k, v in inputs.items()})
            mask = proc.image_processor.post_process_masks(
                got.pred_masks, batch["original_sizes"], batch["reshaped_input_sizes"])[0][0, 0]
            points, labels, boxes = prompts(kind, *image.shape[:2])
            values = {}
            if points:
                values.update(points=np.float32(points), labels=np.int32(labels),
                              model_points=batch["input_points"][0, 0])
            if boxes:
                values.update(box=np.float32(boxes[0]), model_box=batch["input_boxes"][0, 0])
            values.update(low_res=got.pred_masks[0, 0], iou=got.iou_scores[0, 0], mask=mask)
            arrays.update((f"{name}.{kind}.{part}", value) for part, value in values.items())
            gap = (got.pred_masks.double() - wide.pred_masks).abs().max().item()
            metadata[f"{name}.{kind}.low_res_gap_to_float64"] = f"{gap:.1e}"
            metadata[f"{name}.{kind}.mask_share"] = f"{mask.float().mean().item():.3f}"
    return arrays, metadata


@catalog.golden("sam/e2e_base", slow=True)
def e2e_base(_folder):
    """The published base size: one point on `frame_1024`

    points, model_points [1, 2], labels [1]
    layer0..11_sample [10, 10, 48]               every 7th row and column, every 16th channel
    image_embedding_sample [64, 10, 10]          every 4th channel, 7th row and column
    low_res_sample [3, 64, 64], iou [3]          every 4th row and column
    logits_sample [68, 121], mask [336, 604] u8  of the first mask; every 5th row and column
    """
    model, proc, image = model_of("base"), processor("base"), prompt_frame()
    batch, inputs = encode(proc, image, "point")
    names = [f"vision_encoder.layers.{i}" for i in range(12)] + ["vision_encoder"]
    with Taps(model, names) as taps:
        got = model(**inputs)
    soft = proc.image_processor.post_process_masks(
        got.pred_masks, batch["original_sizes"], batch["reshaped_input_sizes"], binarize=False)[0][0, 0]
    points, labels, _ = prompts("point", *image.shape[:2])
    arrays = {"points": np.float32(points), "labels": np.int32(labels), "model_points": batch["input_points"][0, 0]}
    arrays.update((f"layer{i}_sample", taps.out(names[i])[0, ::7, ::7, ::16]) for i in range(12))
    arrays.update(image_embedding_sample=taps.out("vision_encoder")[0, ::4, ::7, ::7],
                  low_res_sample=got.pred_masks[0, 0][:, ::4, ::4], iou=got.iou_scores[0, 0],
                  logits_sample=soft[::5, ::5], mask=soft > 0)
    return arrays, {"weights": "sam_base", "image": "frame_1024.safetensors:image", "layer_stride": "7,7,16",
                    "image_embedding_stride": "4,7,7", "low_res_stride": 4, "logits_stride": 5}
