"""What is said of an error that no diagnosis knows, and of the values in those that one knows."""

from __future__ import annotations

import pytest

from enginesmith.compat.diagnoses import diagnose
from enginesmith.compat.diagnoses.events import STEPS, read_event, step_of
from enginesmith.compat.diagnoses.values import meanings, older


@pytest.mark.parametrize(
    ("line", "tool", "kind", "message"),
    [
        (
            "[E] Error[4]: [a.cpp::f::5] Error Code 4: Internal Error (/n: odd thing (3) here)",
            "TensorRT",
            "Internal Error",
            "/n: odd thing (3) here",
        ),
        ("[error] 3: [builder.cpp::g::4] Error Code 3: API Usage Error (odd)", "TensorRT", "API Usage Error", "odd"),
        ("[TRT] [E] IBuilder::build: Error Code 9: API Usage Error (odd)", "TensorRT", "API Usage Error", "odd"),
        (
            "In node 3 with name: n and operator: Foo (checkFoo): UNSUPPORTED_NODE: odd",
            "TensorRT",
            "UNSUPPORTED_NODE",
            "odd",
        ),
        ("[8] odd == 3", "TensorRT", "", "odd == 3"),
        (
            "[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Non-zero status code returned while running Foo node. Name:'n' Status Message: "
            "/a/b/foo.cc:12 void onnxruntime::F(const X &, int64_t) x == y was false. odd",
            "ONNX Runtime",
            "",
            "x == y was false. odd",
        ),
        ("[!] odd thing", "Polygraphy", "", "odd thing"),
        ("my.pkg.OddError: odd", "Python", "my.pkg.OddError", "odd"),
        (
            "[TensorRT-LLM][ERROR] Assertion failed: odd (x.cpp:4)",
            "TensorRT-LLM",
            "",
            "Assertion failed: odd",
        ),
    ],
)
def test_the_forms_of_the_tools(line, tool, kind, message):
    assert read_event(line) == (tool, kind, message)


def test_an_unknown_error_goes_before_the_symptom_that_follows_it():
    odd = "[E] Error[2]: [odd.cpp::odd::1] Error Code 2: Internal Error (/layer: the oddest condition)"
    explanation = diagnose(f"[I] Finished parsing network model.\n{odd}\n[E] Engine could not be created from network")
    assert explanation.cause is None
    assert explanation.headline.line.number == 2
    assert explanation.headline.node == "/layer"
    assert explanation.before.number == 1
    assert [hit.id for hit in explanation.further] == ["trt-engine-none"]


def test_what_the_network_refuses_goes_before_what_the_parser_asserts_then():
    refused = "[TensorRT] ERROR: (Unnamed Layer* 4) [Odd]: an odd condition"
    asserted = "In node 9 (importOdd): UNSUPPORTED_NODE: Assertion failed: axis >= 0 && axis < nbDims"
    explanation = diagnose(f"{refused}\n{asserted}")
    assert (explanation.headline.line.number, [hit.id for hit in explanation.further]) == (1, ["trt-axis-range"])
    assert diagnose(asserted).cause.id == "trt-axis-range"


def test_a_symptom_goes_before_what_a_wrapper_says_after_it():
    explanation = diagnose("[E] Could not find any implementation for node Conv_0.\nWrapperError: no engine")
    assert explanation.cause.id == "trt-no-implementation"


def test_the_reason_below_an_invalid_node_is_read():
    log = "[6] Invalid Node - /If\nITensor::getDimensions: Error Code 4: API Usage Error (/If: an odd condition)"
    assert diagnose(log).headline.message == "/If: an odd condition"


def test_what_the_parser_says_below_its_header_is_the_headline():
    log = """While parsing node number 7 [Odd -> "y"]:
ERROR: onnxOpCheckers.cpp:749 In function checkOdd:
[9] (oddness == 0) && "An odd condition"
[E] Failed to parse onnx file
"""
    headline = diagnose(log).headline
    assert (headline.line.number, headline.op, headline.message) == (3, "Odd", '(oddness == 0) && "An odd condition"')


@pytest.mark.parametrize(
    "line",
    [
        "something failed here",
        "the run ended: error 5",
        "Assertion `x == 3' in f",
        "child was killed by the system",
        "segmentation violation, SIGSEGV",
        "runtime: out of memory: cannot allocate",
        "Aborting.",
    ],
)
def test_a_line_that_speaks_of_an_error_is_never_no_error(line):
    explanation = diagnose(f"all is well\n{line}\n")
    assert explanation.cause is not None or explanation.headline is not None


@pytest.mark.parametrize(
    "line",
    [
        "[I] done, 0 errors",
        "max abs error: 1e-5",
        "[V] [TRT] failed tactics are skipped",
        "no errors found",
        "raise OddError(x)",
    ],
)
def test_a_line_that_reports_no_error_is_none(line):
    explanation = diagnose(line)
    assert (explanation.cause, explanation.headline, explanation.unknown) == (None, None, [])


def test_what_was_said_before_a_pass_is_forgiven():
    explanation = diagnose("fallback: lookup failed in cache\n&&&& PASSED TensorRT.trtexec")
    assert (explanation.headline, explanation.unknown) == (None, [])


def test_of_a_chain_the_exception_that_says_more():
    log = "KeyError: 'x'\n\nDuring handling of the above exception, another exception occurred:\n\nOddError: no x in the odd table"
    assert diagnose(log).headline.line.text.startswith("OddError")
    caused = "OddError: the first\n\nThe above exception was the direct cause of the following exception:\n\nOtherError: the second"
    assert diagnose(caused).headline.line.text == "OddError: the first"


def test_a_header_quotes_the_error_after_it():
    log = 'Error converting operator Odd, with inputs: [x]\nTraceback (most recent call last):\n  File "a", line 1\nOddError: a reason'
    cause = diagnose(log).cause
    assert (cause.id, cause.op, cause.details["reason"]) == ("tvm-converting", "Odd", "a reason")


def test_a_later_line_that_names_what_failed_is_the_cause():
    log = (
        "[E] Error Code 1: Cuda Runtime (an illegal memory access was encountered)\n"
        "[E] [calibrator.cpp::calibrateEngine::1] Error Code 2: Internal Error (Assertion context->executeV2(b) failed. )"
    )
    assert diagnose(log).cause.id == "trt-calibration-failed"
    assert diagnose(log.splitlines()[0]).cause.id == "trt-illegal-memory"


def test_why_a_layer_has_no_implementation_takes_its_name():
    log = (
        "[E] Error Code: 9: Skipping tactic 0x1 due to exception odd\n"
        "[E] Error Code 10: Could not find any implementation for node a + b.)"
    )
    cause = diagnose(log).cause
    assert (cause.id, cause.node, cause.details["reason"]) == ("trt-tactic-crashed", "a + b", "odd")


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("CUDA initialization failure with error: 35.", "driver is older"),
        ("cudnnEngine.cpp - cuda error in execute :: 77", "illegal memory access"),
        ("unsupported data type 8 here", "string"),
        ("Exception(3) tid(7118) 80070057 The parameter", "E_INVALIDARG"),
        ("Process finished with exit code 137", "SIGKILL"),
        ("Target GPU SM 120 is not supported", "Blackwell"),
        ("Unsupported SM: 0x809", "compute capability 8.9"),
    ],
)
def test_codes_are_decoded(text, part):
    assert any(part in meaning for meaning in meanings(text)), meanings(text)


def test_a_number_that_is_no_code_means_nothing():
    assert meanings("3 errors in 5 files, node 35, exit code 1, data type 99") == []


def test_the_older_side_is_named():
    sides = {"file": "the file", "tool": "this tool"}
    assert older({"file": "1.10", "tool": "1.9"}, sides) == "this tool (1.9) is older than the file (1.10)"
    assert older({"file": "9", "tool": "11"}, sides) == "the file (9) is older than this tool (11)"
    assert older({"file": "9"}, sides) == older({"file": "9", "tool": "9"}, sides) == older({}, {}) == ""


def test_each_step_says_what_to_look_at_next():
    assert step_of("ImportError: libodd.so")[0] == "loading libraries"
    assert step_of("nothing of the kind")[0] == ""
    assert all(advice for _, advice in [step_of(""), *((step, advice) for step, _, advice in STEPS)])


def test_an_exception_without_a_message_is_told_by_the_code_that_raised_it():
    """With its place in the package, whatever the folder that it is installed in."""
    explanation = diagnose(
        "Traceback (most recent call last):\n"
        '  File "run.py", line 3, in <module>\n    quantize(model)\n'
        '  File "/opt/my env/lib/python3.12/site-packages/odd/qdq.py", line 7, in _convert\n'
        "    assert scale.shape == weight.shape\n           ^^^^^^^^^^^\nAssertionError"
    )
    assert explanation.cause is not None
    assert explanation.cause.id == "python-assertion"
    assert explanation.cause.details["condition"] == "scale.shape == weight.shape"
    assert (explanation.cause.details["file"], explanation.cause.details["function"]) == ("odd/qdq.py", "_convert")


def test_an_assertion_of_what_an_earlier_error_left_out_explains_nothing():
    explanation = diagnose(
        "[E] [TRT] Error Code 2: Internal Error (odd thing)\nTraceback (most recent call last):\n"
        '  File "run.py", line 3, in <module>\n    assert engine is not None\nAssertionError'
    )
    assert explanation.cause is None
    assert explanation.headline is not None
    assert explanation.headline.message == "odd thing"


@pytest.mark.parametrize(("level", "is_error"), [("  ERROR", True), ("WARNING", False), ("INTERNAL_ERROR", True)])
def test_the_level_that_onnx_runtime_passes_on_counts(level, is_error):
    """It calls every line of TensorRT's a warning."""
    explanation = diagnose(
        f"2024-01-02 03:04:05.678 [W:onnxruntime:Default, tensorrt_execution_provider.h:28 log] [2024-01-02 03:04:05 {level}] odd thing"
    )
    assert (explanation.headline is not None) == is_error
    if explanation.headline is not None:
        assert (explanation.headline.tool, explanation.headline.message) == ("TensorRT", "odd thing")


@pytest.mark.parametrize(
    ("line", "node", "number"),
    [
        (
            "(Unnamed Layer* 0) [ElementWise]: elementwise inputs must not be Int32",
            "(Unnamed Layer* 0) [ElementWise]",
            None,
        ),
        (
            "Error Code 10: Internal Error (Could not find any implementation for node {ForeignNode[a...b]}.)",
            "ForeignNode[a...b]",
            None,
        ),
        ("In node 2 (convert_axis): UNSUPPORTED_NODE: Assertion failed: axis >= 0 && axis < nbDims", "", "2"),
    ],
)
def test_layers_without_a_name_in_the_model_are_named_as_tensorrt_does(line, node, number):
    cause = diagnose(line).cause
    assert cause is not None
    assert (cause.node, cause.details.get("node number")) == (node, number)


@pytest.mark.parametrize(
    ("line", "cause", "details"),
    [
        (
            "[TensorRT-LLM][ERROR] Assertion failed: The number of context tokens (8195) exceeds the limit value (8192)",
            "trtllm-length",
            {"what": "context tokens", "given": "8195", "limit": "8192"},
        ),
        (
            "[TRT] [E] Error Code 4: Internal Error (x: kMIN dimensions in profile 0 are [1,9,3] but input has static dimensions [1,8,3].)",
            "trt-profile-static-input",
            {"profile": "0", "given": "[1,9,3]", "shape": "[1,8,3]"},
        ),
        (
            "failed to load 'm' version 1: Invalid argument: model output must specify 'dims' for m",
            "triton-configuration",
            {"what": "output", "field": "dims"},
        ),
    ],
)
def test_what_does_not_fit_is_told_with_both_sides(line, cause, details):
    found = diagnose(line).cause
    assert found is not None
    assert (found.id, found.details) == (cause, details)


@pytest.mark.parametrize(
    ("file", "cause"),
    [("/env/lib/python3.12/site-packages/onnxruntime/odd/calibrate.py", "python-fault"), ("/home/me/convert.py", None)],
)
def test_a_fault_in_the_code_of_a_package_is_told_with_the_code(file, cause):
    """In a program's own code it is the program's, and the line says all that is known."""
    explanation = diagnose(
        f'Traceback (most recent call last):\n  File "{file}", line 7, in scale_of\n'
        "    low = node.attribute[0].f\nIndexError: list index (0) out of range"
    )
    assert (explanation.cause.id if explanation.cause else None) == cause
    if explanation.cause is not None:
        details = explanation.cause.details
        assert (details["code"], details["file"]) == ("low = node.attribute[0].f", "onnxruntime/odd/calibrate.py")


@pytest.mark.parametrize(
    "later",
    [
        "yolo.cpp:74: ICudaEngine* createEngine(IBuilder*): Assertion `engine != nullptr' failed.",
        "TypeError: build() got an unexpected keyword argument 'engine'",
    ],
)
def test_what_stops_the_program_later_does_not_hide_an_unknown_error(later):
    explanation = diagnose(f"[TRT] [E] Error Code 2: Internal Error (odd thing)\n{later}")
    assert explanation.cause is None
    assert explanation.headline is not None
    assert explanation.headline.message == "odd thing"


def test_a_sentence_that_goes_on_is_read_whole():
    log = "OddError: the odd thing with the long name\nmust be even in this\nplace\n\nsomething else must be odd\n"
    headline = diagnose(log).headline
    assert headline is not None
    assert headline.reading is not None
    assert headline.reading.details["what"] == "the odd thing with the long name"
    assert "place" in headline.reading.cause
    assert "something else" not in headline.reading.cause


def test_two_lines_may_be_a_diagnosis_that_neither_of_them_is():
    log = "CMake Error: The following variables are used in this project, but they are set to\nNOTFOUND.\n"
    cause = diagnose(log).cause
    assert cause is not None
    assert (cause.id, cause.line.number) == ("cmake-library-missing", 1)


def test_what_a_traceback_raises_is_an_error_whatever_its_name():
    log = (
        "Traceback (most recent call last):\n"
        '  File "/env/site-packages/tvm/relax/frontend/onnx/onnx_frontend.py", line 7, in _impl_v9\n    odd()\n'
        "odd.OddAttribute: attribute x of the odd operator must be even"
    )
    headline = diagnose(log).headline
    assert headline is not None
    assert (headline.kind, headline.step) == ("odd.OddAttribute", "importing into TVM")
    assert headline.where == "tvm/relax/frontend/onnx/onnx_frontend.py, _impl_v9"


def test_a_warning_tells_what_went_wrong_only_where_there_is_no_error():
    warned = "[W:onnxruntime:Default, x.cc:1 Create] Failed to create CUDAExecutionProvider. Please reference the page"
    alone = diagnose(f"all is well\n{warned}\n").cause
    assert alone is not None
    assert (alone.id, alone.warning) == ("ort-provider-load", True)
    beside = diagnose(f"{warned}\nOddError: an odd thing must be even\n")
    assert beside.cause is None
    assert beside.headline is not None
    assert diagnose(f"{warned}\n&&&& PASSED TensorRT.trtexec\n").cause is None


def test_an_old_tensorrt_names_its_file_before_the_sentence():
    event = read_event("[E] [TRT] ../odd/oddRunner.cpp (140) - Assertion Error in execute: 0 (a.size() == b)")
    assert (event.tool, event.message) == ("TensorRT", "Assertion Error in execute: 0 (a.size() == b)")


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        ("ModuleNotFoundError: No module named 'odd.even'", "system-submodule-missing"),
        ("ModuleNotFoundError: No module named 'odd'", "system-module-missing"),
        ("ONNX export of operator odd, input size not accessible. Please feel free", "torch-attribute-constant"),
        ("ONNX export of operator odd, out parameter. Please feel free to request support", "torch-operator-form"),
    ],
)
def test_kinds_that_are_told_apart(line, cause):
    found = diagnose(line).cause
    assert found is not None
    assert found.id == cause


def test_a_status_of_windows_is_decoded():
    assert any("heap" in meaning for meaning in meanings("odd.exe exited with code -1073740940."))
    assert any("DLL" in meaning for meaning in meanings("exit code 3221225781"))


@pytest.mark.parametrize(
    ("line", "parts"),
    [
        (
            "odd.InternalError: Check failed: a == b.get() (0x9a vs. 0x8b) :",
            {"condition": "a == b.get()", "first": "0x9a", "second": "0x8b"},
        ),
        (
            "odd.InternalError: Check failed: (it != odds.end()) is false: The odd one comes late.",
            {"why": "The odd one comes late."},
        ),
        (
            'RuntimeError: odd != -1 INTERNAL ASSERT FAILED at "/a/odd.cpp":5, please report a bug to PyTorch.  No odd one for this.',
            {"why": "No odd one for this."},
        ),
    ],
)
def test_a_check_inside_a_program_gives_its_reason(line, parts):
    explanation = diagnose(line)
    reading = explanation.cause.reading if explanation.cause else explanation.headline.reading
    assert reading.family == "internal-check"
    assert reading.details.items() >= parts.items()


def test_deepstreams_lines_are_read_by_their_level():
    prefix = (
        "0:00:09.303505002 18243 0xaaaadb449980 {}                nvinfer gstnvinfer.cpp:676:gst_nvinfer_logger:<gie> "
    )
    text = "NvDsInferContext[UID 1]: {} NvDsInferContextImpl::odd() <odd.cpp:60> [UID = 1]: the odd thing is oddly odd"
    warned = prefix.format("WARN") + text.format("Warning from")
    assert diagnose(warned).headline is None
    failed = prefix.format("ERROR") + text.format("Error in")
    headline = diagnose(f"{warned}\n{failed}\n").headline
    assert headline is not None
    assert (headline.tool, headline.message) == ("DeepStream", "the odd thing is oddly odd")


def test_what_a_schedule_says_below_its_header_is_the_reason():
    cause = diagnose(
        "ScheduleError: An error occurred in the schedule primitive 'odd'.\n\nError message: The odd loop is odd."
    ).cause
    assert cause is not None
    assert cause.details["reason"].endswith("The odd loop is odd.")


def test_a_librarys_status_is_decoded_whichever_library_it_is():
    for library in ("CUDNN", "CUBLAS", "CUSOLVER"):
        assert any("pointer" in said for said in meanings(f"odd failure 3: {library}_STATUS_BAD_PARAM ; GPU=0"))


def test_a_library_that_failed_to_load_gives_its_reason_before_the_provider_that_asked_for_it():
    cause = diagnose(
        "Failed to load library libonnxruntime_providers_tensorrt.so with error: libodd.so.8: undefined symbol: odd\n"
        "OrtSessionOptionsAppendExecutionProvider_Tensorrt: Failed to load shared library"
    ).cause
    assert cause is not None
    assert (cause.id, cause.details["reason"]) == ("ort-provider-load", "libodd.so.8: undefined symbol: odd")


def test_the_layer_whose_output_is_named_is_the_place():
    cause = diagnose("[TensorRT] ERROR: Layer: Odd_5's output can not be used as shape tensor.").cause
    assert cause is not None
    assert (cause.id, cause.node) == ("trt-shape-tensor", "Odd_5")
