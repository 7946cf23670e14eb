"""Rules with their repairs: one module per family of operators. A new one is all that there is to add.

A module states what a backend refuses, how to write it instead, and a minimal model for each:

    MODEL = '''
    <ir_version: 10, opset_import: ["" : 18]>
    twice (float[2] x) => (float[2] y) { y = Twice (x) }
    '''

    @rule("twice", ops="Twice", backends=TENSORRT, remedy="...", source="where it is said or was measured", example=MODEL)
    def twice(node: ir.Node, target: Target) -> str | None:
        'The cause, as the page of the rule shows it.'
        return "what is wrong with this node"  # None if nothing is

    @repair("twice-as-sum", ops="Twice", backends=TENSORRT, example=MODEL)
    def twice_as_sum(node: ir.Node, build: Builder) -> Replacement:
        'What the repair does, as its page shows it.'
        (x,) = required(node, 1)
        return build.op("Add", x, x)

Nothing else names them. The examples run as tests (`tests/compat/test_examples.py`): the rule fires, the backend refuses
the model, the repair is proved, and the backend takes the result. Pages and `doctor` show both, and a finding names the
repair that applies (`compat.mending`).

What both need to know stands in the module once, or in `compat.operators` where others need it too. A repair that must
come before or after others has its place in `compat.repairs.order`. What serves several families is in `compat.checks`
and `compat.repairs`; `compat.plugins` finds what other distributions bring.
"""

from importlib import import_module
from pkgutil import iter_modules

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")
