"""Losses of log depth, for the front and for its teacher."""
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
