"""What is believed of a proxy in front of the application."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from starlette.datastructures import Headers
from starlette.types import Scope

from wsi_pipeline.errors import ConfigError

OWN_NAMES: Final = frozenset({"api", "slides", "static", "classify", "enter", "logout"})
_PREFIX: Final = re.compile(r"(/[A-Za-z0-9._~-]{1,64}){1,8}")


@dataclass(frozen=True, slots=True)
class ProxyTrust:
    """Where the application stands, seen from the browser.

    Parameters
    ----------
    prefix : str
        Below which a proxy serves it, as "/wsi"; "" for none, or one that the proxy states.
    addresses : frozenset of str
        Of proxies whose X-Forwarded-For is believed.
    """

    prefix: str = ""
    addresses: frozenset[str] = frozenset()

    def without_prefix(self, scope: Scope) -> tuple[Scope, str]:
        """Return a request as if there were no prefix, and the prefix.

        Whether the proxy takes the prefix away or not does not matter. A prefix that a request
        states (X-Forwarded-Prefix) changes nothing but the path of its own cookie.
        """
        stated = Headers(scope=scope).get("x-forwarded-prefix", "").rstrip("/")
        prefix = self.prefix or (stated if is_prefix(stated) else "")
        path: str = scope["path"]
        if prefix and (path == prefix or path.startswith(f"{prefix}/")):
            path = path[len(prefix) :] or "/"
            return {**scope, "path": path, "raw_path": path.encode(), "root_path": ""}, prefix
        return {**scope, "root_path": ""}, prefix

    def address(self, scope: Scope, headers: Headers) -> str:
        """Return from where a request comes."""
        client = scope.get("client")
        peer = str(client[0]) if client else "?"
        if peer in self.addresses:
            # The last one is the proxy's own word; those before it are the client's.
            return headers.get("x-forwarded-for", "").split(",")[-1].strip()[:64] or peer
        return peer


NO_PROXY: Final = ProxyTrust()


def is_prefix(text: str) -> bool:
    """Tell whether a text can be the prefix of every address."""
    is_own = text.split("/")[1:2] and text.split("/")[1] in OWN_NAMES
    return bool(_PREFIX.fullmatch(text)) and not is_own and ".." not in text.split("/")


def checked_prefix(text: str) -> str:
    """Return a prefix that a user gives, "" for none.

    Raises
    ------
    ConfigError
        Where it cannot be one.
    """
    prefix = "/" + text.strip("/")
    if prefix == "/":
        return ""
    if not is_prefix(prefix):
        raise ConfigError(
            f"--root-path {text!r} cannot be the beginning of every address",
            "Give a path such as /wsi, of letters, digits, - and _; none of "
            f"{', '.join(sorted(OWN_NAMES))}",
        )
    return prefix
