"""A folder that runs from C++: a header, a program that checks the sample, a CMakeLists.txt, and TVM's runtime."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from enginesmith.converters.core.errors import UserError
from enginesmith.converters.serving.packages.parts import FILES, Parts, installed

ENGINE = {"tvm": "engine/module.so"}
HEADERS = {"tvm/ffi/c_api.h": "tvm_ffi/include/tvm/ffi/c_api.h", "dlpack/dlpack.h": "dlpack/dlpack.h"}
"""What the runner includes, to how the file's path ends in its distribution."""
CMAKE = """\
cmake_minimum_required(VERSION 3.16)
project({name} LANGUAGES CXX)
set(CMAKE_CXX_STANDARD 17)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release)
endif()
add_executable(run main.cc)
target_include_directories(run PRIVATE ${{CMAKE_CURRENT_SOURCE_DIR}} ${{CMAKE_CURRENT_SOURCE_DIR}}/include)
target_compile_definitions(run PRIVATE FOLDER="${{CMAKE_CURRENT_SOURCE_DIR}}")
target_link_directories(run PRIVATE ${{CMAKE_CURRENT_SOURCE_DIR}}/runtime)
target_link_options(run PRIVATE -Wl,--no-as-needed)
target_link_libraries(run PRIVATE {libraries})
set_target_properties(run PROPERTIES BUILD_RPATH ${{CMAKE_CURRENT_SOURCE_DIR}}/runtime)
enable_testing()
add_test(NAME sample COMMAND run)
"""
USAGE = """\
    cmake -S . -B build && cmake --build build
    build/run                        # the sample gives what it should
    build/run OUT input0.bin         # raw numbers, a file for each input

or without CMake:

    g++ -std=c++17 -O2 -DFOLDER='"."' main.cc -I. -Iinclude -Lruntime -Wl,--no-as-needed {flags} -Wl,-rpath,$PWD/runtime -o run

`engine.hpp` is the runner: `engine::Engine run("engine/module.so"); outputs = run(inputs);`.
`TVM_NUM_THREADS` bounds the threads.
"""


def write(parts: Parts, folder: Path) -> None:
    """Raises UserError for a module that takes several shapes, or holds values of inputs."""
    about = json.loads(parts.engine.with_suffix(".json").read_bytes())
    if about["shapes"] or about["held"]:
        raise UserError(
            "the C++ runner takes a module of one shape, and of no values that decide on sizes: use --for python"
        )
    parts.put_engine(folder)
    parts.put_runtime(folder)
    kinds = (("input", parts.sampled.inputs), ("output", parts.sampled.outputs))
    lines = [
        " ".join([kind, each.name, each.dtype, *map(str, each.shape)]) for kind, tensors in kinds for each in tensors
    ]
    if any(any(map(str.isspace, each.name)) for _, tensors in kinds for each in tensors):
        raise UserError("an input or output has a name with spaces, which the C++ runner can't read: use --for python")
    (folder / "engine" / "io.txt").write_text("\n".join([*lines, ""]))
    for name in ("engine.hpp", "main.cc"):
        shutil.copyfile(FILES / name, folder / name)
    for name, ending in HEADERS.items():
        into = folder / "include" / name
        into.parent.mkdir(parents=True)
        shutil.copyfile(installed("apache-tvm-ffi", ending), into)
    libraries = ["tvm_ffi", *about["libraries"]]
    (folder / "CMakeLists.txt").write_text(CMAKE.format(name=parts.name, libraries=" ".join(libraries)))
    parts.put_sample(folder, "*.bin")
    flags = " ".join(f"-l{name}" for name in libraries)
    (folder / "README.md").write_text(parts.readme(USAGE.format(flags=flags)))
