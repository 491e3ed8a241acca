"""Archives of phantoms, as those of the runner's tests."""

from tests.archive.conftest import archive

__all__ = ["archive"]
