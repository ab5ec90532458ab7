"""Products of rows with one matrix, whose bits are the same for a row in every company of rows and at every place.

A matrix library chooses its kernel by the number of rows, and another kernel may add in another order. So rows are only
ever multiplied in blocks of a few known sizes, and whether those agree is tried with the matrix itself before its use.
Kernels may also depend on where a row begins in memory and treat the last columns apart: K and N are to be multiples of
LANES. Shapes: B rows, K inputs, N outputs.
"""

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor

Precision = Literal["fp32", "bf16", "int8"]

LANES = 32  # float32 that elementwise operations of PyTorch take at once; 128 bytes

# Finer than doubling, so that a block is at most half padding. One larger than the last is several of the last: that
# costs nothing, the processor is busy at 64 rows.
SIZES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
# Where not all of them agree: those of several rows, since kernels for a few are special; a single one, if it treats
# its rows alike; and what is always true.
_CANDIDATES: tuple[tuple[int, ...], ...] = (SIZES, SIZES[3:], SIZES[5:], (8,), (1,))
# oneDNN lays a matrix out for about so many rows; the layout for one row alone has a kernel that adds in another order.
_PACKED_FOR_ROWS = 16


class Block(NamedTuple):
    """Rows `start` to `start + size`, of which the first `used` are asked for and the others are padding."""

    start: int
    size: int
    used: int


class Product:
    """x_BK -> x_BK W^T + something, in one of three precisions.

    fp32  a large W is laid out once as oneDNN wants it; for a small one oneDNN takes longer to begin than to multiply
    bf16  both factors and the product rounded to bfloat16
    int8  both factors rounded to whole numbers, W by rows, x, which must be within [-1, 1], by 1/127; the sum is exact
    """

    def __init__(self, weight_NK: Tensor, *, precision: Precision, by_onednn: bool) -> None:
        self.shape = (weight_NK.shape[1], weight_NK.shape[0])
        weight_NK = weight_NK.detach()
        self._device = weight_NK.device
        on_cpu = weight_NK.device.type == "cpu"
        require_precision(precision, weight_NK.device.type)
        self._by_onednn = by_onednn and on_cpu and _has_onednn(precision)
        self._precision = precision
        self._is_separate = self._by_onednn or precision != "fp32"  # the sum is of another operation than the product
        if precision == "int8":
            self._scale_N = weight_NK.abs().amax(dim=1).clamp(min=1e-12) / 127
            self._zero_N = torch.zeros(len(weight_NK), dtype=torch.int32)
            weight_NK = (weight_NK / self._scale_N[:, None]).round().to(torch.int8)
            self._weight = torch.ops.onednn.qlinear_prepack(weight_NK, [_PACKED_FOR_ROWS, weight_NK.shape[1]])
        else:
            weight_NK = weight_NK.to(torch.float32 if precision == "fp32" else torch.bfloat16)
            if self._by_onednn:
                self._weight = torch.ops.mkldnn._reorder_linear_weight(weight_NK.contiguous(), _PACKED_FOR_ROWS)
            else:
                self._weight = weight_NK.t().contiguous()
        self.num_bytes = weight_NK.nbytes

    def __call__(self, x_BK: Tensor, plus: Tensor, out_BN: Tensor) -> Tensor:
        """Of one block, as many rows as one of the sizes that agree. `plus` is of the size of `out_BN` or of a row."""
        if self._precision == "int8":
            x_BK = torch.add(_HALF_UP, x_BK, alpha=127).to(torch.uint8)
            scales = (self._scale_N, self._zero_N, None, 1.0, 0, torch.float32)
            product_BN = _linear_int8(x_BK, 1 / 127, 128, self._weight, *scales, "none", (), "")
            return torch.add(product_BN, plus, out=out_BN)
        if self._precision == "bf16":
            x_BK = x_BK.to(torch.bfloat16)
            product_BN = self._by_its_kernel(x_BK) if self._by_onednn else torch.mm(x_BK, self._weight)
            return out_BN.copy_(product_BN).add_(plus)
        if self._by_onednn:
            return torch.add(self._by_its_kernel(x_BK), plus, out=out_BN)
        return torch.addmm(plus, x_BK, self._weight, out=out_BN)

    def agrees(self, sizes: Sequence[int]) -> bool:
        """Whether blocks of these sizes give one row the same bits at each of their places.

        The order in which a kernel adds depends on no values: one row at all places shows all that there is to see. It
        may depend on the number of threads, which is to stay as it is.
        """
        generator = torch.Generator().manual_seed(0)
        x_K, plus_N = (torch.rand(size, generator=generator).to(self._device) for size in self.shape)
        for plus_has_rows in (False, True):
            expected_N: Tensor | None = None
            for size in sizes:
                plus = plus_N.repeat(size, 1) if plus_has_rows else plus_N
                y_BN = self(x_K.repeat(size, 1), plus, plus.new_empty(size, len(plus_N)))
                expected_N = y_BN[0] if expected_N is None else expected_N
                if not torch.equal(y_BN, expected_N.expand_as(y_BN)):
                    return False
            if self._is_separate:
                return True
        return True

    def _by_its_kernel(self, x_BK: Tensor) -> Tensor:
        return _linear(x_BK, self._weight, None, "none", (), "")  # type: ignore[no-any-return]  # torch types no operator


def require_precision(precision: Precision, device_type: str) -> None:
    """Raises ValueError where products cannot be made in `precision`."""
    if precision == "int8" and not (device_type == "cpu" and torch.cpu._is_vnni_supported()):
        raise ValueError("precision=int8 needs a CPU with AVX-512 VNNI, this machine has none; use bf16 or fp32")


def agreed_sizes(products: Sequence[Product]) -> tuple[int, ...]:
    """The block sizes, as many as can be, in which all of `products` treat every row alike."""
    return next(sizes for sizes in _CANDIDATES if sizes == (1,) or all(product.agrees(sizes) for product in products))


def blocks(num_rows: int, sizes: Sequence[int]) -> Iterator[Block]:
    """Covers `num_rows` rows: blocks of the largest size, then the smallest that takes the rest."""
    largest = sizes[-1]
    for start in range(0, num_rows, largest):
        used = min(largest, num_rows - start)
        yield Block(start, next(size for size in sizes if size >= used), used)


def padded(num_rows: int, sizes: Sequence[int]) -> int:
    """How many rows a buffer needs so that its blocks stay inside it."""
    return max((block.start + block.size for block in blocks(num_rows, sizes)), default=0)


def _has_onednn(precision: Precision) -> bool:
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]  # torch types it not
        return False
    return precision == "fp32" or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


_HALF_UP = torch.tensor(128.5)  # the zero point, and what makes cutting off rounding
_linear = torch.ops.mkldnn._linear_pointwise.default
_linear_int8 = torch.ops.onednn.qlinear_pointwise.default
