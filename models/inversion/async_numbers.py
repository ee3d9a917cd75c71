"""Numbers that are copied from the device without waiting for them."""

from __future__ import annotations

import torch


class AsyncNumbers:
    """Some numbers computed on the device. Reading them may wait; asking whether they have arrived does not."""

    def __init__(self, *values: torch.Tensor) -> None:
        together = torch.stack([value.detach().float() for value in values])
        self._arrived: torch.cuda.Event | None = None
        if together.is_cuda:
            self._host = torch.empty(together.shape, pin_memory=True).copy_(together, non_blocking=True)
            self._arrived = torch.cuda.Event()
            self._arrived.record()
        else:
            self._host = together.cpu()

    @property
    def is_ready(self) -> bool:
        return self._arrived is None or self._arrived.query()

    def wait_for_numbers(self) -> list[float]:
        if self._arrived is not None:
            self._arrived.synchronize()
        return self._host.tolist()
