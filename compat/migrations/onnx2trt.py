"""onnx-tensorrt's command: `onnx2trt model.onnx -o model.trt -b 8 -d 16 -w 1073741824`."""

from __future__ import annotations

from enginesmith.compat.migrations.facts import facts
from enginesmith.compat.migrations.reading import Job, Unread

BITS = {"32": "", "16": "fp16", "8": "int8"}
"""What follows `-d`."""


def read(words: list[str], job: Job, unread: list[Unread]) -> None:
    """Add each option to the job; what is none goes to `unread`."""
    known = facts("onnx2trt")
    left = list(words)
    while left:
        word = left.pop(0)
        fact = known.get(word)
        if fact is None:
            if word.startswith("-"):
                unread.append(Unread(job.line, word, "no option of onnx2trt"))
            else:
                job.add(job.line, word, facts("trtexec")["--onnx"], word)
        elif fact.takes == "nothing":
            job.add(job.line, word, fact)
        elif not left:
            unread.append(Unread(job.line, word, "it needs a value, and has none"))
        else:
            value = left.pop(0)
            if word == "-d" and value not in BITS:
                unread.append(Unread(job.line, f"{word} {value}", "no number of bits: 32, 16 or 8"))
            else:
                job.add(job.line, f"{word} {value}", fact, BITS[value] if word == "-d" else value)
