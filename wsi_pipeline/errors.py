"""Every deliberate exception of the package.

WsiPipelineError
├── ConfigError                 a configuration or option that cannot be used
├── SlideError                  something about one slide
│   ├── SlideOpenError          the file is missing, unreadable or not a slide
│   ├── MissingResolutionError  no µm/px, or an absurd one
│   ├── NotAssessableError      pixels that could not show a tumor: gray, nearly black
│   └── ReadError               pixels that should be there cannot be read
├── TissueError                 the tissue mask cannot be made or used
├── StainError                  stain vectors cannot be estimated
├── ModelError                  a model folder that is incomplete, altered or does not fit
├── DatasetError                a training set that cannot be used as asked
├── WorkersLostError            every worker that took a task up died over it
└── StorageError                results that cannot be written or read
    ├── IncompleteRunError      an output folder without finished results
    └── LockedError             another process holds what is to be written

Every class takes its positional arguments through ``super().__init__`` so that it survives pickling
on its way from a Dask worker. The text says what was wrong, the value met and what to do next.
"""

from __future__ import annotations


class WsiPipelineError(Exception):
    """Base of everything this package raises on purpose.

    Parameters
    ----------
    problem : str
        What was wrong, with the value met.
    advice : str
        What the user can do about it; may be empty.

    Examples
    --------
    >>> from wsi_pipeline import open_slide
    >>> try:
    ...     open_slide("nothere.svs")
    ... except WsiPipelineError as error:
    ...     print(error.problem)
    nothere.svs does not exist
    """

    def __init__(self, problem: str, advice: str = "") -> None:
        super().__init__(problem, advice)

    @property
    def problem(self) -> str:
        """What was wrong, with the value met."""
        return str(self.args[0])

    @property
    def advice(self) -> str:
        """What the user can do about it."""
        return str(self.args[1])

    def __str__(self) -> str:
        if not self.advice:
            return self.problem
        return f"{self.problem}{'' if self.problem.endswith('?') else '.'} {self.advice}"


class ConfigError(WsiPipelineError):
    """A configuration or option that cannot be used."""


class SlideError(WsiPipelineError):
    """Something about one slide."""


class SlideOpenError(SlideError):
    """The file is missing, unreadable or not a slide."""


class MissingResolutionError(SlideError):
    """The slide states no µm/px, or one that cannot be true."""


class NotAssessableError(SlideError):
    """The pixels could not show a tumor: gray, nearly black, bright on black."""


class ReadError(SlideError):
    """Pixels that should be there cannot be read."""


class TissueError(WsiPipelineError):
    """The tissue mask cannot be made or used."""


class StainError(WsiPipelineError):
    """Stain vectors cannot be estimated."""


class ModelError(WsiPipelineError):
    """A model folder that is incomplete, altered, or does not fit the data."""


class DatasetError(WsiPipelineError):
    """A training set that cannot be used as asked."""


class WorkersLostError(WsiPipelineError):
    """Every worker of a cluster that took a task up died over it."""


class StorageError(WsiPipelineError):
    """Results that cannot be written or read."""


class IncompleteRunError(StorageError):
    """An output folder that holds no finished results."""


class LockedError(StorageError):
    """Another process holds what is to be written, and does not let go."""
