"""One page of Markdown for every rule, repair and diagnosis: what it is about, what to do, and an example that runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from enginesmith.compat.checks import MODEL_RULES, RULES, ModelRule, Rule
from enginesmith.compat.diagnoses import diagnoses
from enginesmith.compat.repairs import GRAPH_REPAIRS, REPAIRS, candidates
from enginesmith.compat.repairs.repair import GraphRepair, Repair


@dataclass(frozen=True)
class Page:
    """`kind` is `rule`, `repair` or `diagnosis`; `about` is one sentence or two; `markdown` is the whole page."""

    kind: str
    id: str
    about: str
    markdown: str

    @property
    def file(self) -> str:
        return f"{self.kind}-{self.id}.md"


def pages() -> Iterator[Page]:
    """Every page, rules first."""
    rules: tuple[Rule | ModelRule, ...] = (*MODEL_RULES.values(), *RULES.values())
    repairs: tuple[Repair | GraphRepair, ...] = (*GRAPH_REPAIRS.values(), *REPAIRS.values())
    for rule in rules:
        yield Page("rule", rule.id, rule.cause, _rule(rule))
    for repair in repairs:
        yield Page("repair", repair.id, repair.summary, _repair(repair))
    for diagnosis in diagnoses():
        yield Page("diagnosis", diagnosis.id, diagnosis.cause, diagnosis.page())


def index(found: list[Page]) -> str:
    """The page that lists them all."""
    titles = {"rule": "Rules", "repair": "Repairs", "diagnosis": "Diagnoses"}
    parts = ["# What Enginesmith knows about conversions\n"]
    for kind, title in titles.items():
        listed = [page for page in found if page.kind == kind]
        parts.append(f"## {title} ({len(listed)})\n")
        parts.append("\n".join(f"- [{page.id}]({page.file}): {page.about}" for page in listed) + "\n")
    return "\n".join(parts)


def _rule(rule: Rule | ModelRule) -> str:
    backends = ", ".join(rule.backends) + (f" {rule.versions}" if rule.versions else "")
    ops = rule.ops if isinstance(rule, Rule) else ()
    mended = sorted(
        {repair.id for op in ops for backend in rule.backends for repair in candidates(op, backend) if op in repair.ops}
    )
    return _page(
        f"Rule {rule.id}",
        {
            "Operators": "every one" if ops == ("*",) else ", ".join(ops) or "the model as a whole",
            "Backends": backends,
            "Severity": rule.severity,
            "Cause": rule.cause,
            "Remedy": rule.remedy,
            "Repairs of these operators": ", ".join(mended) or "none",
            "Source": rule.source,
        },
        "A minimal model to which it applies",
        rule.example if isinstance(rule, Rule) else "",
    )


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
