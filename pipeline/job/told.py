"""What a stage told, as it is kept: in a worker's answer, in the store, in the manifest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, SerializeAsAny, model_validator

from enginesmith.converters.core.facts import Facts
from enginesmith.converters.stages.registry import facts_type

FactsT = TypeVar("FactsT", bound=Facts)


class Told(BaseModel):
    """The name of a stage, and its facts, which are read back as the type that the stage states."""

    stage: str
    """Name of the stage's class: `compile`."""
    facts: SerializeAsAny[Facts] = Facts()

    @model_validator(mode="before")
    @classmethod
    def _typed(cls, values: Any) -> Any:
        if isinstance(values, Mapping) and isinstance(values.get("facts"), Mapping):
            facts = values["facts"]
            # a stage that failed has told what any stage can tell, and no more
            kind = Facts if facts.keys() <= Facts.model_fields.keys() else facts_type(str(values.get("stage", "")))
            return {**values, "facts": kind.model_validate(facts)}
        return values

    def told(self, kind: type[FactsT]) -> FactsT | None:
        """The facts, where they are of this kind."""
        return self.facts if isinstance(self.facts, kind) else None
