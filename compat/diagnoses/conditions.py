"""What the condition of an assertion asks for, in words: programs print it as their source has it, in C++ or Python."""

from __future__ import annotations

import re

_QUOTED = re.compile(r'&& ?\(?"(?P<said>[^"]{3,300})"')
"""The sentence that a program puts into its condition."""
_CAST = re.compile(r"(?:static|dynamic|reinterpret|const)_cast<[^<>]{1,60}(?:<[^<>]{0,40}>)?[^<>]{0,20}>")
_NOISE = re.compile(
    r"\b(?:std|nvinfer1|onnx2trt|::ONNX_NAMESPACE|ONNX_NAMESPACE|onnxruntime|tvm|tir|ffi|runtime)::|\b(?:this|ctx|self)\."
)
_AND, _OR = (" && ", " and "), (" || ", " or ")
_COMPARED = re.compile(
    r"^(?P<left>.{1,120}?) ?(?P<sign>==|!=|<=|>=| < | > | is not | not in | in | is ) ?(?P<right>.{1,120})$"
)
_SIGNS = {
    "==": "must be", "!=": "must not be", "<=": "must be at most", ">=": "must be at least", "<": "must be less than",
    ">": "must be more than", "is": "must be", "is not": "must not be", "in": "must be one of", "not in": "must not be one of",
}  # fmt: skip
_NOTHING = re.compile(r"^(?:nullptr|NULL|None|0|end\(\)|\S{1,40}\.end\(\))$")

_ASKED: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), words)
    for pattern, words in (
        (r"^(?P<x>.{1,80}?)\.is_weights\(\)$", "{x} must be a constant of the model (an initializer)"),
        (r"^(?P<x>.{1,80}?)\.is_tensor\(\)$", "{x} must be a tensor that is computed, not a constant"),
        (r"^(?P<x>.{1,80}?)\.(?:allValuesKnown|valuesKnown|isStatic)\(\)$", "{x} must be known when the model is parsed"),
        (r"^!(?:\w{0,20}::)?[iI]s_?[dD]ynamic\((?P<x>.{1,80})\)$", "{x} must be known when the model is parsed"),
        (r"^(?:unordered_)?set<.{1,60}>\((?P<x>\w{1,40}(?:\.\w{1,30}){0,2})\.begin\(\).{0,80}$", "{x} must not name one twice"),
        (r"^!(?P<x>.{1,80}?)\.isBool\(\)$", "{x} must not be of type BOOL"),
        (r"^(?P<x>.{1,80}?)\.isBool\(\)$", "{x} must be of type BOOL"),
        (r"^(?P<x>\w{1,60}?)\.count\(\"(?P<y>\w{1,60})\"\)(?: > 0)?$", "{y} must be given (one of the {x})"),
        (r"^!(?P<x>\w{1,60}?)\.count\(\"(?P<y>\w{1,60})\"\)$", "{y} must not be given (one of the {x})"),
        (r"^(?P<x>\w{1,60})\(?\)?\.count\((?P<y>.{1,80})\)(?: > 0)?$", "{y} must be among the {x}"),
        (r"^!empty\(\)$", "it must not be empty"),
        (r"^!(?P<x>.{1,80}?)\.empty\(\)$", "{x} must not be empty"),
        (r"^(?P<x>.{1,80}?)\.empty\(\)$", "{x} must be empty"),
        (r"^isinstance\((?P<x>.{1,80}), ?(?P<y>.{1,80})\)$", "{x} must be of the class {y}"),
    )
)  # fmt: skip

_OPERANDS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), words)
    for pattern, words in (
        (r"^-1$", "unknown (-1)"),
        (r"^(?:nvinfer1::)?(?:\w{1,30}::)*k?DataType::k?(?P<x>\w{1,20})$", "{X}"),
        (r"^(?:\w{1,30}::)+k?(?P<x>[A-Z]\w{1,40})$", "{X}"),
        (r"^(?P<x>.{1,100}?)\.(?:getDimensions|dims|shape|Shape)\(\)$", "the shape of {x}"),
        (r"^len\((?P<x>.{1,80})\.shape\)$", "the number of dimensions of {x}"),
        (r"^(?P<x>.{1,100}?)(?:\.(?:getDimensions\(\)|shape\(\)|shape|dims))?\.(?:nbDims|ndim|rank|NumDimensions\(\)|dim\(\))$",
         "the number of dimensions of {x}"),
        (r"^(?P<x>.{1,100}?)(?:\.(?:getDimensions\(\)|shape\(\)|shape|dims))?\.d?\[(?P<y>[^\]]{1,40})\]$",
         "dimension {y} of {x}"),
        (r"^(?P<x>.{1,100}?)\.shape$", "the shape of {x}"),
        (r"^(?P<x>.{1,100}?)\.(?:size|count|length)\(?\)?$", "the number of {x}"),
        (r"^len\((?P<x>.{1,80})\)$", "the number of {x}"),
        (r"^(?P<x>.{1,100}?)\.(?:getType\(\)|type\(\)|type|dtype\(\)|dtype)$", "the type of {x}"),
        (r"^(?:node\.)?(?P<x>inputs?|outputs?)(?:\.at\(|\[)(?P<y>\d{1,2})[)\]]$", "{x} {y} of the node (from 0)"),
        (r"^(?:node\.)?(?P<x>inputs?|outputs?)_size\(\)$", "the number of {x}"),
        (r"^(?P<x>\w{1,60})(?:_ptr|Ptr|Vec)$", "{x}"),
        (r"^(?P<x>.{1,80})\.(?:weights|tensor|get|getDimensions|value)\(\)$", "{x}"),
    )
)  # fmt: skip


def in_words(condition: str) -> str:
    """What must hold, such as `the number of inputs must be 2`; empty where the condition has no form that is known."""
    plain = _plain(condition)
    if not plain or len(plain) > 300:
        return ""
    parts = [_alternatives(part) for part in _split(plain, _AND)]
    return ", and ".join(dict.fromkeys(parts)) if all(parts) else ""


def sentence_in(condition: str) -> str:
    """The sentence that stands in a condition for its reader; empty where there is none."""
    found = _QUOTED.search(condition)
    return found["said"].strip() if found else ""


def is_prose(condition: str) -> bool:
    """Whether a program has put a sentence in the place of the condition."""
    return len(condition.split()) > 2 and not re.search(r"[=!<>]=|&&|\|\||->|::|^!|\w\(", condition)


def _plain(condition: str) -> str:
    said = _QUOTED.search(condition)
    text = condition[: said.start()] if said else condition
    text = _NOISE.sub("", _CAST.sub("", text.replace("->", "."))).strip()
    while text.startswith("(") and text.endswith(")") and _whole(text):
        text = text[1:-1].strip()
    return text


def _split(text: str, words: tuple[str, ...]) -> list[str]:
    """At the words that stand in no parenthesis."""
    parts, depth, start, place = [], 0, 0, 0
    while place < len(text):
        depth += (text[place] in "([{") - (text[place] in ")]}")
        word = next((word for word in words if depth == 0 and text.startswith(word, place)), "")
        if word:
            parts.append(text[start:place])
            start = place + len(word)
        place += len(word) or 1
    return [*parts, text[start:]]


def _whole(text: str) -> bool:
    """Whether the first parenthesis is closed by the last one."""
    depth = 0
    for place, sign in enumerate(text):
        depth += (sign == "(") - (sign == ")")
        if depth == 0:
            return place == len(text) - 1
    return False


def _alternatives(part: str) -> str:
    said = [_one(_plain(it)) for it in _split(_plain(part), _OR)]
    if not all(said):
        return ""
    first, *rest = said
    head, must, _ = first.partition(" must ")
    # «x must be A, or be B» where all speak of the same
    return ", or ".join([first, *(it.removeprefix(f"{head}{must}") for it in rest)])


def _one(condition: str) -> str:
    for pattern, words in _ASKED:
        if found := pattern.match(condition):
            return words.format(**{name: _operand(text) for name, text in found.groupdict().items()})
    compared = _COMPARED.match(condition)
    if compared is None:
        if called := re.fullmatch(
            r"(?:\w{1,40}\.){0,3}(?P<x>(?!any_of|all_of|none_of|find|count)[a-z]\w{3,60})\(.{0,200}\)", condition
        ):
            return f"{_operand(called['x'])} must succeed"
        name = condition.removeprefix("!").removeprefix("not ")
        if not re.fullmatch(r"\w{3,60}", name):
            return ""
        return f"{_operand(name)} must {'not ' if name != condition else ''}hold"
    sign = compared["sign"].strip()
    right = _operand(compared["right"])
    if _NOTHING.match(compared["right"].strip()) and sign in ("!=", "is not") and compared["right"].strip() != "0":
        return f"{_operand(compared['left'])} must be there"
    return f"{_operand(compared['left'])} {_SIGNS[sign]} {right}"


def _operand(text: str) -> str:
    plain = _plain(text)
    for pattern, words in _OPERANDS:
        if found := pattern.match(plain):
            parts = found.groupdict()
            return words.format(
                **{name: _operand(part) for name, part in parts.items() if part}, X=(parts.get("x") or "").upper()
            )
    if re.fullmatch(r"\w{1,60}", plain) and not plain.isupper():
        words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|_", " ", plain).strip().lower()
        return re.sub(r"^nb ", "the number of ", re.sub(r"^m ", "", words))
    return plain
