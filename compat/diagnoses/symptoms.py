"""What a line of a log is: an error or a warning, part of a traceback, or only the noise after an error."""

from __future__ import annotations

import re

from enginesmith.compat.diagnoses.lines import Line

ERROR_WORDS = (
    "rror", "ERROR", "[E]", "[!]", "[C]", "xception", "Assert", "abort", "terminate", "Killed", "killed", "FAILED", "fault",
    "dumped", "FATAL", "Exit", "ailed", "ailure", "Interrupt", "UNAVAILABLE", "nsupported", "Violation", "SymNode",
    "E ", "Fail:", "Fail ", "NotImplemented", "NotFound", "Invalid", "panicked",
)  # fmt: skip
_ERROR = re.compile(
    r"""
      ^(?:\[TRT\]\ )?\[(?:E|!|F|C|ERROR|INTERNAL_ERROR|CRITICAL|FATAL)\]     # TensorRT, Polygraphy
    | \bhad\ error:\  | \)\ -\ Assertion\ Error\ in\                             # perf_analyzer's threads; TensorRT up to 7
    | \[TRT\]\ *\[(?:E|F|ERROR|INTERNAL_ERROR)\] | \[(?:E|F)\]\ (?:\[TRT\]|Error)
    | \[\ *(?:ERROR|CRITICAL|FATAL|error|fatal)\ *\] | ^\ *(?:ERROR|CRITICAL|FATAL)\ *\]   # loggers of other programs
    | Error\ Code:?\ ?\d+: | ^CMake\ Error | ^FAIL\ : | \bld:\ cannot\ find | \bUNAVAILABLE: | ^\ *what\(\): | \berror\ {0,3}:\ Instruction
    | ^Error\b | (?i:\bcuda\ error\b) | [Uu]nhandled\ exception | panicked\ at | <class\ '[\w.]{1,200}'>:\ | \[ErrorCode:
    | \[(?:TensorRT|TRT)\]\ (?:INTERNAL_)?ERROR: | ^E\ (?!\ )\S{1,40}:?\ \S      # RKNN
    | \[[EF]:onnxruntime
    | ^(?:[\w.]{1,200}:)?(?:(?:INTERNAL_)?ERROR|FATAL|CRITICAL|Error|error)\b(?![.(=])
    | \ -\ (?:ERROR|CRITICAL)\ -\ | \|\ (?:ERROR|CRITICAL)\ +\|
    | ^(?:E\ +)?[\w.]{0,200}(?:Error|Exception|Interrupt|Exit|Unsupported)(?::\ |$)
    | ^(?:[\w.]{1,200}\.)?(?:Fail|NotImplemented|Invalid\w{1,20}|NoSuchFile|EPFail|NoModel|Unsupported|OpNotImplemented):[ ]
    | ^[\w.]{1,200}(?:Violation|SymNode|NotFound|NotImplemented):[ ]
    | Assertion\ .{0,200}failed
    | :\ export\ failure\b.{0,20}:\ \S                                            # Ultralytics
    | terminate\ called | [Ss]egmentation\ fault | core\ dumped | ^Aborted | ^Killed
    | \[ONNXRuntimeError\] | \[(?:Shape|Type)InferenceError\] | ^Error\ message:\ \S | :\ No\ module\ named\ \S
    """,
    re.VERBOSE,
)
_WARNING = re.compile(
    r"^\[W\]|\[TRT\] ?\[W|\[W:onnxruntime|\b\w{0,40}W(?:ARN|arn)(?:ING|ing)?: |\bWARNING\b|^\[WARN|\[TRT\] WARNING| WARN +\w+ \w+\.cpp:\d+:"
)


_INNER = re.compile(r"\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d +(ERROR|INTERNAL_ERROR|WARNING)\]")
"""TensorRT's own level in a line that ONNX Runtime passes on, which it calls a warning whatever it is."""

CASCADE = re.compile(
    r"""
      &&&&\ FAILED | [Ff]ailed\ to\ parse\ (?:the\ )?(?:onnx|ONNX)\ (?:file|model)\.?$ | Failure\ while\ parsing\ ONNX\ file
    | Parsing\ model\ failed | [Cc]ould\ not\ parse\ ONNX | Failed\ to\ create\ engine
    | Engine\ (?:could\ not\ be\ created|set\ up\ failed|creation\ failed)
    | Building\ engine\ failed | Invalid\ Engine | ---\ (?:Begin|End)\ node | While\ parsing\ node\ number | Network\ validation\ failed
    | Traceback\ \(most\ recent | FAILED\ \|\ Runtime | ^SystemExit | ^subprocess\.CalledProcessError | ^KeyboardInterrupt
    | ^CMake\ Error\ at\ \S+:\d+\ \(\w+\):$ | Configuring\ incomplete
    | NoneType'?\ object\ has\ no\ attribute\ '(?:serialize|create_execution_context|__enter__) | assert\ engine | ^AssertionError$
    | ^ERROR:\ Failed\ to\ parse | Failed\ to\ parse\ the\ ONNX\ file | ERROR:\ \S{1,80}:\d+\ In\ function\ \w+:$
    | \(Assertion\ engine(?:Ptr)?\ !=\ nullptr\ failed
    | [Ff]ailed\ to\ build\ (?:the\ )?(?:serialized\ )?(?:engine|network)
    | Engine\ deserialization\ failed | Builder\ creation\ failed | Error\ running\ command | with\ Call\ id:\ \d+\ failed
    | [Uu]nable\ to\ load\ the\ engine\ file | subprocess-exited-with-error | metadata-generation-failed
    | ModelImporter\.cpp:\d+:\ (?:input|output|name|op_type|attribute|domain|doc_string)\b | because\ the\ network\ is\ not\ valid
    | failed\ validation$ | ^App\ run\ failed | Invalid\ Node\ -\ | ^Error\ code:\ (?:UNSUPPORTED|INVALID|INTERNAL)_
    | (?:of|where)\ the\ error\b | [Nn]umber\ of\ errors
    | [Ff]ailed\ to\ (?:maintain\ requested\ inference\ load|retrieve\ results\ from\ inference\ request) | ^create\ engine\ failed
    | [Ee]xport\ failure(?!.{0,20}:\ \S)
    | ^Some\ errors?\ occurred | An\ error\ has\ been\ caught | \[ErrorCode:\w+\]\ *$ | ^error:\ Recipe
    """,
    re.VERBOSE,
)
"""What is said after an error, and explains nothing."""

_WEAK = re.compile(
    r"""
      (?<![\w/.-])(?:[Ee]rrors?|ERRORS?|[Ff]ailed|FAILED|[Ff]ailure|FAILURE|[Ff]atal|[Aa]ssertion|[Aa]bort(?:ed|ing)?|[Ss]egfault
      |SEGFAULT|[Kk]illed|SIG(?:KILL|SEGV|ABRT)|[Oo]ut\ of\ memory|OOM|[Cc]rash(?:ed)?|[Pp]anic(?:ked)?|[Uu]ndefined
      |[Ii]llegal|[Cc]orrupt(?:ed)?|[Ff]aulting|[Ee]xceptions?)(?![\w/-]|\.\w|=)
    | [Cc](?:annot|ould\ not|an't)\ (?:find|open|load|read|create|parse|allocate|import|convert|deserialize|build)\b
    | (?:[Ee]rror|[Ff]ailed)[a-z]{0,2}:
    """,
    re.VERBOSE,
)
_HARMLESS = re.compile(
    r"""
      \b(?:0|no|No|without)\ (?:errors?|failures?|failed) | (?i:\berrors?\ *[:=]\ *(?:0|None|\[\])\b)
    | ^(?:\[TRT\]\ )?\[[IVD]\] | \b(?:INFO|DEBUG|VERBOSE)\b | (?:abs|rel|max|mean|absolute|relative|quantization)\w*\ error | error\ rate
    | ^\s*(?:\#|//|>>>|print|raise|throw|except|catch|logger\.|[A-Za-z_]+\ =\ ) | rror[\ _-](?:bound|tolerance|metric|recorder)
    """,
    re.VERBOSE,
)
_SUCCESS = re.compile(
    r"""
      &&&&\ PASSED | [Ee]ngine\ built\ in | [Cc]reated\ engine\ with\ size | [Ff]inish(?:ed)?\ parsing\ network\ model | [Ee]xport\ success
    | Engine\ generation\ completed | [Ss]uccessfully\ (?:built|created|saved|exported|simplified|converted|parsed)
    | ^PASSED | Engine\ deserialized\ in | Build(?:\ engine)?\ successfully
    """,
    re.VERBOSE,
)


def looks_wrong(text: str) -> bool:
    """Whether a line that no tool marked as an error speaks of one."""
    return bool(_WEAK.search(text)) and not _HARMLESS.search(text)


def is_success(text: str) -> bool:
    """Whether a tool says that a step went well."""
    return bool(_SUCCESS.search(text))


def severity(line: Line) -> str:
    """`error`, `warning` or nothing."""
    if line.level in ("E", "F"):
        return "error"
    if inner := _INNER.search(line.text):
        return "warning" if inner[1] == "WARNING" else "error"
    if line.level == "W" or (
        ("arn" in line.text or "WARN" in line.text or "[W" in line.text) and _WARNING.search(line.text)
    ):
        return "warning"
    if any(word in line.text for word in ERROR_WORDS) and _ERROR.search(line.text):
        return "error"
    return ""


class Tracebacks:
    """Tells the frames of Python's (and TVM's and rich's) tracebacks from other lines: a frame quotes source code, in which
    any message may stand."""

    def __init__(self) -> None:
        self._inside = False
        self._indent = 0
        self._source = False
        self._last: re.Match[str] | None = None
        self._code = ""
        self._own: dict[str, str] = {}
        self.ended = False
        """The line that was read last is the first after a traceback's frames: what was raised."""

    def is_frame(self, text: str) -> bool:
        if _CHECK in text:
            return False
        before = self._inside or self._source
        found = self._is_frame(text)
        self.ended = before and not found and bool(_RAISED.match(text))
        if named := _FRAME.match(text):
            self._last, self._code = named, ""
            self._note(named["file"])
        elif found and self._last is not None and not self._code:
            self._code = text.strip()
        return found

    def completed(self, text: str) -> str:
        """An exception that has no message, or one that a fault in a package's code raises, with what says why: the code of
        the last frame, its file in its package, and its function. Empty for any other line."""
        if self._last is None or not self._code:
            return ""
        path = self._last["file"].replace("\\", "/")
        package = _PACKAGE.match(path)
        file = package["file"] if package else path.rpartition("/")[2]
        if not (_BARE.match(text) or (package and _FAULT.match(text))):
            return ""
        return f"{text}: {self._code} ({file.replace(' ', '_')}, in {self._last['function'] or '<module>'})"

    def _note(self, file: str) -> None:
        """Keep a file that is in no package: it is the user's, and is found before an installed module of its name."""
        path = file.replace("\\", "/")
        if len(self._own) < OWN and path.endswith(".py") and not _INSTALLED.search(path):
            self._own.setdefault(path.rpartition("/")[2].removesuffix(".py"), file)

    def shadowing(self, module: str) -> str:
        """The user's own file that has the name of a module; empty where none of the tracebacks has one."""
        return self._own.get(module.partition(".")[0], "")

    @property
    def where(self) -> str:
        """The last frame: the file, in its package where it is of one, and the function."""
        if self._last is None:
            return ""
        path = self._last["file"].replace("\\", "/")
        package = _PACKAGE.match(path)
        file = package["file"] if package else path.rpartition("/")[2]
        return f"{file}, {self._last['function'] or '<module>'}"

    def _is_frame(self, text: str) -> bool:
        indent = len(text) - len(text.lstrip())
        if "Traceback (most recent call last)" in text:
            self._inside, self._indent, self._source = True, indent, False
            return text.lstrip().startswith("Traceback")  # else a message stands before it
        if text.lstrip().startswith("│"):  # rich draws a box
            return self._inside
        if text.lstrip()[:1] in ("╭", "╰"):
            return True
        if not self._inside:
            # a traceback whose beginning is not in the log
            quoted, self._source = self._source and indent >= 4, bool(_FRAME.match(text))
            return self._source or quoted
        self._inside = indent > self._indent or bool(_FRAME.match(text))
        return self._inside


_FRAME = re.compile(r"^ *File \"(?P<file>[^\"]{1,500})\", line \d+(?:, in (?P<function>[\w.<>]{1,200}))?")
_RAISED = re.compile(r"^(?:[A-Za-z_]\w{0,60}\.){0,8}[A-Za-z_]\w{2,80}(?:: |:?$)")
"""A class of any name, as Python prints what was raised."""
_BARE = re.compile(r"^(?:AssertionError|NotImplementedError)$")
_FAULT = re.compile(
    r"^(?:AttributeError|IndexError|KeyError|NameError|TypeError|UnboundLocalError|ZeroDivisionError|UnicodeDecodeError): "
)
OWN = 100
"""Files outside of packages that are remembered."""
_INSTALLED = re.compile(r"-packages/|/python[\d.]*/|/[Ll]ib/(?!.*/site)|<")
_PACKAGE = re.compile(r".*(?:-packages|/python)/(?P<file>.+)")
"""A package that is installed, or run from its sources as TVM is."""

_CHECK = "Check failed: "
"""TVM's own condition, which its older versions indent like code."""
