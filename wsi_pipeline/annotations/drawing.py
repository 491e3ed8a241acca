"""A file's annotations, whatever program wrote it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

import shapely

from wsi_pipeline.annotations.areas import Area

NOT_COUNTED: Final = "*"
"""QuPath's mark, at the end of a class, of what is no finding: "Region*", "Ignore*"."""
DAMAGE: Final = (
    *(ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError),
    shapely.errors.ShapelyError,
)
"""What the parsers raise on content that is not what it should be."""
SEPARATOR: Final = ": "
"""Between a class and the class derived from it, as QuPath writes them: "Tumor: Invasive"."""


@dataclass(frozen=True, slots=True, eq=False)
class Annotation:
    """One area that somebody drew."""

    name: str
    kind: str
    """Its class: QuPath's class, the layer of Aperio and HALO, ASAP's group; may be empty. What is
    derived from what stands before it: "Tumor: Invasive"."""
    area: Area
    """Valid; in the pixels of the file."""

    @property
    def is_finding(self) -> bool:
        """False where QuPath itself ignores the class, or one that it is derived from."""
        return not any(part.strip().endswith(NOT_COUNTED) for part in self.kind.split(":"))

    def is_of(self, classes: Iterable[str]) -> bool:
        """Return whether it is of one of the classes, or of one derived from them.

        Letters may be large or small.
        """
        parts = joined(self.kind.split(":")).casefold()
        wanted = [joined(name.split(":")).casefold() for name in classes]
        return any(parts == name or parts.startswith(name + SEPARATOR) for name in wanted)


@dataclass(slots=True, eq=False)
class Drawing:
    """What a file holds; filled while it is read."""

    items: list[Annotation] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    """How many things do not count, by what they are, in words."""
    is_cropped: bool = False
    """Whether its pixels count from the scanned bounds, as QuPath shows a slide, not from the whole
    slide's corner."""
    offset_l0: tuple[float, float] | None = None
    """Where its origin lies, level-0 px of the whole slide; None where it does not say."""

    def add(self, name: str, kind: str, area: Area) -> None:
        """Take in an area; one without an extent is left out."""
        if area.is_empty:
            self.left_out["without area"] += 1
        else:
            self.items.append(Annotation(name, kind, area))

    @contextmanager
    def each(self) -> Iterator[None]:
        """Read one shape: where it is broken it costs itself, not the file."""
        try:
            yield
        except DAMAGE as error:
            self.left_out[f"broken ({_reason(error)})"] += 1

    def take(self, other: Drawing) -> None:
        """Take in what another file of the same archive holds."""
        self.items += other.items
        self.left_out += other.left_out
        self.is_cropped |= other.is_cropped
        self.offset_l0 = self.offset_l0 or other.offset_l0

    @property
    def left_out_words(self) -> str:
        """What does not count, in words; empty where all does."""
        return ", ".join(f"{n} {words}" for words, n in sorted(self.left_out.items()))


def joined(parts: Iterable[str]) -> str:
    """Return a class from its parts, the general first."""
    return SEPARATOR.join(part.strip() for part in parts if part.strip())


def _reason(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"no {error}"
    return str(error) if isinstance(error, ValueError) else type(error).__name__
