"""Whether a model answers alike however often it is called, and whatever it was asked before and when.

An engine keeps no state. A counter, a list that grows, what is left of the first input, the clock, or Python's own random
numbers are seen by calls in a row: the outputs must be computed in the same way each time. Where they are not, but the
answers are the same (a table that is made when it is first wanted), nothing is amiss.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from enginesmith.converters.torch_models.clock import Clock
from enginesmith.converters.torch_models.literals import literals
from enginesmith.converters.torch_models.state import Change, State, put

CALLS = 12
"""In a row, at least where they are quick."""
QUICK = 0.5
"""Seconds that they may take beyond the second one, where no state was seen."""
SECONDS = 10.0
"""The same where state was seen: then as many calls as the largest number in the model's code, up to `MOST`."""
MOST = 300
STEP = 100_003.5
"""Seconds that the clock is moved on between two calls."""
PLACES = 8
"""Numbers of the state that are tried with other values."""


class Run(Protocol):
    """One call of the model."""

    digest: int
    outputs: Sequence[Tensor]
    error: Exception | None


Call = Callable[[Sequence[Tensor]], Run]


def remembers(
    module: nn.Module, call: Call, fresh: Callable[[], None], inputs: Sequence[Tensor], base: Run | None
) -> str:
    """Why the model's answer depends on more than its inputs, in words; empty where it does not. `fresh` puts its state
    back to what it was at first. `base` is the last call, of a fresh model on these inputs; None where it was another.
    """
    return _Calls(module, call, fresh, inputs).reason(base)


class _Calls:
    def __init__(self, module: nn.Module, call: Call, fresh: Callable[[], None], inputs: Sequence[Tensor]) -> None:
        self.module, self.call, self.fresh = module, call, fresh
        self.first = [tensor.clone() for tensor in inputs]
        self.second = [tensor.flatten().flip(0).reshape(tensor.shape) for tensor in inputs]
        self.slots = [[tensor.clone() for tensor in inputs] for _ in range(2)]
        self.clock = Clock()
        self.count = 0

    def ask(self, inputs: Sequence[Tensor]) -> Run:
        """Twice with the tensors of the last call, with another content, then with others: what is remembered by identity,
        and what is left of a tensor, both show."""
        slot = self.slots[self.count // 2 % 2]
        for tensor, value in zip(slot, inputs, strict=True):
            tensor.copy_(value)
        self.count += 1
        with self.clock.ahead(STEP * (self.count - 1)):
            return self.call(slot)

    def reason(self, base: Run | None) -> str:
        base = base or self.ask(self.first)
        self.settled = State(self.module)
        started = time.monotonic()
        inputs = [self.first, self.second]
        other = self.ask(self.second)
        if other.error is not None:  # the order of its values matters to the model
            inputs, other = [self.first], self.ask(self.first)
        moving = self.settled.changes()
        limit, calls = QUICK, CALLS
        if moving:
            limit, calls = (
                SECONDS,
                max(CALLS, *(int(number) + 2 for number in self._literals() if 0 < number < MOST), 0),
            )
        for index in range(calls):
            if other.error is None and other.digest != base.digest and self._differs():
                return self._told(self.settled.changes())
            if time.monotonic() - started > limit:
                break
            other = self.ask(inputs[index % len(inputs)])
        return self._tried(base, moving)

    def _differs(self) -> bool:
        """Are the answers, and not only the ways to them, different from a fresh model's?"""
        alone = []
        for inputs in (self.first, self.second):
            self.fresh()
            alone.append(self.ask(inputs))
        self.fresh()
        for index in range(CALLS):
            again = self.ask((self.first, self.second)[index % 2])
            expected = alone[index % 2]
            if again.error is None and expected.error is None and not _same(again.outputs, expected.outputs):
                return True
        return False

    def _tried(self, base: Run, moving: Sequence[Change]) -> str:
        """Numbers that change from call to call, set to those that the code compares with."""
        numbers = [change for change in moving if isinstance(change.value, (int, float))][:PLACES]
        started = time.monotonic()
        for change in numbers:
            for literal in self._literals():
                for value in (literal, literal + 1, literal - 1):
                    if time.monotonic() - started > SECONDS:
                        return ""
                    put(change, type(change.value)(value))
                    run = self.ask(self.first)
                    if run.error is None and run.digest != base.digest:
                        return self._told([change])
        return ""

    def _literals(self) -> list[float]:
        codes = (function.__code__ for function in self.settled.functions)
        return literals([*codes, *(vars(part) for part in self.module.modules())])

    def _told(self, changes: Sequence[Change]) -> str:
        changes = [change for change in changes if change.key is None or not str(change.key).startswith("__")]
        if not changes:
            return "the same input is answered differently from call to call (by a clock, a generator, a file)"
        # the user's module is the `inner` one of what is exported
        names = ", ".join(dict.fromkeys(change.path.removeprefix("inner.") for change in changes[:3]))
        return f"the answer depends on earlier calls, by {names}"


def _same(one: Sequence[Tensor], other: Sequence[Tensor]) -> bool:
    return len(one) == len(other) and all(
        a.shape == b.shape and a.dtype == b.dtype and bool(torch.all((a == b) | ((a != a) & (b != b))))
        for a, b in zip(one, other, strict=True)
    )
