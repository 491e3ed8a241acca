"""The history of a review as a chain: each entry holds the hash of the one before it.

An entry's hash covers what was changed, by whom and when, the hash of the entry before, and the
items as they stood after it. Whoever changes, drops or moves an entry, or an item behind the
server's back, breaks the chain. Whoever can write the file can also make a new chain: the audit log
holds the hash of every save, and belongs where reviewers cannot write.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

from wsi_pipeline.web.answers import HistoryEntry, ReviewItem

HASH: Final = "sha256"
BEFORE: Final = "before_sha256"
ITEMS: Final = "items_sha256"


def digest(value: Any) -> str:
    """Return the hash of a JSON value, whatever the order of its keys."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def chained(
    entry: HistoryEntry, history: list[HistoryEntry], items: dict[str, ReviewItem]
) -> HistoryEntry:
    """Return an entry bound to the history before it and to the items after it."""
    bound: HistoryEntry = {**entry, BEFORE: head(history), ITEMS: digest(items)}
    return {**bound, HASH: digest(bound)}


def head(history: list[HistoryEntry]) -> str:
    """Return the hash that the next entry names; entries of older versions count as one block."""
    if history and HASH in history[-1]:
        return str(history[-1][HASH])
    return digest(history)


def break_of(review: Mapping[str, Any]) -> str:
    """Return what is wrong with a review's chain, "" where it is whole.

    Entries that an older version wrote have no hash; they may stand at the beginning only.
    """
    history = review["history"]
    n_old = next((n for n, entry in enumerate(history) if HASH in entry), len(history))
    for number in range(n_old, len(history)):
        entry = history[number]
        content = {name: value for name, value in entry.items() if name != HASH}
        if entry.get(HASH) != digest(content):
            return f"entry {number + 1} was changed"
        if entry.get(BEFORE) != head(history[:number]):
            return f"an entry before entry {number + 1} is missing or was changed"
    if n_old < len(history) and history[-1].get(ITEMS) != digest(review["items"]):
        return "decisions or outlines were changed without an entry"
    if history and review["revision"] != history[-1].get("revision"):
        return "the last entries are missing"
    return ""
