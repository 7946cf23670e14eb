"""Passwords and tokens are struck out, and nothing else."""

from __future__ import annotations

import pytest

from enginesmith.converters.core.errors import ConversionError, UserError
from enginesmith.converters.core.secrets import redacted


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("s3://AKIA:se/cr+et@bucket/path", "s3://***@bucket/path"),
        ("--store=ftp://user:pw@host/x", "--store=ftp://***@host/x"),
        ("https://token@host/x?y=1", "https://***@host/x?y=1"),
        ("https://host/x?sig=a%3Db&y=1", "https://host/x?sig=***&y=1"),
        ("https://host/x?y=1&X-Amz-Security-Token=abc: no", "https://host/x?y=1&X-Amz-Security-Token=***: no"),
        ("simplecache::s3://k:s@b and az://u:p@c", "simplecache::s3://***@b and az://***@c"),
        ("s3://bucket/path", "s3://bucket/path"),
        ("see https://host/page, or ask me@host.de", "see https://host/page, or ask me@host.de"),
        ("out/key=value?token=1 without an address", "out/key=value?token=1 without an address"),
    ],
)
def test_addresses(text: str, shown: str) -> None:
    assert redacted(text) == shown


def test_errors_do_not_tell() -> None:
    assert "secret" not in str(UserError("can't reach s3://key:secret@bucket"))
    error = ConversionError("can't reach s3://key:secret@bucket")
    assert "secret" not in str(error) + error.cause
