"""What others' repositories use: the pre-commit hook and the CI action."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
ACTION = ROOT / ".github" / "actions" / "doctor"
CLEAN = '<ir_version: 10, opset_import: ["" : 18]> clean (float[1, 8] x) => (float[1, 8] y) { y = Relu (x) }'
REFUSED = CLEAN.replace("Relu", "Hardmax")
FOR = "tensorrt=8.0"

Git = Callable[..., str]


@pytest.fixture
def git(tmp_path: Path) -> Git:
    """A repository in `tmp_path / "repository"` with a clean model, committed."""
    folder = tmp_path / "repository"
    folder.mkdir()
    who = ("-c", "user.name=a", "-c", "user.email=a@b")

    def run(*arguments: str) -> str:
        command = ["git", "-C", str(folder), *who, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    run("init", "-q")
    onnx.save(onnx.parser.parse_model(CLEAN), folder / "clean.onnx")
    run("add", "-A")
    run("commit", "-qm", "a clean model")
    return run


def with_path(**more: str) -> dict[str, str]:
    return {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", **more}


def test_the_action_follows_its_schema() -> None:
    command = [BIN / "check-jsonschema", "--builtin-schema", "vendor.github-actions", ACTION / "action.yml"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_shellcheck_finds_nothing_in_the_action() -> None:
    done = subprocess.run([BIN / "shellcheck", ACTION / "doctor.sh"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_the_hook_examines_what_changed(git: Git, tmp_path: Path) -> None:
    """As pre-commit runs it, but for the environment, which would hold torch: it takes the one that is here."""
    manifest = ROOT / ".pre-commit-hooks.yaml"
    valid = subprocess.run([BIN / "pre-commit", "validate-manifest", manifest], capture_output=True, text=True)
    assert valid.returncode == 0, valid.stdout
    hooks, repository = tmp_path / "hooks", tmp_path / "repository"
    shutil.copytree(repository, hooks)
    shutil.copy(manifest, hooks)
    subprocess.run(["git", "-C", hooks, "add", "-A"], check=True)
    subprocess.run(
        ["git", "-C", hooks, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "hooks"], check=True
    )
    revision = subprocess.run(
        ["git", "-C", hooks, "rev-parse", "HEAD"], check=True, capture_output=True, text=True
    ).stdout.strip()
    (repository / ".pre-commit-config.yaml").write_text(
        f"repos: [{{repo: '{hooks}', rev: {revision}, hooks: "
        f"[{{id: enginesmith-doctor, language: system, args: [--for, '{FOR}']}}]}}]"
    )
    onnx.save(onnx.parser.parse_model(REFUSED), repository / "refused.onnx")
    onnx.save(onnx.parser.parse_model(CLEAN), repository / "other.onnx")
    (repository / "notes.txt").write_text("no model")
    git("add", "-A")
    done = subprocess.run(
        [BIN / "pre-commit", "run"],
        cwd=repository,
        env=with_path(PRE_COMMIT_HOME=str(tmp_path / "home")),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "refused.onnx: 1 nodes" in done.stdout
    assert "Hardmax" in done.stdout
    assert "other.onnx: 1 nodes" in done.stdout
    assert "clean.onnx" not in done.stdout, "committed before"


def doctor_script(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [str(ACTION / "doctor.sh")]
    return subprocess.run(command, cwd=folder, env=with_path(FOR=FOR, **environment), capture_output=True, text=True)


def test_the_action_examines_what_differs_from_the_base(git: Git, tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    base = git("rev-parse", "HEAD")
    (repository / "notes.txt").write_text("no model")
    git("add", "-A")
    git("commit", "-qm", "notes")
    unchanged = doctor_script(repository, BASE=base)
    assert (unchanged.returncode, unchanged.stdout) == (0, "no ONNX file to examine\n")

    (repository / "modèles").mkdir()
    onnx.save(onnx.parser.parse_model(REFUSED), repository / "modèles" / "re fused.onnx")
    git("add", "-A")
    git("commit", "-qm", "a model")
    shallow = tmp_path / "shallow"
    subprocess.run(["git", "clone", "-q", "--depth=1", repository.as_uri(), shallow], check=True)
    changed = doctor_script(shallow, BASE=base, OPTIONS="--no-trial\n--timeout\n60\n")
    assert changed.returncode == 1, changed.stdout + changed.stderr
    assert "modèles/re fused.onnx: 1 nodes" in changed.stdout
    assert "clean.onnx" not in changed.stdout


@pytest.mark.parametrize(("given", "status"), [({"FILES": "clean.onnx\n"}, 0), ({"BASE": "0" * 40}, 1)])
def test_the_action_takes_files_and_the_first_push(
    git: Git, tmp_path: Path, given: dict[str, str], status: int
) -> None:
    repository = tmp_path / "repository"
    onnx.save(onnx.parser.parse_model(REFUSED), repository / "refused.onnx")
    git("add", "-A")
    done = doctor_script(repository, **given)
    assert done.returncode == status, done.stdout + done.stderr
    assert "clean.onnx: 1 nodes" in done.stdout
