"""Losses of log depth, for the front and for its teacher."""
import torch
import torch.nn.functional as F
from torch import Tensor


def log_loss(error: Tensor, clips: int) -> tuple[Tensor, Tensor]:
    """Error of log depth after one scale a clip, and a little without; the aligned error."""
    flat = error.reshape(clips, -1)
    aligned = (flat - flat.mean(1, keepdim=True)).view_as(error)
    return aligned.abs().mean() + 0.2 * error.abs().mean(), aligned


def relative_loss(error: Tensor, clips: int) -> tuple[Tensor, Tensor]:
    """The same with |depth / truth - 1| in place of the log's error, as abs_rel counts: where the picture leaves it
    open how far a wall is, too near is the smaller mistake."""
    aligned = log_loss(error, clips)[1]
    return aligned.clamp(max=2).expm1().abs().mean() + 0.2 * error.abs().mean(), aligned


def slope_loss(error: Tensor) -> Tensor:
    """Differences of the error between neighbours 2, 4 and 8 pixels apart."""
    return sum((error[:, ::s, s::s] - error[:, ::s, :-s:s]).abs().mean()
               + (error[:, s::s, ::s] - error[:, :-s:s, ::s]).abs().mean() for s in (2, 4, 8)) / 6


def relative_errors(log_depth: Tensor, log_truth: Tensor, clips: int) -> Tensor:
    """|depth / truth - 1| after one median scale a clip."""
    error = (log_depth - log_truth).reshape(clips, -1)
    error = error - error.median(1, keepdim=True).values
    return error.clamp(max=3).expm1().abs().view_as(log_truth)


def agreement_losses(error: Tensor, places: Tensor, points: Tensor, seen: Tensor,
                     clips: int) -> tuple[Tensor, Tensor]:
    """What a change of the error from frame to frame does to cameras: log depth's error [T, H, W], points that do
    not move at places [T, N, 2], whose true points [T, N, 3] have the axes of the clip's first camera, seen [T, N].
    Returns the mean change of the error at a point, and the mean angle in radians by which a rigid fit of the
    clip's first frame to another one is off (to first order in the error)."""
    height, width = error.shape[1:]
    grid = 2 * places / places.new_tensor([width - 1, height - 1]) - 1
    at = F.grid_sample(error[:, None], grid[:, None], align_corners=True)[:, 0, 0].unflatten(0, (clips, -1))
    points, weight = points.unflatten(0, (clips, -1)), seen.unflatten(0, (clips, -1))[:, 0].float()
    enough = weight.sum(1) > 0.05 * weight.shape[1]
    total = weight.sum(1).clamp_min(1)[:, None, None]
    w = weight[:, None, :, None]

    def mean(x: Tensor) -> Tensor:
        """Over the points that are seen, [C, T, N, D] to [C, T, 1, D]."""
        return (x * w).sum(2, keepdim=True) / total[..., None]

    at = at[..., None]
    at = at - mean(at).mean(1, keepdim=True)
    agrees = (mean((at[:, 1:] - at[:, :1]).abs())[..., 0, 0].mean(1) * enough).mean()
    # Point i of frame t lies at exp(at) p; its distance d from that of frame 0, moved with the camera, turns the fit
    # by the solution of sum (|x|^2 I - x x^T) turn = sum x cross d, x and d from their means.
    moved = at.clamp(-1.5, 1.5).expm1() * points
    x, d = points[:, 1:], moved[:, 1:] - moved[:, :1]
    x, d = x - mean(x), d - mean(d)
    inertia = (torch.eye(3) * (w * x * x).sum((2, 3))[..., None, None]
               - torch.einsum("cfni,cfnj->cfij", w * x, x))
    scale = inertia.diagonal(dim1=-2, dim2=-1).mean(-1)[..., None, None].clamp_min(1e-6)
    turn = torch.linalg.solve(inertia + 1e-2 * scale * torch.eye(3), (w * torch.linalg.cross(x, d)).sum(2))
    return agrees, (turn.norm(dim=-1).clamp(max=0.5).mean(1) * enough).mean()
