"""Trains the lite tracker on features that the encoder of tracker.features made.

    python3 -m tracker.train --clips DIR... --state DIR [--steps N] [--start TRACKER.safetensors]

First one iteration from positions all over the image, then up to four from the query's position, each with
its own loss, positions cut off between them. Goes on from DIR/tracker.pt when it is there. With --start
the weights of an exported tracker are taken, but for the encoder's, and the first phase is left out.
Many of the later windows are the second of two, as the online mode has them.
"""
import argparse
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from common import checkpoint, compat
from common.config import STRIDE, TRACKER
from common.scores import of_tracks
from common.training import Log, State, rate
from tracker import window
from tracker.data import (Sample, cached_features, choose_queries, held_clips, make_sample, pick_clip, strided,
                          time_reversed, training_arguments)
from tracker.model import DEGREE_FINE, PREFIX, FeatureCache, Tracker, TrackState, knn, posenc

DECAY, ITERATIONS, FIRST_PHASE = 0.8, 4, 0.4
VISIBLE_LOGIT = -0.8473  # of 0.3: the program says visible where sigmoid + 0.2 > 0.5
SCORES = {"delta_avg": "delta_avg", "delta_1": "within 1 px", "delta_4": "within 4 px", "AJ": "AJ",
          "balanced": "balanced"}
SQUARE = torch.tensor([1, 256 / 192])  # scores are those of a 256x256 image
SKIPS = (0.3, 0.3, 0.25, 0.15)  # how often every, every second, third, fourth frame is taken
LOST = 0.04  # a pull on visible points that are far off, a pixel
SAME_CLIP = 4  # steps
TOY = 6  # windows of the toy schedule, seen again and again
HIDDEN, OUTSIDE = 0.2, 0.05  # weights of points that cannot be seen
CERTAIN, FOUND = 4, 16  # pixels: nearer, a visible point is to be called certain; farther, it is lost and not seen
NEAREST = 0.1
SPATIAL = ("corr_xyz_mlp", "corr_transformer", "corr_depth_mlp", "rel_pos_mlp", "xyz_mlp", "proj_xyz_embed",
           "updateformer3D")
ONLINE, OVERLAP = 0.4, 6  # how often the second of two windows is trained on, and the frames that they share


class Frozen(Tracker):
    """The tracker with an encoder that is not trained: what the correlation multiplies needs no
    gradients, so the products of an integer patch are made once and interpolated."""

    def correlate(self, cache: FeatureCache, level: int, state: TrackState, tracks: slice, query: Tensor) \
            -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            xy = state.xy[:, tracks].transpose(0, 1) / 2 ** level
            corner, fraction = xy.floor(), (xy - xy.floor())[..., None, None]
            rows, points = (self.patch_cells(m, corner.long())
                            for m in (cache.features[level], cache.points[level]))
            n, frames, side = *xy.shape[:2], 2 * self.radius + 1
            products = rows.flatten(1, 2) @ cache.templates[level][tracks].transpose(1, 2)
            volume = self.interpolate(products.view(n, frames, side + 1, side + 1, -1), fraction).flatten(2)
            points = self.interpolate(points.view(n, frames, side + 1, side + 1, 3), fraction).flatten(2, 3)
            near, order = knn(points - state.normal[:, tracks].transpose(0, 1)[:, :, None], self.knn)
            gathered = self.gather(rows, order[..., 0], fraction[..., 0])
        corr = self.corr_mlp(volume)
        position = self.rel_pos_mlp(posenc(near, DEGREE_FINE))
        target = self.corr_xyz_mlp(torch.cat([position, gathered], -1))
        mixed = self.corr_transformer[0](query[tracks, None].expand(-1, frames, -1, -1), target, position)
        corr3 = self.corr_depth_mlp(mixed).transpose(0, 1)
        return corr.transpose(0, 1), corr3 * state.valid[:, tracks, None]

    def patch_cells(self, maps: Tensor, corner: Tensor) -> Tensor:
        """All whole cells that a patch at corner [N, T, 2] touches: [N, T, (side + 1)^2, C], x first."""
        frames, _, h, w = maps.shape
        steps = torch.arange(-self.radius, self.radius + 2)
        x = (corner[..., 0, None] + steps).clamp(0, w - 1)
        y = (corner[..., 1, None] + steps).clamp(0, h - 1)
        t = torch.arange(frames)[None, :, None, None]
        index = (t * h + y[:, :, None]) * w + x[..., None]
        return maps.permute(0, 2, 3, 1).reshape(frames * h * w, -1)[index.flatten(2)]

    @staticmethod
    def interpolate(x: Tensor, fraction: Tensor) -> Tensor:
        """Interpolates the two patch axes of [N, T, side + 1, side + 1, .]."""
        x = torch.lerp(x[:, :, :-1], x[:, :, 1:], fraction[:, :, 0, None])
        return torch.lerp(x[:, :, :, :-1], x[:, :, :, 1:], fraction[:, :, 1, None])

    def gather(self, rows: Tensor, order: Tensor, fraction: Tensor) -> Tensor:
        """The interpolated features of the patch's samples `order` [N, T, K]."""
        side = 2 * self.radius + 1
        at = order // side * (side + 1) + order % side
        corner = [rows.gather(2, (at + step)[..., None].expand(-1, -1, -1, rows.shape[-1]))
                  for step in (0, 1, side + 1, side + 2)]
        fx, fy = fraction[:, :, 0, None], fraction[:, :, 1, None]
        return torch.lerp(torch.lerp(corner[0], corner[1], fy), torch.lerp(corner[2], corner[3], fy), fx)


def initialise(model: Frozen) -> None:
    """Weights from which tracking is learned soon: correlations at shifts of the template as the first
    hidden units, small residual steps, encodings of high frequency damped."""
    side = 2 * model.radius + 1
    cells = np.indices((side, side)).reshape(2, -1).T - model.radius
    rows = [(reach, shift) for reach in (model.radius, 1, 0) for shift in cells]
    with torch.no_grad():
        weight, bias = model.corr_mlp.fc1.weight, model.corr_mlp.fc1.bias
        for row, (reach, shift) in enumerate(rows[:len(weight)]):
            template = cells[np.abs(cells).max(1) <= reach]
            template = template[np.abs(template + shift).max(1) <= model.radius]
            a, b = ((x + model.radius) @ [side, 1] for x in (template + shift, template))
            weight[row] *= 0.3
            weight[row, torch.from_numpy(a * side * side + b)] += 3 / len(a)
            bias[row] = -1
        for former in (model.updateformer, model.updateformer3D):
            for name, parameter in former.named_parameters():
                if name.endswith(("to_out.weight", "mlp.fc2.weight")):
                    parameter *= 0.1
        damping = 0.7 ** torch.arange(10.).repeat_interleave(4).repeat(2)
        model.updateformer.input_transform.weight[:, -80:] *= damping
        damping = 0.7 ** torch.arange(12.).repeat_interleave(6).repeat(2)
        model.proj_xyz_embed.fc1.weight[:, -144:] *= damping


class Rollout:
    """The state of a window under way; `step` is one iteration, without replacement and adjustment."""

    def __init__(self, model: Frozen, sample: Sample, xy: Tensor):
        self.model, self.sample, self.xy = model, sample, xy / STRIDE
        self.normal = sample.normalise(sample.query_point).expand(len(xy), -1, -1)
        zeros = xy.new_zeros(xy.shape[:2])
        self.vis, self.conf, self.dyn, self.weight = zeros, zeros, zeros, zeros
        self.c2w = torch.eye(4).repeat(len(xy), 1, 1)
        self.continued = 0

    def inputs(self) -> TrackState:
        frame = self.sample.query[:, 0].long()
        world = window.transform(self.c2w[frame], self.sample.query_point[:, None])[:, 0]
        rigid = window.transform(torch.linalg.inv(self.c2w), world)
        z = (self.normal[..., 2] + 1) / 2 * (self.sample.hi - self.sample.lo)[2] + self.sample.lo[2]
        return TrackState(self.xy, self.normal, (z > 0).float(), self.sample.normalise(rigid),
                          self.sample.query[:, 0], self.vis, self.conf, self.dyn)

    def step(self) -> None:
        cache, model = self.sample.cache, self.model
        queries = [model.query_features(t, p) for t, p in zip(cache.templates, cache.template_points)]
        steps = model.update(cache, self.inputs(), queries, self.xy.shape[1])
        self.xy = self.xy + steps["flow"]
        self.vis, self.conf = self.vis + steps["vis_conf"][..., 0], self.conf + steps["vis_conf"][..., 1]
        self.normal = self.normal + steps["point"][..., :3]
        self.dyn, self.weight = self.dyn + steps["point"][..., 3], self.weight + steps["weight"][..., 0]

    def pixels(self) -> Tensor:
        """[T, N, 2] in model pixels."""
        return self.xy * STRIDE

    def next_window(self, sample: Sample, overlap: int) -> "Rollout":
        """The next window of the online mode: its first tracks are this one's, which it meets in its
        first `overlap` frames (src/tracker/README.md, "State between windows")."""
        count = self.xy.shape[1]
        kept = torch.arange(len(sample.xy)).clamp_max(overlap - 1) + len(self.xy) - overlap
        trust = (self.vis.sigmoid() * self.conf.sigmoid())[-overlap:]
        sample.query[:count, 0] = trust.argmax(0).float()
        xy, point = self.pixels()[kept], sample.denormalise(self.normal[kept])
        # The published program mixes the first frame's position with the trusted frame's number.
        at = sample.k[sample.query[:count, 0].long()]
        sample.query_point[:count] = window.unproject(at, xy[0], point[0, :, 2])
        run = Rollout(self.model, sample, torch.cat([xy, sample.query[count:, 1:].expand(len(kept), -1, -1)], 1))
        run.normal = torch.cat([self.normal[kept], run.normal[:, count:]], 1)
        run.continued = count
        return run

    def detach(self) -> None:
        """No gradients from the next iteration into this one."""
        for name in ("xy", "normal", "vis", "conf", "dyn", "weight"):
            setattr(self, name, getattr(self, name).detach())


def balanced(logits: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
    """Cross-entropy half-way between one in which all points and one in which both answers count the same."""
    loss = F.binary_cross_entropy_with_logits(logits, truth.float(), reduction="none") * weight
    share = ((truth * weight).sum() / weight.sum().clamp_min(1)).clamp(0.1, 0.9)
    return (loss * torch.where(truth, 0.5 / share, 0.5 / (1 - share)).sqrt()).sum() / weight.sum().clamp_min(1)


def beside(run: Rollout) -> Tensor:
    """How far the 3D points, projected, lie from the 2D tracks [T, N], in model pixels. What comes near the
    camera is taken as if it were NEAREST of its query's depth away."""
    sample = run.sample
    point = sample.denormalise(run.normal)
    z = torch.maximum(point[..., 2], NEAREST * sample.query_point[:, 2])
    k = sample.k[:, None]
    xy = torch.stack([k[..., 0, 0], k[..., 1, 1]], -1) * point[..., :2] / z[..., None] + k[..., :2, 2]
    return ((xy - run.pixels().detach()).square().sum(-1) + 0.01).sqrt()


def losses(run: Rollout) -> dict[str, Tensor]:
    sample = run.sample
    frames, tracks = torch.arange(len(run.xy))[:, None], torch.arange(run.xy.shape[1])
    asked = ((frames != sample.query[:, 0]) | (tracks < run.continued)).float()
    weight = torch.where(sample.visible, 1.0, torch.where(sample.inside, HIDDEN, OUTSIDE)) * asked
    error = ((run.pixels() - sample.xy).square().sum(-1) + 0.01).sqrt()
    off = (run.normal - sample.normalise(sample.point)).abs().clamp_max(4)
    certain, found = (sample.visible & (error.detach() < px) for px in (CERTAIN, FOUND))
    moving = sample.moving.expand(len(run.xy), -1)
    lost = torch.where(sample.visible, LOST * error.clamp_max(64), 0)
    return {"flow": (((1 + error).log() + lost) * weight).sum() / weight.sum(),
            "point": ((1 + 20 * off).log().mean(-1) * weight).sum() / weight.sum(),
            "beside": ((1 + beside(run)).log() * sample.visible).sum() / sample.visible.sum().clamp_min(1),
            "vis": balanced(run.vis - VISIBLE_LOGIT, found, asked),
            "conf": balanced(run.conf, certain, asked),
            "dyn": balanced(run.dyn, moving, torch.ones_like(asked)),
            "weight": balanced(run.weight, moving, torch.ones_like(asked))}


FACTORS = {"flow": 1.0, "point": 0.2, "beside": 0.3, "vis": 0.5, "conf": 0.2, "dyn": 0.1, "weight": 0.05}


def initial_positions(sample: Sample, far: bool, random: np.random.Generator) -> Tensor:
    """Where the tracks begin [T, N, 2]. far: anywhere around the truth, for the first phase; else the
    query's position, and for some windows within a few pixels of the truth."""
    shape = sample.xy.shape
    if not far and random.random() < 0.7:
        return sample.query[:, 1:].expand(shape)
    span = np.exp(random.uniform(np.log(0.5), np.log(48 if far else 4), (1, shape[1], 1)))
    noise = random.normal(size=(1, *shape[1:])) * 0.5 + random.normal(size=shape)
    xy = sample.xy + torch.from_numpy(noise * span).float()
    return torch.where(torch.rand(1, shape[1], 1) < 0.3, sample.query[:, 1:].expand(shape), xy) if far else xy


def guess_cameras(sample: Sample, random: np.random.Generator) -> Tensor:
    """Cameras as good as the program's own: between standing still and the truth."""
    share = float(random.uniform(0, 1.1))
    out = torch.eye(4).repeat(len(sample.c2w), 1, 1)
    out[:, :3] = torch.lerp(out[:, :3], sample.c2w[:, :3], share)
    u, _, vt = torch.linalg.svd(out[:, :3, :3])
    out[:, :3, :3] = u @ vt
    return out


def second_window(model: Frozen, sample: Sample, first: int, old: int, iterations: int) -> Rollout:
    """The window from `first` on, as the online mode begins it after the one before it."""
    former = sample.part(0, first + OVERLAP, slice(old))
    with torch.no_grad():
        run = Rollout(model, former, former.query[:, 1:].expand(former.xy.shape))
        for _ in range(iterations):
            run.step()
    return run.next_window(sample.part(first, len(sample.xy), slice(None)), OVERLAP)


def train_on(model: Frozen, sample: Sample, first: int, far: bool, random: np.random.Generator) -> dict[str, float]:
    """Adds the gradients of a window, or of the second of two, from `first` on; the last iteration's losses."""
    if first:
        run = second_window(model, sample, first, sample.xy.shape[1] // 2, int(random.integers(2, ITERATIONS + 1)))
        sample = run.sample
    else:
        run = Rollout(model, sample, initial_positions(sample, far, random))
    iterations = 1 if far else int(random.integers(2, ITERATIONS + 1))
    for i in range(iterations):
        run.step()
        parts = losses(run)
        total = sum(FACTORS[name] * part for name, part in parts.items())
        (total * DECAY ** (iterations - 1 - i)).backward()
        run.detach()
        if random.random() < 0.5:
            run.c2w = guess_cameras(sample, random)
    return {name: part.item() for name, part in parts.items()}


def scores(xy: Tensor, shown: Tensor, true_xy: Tensor, visible: Tensor, frame: Tensor) -> dict[str, float]:
    """What common/scores.py has of tracks, positions in pixels at 256x256."""
    found = of_tracks({"queries": frame[:, None].numpy(), "tracks": true_xy.numpy(), "visible": visible.numpy(),
                       "size": (256, 256)}, xy.numpy(), shown.numpy())
    return {name: float(found[key]) for name, key in SCORES.items()}


def mean(rows: list[dict[str, float]]) -> dict[str, float]:
    return {name: round(float(np.mean([row[name] for row in rows])), 4) for name in rows[0]}


def online_scores(model: Frozen, sample: Sample, run: Rollout) -> dict[str, float]:
    """delta_avg in the frames that the second of two windows does not share, over the tracks that begin before
    it: in the way of the online mode, and in the one window of `run`. Nothing of a clip that is too short."""
    first = len(sample.xy) // 2 - OVERLAP // 2
    old, new = (sample.query[:, 0] < first).nonzero()[:, 0], slice(first + OVERLAP, None)
    if not len(old):
        return {}
    later = second_window(model, sample.part(0, len(sample.xy), old), first, len(old), ITERATIONS)
    for _ in range(ITERATIONS):
        later.step()
    truth = sample.xy[new, old] * SQUARE, sample.visible[new, old], torch.full((len(old),), -1.)
    shown = later.vis[OVERLAP:] > VISIBLE_LOGIT
    return {name: scores(xy * SQUARE, shown, *truth)["delta_avg"]
            for name, xy in (("online", later.pixels()[OVERLAP:]), ("offline", run.pixels()[new, old]))}


def validate(model: Frozen, paths: list[Path], folder: Path) -> dict[str, float]:
    """Means over held clips, without replacement and bundle adjustment."""
    parts = []
    with torch.inference_mode():
        for n, path in enumerate(paths):
            random, clip = np.random.default_rng(n), dict(np.load(path))
            query = choose_queries(clip, 48, random)
            sample = make_sample(cached_features(model.fnet, path, clip, folder), clip, query, model.radius, random)
            run = Rollout(model, sample, sample.query[:, 1:].expand(sample.xy.shape))
            for _ in range(ITERATIONS):
                run.step()
            parts.append(scores(run.pixels() * SQUARE, run.vis > VISIBLE_LOGIT, sample.xy * SQUARE,
                                sample.visible, sample.query[:, 0]))
            parts[-1]["beside"] = float(beside(run)[sample.visible].median())
            parts[-1] |= online_scores(model, sample, run)
    return mean(parts)


def arguments() -> argparse.Namespace:
    parser = training_arguments(__doc__, "to validate on", 1.5e-3)
    parser.add_argument("--tracks", type=int, default=40)
    parser.add_argument("--rate-3d", type=float, help="of what only the 3D points go through (as --rate)")
    parser.add_argument("--toy", action="store_true",
                        help=f"the same {TOY} windows again and again, without the first phase")
    return parser.parse_args()


def training_window(model: Frozen, args: argparse.Namespace, step: int, far: bool, random: np.random.Generator) \
        -> tuple[Sample, int]:
    """Some steps in a row use one clip, since a new one costs as much as a step. With it the frame at which
    a second window begins, whose own queries are the second half; 0 for a window alone."""
    path = pick_clip(args.clips, np.random.default_rng((args.seed, step // SAME_CLIP, 1)))
    clip = dict(np.load(path))
    maps = cached_features(model.fnet, path, clip, args.state / "maps")
    if random.random() < 0.5:
        clip, maps = time_reversed(clip), maps.flip(0)
    skip = random.choice([1, 2, 3, 4], p=SKIPS)
    clip, maps = strided(clip, skip), maps[::skip]
    last = len(maps) - OVERLAP - 1  # a frame at least is new
    if far or last < 1 or random.random() > ONLINE:
        return make_sample(maps, clip, choose_queries(clip, args.tracks, random), model.radius, random), 0
    first = int(random.integers(1, last + 1))
    query = np.concatenate([choose_queries(clip, args.tracks // 2, random, 0, first + OVERLAP),
                            choose_queries(clip, args.tracks - args.tracks // 2, random, first)])
    return make_sample(maps, clip, query, model.radius, random), first


def main() -> None:
    args = arguments()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    model = Frozen(TRACKER)
    initialise(model)
    trained = compat.load(args.state / "features.pt")
    if args.start:
        checkpoint.read(model, args.start, PREFIX)
    model.fnet.load_state_dict(trained["parts"]["fnet"])
    model.fnet.requires_grad_(False)
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    parameters = [p for _, p in named]
    groups = [{"params": [p for name, p in named if name.startswith(SPATIAL) == spatial]} for spatial in (False, True)]
    rates = args.rate, args.rate_3d or args.rate
    optimiser = torch.optim.AdamW(groups, args.rate, weight_decay=1e-3, betas=(0.9, 0.98))
    state = State(args.state / "tracker.pt", {"model": model, "optimiser": optimiser})
    state.more["seed"] = args.seed
    log = Log(state)
    first_phase = 0 if args.start or args.toy else FIRST_PHASE * args.steps
    for step in range(state.step, args.steps):
        seen = step % TOY if args.toy else step
        random = np.random.default_rng((args.seed, seen))
        torch.manual_seed(seen)
        far = step < first_phase
        sample, first = training_window(model, args, seen, far, random)
        for group, peak in zip(optimiser.param_groups, rates):
            group["lr"] = peak * rate(step, args.steps)
        optimiser.zero_grad()
        log.add(step, train_on(model, sample, first, far, random))
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        if state.due() or step + 1 == args.steps:
            state.save(step + 1)
        if step % 250 == 249 or step + 1 == args.steps:
            print("held", validate(model, held_clips(args.clips, args.held), args.state / "maps"), flush=True)
    log.end()


if __name__ == "__main__":
    main()
