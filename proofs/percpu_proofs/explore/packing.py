"""Values as one short string that a shell takes, and back: what tokens are made of."""

from __future__ import annotations

import base64
import binascii
import json
import zlib
from typing import Any

from percpu_proofs.inputs import InputError


def packed(prefix: str, value: object) -> str:
    """Return a string for a value of JSON; it begins with the prefix."""
    body = zlib.compress(json.dumps(value, separators=(",", ":")).encode(), 9)
    return prefix + base64.urlsafe_b64encode(body).decode().rstrip("=")


def unpacked(prefix: str, text: str) -> Any:
    """Return the value of a string. Raises InputError if it is damaged, or of another kind."""
    text = text.strip()
    if not text.startswith(prefix):
        raise InputError("token", None, f"a string that begins with {prefix}", text[:40])
    try:
        body = text.removeprefix(prefix)
        return json.loads(zlib.decompress(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4))))
    except (ValueError, zlib.error, binascii.Error):
        raise damaged(text) from None


def damaged(text: str) -> InputError:
    """Return the error for a token that does not say what one says."""
    return InputError("token", None, "a whole token; this one is damaged", text[:40])
