"""Which class of TensorRT's API an expression is of, by what made it, or by its name where a function is given it."""

from __future__ import annotations

import ast

from enginesmith.compat.migrations.constants import DEPTH, Constants, Scope, dotted

MADE_BY = {
    "Builder": "Builder",
    "create_network": "INetworkDefinition",
    "create_builder_config": "IBuilderConfig",
    "create_optimization_profile": "IOptimizationProfile",
    "OnnxParser": "OnnxParser",
    "UffParser": "UffParser",
    "CaffeParser": "CaffeParser",
    "Runtime": "Runtime",
    "deserialize_cuda_engine": "ICudaEngine",
    "build_cuda_engine": "ICudaEngine",
    "build_engine": "ICudaEngine",
    "create_execution_context": "IExecutionContext",
    "create_execution_context_without_device_memory": "IExecutionContext",
    "create_timing_cache": "ITimingCache",
    "build_serialized_network": "IHostMemory",
    "get_plugin_registry": "IPluginRegistry",
    "get_layer": "ILayer",
    "get_input": "ITensor",
    "get_output": "ITensor",
    "add_input": "ITensor",
    "create_engine_inspector": "EngineInspector",
    "Refitter": "Refitter",
}
"""By the name of the function or method that returns it; `add_*` of a network return layers."""
NAMED = {
    "builder": "Builder",
    "network": "INetworkDefinition",
    "net": "INetworkDefinition",
    "config": "IBuilderConfig",
    "builder_config": "IBuilderConfig",
    "trt_config": "IBuilderConfig",
    "parser": "OnnxParser",
    "onnx_parser": "OnnxParser",
    "profile": "IOptimizationProfile",
    "engine": "ICudaEngine",
    "trt_engine": "ICudaEngine",
    "context": "IExecutionContext",
    "ctx": "IExecutionContext",
    "layer": "ILayer",
    "tensor": "ITensor",
    "inp": "ITensor",
    "input_tensor": "ITensor",
}
"""What names are usually of, where nothing says it: of these only what the class has is taken for its own."""


def kind(node: ast.expr, scope: Scope, constants: Constants, depth: int = 0) -> tuple[str, bool]:
    """The class, empty where nothing is known, and whether it is certain."""
    if depth > DEPTH:
        return "", False
    if isinstance(node, ast.Call):
        name = node.func.attr if isinstance(node.func, ast.Attribute) else dotted(node.func)
        if name in constants.functions and not isinstance(node.func, ast.Attribute):
            return _returned(name, constants, depth)
        if name.startswith("add_") and isinstance(node.func, ast.Attribute):
            owner, certain = kind(node.func.value, scope, constants, depth + 1)
            return ("ILayer", certain) if owner == "INetworkDefinition" else ("", False)
        return MADE_BY.get(name, ""), name in MADE_BY
    found = constants.expression(node, scope)
    if found is not node:
        made = kind(found, scope, constants, depth + 1)
        if made[0]:
            return made
    return NAMED.get(dotted(node).rpartition(".")[2].lower(), ""), False


def _returned(name: str, constants: Constants, depth: int) -> tuple[str, bool]:
    """Of a function of the script's own: what its last return is of."""
    function = constants.functions[name]
    returns = [each.value for each in ast.walk(function) if isinstance(each, ast.Return) and each.value is not None]
    return kind(returns[-1], function, constants, depth + 1) if returns else ("", False)
