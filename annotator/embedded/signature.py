"""How requests are signed by the client and checked by the server (SecurityUtils.generateKeys of the classic core)."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping


def signature(private_key: str, method: str, headers: Mapping[str, str], target: str) -> str:
    """The signature that a request must carry.

    Args:
        private_key: of whoever asks.
        method: GET, POST, ...
        headers: of the request; lower-case or case-insensitive names.
        target: path and query, exactly as received, still percent-encoded.
    """
    lines = [method, headers.get("content-md5", ""), headers.get("content-type", ""), headers.get("date", ""), target]
    digest = hmac.new(private_key.encode(), "\n".join(lines).encode(), hashlib.sha1).digest()
    return base64.b64encode(digest).decode()


def public_key_and_signature(authorization: str) -> tuple[str, str] | None:
    """The two parts of ``CYTOMINE <public key>:<signature>``, or None where the header is something else."""
    scheme, _, rest = authorization.partition(" ")
    key, colon, signed = rest.partition(":")
    return (key, signed) if scheme == "CYTOMINE" and colon else None
