"""The archives of the runs whose results are read here."""

from tests.archive.conftest import archive, diary

__all__ = ["archive", "diary"]
