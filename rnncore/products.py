"""Products of rows with one matrix, whose bits are the same for a row in every company of rows and at every place.

A matrix library chooses its kernel by the number of rows, and another kernel may add in another order. So rows are only
ever multiplied in blocks of a few known sizes, and whether those agree is tried with the matrix itself before its use.
Shapes: B rows, K inputs, N outputs.
"""

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor

Precision = Literal["fp32", "bf16"]

# Finer than doubling, so that a block is at most half padding. One larger than the last is several of the last: that
# costs nothing, the processor is busy at 64 rows.
SIZES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
# Where the kernels of those sizes disagree: one size, if its kernel treats its rows alike; and what is always true.
_FALLBACKS: tuple[tuple[int, ...], ...] = ((8,), (1,))
# oneDNN lays a matrix out for about so many rows; the layout for one row alone has a kernel that adds in another order.
_PACKED_FOR_ROWS = 16


class Block(NamedTuple):
    """Rows `start` to `start + size`, of which the first `used` are asked for and the others are padding."""

    start: int
    size: int
    used: int


class Product:
    """x_BK -> x_BK W^T + b, in float32, or with both factors rounded to bfloat16 and a sum that is rounded so too.

    The weights are laid out once, as oneDNN wants them where it is; each call returns a new tensor.
    """

    def __init__(self, weight_NK: Tensor, bias_N: Tensor | None = None, *, precision: Precision = "fp32") -> None:
        self._dtype = torch.float32 if precision == "fp32" else torch.bfloat16
        self._bias_N = None if bias_N is None else bias_N.detach().float().clone()
        self.num_inputs = weight_NK.shape[1]
        weight_NK = weight_NK.detach().to(self._dtype)
        self._by_onednn = _has_onednn(weight_NK)
        if self._by_onednn:
            self._weight = torch.ops.mkldnn._reorder_linear_weight(weight_NK.contiguous(), _PACKED_FOR_ROWS)
        else:
            self._weight = weight_NK.t().contiguous()
        self.num_bytes = weight_NK.nbytes + (0 if self._bias_N is None else self._bias_N.nbytes)

    def __call__(self, x_BK: Tensor) -> Tensor:
        """The product of one block: as many rows as one of the sizes that agree."""
        if self._dtype is torch.bfloat16:
            y_BN = self._multiply(x_BK.to(self._dtype)).float()
            return y_BN if self._bias_N is None else y_BN.add_(self._bias_N)
        if self._by_onednn:
            return _linear(x_BK, self._weight, self._bias_N, "none", (), "")  # type: ignore[no-any-return]
        return self._multiply(x_BK) if self._bias_N is None else torch.addmm(self._bias_N, x_BK, self._weight)

    def plus(self, x_BK: Tensor, other_BN: Tensor) -> Tensor:
        """The product of one block, without the bias, and `other_BN` added."""
        if self._dtype is torch.bfloat16:
            return self._multiply(x_BK.to(self._dtype)).float().add_(other_BN)
        if self._by_onednn:
            return _linear_binary(x_BK, other_BN, self._weight, None, "add")  # type: ignore[no-any-return]
        return torch.addmm(other_BN, x_BK, self._weight)

    def agrees(self, sizes: Sequence[int]) -> bool:
        """Whether blocks of these sizes give one row the same bits at each of their places.

        The way a kernel adds depends on no values: the same row at all places shows all that there is to see.
        """
        x_K = torch.randn(self.num_inputs, generator=torch.Generator().manual_seed(0)).to(self._weight.device)
        rows = [x_K.repeat(size, 1) for size in sizes]
        for found in ([self(x_BK) for x_BK in rows], [self.plus(x_BK, self(x_BK)) for x_BK in rows]):
            if not all(torch.equal(y_BN, found[0][:1].expand_as(y_BN)) for y_BN in found):
                return False
        return True

    def _multiply(self, x_BK: Tensor) -> Tensor:
        if self._by_onednn:
            return _linear(x_BK, self._weight, None, "none", (), "")  # type: ignore[no-any-return]
        return torch.mm(x_BK, self._weight)


def agreed_sizes(products: Sequence[Product]) -> tuple[int, ...]:
    """The block sizes in which all of `products` treat every row alike: SIZES, or else a single one."""
    return next(
        (sizes for sizes in (SIZES, *_FALLBACKS) if all(product.agrees(sizes) for product in products)), _FALLBACKS[-1]
    )


def blocks(num_rows: int, sizes: Sequence[int]) -> Iterator[Block]:
    """Covers `num_rows` rows: blocks of the largest size, then the smallest that takes the rest."""
    largest = sizes[-1]
    for start in range(0, num_rows, largest):
        used = min(largest, num_rows - start)
        yield Block(start, next(size for size in sizes if size >= used), used)


def padded(num_rows: int, sizes: Sequence[int]) -> int:
    """How many rows a buffer needs so that its blocks stay inside it."""
    return max((block.start + block.size for block in blocks(num_rows, sizes)), default=0)


def _has_onednn(weight_NK: Tensor) -> bool:
    if weight_NK.device.type != "cpu" or not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    return weight_NK.dtype is torch.float32 or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


_linear = torch.ops.mkldnn._linear_pointwise.default
_linear_binary = torch.ops.mkldnn._linear_pointwise.binary
