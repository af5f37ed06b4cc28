"""Frames as the networks see them."""
import torch.nn.functional as F
from torch import Tensor

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's colours in 0..1


def working_video(frames: Tensor, width: int, patch: int) -> Tensor:
    """u8 [T, h, w, 3] to the front's video [T, 3, H, width], H a multiple of `patch` and at most `width`
    (src/media/README.md, "Resize to the working frame")."""
    height = patch * round(frames.shape[1] * (width / frames.shape[2]) / patch)
    video = F.interpolate(frames.permute(0, 3, 1, 2).float(), (height, width), mode="bicubic")
    first = max(0, (height - width) // 2)
    return video[:, :, first:first + min(height, width)]
