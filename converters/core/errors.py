"""The two errors that are not bugs: a request that can't be met, and a conversion that failed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from enginesmith.compat.findings import Attempted, Finding
from enginesmith.converters.core.secrets import redacted


class UserError(Exception):
    """A bad request. One line that says what is wrong and what to do; the command line exits with 2."""

    def __init__(self, message: str) -> None:
        super().__init__(redacted(" ".join(message.split())))


def first_line(error: BaseException) -> str:
    """What another's exception says, in one line: its type where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


class ConversionError(Exception):
    """A stage failed on a valid request; the command line exits with 1.

    `cause` is one line; `remedy` says what to try; `findings` name the nodes to blame, where they are known; `repairs`
    are those that were made or tried before.
    """

    def __init__(
        self, cause: str, remedy: str = "", findings: Sequence[Finding] = (), repairs: Sequence[Attempted] = ()
    ) -> None:
        self.cause = redacted(cause)
        super().__init__(self.cause)
        self.remedy = remedy
        self.findings = list(findings)
        self.repairs = list(repairs)


def dump_error(error: UserError | ConversionError) -> dict[str, Any]:
    """An error as JSON, to be raised again in another process."""
    if isinstance(error, UserError):
        return {"user": str(error)}
    return {
        "cause": error.cause,
        "remedy": error.remedy,
        "findings": [finding.model_dump(mode="json") for finding in error.findings],
        "repairs": [repair.model_dump(mode="json") for repair in error.repairs],
    }


def load_error(told: dict[str, Any]) -> UserError | ConversionError:
    """The inverse of `dump_error`."""
    if "user" in told:
        return UserError(told["user"])
    return ConversionError(
        told["cause"],
        told["remedy"],
        [Finding.model_validate(finding) for finding in told["findings"]],
        [Attempted.model_validate(repair) for repair in told["repairs"]],
    )
