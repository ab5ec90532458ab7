"""The processes that train one job together, and all that they tell one another besides their gradients.

Each has the same weights and, of every batch, rows of its own. Whoever starts the processes opens torch's process
group; Lightning's DDP averages the gradients. What is said here is short and goes from CPU to CPU by gloo, so that
nobody waits for a GPU.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self, TypeVar

import torch
from torch import Tensor, distributed

from rnncore.errors import InvalidInput, Stopped

T = TypeVar("T")


@dataclass(frozen=True)
class Ranks:
    """Rank `rank` of `size`, as it sees the others. Every rank has to call the same methods in the same order."""

    rank: int = 0
    size: int = 1
    group: distributed.ProcessGroup | None = None

    @classmethod
    def of_process_group(cls) -> Self:
        """Those of torch's default process group, which is open, gloo or nccl. On CUDA each has set its device."""
        group = None if distributed.get_backend() == "gloo" else distributed.new_group(backend="gloo")
        return cls(distributed.get_rank(), distributed.get_world_size(), group)

    def check(self, batch_size: int) -> None:
        """Raises InvalidInput unless each rank gets as many of the streams as any other."""
        if batch_size % self.size:
            raise InvalidInput(
                f"train.batch_size of {batch_size} streams cannot be shared equally by {self.size} workers; "
                f"make it a multiple of {self.size}",
                param="train.batch_size",
            )

    def rows(self, num_rows: int) -> slice:
        """Which of so many rows are this rank's: as many as any other's, give or take one, in the order of ranks."""
        return slice(num_rows * self.rank // self.size, num_rows * (self.rank + 1) // self.size)

    def greatest(self, *values: float) -> list[float]:
        """The greatest that any rank has of each value."""
        return self._reduced(values, distributed.ReduceOp.MAX)

    def sum(self, value: float) -> float:
        """Over all ranks; the same bits on each."""
        return self._reduced((value,), distributed.ReduceOp.SUM)[0]

    def joined(self, tensor: Tensor, dim: int = 0) -> Tensor:
        """Every rank's tensor, of one shape, side by side along `dim` in the order of ranks; on the CPU, on rank 0.

        The others have their own back.
        """
        own = tensor.detach().cpu().contiguous()
        if self.size == 1:
            return own
        parts = [torch.empty_like(own) for _ in range(self.size)] if self.rank == 0 else None
        distributed.gather(own, parts, group=self.group)
        return torch.cat(parts, dim) if parts else own

    def first(self, deed: Callable[[], T]) -> T | None:
        """What `deed` returns on rank 0, which alone does it while the others wait; None there. Else as `together`."""
        return self.together(deed if self.rank == 0 else lambda: None)

    def together(self, deed: Callable[[], T]) -> T:
        """What `deed` returns here, once every rank has done it.

        What it raises on one rank ends them all: on that one as it is, on the others as Stopped.
        """
        if self.size == 1:
            return deed()
        result, error = None, None
        try:
            result = deed()
        except Exception as raised:
            error = raised
        (any_raised,) = self.greatest(float(error is not None))
        if error:
            raise error
        if any_raised:
            raise Stopped("another worker of the job has stopped")
        return result  # type: ignore[return-value]  # it was set, for nothing was raised

    def _reduced(self, values: tuple[float, ...], operation: distributed.ReduceOp.RedOpType) -> list[float]:
        if self.size == 1:
            return list(values)
        numbers = torch.tensor(values, dtype=torch.float64)
        distributed.all_reduce(numbers, operation, group=self.group)
        return numbers.tolist()  # type: ignore[no-any-return]  # torch types no list


ALONE = Ranks()
