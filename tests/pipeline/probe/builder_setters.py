"""Called in a process that has TensorRT-RTX: its builder's configuration has the flags that TensorRT's has."""

from __future__ import annotations

from typing import Any

from enginesmith.converters.backends.tensorrt.options import FLAGS, apply
from enginesmith.converters.backends.tensorrt.product import RTX
from enginesmith.converters.backends.tensorrt.session import builder_session
from enginesmith.converters.core.builder_options import BuilderOptions


def setters(told: dict[str, Any]) -> dict[str, Any]:
    session = builder_session(RTX)
    trt = session.trt
    builder = trt.Builder(session.logger)
    config = builder.create_builder_config()
    apply(trt, config, BuilderOptions.model_validate(told))
    return {
        "flags": sorted(name for name in FLAGS.values() if config.get_flag(getattr(trt.BuilderFlag, name))),
        "workspace": config.get_memory_pool_limit(trt.MemoryPoolType.WORKSPACE),
        "aux_streams": config.max_aux_streams,
    }
