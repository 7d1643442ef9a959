"""Do the repeats of a clip have one perceptual hash? Winners of the competition group them by it.

    python benchmarks/repeats.py [--clips 12] [--repeats 10] [--json FILE] [--plot FILE]

Counts, for each stimulus family, the simulated clips whose repeats share a hash: with a few pixels
of every frame one grey level brighter, as in the embedded default, and with one pixel of one frame,
as ``sensorium-jax simulate`` writes them. The hash is the exclusive or of the perceptual hashes
(imagehash, ``phash``) of five frames (lRomul/sensorium). About a minute.
"""

from __future__ import annotations

import argparse

import numpy as np
import record
from PIL import Image
from scipy.fft import dctn

from sensorium_jax import protocol, stimuli
from sensorium_jax.simulate import layout

WAYS = {"speckled": layout._speckle, "one pixel": layout._brighten_pixel}
FAMILIES = (protocol.NATURAL, *protocol.OOD_FAMILIES)


def main() -> None:
    """Count and print."""
    flags = _parser().parse_args()
    rng, found = np.random.default_rng(0), {}
    print(f"clips of {flags.clips} whose {flags.repeats} repeats share a hash")
    for family in FAMILIES:
        clips = [stimuli.clip(family, rng)[: protocol.CLIP_FRAMES] for _ in range(flags.clips)]
        found[family] = {
            way: sum(_share_a_hash([vary(rng, c) for _ in range(flags.repeats)]) for c in clips)
            for way, vary in WAYS.items()
        }
        print(f"{family:>16}: " + ", ".join(f"{way} {n}" for way, n in found[family].items()))
    record.write(flags, {"clips": flags.clips, "families": found}, _draw)


def _share_a_hash(films: list[np.ndarray]) -> bool:
    return len(set(map(film_hash, films))) == 1


def film_hash(video: np.ndarray) -> bytes:
    """The hash of a film uint8 [T H W]: 64 bits."""
    step, bits = len(video) // layout.HASHED_FRAMES, np.zeros((8, 8), bool)
    for frame in video[step // 2 :: step][: layout.HASHED_FRAMES]:
        image = Image.fromarray(frame).resize((32, 32), Image.Resampling.LANCZOS)
        low = dctn(np.asarray(image, float))[:8, :8]
        bits ^= low > np.median(low)
    return bits.tobytes()


def _draw(found: dict):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3), layout="constrained")
    axes = figure.subplots()
    rows = np.arange(len(FAMILIES))
    for offset, way in zip((-0.2, 0.2), WAYS, strict=True):
        counts = [found["families"][family][way] / found["clips"] for family in FAMILIES]
        axes.barh(rows + offset, counts, 0.38, label=way)
    axes.set_yticks(rows, FAMILIES)
    axes.set(xlabel="share of clips whose repeats share a hash", xlim=(0, 1))
    axes.legend()
    return figure


def _parser() -> argparse.ArgumentParser:
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=formatter)
    parser.add_argument("--clips", type=int, default=12, help="of every family (default 12)")
    parser.add_argument("--repeats", type=int, default=10, help="of every clip (default 10)")
    record.add_flags(parser)
    return parser


if __name__ == "__main__":
    main()
