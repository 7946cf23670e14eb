"""What must not be told: passwords and tokens in addresses."""

from __future__ import annotations

import re

HIDDEN = "***"

_USER = re.compile(r"(://)(?:[^\s'\"]*:[^\s'\"]*|[^\s'\"/?#]*)@")
"""`user:password@`, whose password may hold slashes, and `token@`."""
_QUERY = re.compile(
    r"([?&;#][\w.-]*(?:token|secret|pass|pwd|key|sig|credential|auth)[\w.-]*=)[^\s&;#'\"]*[^\s&;#'\":,.]",
    re.IGNORECASE,
)


def redacted(text: str) -> str:
    """A text with `***` for the user, the password and the tokens of all addresses in it."""
    return _QUERY.sub(rf"\1{HIDDEN}", _USER.sub(rf"\1{HIDDEN}@", text)) if "://" in text else text
