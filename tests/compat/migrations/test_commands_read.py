"""Command lines and shell scripts: which options are read, of which command, with which values."""

from __future__ import annotations

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enginesmith.compat.migrations import shell
from enginesmith.compat.migrations.facts import facts
from enginesmith.compat.migrations.reading import Reading


def read(text: str) -> Reading:
    reading = Reading()
    shell.read(text, reading)
    return reading


def test_each_command_of_a_script_is_a_job_of_its_own_line() -> None:
    reading = read("set -e\ntrtexec --onnx=a.onnx\npolygraphy convert b.onnx -o b.plan\n\nonnx2trt c.onnx -o c.trt\n")
    assert [(job.tool, job.line) for job in reading.jobs] == [("trtexec", 2), ("polygraphy", 3), ("onnx2trt", 5)]
    assert [job.told("model") for job in reading.jobs] == [["a.onnx"], ["b.onnx"], ["c.onnx"]]


@pytest.mark.parametrize(
    "text",
    [
        "trtexec --onnx=a.onnx --fp16 > log.txt 2>&1",
        "trtexec --onnx=a.onnx --fp16 |& tee log.txt",
        "trtexec --onnx=a.onnx --fp16 &> log && rm log",
        "if trtexec --onnx=a.onnx --fp16; then echo done; fi",
        "LD_LIBRARY_PATH=/x:$LD_LIBRARY_PATH ./bin/trtexec --onnx=a.onnx --fp16",
        "sudo /usr/src/tensorrt/bin/trtexec --onnx=a.onnx --fp16 &",
        r"C:\TensorRT\bin\trtexec.exe --onnx=a.onnx --fp16",
        "docker run --rm image bash -c 'trtexec --onnx=a.onnx --fp16'",
        "trtexec \\\n  --onnx=a.onnx \\\n  --fp16",
        "Build it by `trtexec --onnx=a.onnx --fp16`, then run it.",
        "$ trtexec --onnx=a.onnx --fp16",
        "RUN trtexec --onnx=a.onnx --fp16",
        "TRT=/opt/bin/trtexec\n$TRT --onnx=a.onnx --fp16",
        'M=a\n"trtexec" --onnx="${M}.onnx" --fp16',
        "trtexec --onnx=${1:-a.onnx} --fp16",
        "trtexec --onnx a.onnx --fp16",
    ],
)
def test_ways_to_call_it(text: str) -> None:
    reading = read(text)
    (job,) = reading.jobs
    assert (job.told("model"), job.told("precision")) == (["a.onnx"], ["fp16"])
    assert not reading.unread


def test_values_of_a_loop_that_are_not_taken_are_told() -> None:
    reading = read("for b in 1 8 16; do\n  trtexec --onnx=a_$b.onnx\ndone")
    assert reading.jobs[0].told("model") == ["a_1.onnx"]
    assert [(each.line, each.text) for each in reading.unread] == [(2, "$b")]
    assert "8, 16" in reading.unread[0].reason


def test_a_value_under_a_condition_is_told_with_the_other_one() -> None:
    reading = read('FLAGS=""\nif [ "$1" = half ]; then\n  FLAGS="--fp16"\nfi\ntrtexec --onnx=a.onnx $FLAGS')
    assert reading.jobs[0].told("precision") == ["fp16"]
    assert reading.unread[0].text == "$FLAGS"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("trtexec --onnx=a.onnx --fp15", "no option of any trtexec"),
        ("trtexec --onnx=a.onnx --FP16", "is it --fp16?"),
        ("trtexec --onnx=a.onnx --fp16=1", "it takes no value"),
        ("trtexec --onnx=a.onnx --calib", "it needs a value"),
        ("trtexec --onnx=a.onnx here", "no option of trtexec"),
        ("trtexec --onnx='a.onnx --fp16", "can't be split into words"),
        ("polygraphy convert a.onnx --half", "no option of polygraphy"),
        ("onnx2trt a.onnx -d 12", "no number of bits"),
    ],
)
def test_what_is_no_option_is_not_dropped(text: str, reason: str) -> None:
    unread = read(text).unread
    assert any(reason in each.reason for each in unread), unread


def test_a_command_in_a_comment_counts_where_there_is_nothing_else() -> None:
    comment = "# trtexec --onnx=old.onnx --int8\n"
    assert read(comment).jobs[0].told("model") == ["old.onnx"]
    assert [job.told("model") for job in read(comment + "trtexec --onnx=new.onnx").jobs] == [["new.onnx"]]


def test_what_only_runs_an_engine_builds_none() -> None:
    for text in ("trtexec --loadEngine=a.plan", "polygraphy run a.engine --trt", "polygraphy inspect model a.onnx"):
        assert not read(text).jobs[0].builds, text


def test_options_of_polygraphy_take_several_words() -> None:
    text = "polygraphy run a.onnx --trt --trt-min-shapes x:[1,3] y:[1] --int8 --data-loader-script d.py --data-loader-func-name f"
    (job,) = read(text).jobs
    assert (job.told("min"), job.told("precision"), job.told("data")) == (["x:[1,3] y:[1]"], ["int8"], ["d.py:f"])


@pytest.mark.parametrize("name", facts("trtexec"))
def test_every_option_of_trtexec_is_read(name: str) -> None:
    fact = facts("trtexec")[name]
    reading = read(f"trtexec {name}" + ("=1" if fact.takes == "value" else ""))
    assert [part.fact for part in reading.jobs[0].parts] == [fact]
    assert not reading.unread


@given(st.lists(st.sampled_from(sorted(facts("trtexec"))) | st.text(max_size=12), max_size=8))
def test_every_word_is_a_part_or_not_read(words: list[str]) -> None:
    words = ["--onnx=a.onnx", *words]
    reading = Reading()
    assert shell.read_words(["trtexec", *words], 1, reading)
    told = [part.text for job in reading.jobs for part in job.parts] + [each.text for each in reading.unread]
    for word in words:
        assert any(word.partition("=")[0] in text for text in told), (word, told)


@given(st.text(max_size=300), st.sampled_from(["trtexec --onnx=a", "polygraphy convert a", ""]))
def test_any_text_is_read(text: str, command: str) -> None:
    read(f"{command} {text}")


def test_a_line_for_a_shell_is_read_as_the_shell_would() -> None:
    name = "a file's name.onnx"
    assert read(f"trtexec --onnx={shlex.quote(name)}").jobs[0].told("model") == [name]
