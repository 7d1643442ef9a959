"""Convert trained weights of the official PyTorch starter kit.

    sensorium-jax import-torch CHECKPOINT.pth --out DIR

CHECKPOINT.pth is the state dict of a model made by the starter kit's make_video_model, read with
PyTorch (pip install 'sensorium_jax[bench]') and without executing anything in it; or the same as
.npz, name -> array, which needs no PyTorch. DIR gets weights.safetensors and config.json, which
sensorium_jax.load_weights(DIR) opens.

The architecture is recognised from the tensors. What they cannot show (strides, padding,
nonlinearities, penalties) is taken from the published models and printed; --config gives the
real thing, as a JSON file of make_video_model's arguments:

    {"core_type": "3D_factorised", "core_dict": {...}, "readout_type": "gaussian", ...}

--reference compares with an output of the PyTorch model: a .npz file with videos (B, C, T, H, W),
behavior (B, 2, T) and pupil_center (B, 2, T), normalised, and the model's output (B, T', N).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sensorium_jax.cli.parser import Parser
from sensorium_jax.cli.programs import exit_code


def main(argv: Sequence[str]) -> int:
    """Run the subcommand."""
    flags = _parser().parse_args(argv)
    return exit_code(lambda: run(flags))


def run(flags) -> int:
    """Read, map, compare, write."""
    from sensorium_jax.torch_import.convert import convert

    convert(
        flags.checkpoint,
        flags.out,
        config=flags.config,
        reference=flags.reference,
        session=flags.session,
        tolerance=flags.tolerance,
    )
    return 0


def _parser() -> Parser:
    parser = Parser("import-torch", __doc__)
    add = parser.add_argument
    add("checkpoint", type=Path, metavar="CHECKPOINT", help="state dict, .pth or .npz")
    add("--out", type=Path, required=True, metavar="DIR", help="new folder for the weights")
    add("--config", type=Path, metavar="FILE", help="JSON of make_video_model's arguments")
    add("--reference", type=Path, metavar="FILE", help=".npz with inputs and an output")
    add("--session", metavar="NAME", help="whose output --reference has (default: the first)")
    add("--tolerance", type=float, default=1e-4, help="relative (default 1e-4)")
    return parser
