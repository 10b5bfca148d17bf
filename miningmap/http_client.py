"""HTTP clients that send what is meant for one server only, such as a token or a signed event."""

from __future__ import annotations

import ssl

import httpx


def direct_client(timeout: httpx.Timeout | None) -> httpx.AsyncClient:
    """Return a client that sends to the given address and to no other.

    It follows no redirect, trusts the certificates that the operating system trusts, and takes
    neither a proxy nor credentials from the environment.

    Args:
        timeout: of the steps of a request; ``None`` if each request has a limit for all of it.
    """
    return httpx.AsyncClient(
        timeout=timeout,
        verify=ssl.create_default_context(),
        trust_env=False,
        follow_redirects=False,
    )


def reason_of(error: Exception) -> str:
    """Return why there is no answer, in one line."""
    return " ".join(str(error).split()) or type(error).__name__
