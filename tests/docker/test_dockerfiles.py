"""What can be said of the images without building them; docker/try.sh builds the CPU one."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCKERFILES = [ROOT / "docker" / "Dockerfile", ROOT / "docker" / "Dockerfile.gpu"]


def instructions(path: Path) -> list[tuple[str, str]]:
    """The instructions of a Dockerfile, continuation lines joined: ("RUN", "apt-get …")."""
    lines = [line for line in path.read_text().splitlines() if not line.lstrip().startswith("#")]
    text = re.sub(r"\\\n", " ", "\n".join(lines))
    return [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in text.splitlines()) if word]


def tool(name: str) -> str:
    found = shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
    if found is None:
        pytest.skip(f"no {name}")
    return found


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
class TestDockerfile:
    def test_hadolint_finds_nothing(self, path: Path) -> None:
        done = subprocess.run([tool("hadolint"), "--no-color", path], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout
        assert done.stdout == ""

    def test_the_last_user_is_not_root(self, path: Path) -> None:
        found = instructions(path)
        arguments = dict(rest.split("=", 1) for word, rest in found if word == "ARG")
        user = [rest for word, rest in found if word == "USER"][-1]
        value = arguments[user[2:-1]] if user.startswith("${") else user
        assert value.isdecimal(), "Kubernetes' runAsNonRoot needs a number"
        assert int(value) > 0

    def test_the_store_is_a_volume(self, path: Path) -> None:
        found = instructions(path)
        assert ("VOLUME", "/store") in found
        assert any(word == "ENV" and "ENGINESMITH_STORE=/store" in rest for word, rest in found)
        last_run = max(index for index, (word, _) in enumerate(found) if word == "RUN")
        assert found.index(("VOLUME", "/store")) > last_run, "what is written to a volume after VOLUME is lost"

    def test_the_image_installs_the_wheel_and_a_change_of_code_keeps_the_dependencies(self, path: Path) -> None:
        found = instructions(path)
        stages = [index for index, (word, _) in enumerate(found) if word == "FROM"]
        build, image = found[stages[1] : stages[2]], found[stages[2] :]
        source = build.index(("COPY", ". ."))
        tools = next(i for i, (word, rest) in enumerate(build) if word == "RUN" and "install" in rest)
        assert tools < source, "a change of code fetches nothing"
        assert "pip wheel -q --no-deps --no-build-isolation" in build[source + 1][1]
        assert ("COPY", ". .") not in image
        dependencies = next(
            i for i, (word, rest) in enumerate(image) if word == "RUN" and "-r /tmp/requirements.txt" in rest
        )
        wheel = image.index(("COPY", "--from=wheel /dist dist"))
        assert dependencies < wheel
        after = " ".join(rest for word, rest in image[wheel:] if word == "RUN")
        assert "--no-deps --no-index dist/*.whl" in after

    def test_make_finds_the_environment_ready(self, path: Path) -> None:
        makefile = (ROOT / "Makefile").read_text()
        assert "VENV := .venv" in makefile
        assert "READY := $(VENV)/.ready" in makefile
        found = instructions(path)
        last_copy = max(index for index, (word, _) in enumerate(found) if word == "COPY")
        touched = [index for index, (word, rest) in enumerate(found) if word == "RUN" and "touch .venv/.ready" in rest]
        assert touched
        assert touched[-1] > last_copy, "the stamp must be newer than pyproject.toml"

    def test_the_extra_exists(self, path: Path) -> None:
        extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
        arguments = dict(rest.split("=", 1) for word, rest in instructions(path) if word == "ARG")
        assert arguments["EXTRA"] in extras


def test_the_context_has_every_package_and_little_else() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    kept = {line[1:] for line in lines if line.startswith("!")}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    folders = {"enginesmith", "pipeline", "converters", "compat"}
    files = {project["project"]["readme"], *project["project"]["license-files"]}
    assert kept == folders | files | {"pyproject.toml", "constraints.txt", "Makefile"}
    assert "*" in lines


def test_shellcheck_finds_nothing() -> None:
    done = subprocess.run([tool("shellcheck"), ROOT / "docker" / "try.sh"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
