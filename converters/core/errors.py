"""The two errors that are not bugs: a request that can't be met, and a conversion that failed."""

from __future__ import annotations

from collections.abc import Sequence

from enginesmith.compat.findings import Attempted, Finding


class UserError(Exception):
    """A bad request. One line that says what is wrong and what to do; the command line exits with 2."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))


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
        super().__init__(cause)
        self.cause = cause
        self.remedy = remedy
        self.findings = list(findings)
        self.repairs = list(repairs)
