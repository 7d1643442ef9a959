"""Base class of the convolutional cores: the loop over layers and the options of a layer."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, ClassVar, Literal

import flax.linen as nn
import jax.numpy as jnp

from sensorium_jax.errors import check_ranges
from sensorium_jax.models.nn import activations, conv, hermite, remat
from sensorium_jax.models.nn.norm import BatchNorm
from sensorium_jax.models.nn.penalties import Laplace
from sensorium_jax.models.nn.recurrent import ConvGRU
from sensorium_jax.models.parts import Core
from sensorium_jax.types import Array

Sizes = int | tuple[int | tuple[int, int], ...]  # one for all layers, or one per layer
Paddings = str | tuple[str | int | tuple[int, int], ...]


class LayeredCore(Core):
    """Layers of convolution, batch normalisation and nonlinearity, optionally recurrent.

        x_{l+1} = f(norm_l(conv_l(x_l))),  x_0 = video and constant planes of behaviour

    Options of a layer are one value for all layers, or a tuple with one value per layer; the last
    value is repeated for further layers (with one layer, (9, 7) is 9). A convolution before batch
    normalisation has no bias, which the normalisation would remove.

    Attributes:
        channels: feature maps.
        layers: number of layers.
        kernel: height and width of the kernels in pixels; (rows, columns) within the tuple.
        stride: step of the convolution in pixels; 2 halves the map, and the cost, on both axes.
        dilation: pixels between neighbouring taps of a kernel.
        padding: zeros around the map: "valid" for none, "same" to keep the size with odd kernels,
            or a number, or (rows, columns) within the tuple.
        batch_norm: normalise the maps of a layer.
        bias: offsets of a layer's maps.
        nonlinearity: "elu", "relu", "softplus" or "identity".
        elu_shift: (a, b) makes the nonlinearity f(x - a) + b.
        final_nonlinearity: apply it after the last layer too.
        behavior: pupil size and running speed are two constant planes of the first layer's input.
        gaze: the pupil's x and y are two more planes.
        momentum: weight of the new batch in the running statistics of batch normalisation.
        basis: the parameters of a kernel: its "pixels", or coefficients of "hermite" functions,
            smooth and windowed (square kernels, not dilated). Training in the hermite basis finds
            receptive fields in a fraction of the steps.
        smoothness: how the roughness of the first layer's filters is measured.
        recurrence: ``ConvGRU`` over the last layer's maps, or None.

    Raises:
        ValueError: an option that does not exist or does not fit the others.

    Examples:
        >>> from sensorium_jax.models.cores import Stacked2D
        >>> Stacked2D(channels=(16, 32), layers=3).maps  # the last value is repeated
        32
        >>> Stacked2D(kernel=5, dilation=2, basis="hermite")
        Traceback (most recent call last):
        ValueError: expected square kernels without dilation in the hermite basis
    """

    channels: int | tuple[int, ...] = 8
    layers: int = 4
    kernel: Sizes = (9, 7)
    stride: int | tuple[int, ...] = 1
    dilation: int | tuple[int, ...] = 1
    padding: Paddings = ("valid", "same")
    batch_norm: bool | tuple[bool, ...] = True
    bias: bool = True
    nonlinearity: str = "elu"
    elu_shift: tuple[float, float] = (0.0, 0.0)
    final_nonlinearity: bool = False
    behavior: bool = True
    gaze: bool = False
    momentum: float = 0.1
    basis: Literal["pixels", "hermite"] = "pixels"
    smoothness: Laplace = Laplace()
    recurrence: ConvGRU | None = None

    rotations = 1  # maps that share statistics and offset in batch normalisation
    upsampling: ClassVar[Any] = (
        hermite.UPSAMPLING
    )  # points a pixel at which hermite functions are sampled
    stack: ClassVar[Any] = (-1,)  # layers whose maps are the features
    ranges: ClassVar[dict[str, tuple[float, float]]] = {
        "layers": (1, 1000),
        "channels": (1, 65_536),
        "kernel": (1, 1000),
        "stride": (1, 1000),
        "dilation": (1, 1000),
        "padding": (0, 1000),
        "momentum": (0, 1),
        "elu_shift": (-math.inf, math.inf),
    }
    per_layer = ("channels", "kernel", "stride", "dilation", "padding", "batch_norm")

    def __post_init__(self):
        activations.activation(self.nonlinearity)
        check_ranges(self, self.ranges)
        for layer in range(self.layers):
            self._padding(layer)
            for option in self.per_layer:
                self._option(option, layer)
            rows, columns = self._kernel_size(layer)
            is_dilated = self._option("dilation", layer) != 1
            if self.basis == "hermite" and (rows != columns or is_dilated):
                raise ValueError("expected square kernels without dilation in the hermite basis")
        if self.basis not in ("pixels", "hermite"):
            raise ValueError(f"expected a basis of pixels or hermite, got {self.basis!r}")
        super().__post_init__()

    @nn.compact
    def __call__(self, video: Array, behavior: Array, pupil_center: Array, *, train: bool) -> Array:
        """[B T H W], [B T 2], [B T 2] -> [B T' h w F].

        A video may also be [B T H W C], as imported models have it.
        """
        x = video if video.ndim == 5 else video[..., None]
        options = (behavior, self.behavior), (pupil_center, self.gaze)
        signals = [signal for signal, enabled in options if enabled]
        planes = jnp.concatenate(signals, -1) if signals else None  # [B T P]
        is_lean = remat.includes("core") and not self.is_initializing()
        keep = remat.checkpoint_method if is_lean else _as_is
        outputs = []
        for layer in range(self.layers):
            apply = functools.partial(LayeredCore._layer, layer=layer, train=train)
            x = keep(apply)(self, x, planes if layer == 0 else None)
            outputs.append(x)
        if len(self.stack) > 1:
            x = jnp.concatenate([outputs[layer] for layer in self.stack], axis=-1)
        return x if self.recurrence is None else self.recurrence(x)

    def _layer(self, x: Array, planes: Array | None, *, layer: int, train: bool) -> Array:
        """f(norm(conv(x)))."""
        x = self._convolve(x, planes, layer)
        x = self._normalise(x, layer, train=train)
        if self.final_nonlinearity or layer < self.layers - 1:
            x = activations.activation(self.nonlinearity, self.elu_shift)(x)
        return x

    def _convolve(self, x: Array, planes: Array | None, layer: int) -> Array:
        """A layer's convolution of maps [B T h w C] and constant planes [B T P]."""
        raise NotImplementedError

    def _normalise(self, x: Array, layer: int, *, train: bool) -> Array:
        """Batch normalisation, or else offsets."""
        if self._option("batch_norm", layer):
            norm = BatchNorm(self.rotations, self.momentum, self.bias, name=f"norm{layer}")
            return norm(x, train=train)
        if not self.bias:
            return x
        shape = (x.shape[-1] // self.rotations,)
        bias = self.param(f"bias{layer}", nn.initializers.zeros, shape)
        # In float32, so that the bias's gradient, a sum over the maps, is float32 too.
        return (x.astype(jnp.float32) + jnp.tile(bias, self.rotations)).astype(x.dtype)

    @property
    def memory_frames(self) -> int:
        """``warmup_frames``: time is never padded, so features depend on these past frames only."""
        return self.warmup_frames

    @classmethod
    def example(cls) -> LayeredCore:
        """Two layers of two maps."""
        return cls(channels=2, layers=2, kernel=(5, 3))

    @property
    def maps(self) -> int:
        """Number of feature maps, channels times rotations, of the layers in ``stack``."""
        channels = (self._option("channels", layer % self.layers) for layer in self.stack)
        return sum(channels) * self.rotations

    def _option(self, option: str, layer: int) -> Any:
        """The value of an option in a layer."""
        value = getattr(self, option)
        if not isinstance(value, tuple):
            return value
        if not value:
            raise ValueError(f"expected at least one value of {option}, got {value}")
        return value[min(layer, len(value) - 1)]

    def _kernel_size(self, layer: int) -> tuple[int, int]:
        """Rows and columns of a layer's kernels."""
        size = self._option("kernel", layer)
        return size if isinstance(size, tuple) else (size, size)

    def _padding(self, layer: int) -> conv.Padding:
        padding, dilation = self._option("padding", layer), self._option("dilation", layer)
        if padding == "valid":
            return conv.VALID
        if padding == "same":
            rows, columns = (((k - 1) * dilation + 1) // 2 for k in self._kernel_size(layer))
            return rows, columns
        if isinstance(padding, str):
            raise ValueError(f"expected a padding of 'valid', 'same' or numbers, got {padding!r}")
        return padding if isinstance(padding, tuple) else (padding, padding)

    def _space_options(self, layer: int) -> dict[str, Any]:
        """Options of a layer's convolution over pixels."""
        return {
            "padding": self._padding(layer),
            "stride": self._option("stride", layer),
            "dilation": self._option("dilation", layer),
        }

    def _space_kernel(self, name: str, layer: int, c_in: int) -> Array:
        """A layer's kernel over pixels, [K L c_in D], of the parameter ``name``."""
        size, channels = self._kernel_size(layer), self._option("channels", layer)
        if self.basis == "pixels":
            return self.param(name, nn.initializers.lecun_normal(), (*size, c_in, channels))
        shape = (len(hermite.modes(size[0])), c_in, channels)
        return self._pixels(self.param(name, hermite.smooth_normal(size[0]), shape), layer)

    def _pixels(self, kernel: Array, layer: int) -> Array:
        """The kernel in pixels [K L C D], in all rotations, of its parameters in the basis."""
        if self.basis == "pixels":
            return kernel
        return hermite.filters(
            kernel,
            size=self._kernel_size(layer)[0],
            n_rotations=self.rotations,
            roll_inputs=layer > 0,
            upsampling=self.upsampling,
        )

    def _convolve_frames(self, x: Array, planes: Array | None, kernel: Array, layer: int) -> Array:
        """Convolve every frame: [B T h w C], [B T P], kernel [K L C+P D] -> [B T h' w' D]."""
        c = x.shape[-1]
        y = conv.conv2d(x, kernel[:, :, :c], **self._space_options(layer))
        if planes is None:
            return y
        options = self._space_options(layer)
        return y + conv.conv2d_constant(planes, kernel[:, :, c:], x.shape[2:4], **options)


def _as_is(function: Callable) -> Callable:
    return function


def inputs(x: Array, planes: Array | None) -> int:
    """Input channels C + P of a convolution over maps [B T h w C] and planes [B T P].

    Examples:
        >>> inputs(jnp.zeros((1, 5, 36, 64, 1)), planes=jnp.zeros((1, 5, 2)))
        3
    """
    return x.shape[-1] + (0 if planes is None else planes.shape[-1])
