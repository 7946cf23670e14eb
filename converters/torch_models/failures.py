"""Why a road to a graph ended: the operator, the model's own line, the reason, and what to write instead."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from enginesmith.converters.core.errors import ConversionError, first_line

STACK_TRACE = "pkg.torch.onnx.stack_trace"
"""Metadata of dynamo's ONNX nodes: the stack of the call that each stands for."""
INNER = "inner"
"""The attribute of the module that is exported which holds the author's."""
REWRITE = (
    "rewrite what depends on values (if, loops, boolean indexing) with torch.where or fixed sizes, "
    "and what another library computes with torch's own operators"
)
BRANCH = (
    "write torch.where or torch.cond in its place; where the value is a size or an index, "
    "say what it can be with torch._check, such as torch._check(n <= 100)"
)
LACKING = "write it with operators that are translated, or leave it out of the model that is exported"
DTYPES = "export it in float32 (module.float()) and ask for --precision fp16 or bf16"
_KNOWN = (
    (re.compile(r"Could not guard on data-dependent expression (.{1,120}?) \("), "data decides whether {}", BRANCH),
    (
        re.compile(r"Could not extract specialized integer from data-dependent expression (.{1,120}?) \("),
        "Python takes the number {} from data",
        BRANCH,
    ),
    (
        re.compile(r"satisfy the generated guard (.{1,200}?)\.?$", re.MULTILINE),
        "the model takes only sizes with {}",
        "give ranges of --shape that are so, or rewrite what compares sizes",
    ),
    (
        re.compile(r"No ONNX function found for <OpOverload\(op='([\w.]{1,120})'"),
        "no translation of {}",
        LACKING,
    ),
    (
        re.compile(r"Exporting the operator '([\w:]{1,120})' to ONNX opset version \d+ is not supported"),
        "no translation of {}",
        LACKING,
    ),
)
"""What torch says, in words of ours for what it names, and what to do."""
_SIZE = re.compile(r"L\['(\w+)'\]\.size\(\)\[(\d+)\]")
"""How torch names a size of an input."""
_DYNAMIC = re.compile(r"DynamicOutputShapeException: (\w{1,60}\.\w{1,60})\.\w+")
"""The operator whose result's size depends on the data."""
_DTYPES = re.compile(
    r"same dtype|[Ii]nput type \([\w.]+\) and (?:bias|weight) type|expected scalar type \w+ but found|"
    r"not implemented for '(?:Half|BFloat16)'"
)
_NODES = (
    re.compile(r"In Node, \(\"(?P<node>[^\"]{1,300})\""),
    re.compile(r"Name:'(?P<node>[^']{1,300})'"),
    re.compile(r"[Nn]ode(?: with name)? '(?P<node>[^']{1,300})'"),
    re.compile(r"[Nn]ode:? ?\((?P<node>[^()]{1,300})\)"),
)
"""How ONNX Runtime names a node."""
_PLAIN = (
    (r"\[ONNXRuntimeError\] : \d+ : \w+ : ", ""),
    (r"Load model from .{1,500}? failed: ?", ""),
    (r"This is an invalid model\. ", ""),
    (r"In Node, \(\"([^\"]{1,300})\", (\w+), .*, Error (?:Node \([^)]*\) )?", r"\2 \1: "),
    (r"Non-zero status code returned while running (\w+) node\. Name:'([^']*)' Status Message: ", r"\1 \2: "),
    (r"/onnxruntime_src/\S+:\d+ .{1,500}? was false\. ", ""),
    (r"No Op registered for \w+ with domain_version of (\d+)", r"opset \1 has no such operator"),
)
"""What is left out of what ONNX Runtime says, and said shorter: its own places, and the types of a node's tensors."""


@dataclass(frozen=True)
class Failure:
    """`reason` is one line. `line` is the model's own, such as `net.py:12: y = f(x)`, and empty where it isn't known, as is
    `operator`. `said` is the whole that the tool said."""

    reason: str
    operator: str = ""
    line: str = ""
    remedy: str = ""
    said: str = ""
    final: bool = False
    """No other road leads around it."""

    @property
    def told(self) -> str:
        """In one line, with the model's."""
        return f"{self.reason} ({self.line})" if self.line else self.reason

    @property
    def whole(self) -> str:
        """The same, and then all that the tool said."""
        return self.told if self.said in ("", self.reason) else f"{self.told}\n{self.said}"


def of_exporter(error: Exception) -> Failure:
    """Of what an exporter raised."""
    from enginesmith.converters.torch_models.operators.registry import why_impossible
    from enginesmith.converters.torch_models.user_lines import place

    where = place(error)
    operator = where.operator or next(iter(_DYNAMIC.findall(f"{type(error).__name__}: {error}")), "")
    if known := why_impossible(operator):
        return Failure(f"{operator}: {known.reason}", operator, where.line, known.instead, str(error), final=True)
    root: BaseException = error
    while not isinstance(root, ConversionError) and root.__cause__ is not None:
        root = root.__cause__  # those raised from it only tell how to report a bug
    if isinstance(root, ConversionError):
        return Failure(root.cause, where.operator, where.line, root.remedy, str(root))
    text = re.sub("\x1b\\[[0-9;]*m", "", str(root)).strip()
    said = f"{type(root).__name__}: {text[:2000]}"
    reason, remedy = said.splitlines()[0], DTYPES if _DTYPES.search(text) else ""
    reason = reason.partition("  [Caused by ")[0]  # a dump of the value follows
    for pattern, words, instead in _KNOWN:
        if found := pattern.search(text):
            reason, remedy = words.format(_SIZE.sub(r"\1.shape[\2]", found[1]).replace("::", ".")), instead
    return Failure(reason, where.operator, where.line, remedy or REWRITE, said)


def mixed_types(error: Exception) -> str:
    """What to tell of a model that computes with two floating-point types at once; empty where it raised something else."""
    from enginesmith.converters.torch_models.user_lines import place

    if not _DTYPES.search(str(error)):
        return ""
    told = Failure(first_line(error), line=place(error).line).told
    return (
        f"the model mixes floating-point types: {told}; {DTYPES}, or give the inputs in its own, such as x:1x8:float16"
    )


def of_graph(model: Path, said: str, remedy: str = "") -> Failure:
    """Of a graph that ONNX Runtime refuses, or that computes something else; `said` in one line."""
    node = next((found["node"] for pattern in _NODES if (found := pattern.search(said))), "")
    operator, line = _node(model, node) if node else ("", "")
    reason = said
    for words, short in _PLAIN:
        reason = re.sub(words, short, reason)
    return Failure(reason, operator, line, remedy, said)


def _node(model: Path, name: str) -> tuple[str, str]:
    """The operator of a node, and the model's line that it comes from; where that isn't known, the module."""
    import onnx

    from enginesmith.converters.graphs.describe import all_nodes, operator_name
    from enginesmith.converters.torch_models.user_lines import line_of_stack, scopes_of_name

    for node in all_nodes(onnx.load(str(model), load_external_data=False)):
        if node.name == name:
            stacks = [entry.value for entry in node.metadata_props if entry.key == STACK_TRACE]
            within = [scope.removeprefix(f"{INNER}.") for scope in scopes_of_name(name) if scope != INNER]
            module = f"in the module {within[-1]}" if within else ""
            return operator_name(node), line_of_stack("\n".join(stacks)) or module
    return "", ""
