"""Error for a malformed reply, and a function that shortens server messages."""

from __future__ import annotations

from tej import errors

MESSAGE_LIMIT = 8 * 1024
"""Maximum number of bytes of the server's stderr in an error message."""


def malformed_reply(verb: str, why: str) -> errors.RemoteCommandFailure:
    """Return the error for a malformed reply to `verb`; `why` describes the fault."""
    return errors.RemoteCommandFailure(
        f"The server's reply to '{verb}' cannot be understood: {why}", verb
    )


def shorten(words: bytes, limit: int = MESSAGE_LIMIT) -> str:
    """Decode a message of the server, and return at most `limit` bytes from its end."""
    return words.strip()[-limit:].decode("utf-8", "replace").strip()
