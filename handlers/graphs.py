"""The model on a GPU as CUDA graphs: the launch of a network's kernels, one by one, takes longer than the kernels do.

Goes into the archive beside `classifier.py`, and like it may import nothing of this project.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable

WARM_UP = 3
"""Runs before one is recorded: libraries choose their kernels and take their memory."""


class Recorded(NamedTuple):
    """A graph, and where it reads and writes."""

    graph: torch.cuda.CUDAGraph
    images: Tensor
    results: Tensor


class Graphs:
    """`model` recorded for batches of 1, 2, 4… up to `largest`; others take the next larger, in part unused.

    `model` takes images of `shape`, uint8, as a batch on `device`. Recording runs it a few times for each size.
    """

    @torch.inference_mode()
    def __init__(
        self, model: Callable[[Tensor], Tensor], shape: tuple[int, ...], largest: int, device: torch.device
    ) -> None:
        sizes = {largest} | {1 << power for power in range(largest.bit_length())}
        self.largest = largest
        with torch.cuda.device(device):
            pool = torch.cuda.graph_pool_handle()  # no two of them run at once, so they share their memory
            self.recorded = {size: _record(model, (size, *shape), pool) for size in sorted(sizes, reverse=True)}

    def __call__(self, images: Tensor) -> Tensor:
        """What `model` makes of `images` [batch, *shape], which may be on the CPU; the results are."""
        results = []
        for start in range(0, len(images), self.largest):
            part = images[start : start + self.largest]
            run = self.recorded[min(size for size in self.recorded if size >= len(part))]
            run.images[: len(part)].copy_(part)
            run.graph.replay()
            results.append(run.results[: len(part)].cpu())
        return torch.cat(results)


def _record(model: Callable[[Tensor], Tensor], shape: tuple[int, ...], pool: Any) -> Recorded:
    images = torch.zeros(shape, dtype=torch.uint8, device="cuda")
    aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(WARM_UP):
            model(images)
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, pool=pool):
        results = model(images)
    return Recorded(graph, images, results)
