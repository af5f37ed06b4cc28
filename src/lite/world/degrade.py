"""What a camera and a codec do to rendered frames (blur, noise, tone, compression), and what training
adds to that."""
import shutil
import subprocess

import cv2
import numpy as np


def gray_of(image: np.ndarray) -> np.ndarray:
    return (image[..., :1] + image[..., 1:2] + image[..., 2:]) / 3


def tone(rng, linear: np.ndarray) -> np.ndarray:
    """Linear [T, H, W, 3] to sRGB-like values, 0..255: exposure, gamma, saturation, tint, drift."""
    mean = np.median(gray_of(linear[0])) + 0.5 * linear[0].mean()
    exposure = np.float32(np.exp(rng.normal(np.log(0.5), 0.35)) / max(mean, 1e-3))
    frames = len(linear)
    if rng.random() < 0.15:
        progress = np.linspace(0, 1, frames, dtype=np.float32)[:, None, None, None]
        exposure = exposure * (1 + rng.uniform(-0.4, 0.4) * progress)
    image = np.clip(linear * exposure, 0, None)
    image = image * (1 + image / 4) / (1 + image)                    # bright parts roll off
    image = image ** np.float32(1 / 2.2)
    if rng.random() < 0.6:
        gray = gray_of(image)
        image = gray + (image - gray) * rng.uniform(0.3, 1.5)
        image = image.clip(0) ** np.float32(np.exp(rng.normal(0, 0.15)))
        image = (image - 0.5) * rng.uniform(0.7, 1.2) + 0.5 + rng.uniform(-0.06, 0.06)
        image = image * (1 + rng.normal(0, 0.05, 3))
    if rng.random() < 0.04:
        image = np.repeat(gray_of(image), 3, -1)
    return (255 * np.clip(image, 0, 1)).astype(np.float32)


def motion_blur(image: np.ndarray, flow: np.ndarray, shutter: float) -> np.ndarray:
    """Averages [H, W, 3] along each pixel's motion [H, W, 2]; fast pixels smear over slow ones."""
    flow = flow.astype(np.float32)
    for reach in (6, 3, 1):
        for shift in ((reach, 0), (-reach, 0), (0, reach), (0, -reach)):
            near = np.roll(flow, shift, (0, 1))
            length = np.hypot(near[..., 0], near[..., 1])
            faster = length > 1.5 * np.hypot(flow[..., 0], flow[..., 1])
            faster &= length * shutter > 2 * reach
            flow = np.where(faster[..., None], near, flow)
    y, x = np.mgrid[0:image.shape[0], 0:image.shape[1]].astype(np.float32)
    total = np.zeros_like(image)
    steps = np.linspace(-0.5, 0.5, 7) * shutter
    for s in steps.astype(np.float32):
        total += cv2.remap(image, x + s * flow[..., 0], y + s * flow[..., 1], cv2.INTER_LINEAR,
                           borderMode=cv2.BORDER_REPLICATE)
    return total / len(steps)


def jpeg(video: np.ndarray, quality: int) -> np.ndarray:
    options = [cv2.IMWRITE_JPEG_QUALITY, quality]
    coded = [cv2.imencode(".jpg", frame, options)[1] for frame in video]
    return np.stack([cv2.imdecode(code, cv2.IMREAD_COLOR) for code in coded])


def h264(video: np.ndarray, quality: int) -> np.ndarray:
    """Through x264 and back, in one ffmpeg each way."""
    frames, height, width, _ = video.shape
    raw = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}"]
    one, x264 = ["-threads", "1"], ["-c:v", "libx264", "-preset", "fast", "-pix_fmt", "yuv420p"]

    def ffmpeg(data: bytes, *options: str) -> bytes:
        command = ["ffmpeg", "-v", "error", *one, *options, "-"]
        return subprocess.run(command, input=data, stdout=subprocess.PIPE, check=True).stdout

    coded = ffmpeg(video.tobytes(), *raw, "-r", "24", "-i", "-", *x264, "-crf", str(quality), *one,
                   "-f", "matroska")
    plain = ffmpeg(coded, "-i", "-", *raw, *one)
    return np.frombuffer(plain, np.uint8).reshape(video.shape).copy()


def degrade(rng, linear: np.ndarray, flow) -> np.ndarray:
    """Linear colours [T, H, W, 3] to the video u8; flow(t): pixels' motion [H, W, 2] in a frame."""
    if rng.random() < 0.25:
        shutter = rng.uniform(0.2, 0.9)
        linear = np.stack([motion_blur(f, flow(t), shutter) for t, f in enumerate(linear)])
    video = tone(rng, linear)
    if rng.random() < 0.3:
        sigma = rng.uniform(0.3, 1.1)
        video = np.stack([cv2.GaussianBlur(f, (0, 0), sigma) for f in video])
    elif rng.random() < 0.2:
        soft = np.stack([cv2.GaussianBlur(f, (0, 0), 1.0) for f in video])
        video = video + np.float32(rng.uniform(0.3, 1)) * (video - soft)
    if rng.random() < 0.5:
        noise = rng.standard_normal(video.shape, dtype=np.float32)
        video += np.exp(rng.uniform(0, 2.3)) * (noise if rng.random() < 0.5 else noise[..., :1])
    video = np.round(video.clip(0, 255)).astype(np.uint8)
    kind = rng.random()
    if kind < 0.25:
        return jpeg(video, int(rng.uniform(25, 92)))
    if kind < 0.5:
        quality = int(rng.uniform(18, 36))
        return h264(video, quality) if shutil.which("ffmpeg") else jpeg(video, 130 - 3 * quality)
    return video


def recolour(rng, video: np.ndarray) -> np.ndarray:
    """Gamma, contrast, tint and saturation by one table and one mixing with grey."""
    level = np.arange(256) / 255
    table = level[:, None] ** np.exp(rng.normal(0, 0.2)) * np.exp(rng.normal(0, 0.15))
    table = table * np.exp(rng.normal(0, 0.08, 3)) + rng.normal(0, 0.04)
    table = (255 * table).clip(0, 255).astype(np.float32)
    order = rng.permutation(3) if rng.random() < 0.3 else range(3)
    out = np.stack([table[video[..., c], c] for c in order], -1)
    if rng.random() < 0.5:
        share = rng.uniform(0.5, 1) if rng.random() < 0.2 else rng.uniform(-0.3, 0.5)
        out += np.float32(share) * (out.mean(-1, keepdims=True) - out)
    return out.clip(0, 255).astype(np.uint8)


def degrade_frame(rng, frame: np.ndarray) -> np.ndarray:
    """JPEG or noise, as cameras and codecs do."""
    kind = rng.random()
    if kind < 0.25:
        return jpeg(frame[None], int(rng.integers(25, 90)))[0]
    if kind < 0.4:
        noise = cv2.randn(np.empty(frame.shape, np.int16), 0, rng.uniform(2, 10))
        return (frame + noise).clip(0, 255).astype(np.uint8)
    if kind < 0.5:
        return cv2.GaussianBlur(frame, (0, 0), rng.uniform(0.5, 1.5))
    return frame
