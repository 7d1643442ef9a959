"""The two published baselines, written plainly in PyTorch: the peer of ``against_torch.py``.

What is computed, and how it is laid out, follows the starter kit: channels first, convolutions by
``torch.nn.functional``, six convolutions a frame in a Python loop for the ConvGRU, one mouse after
the other with their gradients summed. Parameters have the starter kit's names and shapes, so that
``sensorium_jax.torch_import`` reads them. Two things are left out because they only cost time:
biases in front of a batch normalisation, and the copies of rotations in front of it.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sensorium_jax.models.nn import hermite

EPSILON = 1e-8  # of the Poisson loss
GATES = ("reset_gate", "update_gate", "out_gate")


class Recording(NamedTuple):
    """A batch of one mouse, normalised."""

    video: Tensor  # [B C T H W]: the film, pupil size and running speed as planes
    pupil_center: Tensor  # [B T 2]
    response: Tensor  # [B T N]


class Hermite(nn.Module):
    """Convolution with all rotations of steerable filters (Ecker et al. 2019)."""

    def __init__(self, size: int, c_in: int, c: int, *, rotations: int, first: bool):
        super().__init__()
        modes = len(hermite.modes(size))
        self.coeffs = nn.Parameter(torch.randn(modes, c_in, c) / math.sqrt(modes * c_in))
        self.register_buffer("turn", torch.tensor(hermite.rotations(size, rotations)), False)
        self.register_buffer("basis", torch.tensor(hermite.basis(size)), False)
        self.first, self.padding = first, 0 if first else size // 2

    def weight(self) -> Tensor:
        """[R*C_out C_in K K]."""
        turned = torch.einsum("kmn,nio->kmio", self.turn, self.coeffs)
        fine = torch.einsum("mhw,kmio->koihw", self.basis, turned)
        r, c, c_in, *_ = fine.shape
        coarse = 4 * F.avg_pool2d(fine.reshape(r * c, c_in, *fine.shape[-2:]), 2)
        if self.first:
            return coarse
        step = c_in // r
        each = coarse.reshape(r, c, *coarse.shape[1:])
        rolled = [torch.roll(w, k * step, dims=1) for k, w in enumerate(each)]
        return torch.cat(rolled)

    def forward(self, x: Tensor) -> Tensor:
        """[M C H W] -> [M R*C_out H' W']."""
        return F.conv2d(x, self.weight(), padding=self.padding)


class RotationNorm(nn.Module):
    """Batch normalisation with one set of moments for all rotations of a filter."""

    def __init__(self, c: int, momentum: float):
        super().__init__()
        self.batch_norm = nn.BatchNorm2d(c, momentum=momentum)

    def forward(self, x: Tensor) -> Tensor:
        """[M R*C H W] -> the same shape."""
        each = x.reshape(-1, self.batch_norm.num_features, *x.shape[2:])
        return self.batch_norm(each).reshape(x.shape)


class EquivariantCore(nn.Module):
    """Core type "2D_equivariant"."""

    def __init__(self, *, channels: int, rotations: int, kernels: tuple[int, ...], momentum: float):
        super().__init__()
        self.features = nn.Sequential()
        for i, size in enumerate(kernels):
            layer = nn.Sequential()
            c_in = channels * rotations if i else 3
            layer.add_module(
                "hermite_conv", Hermite(size, c_in, channels, rotations=rotations, first=i == 0)
            )
            layer.add_module("norm", RotationNorm(channels, momentum))
            if i < len(kernels) - 1:
                layer.add_module("nonlin", nn.ELU())
            self.features.add_module(f"layer{i}", layer)

    def forward(self, video: Tensor) -> Tensor:
        """[B C T H W] -> [B T F h w]."""
        images = video.transpose(1, 2).flatten(0, 1)
        return self.features(images).unflatten(0, (video.shape[0], video.shape[2]))

    def penalty(self, gamma_input: float, gamma_hidden: float) -> Tensor:
        """Smooth input filters, few hidden ones."""
        first, *others = (layer.hermite_conv.weight() for layer in self.features)
        sparsity = [w.pow(2).sum((2, 3)).sqrt().mean() for w in others]
        return gamma_input * laplace(first) + gamma_hidden * torch.stack(sparsity).mean()


class FactorizedCore(nn.Module):
    """Core type "3D_factorised"."""

    def __init__(
        self,
        *,
        channels: tuple[int, ...],
        kernels: tuple[int, ...],
        frames: tuple[int, ...],
        momentum: float,
    ):
        super().__init__()
        self.features = nn.Sequential()
        for i, (c, k, f) in enumerate(zip(channels, kernels, frames, strict=True)):
            layer, suffix = nn.Sequential(), f"_{i}" if i else ""
            space = nn.Conv3d(channels[i - 1] if i else 3, c, (1, k, k), bias=False)
            layer.add_module(f"conv_spatial{suffix}", space)
            layer.add_module(f"conv_temporal{suffix}", nn.Conv3d(c, c, (f, 1, 1), bias=False))
            layer.add_module("norm", nn.BatchNorm3d(c, momentum=momentum))
            layer.add_module("nonlin", nn.ELU())
            self.features.add_module(f"layer{i}", layer)

    def forward(self, video: Tensor) -> Tensor:
        """[B C T H W] -> [B T' F h w]."""
        return self.features(video).transpose(1, 2)

    def penalty(self, gamma_space: float, gamma_time: float) -> Tensor:
        """Smooth filters in space and time, of the first layer."""
        first = self.features[0]
        time = first.conv_temporal.weight[..., 0, 0].flatten(0, 1)[:, None]
        bend = F.conv1d(time, time.new_tensor([[[-1.0, 4.0, -1.0]]]), padding=1)
        rough = bend.pow(2).sum() / time.pow(2).sum()
        return gamma_space * laplace(first.conv_spatial.weight[:, :, 0]) + gamma_time * rough


def laplace(weight: Tensor) -> Tensor:
    """Energy of the filters' Laplacian over theirs, [D C K K] -> []."""
    stencil = weight.new_tensor([[0.0, -1.0, 0.0], [-1.0, 4.0, -1.0], [0.0, -1.0, 0.0]])
    curvature = F.conv2d(weight.flatten(0, 1)[:, None], stencil[None, None], padding=1)
    return curvature.pow(2).sum() / weight.pow(2).sum()


class ConvGRUCell(nn.Module):
    """One frame of a convolutional GRU: three convolutions of the input, three of the state."""

    def __init__(self, channels: int, size: int):
        super().__init__()
        for gate in GATES:
            for part in ("input", "hidden"):
                layer = nn.Conv2d(channels, channels, size, padding=size // 2)
                self.add_module(f"{gate}_{part}", layer)

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        """[B C h w], [B C h w] -> [B C h w]."""
        reset = torch.sigmoid(self.reset_gate_input(x) + self.reset_gate_hidden(h))
        update = torch.sigmoid(self.update_gate_input(x) + self.update_gate_hidden(h))
        candidate = torch.tanh(self.out_gate_input(x) + self.out_gate_hidden(reset * h))
        return (1 - update) * h + update * candidate


class ConvGRU(nn.Module):
    """The cell in a loop over frames, from a zero state."""

    def __init__(self, channels: int, size: int):
        super().__init__()
        self.gru = ConvGRUCell(channels, size)

    def forward(self, x: Tensor) -> Tensor:
        """[B T C h w] -> [B T C h w]."""
        h, states = torch.zeros_like(x[:, 0]), []
        for frame in x.unbind(1):
            h = self.gru(frame, h)
            states.append(h)
        return torch.stack(states, 1)


class GaussianReadout(nn.Module):
    """ "FullGaussian2d" with positions from cortical coordinates.

    Its spread starts at zero: the draws of two libraries differ, and with it they do not matter
    to what the first step computes. They are drawn all the same.
    """

    def __init__(self, neurons: int, features: int, *, hidden: int = 30):
        super().__init__()
        grid = torch.rand(neurons, 2)
        grid = grid - grid.mean(0)
        self.register_buffer("source_grid", grid / grid.abs().max())
        self.mu_transform = nn.Sequential(
            nn.Linear(2, hidden), nn.ELU(), nn.Linear(hidden, 2), nn.Tanh()
        )
        self.sigma = nn.Parameter(torch.zeros(1, neurons, 2, 2))
        self._features = nn.Parameter(torch.randn(1, features, 1, neurons) / features)
        self.bias = nn.Parameter(torch.rand(neurons))

    def forward(self, x: Tensor, shift: Tensor) -> Tensor:
        """[M C h w], [M 2] -> [M N]."""
        grid = self.mu_transform(self.source_grid)[None, :, None]  # [1 N 1 2]
        if self.training:
            noise = grid.new_empty(len(x), grid.shape[1], 1, 2).normal_()
            grid = torch.einsum("ancd,bnid->bnic", self.sigma, noise) + grid
        grid = grid.clamp(-1, 1).expand(len(x), -1, -1, -1) + shift[:, None, None]
        seen = F.grid_sample(x, grid.to(x.dtype), align_corners=True)[..., 0]  # [M C N]
        return (seen * self._features[:, :, 0]).sum(1) + self.bias


class Shifter(nn.Module):
    """Three layers with tanh after each."""

    def __init__(self, hidden: int = 5):
        super().__init__()
        layers = [nn.Linear(2, hidden), nn.Linear(hidden, hidden), nn.Linear(hidden, 2)]
        self.mlp = nn.Sequential(*(part for layer in layers for part in (layer, nn.Tanh())))

    def forward(self, x: Tensor) -> Tensor:
        """[M 2] -> [M 2]."""
        return self.mlp(x)


class VideoModel(nn.Module):
    """Core, recurrence, readouts and shifters."""

    def __init__(self, core: nn.Module, gru: ConvGRU | None, *, sessions, neurons, features):
        super().__init__()
        self.core, self.gru_module = core, gru
        self.readout = nn.ModuleDict({s: GaussianReadout(neurons, features) for s in sessions})
        self.shifter = nn.ModuleDict({s: Shifter() for s in sessions})

    def features(self, video: Tensor) -> Tensor:
        """[B C T H W] -> [B T' F h w]."""
        x = self.core(video)
        return x if self.gru_module is None else self.gru_module(x)

    def forward(self, video: Tensor, pupil_center: Tensor, session: str) -> Tensor:
        """[B C T H W], [B T 2] -> rate [B T' N]."""
        heads = self.readout[session], self.shifter[session]
        return read(*heads, self.features(video), pupil_center)


def read(readout: GaussianReadout, shifter: Shifter, x: Tensor, pupil_center: Tensor) -> Tensor:
    """[B T' F h w], [B T 2] -> rate [B T' N]."""
    shift = shifter(pupil_center[:, -x.shape[1] :].flatten(0, 1))
    y = readout(x.flatten(0, 1), shift)
    return (F.elu(y) + 1).unflatten(0, x.shape[:2])


def compiled_forward(model: VideoModel, **options):
    """The model's forward pass under ``torch.compile``, in two parts: neither sees a mouse's name.

    Names would be constants of the program, so that every mouse compiles its own, until PyTorch
    gives up and quietly goes on op by op. Here every mouse's weights are arguments, and giving up
    is an error.
    """
    torch._dynamo.config.fail_on_recompile_limit_hit = True
    features, heads = (
        torch.compile(part, dynamic=False, **options) for part in (model.features, read)
    )

    def forward(video: Tensor, pupil_center: Tensor, session: str) -> Tensor:
        mine = model.readout[session], model.shifter[session]
        return heads(*mine, features(video), pupil_center)

    return forward


def build(name: str, *, sessions: tuple[str, ...], neurons: int) -> tuple[VideoModel, tuple]:
    """A baseline at its published size, "gru" or "factorized", and the gammas of its penalty."""
    common = {"sessions": sessions, "neurons": neurons}
    if name == "gru":
        core = EquivariantCore(channels=8, rotations=8, kernels=(9, 7, 7, 7), momentum=0.9)
        return VideoModel(core, ConvGRU(64, 9), features=64, **common), (500.0, 500_000.0)
    core = FactorizedCore(
        channels=(32, 64, 128), kernels=(11, 5, 5), frames=(11, 5, 5), momentum=0.7
    )
    return VideoModel(core, None, features=128, **common), (10.0, 0.01)


def train_step(
    model: VideoModel,
    forward,
    optimizer: torch.optim.Optimizer,
    batches: dict[str, Recording],
    gammas: tuple[float, float],
    *,
    files: int,
    cast,
) -> float:
    """One update from a batch of every mouse; the loss before it, summed over mice.

    Args:
        model: whose gradients are taken.
        forward: ``model``, compiled or not.
        optimizer: of its parameters.
        batches: by session.
        gammas: of the core's penalty, counted once a mouse.
        files: trial files of a mouse, for the starter kit's loss scale.
        cast: makes the context in which the model runs.
    """
    optimizer.zero_grad(set_to_none=True)
    total = 0.0
    for session, (video, pupil_center, response) in batches.items():
        with cast():
            rate = forward(video, pupil_center, session)
        rate, response = rate.float(), response[:, -rate.shape[1] :]
        poisson = (rate - response * torch.log(rate + EPSILON)).sum()
        loss = math.sqrt(files / len(video)) * poisson + model.core.penalty(*gammas)
        loss.backward()
        total += loss.detach()
    optimizer.step()
    return float(total)
