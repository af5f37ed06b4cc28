"""Frames of clips/: three rendered clips, read with the ffmpeg program."""
import os
import subprocess

import numpy as np

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "clips")


def size_of(clip):
    """(width, height)"""
    text = subprocess.run(["ffprobe", "-v", "error", "-show_entries", "stream=width,height", "-of", "csv=p=0",
                           os.path.join(FOLDER, clip + ".mp4")], check=True, stdout=subprocess.PIPE).stdout
    return tuple(map(int, text.split(b",")[:2]))


def frames(clip, first, count, width=None, height=None):
    """u8 [count, height, width, 3], RGB, from frame `first` on; averaged over areas to a size if one is given."""
    filters = f"select=gte(n\\,{first})" + (f",scale={width}:{height}:flags=area" if width else "")
    raw = subprocess.run(["ffmpeg", "-v", "error", "-nostdin", "-i", os.path.join(FOLDER, clip + ".mp4"),
                          "-vf", filters, "-frames:v", str(count), "-f", "rawvideo", "-pix_fmt", "rgb24", "-"],
                         check=True, stdout=subprocess.PIPE).stdout
    width, height = (width, height) if width else size_of(clip)
    return np.frombuffer(raw, np.uint8).reshape(count, height, width, 3).copy()
