"""Layers and initial weights that the models share."""
import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Mlp(nn.Module):
    """[..., width] to [..., out]; `out` None: to the same width."""

    def __init__(self, width: int, hidden: int, out: int | None = None, approximate: str = "none"):
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, out or width)
        self.approximate = approximate

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x), approximate=self.approximate))


def principal_components(x: Tensor, count: int, floor: float) -> Tensor:
    """The first principal components [count, n] of x [m, n], scaled so that what they give is about of
    unit size; `floor` bounds the variances from below. Fewer rows where n < count."""
    values, vectors = torch.linalg.eigh(torch.cov(x.T).double())
    values, vectors = values.flip(0)[:count], vectors.flip(1)[:, :count]
    # Full whitening makes noise of the last components as loud as the brightness.
    return (vectors * values.clamp_min(floor).pow(-0.5) * (values / values[0]).pow(0.1)).T.float()


def sine_positions(grid: int, width: int, top: float) -> Tensor:
    """Sines and cosines of row and column [grid, grid, width], from a quarter of a period over the picture
    to 2^(top - 1) periods."""
    at = (torch.arange(grid) + 0.5) / grid
    angle = at[:, None] * torch.pi * 2 ** torch.linspace(-1, top, width // 4)
    axis = torch.cat([angle.sin(), angle.cos()], 1)
    return torch.cat([axis[:, None].expand(-1, grid, -1), axis[None].expand(grid, -1, -1)], -1)
