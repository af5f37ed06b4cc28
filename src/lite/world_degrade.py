"""What a camera and a codec do to rendered frames: blur, noise, tone, compression."""
import shutil
import subprocess

import cv2
import numpy as np


def gray_of(image: np.ndarray) -> np.ndarray:
    return (image[..., :1] + image[..., 1:2] + image[..., 2:]) / 3


def tone(rng, linear: np.ndarray) -> np.ndarray:
    """Linear [T, H, W, 3] to sRGB-like u8 values as floats, 0..255: exposure, gamma, saturation, tint, drift."""
    mean = np.median(gray_of(linear[0])) + 0.5 * linear[0].mean()
    exposure = np.float32(np.exp(rng.normal(np.log(0.5), 0.35)) / max(mean, 1e-3))
    frames = len(linear)
    if rng.random() < 0.15:
        exposure = exposure * (1 + rng.uniform(-0.4, 0.4) * np.linspace(0, 1, frames, dtype=np.float32)[:, None, None, None])
    image = np.clip(linear * exposure, 0, None)
    image = (image * (1 + image / 4) / (1 + image)) ** np.float32(1 / 2.2)           # bright parts roll off
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
    """Averages [H, W, 3] along each pixel's motion [H, W, 2]; fast pixels smear over their slow surroundings."""
    flow = flow.astype(np.float32)
    for reach in (6, 3, 1):
        for shift in ((reach, 0), (-reach, 0), (0, reach), (0, -reach)):
            near = np.roll(flow, shift, (0, 1))
            length = np.hypot(near[..., 0], near[..., 1])
            faster = (length > 1.5 * np.hypot(flow[..., 0], flow[..., 1])) & (length * shutter > 2 * reach)
            flow = np.where(faster[..., None], near, flow)
    y, x = np.mgrid[0:image.shape[0], 0:image.shape[1]].astype(np.float32)
    total = np.zeros_like(image)
    steps = np.linspace(-0.5, 0.5, 7) * shutter
    for s in steps.astype(np.float32):
        total += cv2.remap(image, x + s * flow[..., 0], y + s * flow[..., 1], cv2.INTER_LINEAR,
                           borderMode=cv2.BORDER_REPLICATE)
    return total / len(steps)


def jpeg(video: np.ndarray, quality: int) -> np.ndarray:
    out = [cv2.imdecode(cv2.imencode(".jpg", f, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_COLOR) for f in video]
    return np.stack(out)


def h264(video: np.ndarray, quality: int) -> np.ndarray:
    """Through x264 and back, in one ffmpeg each way."""
    frames, height, width, _ = video.shape
    raw = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}"]
    base = ["ffmpeg", "-v", "error", "-threads", "1"]
    coded = subprocess.run([*base, *raw, "-r", "24", "-i", "-", "-c:v", "libx264", "-preset", "fast", "-crf", str(quality),
                            "-pix_fmt", "yuv420p", "-threads", "1", "-f", "matroska", "-"],
                           input=video.tobytes(), stdout=subprocess.PIPE, check=True).stdout
    plain = subprocess.run([*base, "-i", "-", *raw, "-threads", "1", "-"], input=coded, stdout=subprocess.PIPE, check=True).stdout
    return np.frombuffer(plain, np.uint8).reshape(video.shape).copy()


def degrade(rng, linear: np.ndarray, flow) -> np.ndarray:
    """Linear colours [T, H, W, 3] to the video u8; flow(t) gives a frame's motion [H, W, 2] in pixels a frame."""
    if rng.random() < 0.25:
        shutter = rng.uniform(0.2, 0.9)
        linear = np.stack([motion_blur(f, flow(t), shutter) for t, f in enumerate(linear)])
    video = tone(rng, linear)
    if rng.random() < 0.3:
        sigma = rng.uniform(0.3, 1.1)
        video = np.stack([cv2.GaussianBlur(f, (0, 0), sigma) for f in video])
    elif rng.random() < 0.2:
        video = np.stack([f + rng.uniform(0.3, 1) * (f - cv2.GaussianBlur(f, (0, 0), 1.0)) for f in video])
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
