"""The processes that train one job together, and all that they tell one another besides their gradients.

Each has the same weights and, of every batch, rows of its own. Whoever starts the processes opens torch's process
group; Lightning's DDP averages the gradients. What is said here is short and goes from CPU to CPU by gloo, so that
nobody waits for a GPU.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, distributed

from rnncore.errors import InvalidInput, Stopped


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
        """The greatest that any rank has of each value; NaN is greater than all."""
        return list(values) if self.size == 1 else self._all(values).amax(dim=0).tolist()

    def sum(self, value: float) -> float:
        """Over all ranks; the same bits on each."""
        return value if self.size == 1 else self._all((value,)).sum().item()

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

    def _all(self, values: tuple[float, ...]) -> Tensor:
        """A row of every rank."""
        own = torch.tensor(values, dtype=torch.float64)
        rows = [torch.empty_like(own) for _ in range(self.size)]
        distributed.all_gather(rows, own, group=self.group)
        return torch.stack(rows)


class Agreement:
    """Lets ranks decide alike, and end alike: what one raises is held back until all come to hear of it."""

    def __init__(self, ranks: Ranks) -> None:
        self._ranks = ranks
        self._raised: Exception | None = None

    def attempt(self, deed: Callable[[], object]) -> None:
        """Does `deed`, unless something is held back already. Alone there is nobody to wait for: it raises at once."""
        if self._raised:
            return
        try:
            deed()
        except Exception as error:
            if self._ranks.size == 1:
                raise
            self._raised = error

    def reach(self, *values: float) -> list[float]:
        """The greatest that any rank has of each value. Raises what is held back here, Stopped for that of others."""
        if self._raised:
            with suppress(RuntimeError):  # of a rank that has died; what was raised here says more
                self._ranks.greatest(1.0, *values)
            raise self._raised
        any_raised, *agreed = self._ranks.greatest(0.0, *values)
        if any_raised:
            raise Stopped("another worker of the job has stopped")
        return agreed


ALONE = Ranks()
