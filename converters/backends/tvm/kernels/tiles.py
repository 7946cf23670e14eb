"""How work is cut into pieces that fit registers, caches and cores."""

from __future__ import annotations

from collections.abc import Iterator

from enginesmith.converters.backends.tvm.kernels.emit import Simd

MOST_PIXELS = 10
"""Beyond this more accumulators hide no latency: FMA takes 4 cycles, two start in each."""


def runs(total: int, most: int) -> Iterator[tuple[int, int, int]]:
    """Cut `total` into nearly equal pieces of at most `most`: start, size and count of each run of equal pieces."""
    pieces = -(-total // most)
    size, larger = divmod(total, pieces)
    if larger:
        yield 0, size + 1, larger
    if pieces > larger:
        yield larger * (size + 1), size, pieces - larger


def vectors_for(blocks: int) -> int:
    """Vectors of output channels that share a broadcast input: two where they divide the channels, measured."""
    return next((count for count in (2, 3, 5) if blocks % count == 0), 1)


def pixels_for(simd: Simd, vectors: int) -> int:
    """Outputs along the other axis: what the registers hold beside the weights and one broadcast."""
    registers = min(simd.registers, 16 + simd.registers // 8)  # measured with 32: taller tiles collide in the L1 cache
    return max(1, min(MOST_PIXELS, (registers - vectors - 1) // vectors))


def partial_sums(accumulators: int, steps: int) -> int:
    """In how many parts to sum so that eight additions are under way: FMA takes 4 cycles, two start in each."""
    return common(steps, most=max(1, 8 // accumulators)) if accumulators < 8 else 1


def divisor(total: int, least: int) -> int:
    """The smallest divisor of `total` that is at least `least`, else `total`."""
    return next((size for size in range(max(1, least), total + 1) if total % size == 0), total)


def common(*numbers: int, most: int) -> int:
    """The largest power of two up to `most` that divides all `numbers`."""
    size = most
    while size > 1 and any(number % size for number in numbers):
        size //= 2
    return size
