"""Collects photographs and photographed textures of free licences from Debian's packages, for world.clips --photos.

    python3 -m world.photos OUT [--keep FOLDER]

Downloads PACKAGES with apt-get, which wants Debian or a derivative but no root, and writes what looks like a
picture as OUT/NNNNN.jpg, at most 512 pixels a side. Left out are normal maps, masks, sheets with transparent
parts, and what is tiny, nearly of one colour, or there already in another size. OUT/sources.txt names each
file's origin; each package's copyright file, which is copied beside it, names authors and licences.
--keep: where the packages are kept; a folder that goes away if it is not given.
"""
import argparse
import io
import re
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

PACKAGES = ("mate-backgrounds", "gnome-backgrounds", "plasma-workspace-wallpapers", "supertuxkart-data")
LONGEST, SHORTEST = 512, 128
PICTURE = re.compile(r"usr/share/(backgrounds/mate/nature|backgrounds/gnome/wood|wallpapers/[^/]+/contents/images"
                     r"|games/supertuxkart/data/(textures|tracks|library)).*\.(png|jpg|jpeg|webp)$")
OTHER = re.compile(r"nm\.|normal|norm\.|[-_]n\.|gloss|spec|mask|alpha|light_?map|screenshot|icon|particle|fx|minimap"
                   r"|_map\.|font|flag|logo|glow|smoke|sparkle|lensflare|bump|rough|metallic|splat|heightmap", re.I)


def files(package: Path) -> Iterator[tuple[str, bytes]]:
    """Names and contents of a package's files that may be wanted."""
    unpack = subprocess.Popen(["dpkg-deb", "--fsys-tarfile", package], stdout=subprocess.PIPE)
    with tarfile.open(fileobj=io.BufferedReader(unpack.stdout), mode="r|") as archive:
        for member in archive:
            name = member.name.lstrip("./")
            if member.isfile() and (PICTURE.match(name) or name.endswith("/copyright")):
                yield name, archive.extractfile(member).read()
    if unpack.wait():
        raise RuntimeError(f"dpkg-deb cannot read {package}")


def picture(data: bytes) -> np.ndarray | None:
    """BGR [h, w, 3] of reduced size, or None where it is no picture of something."""
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if image is None or image.dtype != np.uint8 or image.ndim != 3 or min(image.shape[:2]) < SHORTEST:
        return None
    if image.shape[2] == 4 and (image[..., 3] < 250).mean() > 0.01:
        return None
    image = np.ascontiguousarray(image[..., :3])
    scale = max(LONGEST / max(image.shape[:2]), SHORTEST / min(image.shape[:2]))
    if scale < 1:
        image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    blue, green, red = image.reshape(-1, 3).mean(0)
    slopes = blue > 180 and abs(green - 128) < 25 and abs(red - 128) < 25  # of a normal map
    gray = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY).astype(np.float32)
    detail = np.abs(cv2.Laplacian(gray, cv2.CV_32F))
    tones = len(np.unique(gray.astype(np.uint8)[::4, ::4] // 4))
    flat = gray.std() < 6 or (detail > 3).mean() < 0.25 or tones < 10
    return None if slopes or flat else image


def seal(image: np.ndarray) -> np.ndarray:
    """Small and of unit length, by which the same picture is known again."""
    small = cv2.resize(image, (12, 12), interpolation=cv2.INTER_AREA).astype(np.float32)
    small -= small.mean()
    return small.ravel() / max(1e-6, float(np.linalg.norm(small)))


def collect(packages: list[Path], out: Path) -> int:
    """Writes the pictures of packages; returns how many."""
    out.mkdir(parents=True, exist_ok=True)
    seals, sources = np.zeros((0, 432), np.float32), []
    for package in packages:
        own = package.name.split("_")[0]
        for name, data in files(package):
            if name.endswith("/copyright"):
                (out / f"{own}.copyright").write_bytes(data)
                continue
            image = None if OTHER.search(name.rsplit("/", 1)[1]) else picture(data)
            if image is None or len(seals) and (seals @ seal(image)).max() > 0.98:
                continue
            seals = np.concatenate([seals, seal(image)[None]])
            cv2.imwrite(str(out / f"{len(sources):05d}.jpg"), image, [cv2.IMWRITE_JPEG_QUALITY, 92])
            sources.append(f"{len(sources):05d}.jpg {own} {name}")
    (out / "sources.txt").write_text("\n".join(sources) + "\n")
    return len(sources)


def fetch(folder: Path) -> list[Path]:
    """The packages' files in a folder, downloaded where they are missing."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in PACKAGES:
        if not list(folder.glob(f"{name}_*.deb")):
            subprocess.run(["apt-get", "download", name], cwd=folder, check=True)
    return [max(folder.glob(f"{name}_*.deb")) for name in PACKAGES]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--keep", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        count = collect(fetch(args.keep or Path(folder)), args.out)
    print(f"{args.out}: {count} pictures")


if __name__ == "__main__":
    main()
