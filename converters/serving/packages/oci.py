"""The folder for Python with a Dockerfile: an image that checks itself when it is built, and when it starts."""

from __future__ import annotations

from pathlib import Path

from enginesmith.converters.serving.packages import python
from enginesmith.converters.serving.packages.parts import Parts

ENGINE = python.ENGINE
DOCKERFILE = """\
FROM python:3.11-slim
WORKDIR /opt/engine
COPY requirements.txt ./
RUN pip install --no-cache-dir -r requirements.txt
COPY . ./
RUN python check.py
USER 65534
CMD ["python", "check.py"]
"""
USAGE = """
As an image:

    docker build -t {name} .
    docker run --rm {name}
    docker run --rm -v "$PWD:/data" {name} python runner.py /data/inputs.npz /data/outputs.npz
"""


def write(parts: Parts, folder: Path) -> None:
    python.write(parts, folder)
    (folder / "Dockerfile").write_text(DOCKERFILE)
    page = folder / "README.md"
    page.write_text(page.read_text() + USAGE.format(name=parts.name.replace("_", "-")))
