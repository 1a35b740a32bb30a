"""SwinIR (Liang et al., "SwinIR: Image Restoration Using Swin Transformer", ICCV workshops 2021).

Parameters have the names and shapes of the authors' files, so weights can be exchanged in both directions. What differs
is speed. Tokens stay in window order from the first block of a group to its last: attention, layer norm and MLP work on
them as they are, and one gather between two blocks replaces rolling, cutting and merging. The convolutions take the
tokens as channels-last maps, without a copy. On the CPU attention works on as many windows as fit in the cache;
elsewhere, and when compiled, it is ``scaled_dot_product_attention``.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from ..common.blocks import row_blocks
from .errors import SuperResolutionError

RGB_MEAN = (0.4488, 0.4371, 0.4040)
UPSAMPLERS = ("pixelshuffle", "pixelshuffledirect", "nearest+conv", "")


class SwinIR(nn.Module):
    """Images ``(N, C, h, w)`` in [0, 1] to ``(N, C, scale·h, scale·w)``, unclamped.

    Height and width of the input must be multiples of the window.

    Args:
        scale: magnification; 1 restores at the same size.
        embed_dim: channels of the tokens.
        depths: attention blocks of each group; every second one has shifted windows.
        num_heads: attention heads in each group.
        upsampler: ``pixelshuffle`` (classical), ``pixelshuffledirect`` (lightweight), ``nearest+conv`` (real-world; ×2
            and ×4) or, at scale 1, ``""``.
        resi_connection: convolution at the end of a group: ``1conv`` or ``3conv``.
        window_size: side of an attention window.
        mlp_ratio: hidden channels of the MLPs, as a multiple of ``embed_dim``.
        in_chans: 3 for colour, 1 for grey images.
        img_range: the images are multiplied by it inside; 255 in the authors' JPEG models.
        drop_path_rate: stochastic depth of the last block; it grows linearly from 0 at the first. Drawn from torch's
            default generator, once per sample and branch, in training mode only.

    Raises:
        SuperResolutionError: an upsampler that does not support the scale; in ``forward``, sides that do not fit.

    Examples:
        >>> network = SwinIR(2, embed_dim=8, depths=(2,), num_heads=(2,), upsampler="pixelshuffledirect")
        >>> network(torch.rand(1, 3, 8, 16)).shape
        torch.Size([1, 3, 16, 32])
    """

    mean: Tensor

    def __init__(
        self,
        scale: int,
        *,
        embed_dim: int,
        depths: Sequence[int],
        num_heads: Sequence[int],
        upsampler: str,
        resi_connection: str = "1conv",
        window_size: int = 8,
        mlp_ratio: float = 2,
        in_chans: int = 3,
        img_range: float = 1.0,
        drop_path_rate: float = 0.1,
    ) -> None:
        super().__init__()
        self.scale, self.upsampler, self.window_size, self.img_range = scale, upsampler, window_size, img_range
        mean = RGB_MEAN if in_chans == len(RGB_MEAN) else (0.0,)
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1), persistent=False)
        self.conv_first = _conv(in_chans, embed_dim)
        self.patch_embed = nn.ModuleDict({"norm": _LayerNorm(embed_dim)})
        rates = iter(drop_path_rate * index / max(1, sum(depths) - 1) for index in range(sum(depths)))
        self.layers = nn.ModuleList(
            _Group(embed_dim, heads, window_size, mlp_ratio, [next(rates) for _ in range(depth)], resi_connection)
            for depth, heads in zip(depths, num_heads, strict=True)
        )
        self.norm = _LayerNorm(embed_dim)
        self.conv_after_body = _residual_conv(embed_dim, resi_connection)
        self._build_upsampler(embed_dim, in_chans)
        self.apply(_initialise)
        self.register_load_state_dict_pre_hook(_drop_masks)

    def _build_upsampler(self, embed_dim: int, channels: int, width: int = 64) -> None:
        scale, upsampler = self.scale, self.upsampler
        doublings = scale.bit_length() - 1 if scale in (2, 4, 8) else 0
        if not (
            (upsampler == "pixelshuffle" and (scale == 3 or doublings))
            or (upsampler == "pixelshuffledirect" and scale >= 2)
            or (upsampler == "nearest+conv" and scale in (2, 4))
            or (upsampler == "" and scale == 1)
        ):
            raise SuperResolutionError(f"SwinIR with upsampler '{upsampler}' has no ×{scale}; upsamplers: {UPSAMPLERS}")
        if upsampler in ("pixelshuffle", "nearest+conv"):
            self.conv_before_upsample = nn.Sequential(_conv(embed_dim, width), nn.LeakyReLU(inplace=True))
        if upsampler == "pixelshuffle":
            steps = [2] * doublings or [3]
            layers = [layer for step in steps for layer in (_conv(width, step**2 * width), nn.PixelShuffle(step))]
            self.upsample = nn.Sequential(*layers)
        elif upsampler == "pixelshuffledirect":
            self.upsample = nn.Sequential(_conv(embed_dim, scale**2 * channels), nn.PixelShuffle(scale))
        elif upsampler == "nearest+conv":
            self.conv_up1 = _conv(width, width)
            self.conv_up2 = _conv(width, width) if scale == 4 else None
            self.conv_hr = _conv(width, width)
        if upsampler != "pixelshuffledirect":
            self.conv_last = _conv(width if upsampler else embed_dim, channels)

    def forward(self, images: Tensor) -> Tensor:
        """Restore ``(N, C, h, w)`` images."""
        height, width = images.shape[-2:]
        if height % self.window_size or width % self.window_size:
            raise SuperResolutionError(
                f"SwinIR needs sides that are multiples of {self.window_size} px, got {height}×{width}; "
                "super_resolve pads"
            )
        images = (images - self.mean) * self.img_range
        x = self.conv_first(images)
        x = self.conv_after_body(self._features(x)) + x
        if self.upsampler == "":
            x = images + self.conv_last(x)
        elif self.upsampler == "pixelshuffledirect":
            x = self.upsample(x)
        elif self.upsampler == "pixelshuffle":
            x = self.conv_last(self.upsample(self.conv_before_upsample(x)))
        else:
            x = self.conv_before_upsample(x)
            for conv in (self.conv_up1, self.conv_up2):
                if conv is not None:
                    x = F.leaky_relu(conv(F.interpolate(x, scale_factor=2, mode="nearest")), 0.2)
            x = self.conv_last(F.leaky_relu(self.conv_hr(x), 0.2))
        return x / self.img_range + self.mean

    def official_state_dict(self, side: int = 64) -> dict[str, Tensor]:
        """Return the state dict with the attention masks for one size of image, which other programs require.

        Args:
            side: height and width of the images, rounded down to a multiple of the window; the authors' files have 48,
                64, 126 or 128.
        """
        side = side // self.window_size * self.window_size
        mask = _places(side, side, self.window_size, self.mean.device).mask.clamp(min=-100)
        state = self.state_dict()
        for name, module in self.named_modules():
            if isinstance(module, nn.ModuleList) and name.endswith("residual_group.blocks"):
                state |= {f"{name}.{index}.attn_mask": mask.clone() for index in range(1, len(module), 2)}
        return state

    def _features(self, maps: Tensor) -> Tensor:
        places = _places(maps.shape[-2], maps.shape[-1], self.window_size, maps.device)
        tokens = self.patch_embed["norm"](_tokens(maps))
        for group in self.layers:
            tokens = group(tokens, maps.shape[-2:], places)
        return _maps(self.norm(tokens), maps.shape[-2:])


class _Group(nn.Module):
    """Blocks with plain and shifted windows in turn, then a convolution; a residual connection around all of them."""

    def __init__(
        self, dim: int, heads: int, window: int, mlp_ratio: float, drop_rates: Sequence[float], resi_connection: str
    ) -> None:
        super().__init__()
        self.residual_group = nn.ModuleDict()
        self.residual_group["blocks"] = nn.ModuleList(
            _Block(dim, heads, window, mlp_ratio, rate) for rate in drop_rates
        )
        self.conv = _residual_conv(dim, resi_connection)

    def forward(self, tokens: Tensor, size: torch.Size, places: _Places) -> Tensor:
        x, now = tokens, "raster"
        for index, block in enumerate(cast("nn.ModuleList", self.residual_group["blocks"])):
            order = "shifted" if index % 2 else "plain"
            x = block(places.reorder(x, now, order), places.mask if index % 2 else None)
            now = order
        return _tokens(self.conv(_maps(places.reorder(x, now, "raster"), size))) + tokens


class _Block(nn.Module):
    """Attention within windows, then an MLP for each token."""

    def __init__(self, dim: int, heads: int, window: int, mlp_ratio: float, drop_rate: float) -> None:
        super().__init__()
        hidden = int(dim * mlp_ratio)
        self.drop_rate = drop_rate
        self.norm1 = _LayerNorm(dim)
        self.attn = _Attention(dim, heads, window)
        self.norm2 = _LayerNorm(dim)
        self.mlp = nn.Sequential(
            OrderedDict[str, nn.Module](fc1=nn.Linear(dim, hidden), act=nn.GELU(), fc2=nn.Linear(hidden, dim))
        )

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        x = self._add(x, self.attn(self.norm1(x), mask))
        return self._add(x, self.mlp(self.norm2(x)))

    def _add(self, x: Tensor, branch: Tensor) -> Tensor:
        if not self.training or self.drop_rate == 0:
            return x + branch
        keep = 1 - self.drop_rate
        dtype = torch.promote_types(x.dtype, torch.float32)
        kept = (torch.rand(len(x), 1, 1, dtype=dtype, device=x.device) + keep).floor() / keep
        return torch.addcmul(x, branch, kept.to(branch.dtype))


class _LayerNorm(nn.LayerNorm):
    """Layer norm in float32, as autocast runs it on a GPU.

    On a CPU torch sums the gradients of weight and bias in the type of the input: in bfloat16 the sums stop growing.
    """

    def forward(self, x: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        return super().forward(x.float() if x.dtype in (torch.bfloat16, torch.float16) else x)


class _Attention(nn.Module):
    """Multi-head attention within windows, with a learnt bias for each relative position."""

    relative_position_index: Tensor

    def __init__(self, dim: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads, self.area = heads, window**2
        self.relative_position_bias_table = nn.Parameter(torch.empty((2 * window - 1) ** 2, heads))
        row, column = torch.arange(self.area) // window, torch.arange(self.area) % window
        row, column = (x[:, None] - x + window - 1 for x in (row, column))
        # Constant, but part of the authors' files: other programs derive the window's size from it.
        self.register_buffer("relative_position_index", row * (2 * window - 1) + column)
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)

    def forward(self, tokens: Tensor, mask: Tensor | None) -> Tensor:
        bias = self.relative_position_bias_table[self.relative_position_index.flatten()].T
        bias = bias.reshape(self.heads, self.area, self.area)
        qkv = self.qkv(tokens).unflatten(1, (-1, self.area))
        if qkv.device.type == "cpu" and not torch.compiler.is_compiling():
            with torch.autocast("cpu", enabled=False):
                mixed = _BlockedAttention.apply(qkv, bias, mask)
        else:
            mixed = _fused_attention(qkv, bias, mask)
        return self.proj(mixed.flatten(1, 2))


def _fused_attention(qkv: Tensor, bias: Tensor, mask: Tensor | None) -> Tensor:
    """Return the attention of the windows of queries, keys and values ``(N, windows, area, 3·dim)``."""
    samples, windows, area, _ = qkv.shape
    q, k, v = qkv.view(samples * windows, area, 3, len(bias), -1).permute(2, 0, 3, 1, 4)
    bias = bias[None]
    if mask is not None:  # the fused kernels take one batch axis only
        bias = (bias + mask[:, None]).expand(samples, -1, -1, -1, -1).flatten(0, 1)
    mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=bias.to(q.dtype))
    return mixed.transpose(1, 2).reshape(samples, windows, area, -1)


class _BlockedAttention(torch.autograd.Function):
    """The same on a CPU, whose fused kernel has no gradient for the bias and is slow for small windows."""

    @staticmethod
    def forward(ctx: Any, qkv: Tensor, bias: Tensor, mask: Tensor | None) -> Tensor:
        heads, kept = len(bias), []
        mixed = qkv.new_empty(*qkv.shape[:-1], qkv.shape[-1] // 3)
        values, (results,) = _heads(qkv, 3, heads).contiguous(), _heads(mixed, 1, heads)
        table = bias[None] if mask is None else bias + mask[:, None]
        for block in _blocks(values[0]):
            q, k, v = (x[block].flatten(0, 2) for x in values)
            scores = (q @ k.mT).view(*results[block].shape[:-1], -1)
            of_block = table if mask is None else table[block[1]]
            p = torch.add(of_block, scores, alpha=_scale(q)).softmax(-1).to(q.dtype).flatten(0, 2)
            results[block] = _product(p, v).unflatten(0, results[block].shape[:3])
            if ctx.needs_input_grad[0]:
                kept.append(p)
        ctx.save_for_backward(values, bias, mixed, *kept)
        return mixed

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, d_mixed: Tensor
    ) -> tuple[Tensor, Tensor, None]:
        values, bias, mixed, *kept = ctx.saved_tensors
        heads = len(bias)
        d_bias, d_qkv = torch.zeros_like(bias), mixed.new_empty(*mixed.shape[:-1], 3 * mixed.shape[-1])
        gradients, d_results = _heads(d_qkv, 3, heads), _heads(d_mixed, 1, heads)[0].contiguous()
        # The part of the softmax's gradient that all keys of a query share.
        shared = (d_results * _heads(mixed, 1, heads)[0]).sum(-1, keepdim=True, dtype=bias.dtype)
        for block, p in zip(_blocks(values[0]), kept, strict=True):
            q, k, v = (x[block].flatten(0, 2) for x in values)
            d_result = d_results[block].flatten(0, 2)
            d_scores = torch.sub(d_result @ v.mT, shared[block].flatten(0, 2)).mul_(p)
            d_bias += d_scores.unflatten(0, (-1, heads)).sum(0)
            d_scores = d_scores.to(q.dtype)
            d_q, d_k = _product(d_scores, k).mul_(_scale(q)), _product(d_scores.mT, q).mul_(_scale(q))
            for part, value in zip(gradients, (d_q, d_k, _product(p.mT, d_result)), strict=True):
                part[block] = value.unflatten(0, part[block].shape[:3])
        return d_qkv, d_bias, None


def _heads(x: Tensor, parts: int, heads: int) -> Tensor:
    """View ``(N, windows, area, parts·heads·d)`` as ``(parts, N, windows, heads, area, d)``."""
    return x.unflatten(-1, (parts, heads, -1)).permute(3, 0, 1, 4, 2, 5)


def _blocks(q: Tensor) -> Iterator[tuple[slice, slice]]:
    """Yield blocks of samples and windows whose scores fit in the cache."""
    samples, windows, heads, area, _ = q.shape
    return row_blocks(q.new_empty(1).expand(samples, windows, heads * area**2))


def _product(weights: Tensor, values: Tensor) -> Tensor:
    # In float32 a narrow result takes several times as long as a flat one.
    return (values.mT @ weights.mT).mT if values.dtype == torch.float32 else weights @ values


def _scale(q: Tensor) -> float:
    return q.shape[-1] ** -0.5


class _Places(NamedTuple):
    """The places of a map's tokens when they are sorted by windows.

    Attributes:
        orders: for each order the place in the map of each token, ``(h·w,)``.
        ranks: the inverse permutations.
        mask: -inf between tokens of a shifted window that are not neighbours in the map, ``(windows, area, area)``.
    """

    orders: dict[str, Tensor]
    ranks: dict[str, Tensor]
    mask: Tensor

    def reorder(self, tokens: Tensor, old: str, new: str) -> Tensor:
        if old == new:
            return tokens
        return _Gather.apply(tokens, self.ranks[old][self.orders[new]], self.ranks[new][self.orders[old]])  # pyright: ignore[reportReturnType]


def _places(height: int, width: int, window: int, device: torch.device) -> _Places:
    def cut(plane: Tensor) -> Tensor:
        return plane.view(height // window, window, width // window, window).transpose(1, 2).reshape(-1, window**2)

    shift = window // 2
    raster = torch.arange(height * width, device=device).view(height, width)
    shifted = raster.roll((-shift, -shift), (0, 1))
    # Only the last windows of a row or column hold tokens from both ends of the map.
    rows, columns = (torch.arange(side, device=device) >= side - shift for side in (height, width))
    part = cut(2 * rows.int()[:, None] + columns.int())
    mask = torch.zeros(len(part), window**2, window**2, device=device)
    mask.masked_fill_(part[:, :, None] != part[:, None], -math.inf)
    orders = {"raster": raster.flatten(), "plain": cut(raster).flatten(), "shifted": cut(shifted).flatten()}
    return _Places(orders, {name: order.argsort() for name, order in orders.items()}, mask)


class _Gather(torch.autograd.Function):
    """Permute the tokens; the gradient is a gather too, whereas autograd would scatter."""

    @staticmethod
    def forward(ctx: Any, tokens: Tensor, order: Tensor, inverse: Tensor) -> Tensor:
        ctx.save_for_backward(order, inverse)
        return tokens.index_select(1, order)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        order, inverse = ctx.saved_tensors
        return _Gather.apply(gradient, inverse, order), None, None  # pyright: ignore[reportReturnType]


def _tokens(maps: Tensor) -> Tensor:
    return maps.flatten(2).mT


def _maps(tokens: Tensor, size: torch.Size) -> Tensor:
    return tokens.mT.unflatten(2, size)


def _conv(inputs: int, outputs: int, kernel: int = 3) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2)


def _residual_conv(dim: int, kind: str) -> nn.Module:
    if kind == "1conv":
        return _conv(dim, dim)
    if kind != "3conv":
        raise SuperResolutionError(f"SwinIR has resi_connection 1conv and 3conv, not '{kind}'")
    narrow = dim // 4
    ends = _conv(dim, narrow), _conv(narrow, dim)
    return nn.Sequential(ends[0], nn.LeakyReLU(0.2), _conv(narrow, narrow, 1), nn.LeakyReLU(0.2), ends[1])


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)


def _drop_masks(module: nn.Module, state: dict[str, Tensor], *_: Any) -> None:  # noqa: ARG001
    """Leave out the masks of :meth:`SwinIR.official_state_dict`; they are computed for every size of image."""
    for name in [name for name in state if name.endswith(".attn_mask")]:
        del state[name]
