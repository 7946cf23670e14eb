"""One page of Markdown for every rule, repair and diagnosis: what it is about, what to do, and an example that runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import onnx_ir as ir

from enginesmith.compat import plugins
from enginesmith.compat.checks import MODEL_RULES, RULES, ModelRule, Rule, findings
from enginesmith.compat.diagnoses import diagnoses
from enginesmith.compat.graphs import infer, named
from enginesmith.compat.mending import with_repairs
from enginesmith.compat.repairs import GRAPH_REPAIRS, REPAIRS
from enginesmith.compat.repairs.repair import GraphRepair, Repair
from enginesmith.compat.support import versions
from enginesmith.compat.target import Target
from enginesmith.compat.workarounds import has_rewrite


@dataclass(frozen=True)
class Page:
    """`kind` is `rule`, `repair` or `diagnosis`; `about` is one sentence or two; `markdown` is the whole page."""

    kind: str
    id: str
    about: str
    write: Callable[[], str]
    """Writes the page: that of a rule tries repairs on its example."""

    @property
    def markdown(self) -> str:
        return self.write()

    @property
    def file(self) -> str:
        return f"{self.kind}-{self.id}.md"


def pages() -> Iterator[Page]:
    """Every page, rules first."""
    plugins.load()
    rules: tuple[Rule | ModelRule, ...] = (*MODEL_RULES.values(), *RULES.values())
    repairs: tuple[Repair | GraphRepair, ...] = (*GRAPH_REPAIRS.values(), *REPAIRS.values())
    for rule in rules:
        yield Page("rule", rule.id, rule.cause, partial(_rule, rule))
    for repair in repairs:
        yield Page("repair", repair.id, repair.summary, partial(_repair, repair))
    for diagnosis in diagnoses():
        yield Page("diagnosis", diagnosis.id, diagnosis.cause, diagnosis.page)


def index(found: list[Page]) -> str:
    """The page that lists them all."""
    titles = {"rule": "Rules", "repair": "Repairs", "diagnosis": "Diagnoses"}
    parts = ["# What Enginesmith knows about conversions\n"]
    for kind, title in titles.items():
        listed = [page for page in found if page.kind == kind]
        parts.append(f"## {title} ({len(listed)})\n")
        parts.append(_list(listed))
        if kind == "rule":
            wrong = [page for page in listed if page.id in RULES and RULES[page.id].silent]
            parts.append(f"### Of these, what is built without a word and computed wrongly ({len(wrong)})\n")
            parts.append(_list(wrong))
    return "\n".join(parts)


def _list(found: list[Page]) -> str:
    return "\n".join(f"- [{page.id}]({page.file}): {page.about}" for page in found) + "\n"


def _rule(rule: Rule | ModelRule) -> str:
    backends = ", ".join(rule.backends) + (f" {rule.versions}" if rule.versions else "")
    ops = rule.ops if isinstance(rule, Rule) else ()
    return _page(
        f"Rule {rule.id}",
        {
            "Operators": "every one" if ops == ("*",) else ", ".join(ops) or "the model as a whole",
            "Backends": backends,
            "GPUs": ", ".join(rule.gpus) if isinstance(rule, Rule) else "",
            "Severity": rule.severity,
            "Cause": rule.cause,
            "Remedy": rule.remedy,
            "Workaround": "`enginesmith build --workarounds` makes it" if has_rewrite(rule.id) else "",
            "Repairs": ", ".join(_mended_by(rule)) if isinstance(rule, Rule) else "",
            "Source": rule.source,
        },
        "A minimal model to which it applies",
        rule.example if isinstance(rule, Rule) else "",
    )


def _mended_by(rule: Rule) -> list[str]:
    """The repairs that mend the rule's own example, for one backend or another."""
    model = infer(ir.from_onnx_text(rule.example))
    named(model)
    found = set()
    for backend in rule.backends:
        target = next((t for v in reversed(versions(backend)) if rule.applies_to(t := Target(backend, v))), None)
        if target is not None:
            said = [finding for finding in findings(model, target) if finding.rule == rule.id]
            found |= {finding.repair_id for finding in with_repairs(model, target, said) if finding.repair_id}
    return sorted(found)


def _repair(repair: Repair | GraphRepair) -> str:
    operators = ", ".join(repair.ops) if isinstance(repair, Repair) else "the whole graph"
    exact = (
        "bit for bit" if not repair.tolerance else f"to {repair.tolerance:g} of the largest magnitude of each output"
    )
    return _page(
        f"Repair {repair.id}",
        {
            "Operators": "every one" if operators == "*" else operators,
            "For": ", ".join(repair.backends),
            "What it does": repair.summary,
            "Exact": exact,
        },
        "A minimal model to which it applies",
        repair.example,
    )


def _page(title: str, facts: dict[str, str], heading: str, example: str) -> str:
    listed = "\n".join(f"- **{name}**: {text}" for name, text in facts.items() if text)
    shown = f"\n\n## {heading}\n\n```\n{example}\n```" if example else ""
    return f"# {title}\n\n{listed}{shown}\n"
