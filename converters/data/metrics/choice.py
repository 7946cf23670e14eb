"""The metric that a user names."""

from __future__ import annotations

import difflib
from pathlib import Path

from enginesmith.converters.core.errors import UserError
from enginesmith.converters.core.files import hash_file
from enginesmith.converters.core.user_code import CODE, called, check_defined, function_from_file
from enginesmith.converters.data.metrics.base import Metric
from enginesmith.converters.data.metrics.cosine import Cosine
from enginesmith.converters.data.metrics.detection import MeanAP
from enginesmith.converters.data.metrics.segmentation import MeanIoU
from enginesmith.converters.data.metrics.top1 import Top1
from enginesmith.converters.data.metrics.user import UserMetric

BUILT_IN: dict[str, type[Top1] | type[MeanAP] | type[MeanIoU] | type[Cosine]] = {
    "top1": Top1,
    "map": MeanAP,
    "miou": MeanIoU,
    "cosine": Cosine,
}
OF_TASK = {"classification": "top1", "detection": "map"}


def load_metric(spec: str, task: str, labelled: bool, whole: bool = False) -> Metric:
    """One by its name or `file.py:function`; "" takes the task's own. `whole`: every output is of integers, as of a segmenter
    that ends in ArgMax. Raises UserError.
    """
    if not spec and task == "tensor" and labelled:
        raise UserError(
            "the data has labels, and what they mean isn't known; "
            f"give METRIC={', '.join(BUILT_IN)} or file.py:function"
        )
    name = spec or OF_TASK.get(task, "miou" if whole else "cosine")
    if name in BUILT_IN:
        return BUILT_IN[name]()
    path, function = _locate(spec)
    return UserMetric(called(path, function), function_from_file(path, function))


def metric_sources(spec: str) -> dict[str, str]:
    """The file of a metric of the user's with its SHA-256, for a stage's key. Raises UserError for no metric at all.

    Nothing of the user's is run; the modules that the file imports are known only once it is: `user_files.files_read`.
    """
    if not spec or spec in BUILT_IN:
        return {}
    path, function = _locate(spec)
    check_defined(path, function)
    return {str(path): hash_file(path)}


def _locate(spec: str) -> tuple[Path, str]:
    file, _, function = spec.rpartition(":")
    if not file.endswith(CODE):
        near = difflib.get_close_matches(spec.lower(), BUILT_IN, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise UserError(f"METRIC={spec} is none of {', '.join(BUILT_IN)} and no file.py:function{hint}")
    path = Path(file).expanduser().resolve()
    if not path.is_file():
        raise UserError(f"METRIC={spec}: there is no file {file}")
    return path, function
