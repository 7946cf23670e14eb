"""What the user's code executed and opened, as it was then."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from enginesmith.converters.core.files import hash_file

SCRIPT = """
import json, sys
from enginesmith.converters.core.user_code import function_from_file, guarded
from enginesmith.converters.core.user_files import files_read
from pathlib import Path
function = function_from_file(Path(sys.argv[1]), "make")
made = guarded(function, "it failed")
exec(sys.argv[2] if len(sys.argv) > 2 else "")
print(json.dumps([made, files_read()]))
"""


def run(path: Path, after: str = "") -> tuple[object, dict[str, str]]:
    """What `make` of the file returns in a process of its own, and the files; `after` is executed between the two."""
    command = [sys.executable, "-c", SCRIPT, str(path), after]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment, cwd=path.parent)
    made, files = json.loads(done.stdout)
    return made, files


@pytest.fixture
def factory(tmp_path: Path) -> Path:
    path = tmp_path / "factory.py"
    path.write_text("import part\ndef make(): return part.VALUE\n")
    (tmp_path / "part.py").write_text("VALUE = 1\n")
    return path


def test_the_sources_are_those_that_ran(factory: Path) -> None:
    part = factory.with_name("part.py")
    made, files = run(factory)
    assert (made, files) == (1, {str(path): hash_file(path) for path in (factory, part)})
    was = hash_file(part)
    made, files = run(factory, f"Path({str(part)!r}).write_text('VALUE = 2\\n')")
    assert (made, files[str(part)]) == (1, was), "not what the file holds by now"


def test_old_bytecode_is_not_taken_for_a_source_of_the_same_size_and_time(factory: Path) -> None:
    part = factory.with_name("part.py")
    before = part.stat()
    subprocess.run([sys.executable, "-m", "py_compile", str(part)], check=True)
    part.write_text("VALUE = 2\n")
    os.utime(part, ns=(before.st_atime_ns, before.st_mtime_ns))
    stale = subprocess.run(
        [sys.executable, "-c", "import part; print(part.VALUE)"], cwd=factory.parent, capture_output=True
    )
    assert stale.stdout == b"1\n", "Python's own loader"
    made, files = run(factory)
    assert (made, files[str(part)]) == (2, hash_file(part))


def test_what_the_code_opens_counts(factory: Path) -> None:
    weights = factory.with_name("weights.bin")
    weights.write_bytes(b"1")
    factory.write_text(
        "def make():\n"
        "    open('written.txt', 'w').write('x')\n"
        "    open('written.txt').read(); open('/proc/self/status').read()\n"
        "    return open('weights.bin').read()\n"
    )
    made, files = run(factory)
    assert (made, files) == ("1", {str(path): hash_file(path) for path in (factory, weights)}), (
        "not what it wrote itself"
    )
    _, files = run(factory, f"Path({str(weights)!r}).write_bytes(b'2')")
    assert files[str(weights)] == "changed", "it was another one when it was read"


def test_installed_packages_do_not_count(factory: Path) -> None:
    factory.write_text("def make():\n    import yaml, json.tool\n    return 0\n")
    assert run(factory)[1].keys() == {str(factory)}


def test_the_finder_leaves_other_finders_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from enginesmith.converters.core import user_files

    (tmp_path / "package_of_finder").mkdir()
    (tmp_path / "package_of_finder" / "inner.py").write_text("X = 3\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    user_files.watch_imports()
    user_files.watch_imports()
    assert sum(type(finder).__name__ == "_Finder" for finder in sys.meta_path) == 1
    module = importlib.import_module("package_of_finder.inner")
    assert module.X == 3
    assert importlib.util.find_spec("no_such_module_at_all") is None
