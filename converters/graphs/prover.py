"""Proofs of repairs that follow each other on one graph: only what a repair changed is run, on the values that it meets there."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import chain

import onnx
from onnx import helper

from enginesmith.compat.findings import Proof
from enginesmith.compat.values import Array
from enginesmith.converters.graphs.changes import Cut, Digest, Values, cut, taking
from enginesmith.converters.graphs.proof import Feed, Run, compared, feeds, prove, runner

SECONDS = 2.0
"""A part is proved on as many inputs as fit into this time, and on one at least."""


class Prover:
    """Called as `prove`. The graph's inputs are those `given`, where they are all that it takes, and generated ones.

    What the repaired part takes from the rest of the graph is computed once, by the graph before, and serves later proofs too.
    Where a part differs, or can't be run alone, the whole graph decides.
    """

    def __init__(self, given: Sequence[Feed] = ()) -> None:
        self._given = given
        self._takes: list[bytes] = []
        """The inputs of the graph that `_feeds` and `_known` are of."""
        self._feeds: list[Feed] = []
        self._known: list[dict[Digest, Array] | None] = []
        """By the number of the feed, values of the graph; None where it doesn't take the feed."""

    def __call__(self, before: onnx.ModelProto, after: onnx.ModelProto, tolerance: float) -> Proof:
        names = {value.name for value in before.graph.input}
        given = [feed for feed in self._given if feed.keys() <= names]
        if len(before.graph.node) > 1:
            try:
                proof = self._of_part(before, after, tolerance, given)
            except Exception:  # noqa: BLE001 - a value that numpy lacks, a kernel that wants a constant: the whole is run
                proof = Proof(agrees=False)
            if proof.agrees:
                return proof
        return prove(before, after, tolerance, given)

    def _of_part(
        self, before: onnx.ModelProto, after: onnx.ModelProto, tolerance: float, given: Sequence[Feed]
    ) -> Proof:
        """Raises whatever shows that the part can't be run alone."""
        sides = Values(before), Values(after)
        found = cut(*sides)
        if not found.outputs:
            return Proof(agrees=True)
        takes = [value.SerializeToString(deterministic=True) for value in before.graph.input]
        if takes != self._takes:
            self._takes, self._known = takes, []
            self._feeds = [*given, *feeds(before)]
        arrived = self._arriving(sides[0], found)
        first = next(arrived, None)
        if first is None:
            return Proof(agrees=False)
        one, other = (
            taking(
                side.part(found.outputs, {name: _input(digest) for name, digest in front.items()}),
                {name: first[name] for name in dict.fromkeys(map(_input, front.values()))},
            )
            for side, front in zip(sides, (found.before, found.after), strict=True)
        )
        proof = compared(one, other, tolerance, chain([first], arrived), SECONDS)
        if proof.agrees:
            self._carry(*sides, {*found.outputs, *found.kept})
        return proof

    def _carry(self, before: Values, after: Values, names: Collection[str]) -> None:
        """What is known of the graph before is known of the graph after, where it was shown to be the same."""
        names = [name for name in names if before.told(name) == after.told(name)]
        renamed = {before.digests[name]: after.digests[name] for name in names}
        there = set(after.digests.values())
        self._known = [
            known and {new: array for digest, array in known.items() if (new := renamed.get(digest, digest)) in there}
            for known in self._known
        ]

    def _arriving(self, graph: Values, found: Cut) -> Iterator[Feed]:
        """For each feed of the graph, it and the values that the part takes."""
        digests = dict.fromkeys((*found.before.values(), *found.after.values()))
        small = graph.small()
        runs: dict[tuple[Digest, ...], Run] = {}
        for number, feed in enumerate(self._feeds):
            if number == len(self._known):
                self._known.append({})
            known = self._known[number]
            if known is None:
                continue
            missing = tuple(digest for digest in digests if digest not in known)
            if missing and not known:  # the whole graph is run, and later proofs need other values
                missing = tuple(dict.fromkeys((*missing, *small)))
            try:
                if missing and missing not in runs:
                    runs[missing] = _recording(graph, missing, known)
                if missing:
                    taken = {_input(digest): array for digest, array in known.items()}
                    known |= dict(zip(missing, runs[missing]({**feed, **taken}), strict=True))
            except Exception:  # noqa: BLE001 - whatever a runtime raises: the model doesn't take the feed
                self._known[number] = None
                continue
            yield {**feed, **{_input(digest): known[digest] for digest in digests}}


def _recording(graph: Values, digests: Sequence[Digest], known: Mapping[Digest, Array]) -> Run:
    """Gives the values of these digests, computed from the graph's inputs and from what is known."""
    names = {digest: name for name, digest in graph.digests.items()}
    given = {name: _input(digest) for name, digest in graph.digests.items() if digest in known}
    part = graph.part([names[digest] for digest in digests], given)
    taken = {name for node in part.graph.node for name in node.input}
    part = taking(part, {_input(digest): array for digest, array in known.items() if _input(digest) in taken})
    # The values themselves are wanted, whatever a user would see of them.
    told = [graph.told(value.name) for value in part.graph.input]
    helper.set_model_props(part, {key: text for each in told for key, text in each.items()})
    return runner(part, reference=False)


def _input(digest: Digest) -> str:
    return f"value {digest.hex()}"
