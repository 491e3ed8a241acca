"""Configuration: YAML files and options, checked once, frozen afterwards."""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from wsi_pipeline.errors import ConfigError

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
StainMethod = Literal["none", "reinhard", "macenko", "vahadane", "histogram"]
Device = Literal["auto", "cpu", "gpu"]
DEVICES: Final[tuple[str, ...]] = get_args(Device)
STAIN_METHODS: Final[tuple[str, ...]] = get_args(StainMethod)
"""What `stain.METHODS` can do, known without loading it."""


class Section(BaseModel):
    """A part of the configuration: unknown keys are refused, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class SlideSection(Section):
    """How slides are read."""

    mpp: Positive | None = None
    """µm/px for slides that state none; a slide's own plausible value stands."""
    apply_icc: bool = False
    """Convert to sRGB by the scanner's ICC profile. The bundled model was trained without."""
    white_balance: Literal["auto", "none"] = "auto"
    """"auto": the light of a slide is brought to that of the training data by its own glass, where
    the two differ and the model states the latter. "none": light is left as it is."""
    max_lost_share: Share = 0.1
    """A slide fails when a larger share of its patches cannot be read."""


class TissueSection(Section):
    """Which cells are classified."""

    mask_um_px: Annotated[float, Field(gt=0, le=100)] = 16.0
    """Resolution of the thumbnail that the tissue mask is made from, µm/px."""
    min_tissue_share: Share = 0.1
    """A patch is classified from this tissue fraction on."""
    min_part_mm2: Annotated[float, Field(ge=0)] = 0.01
    """Smaller pieces of tissue are specks."""
    max_hole_mm2: Annotated[float, Field(ge=0)] = 0.05
    """Smaller holes belong to the tissue (ducts, vessels, fat)."""


class TilingSection(Section):
    """The grid."""

    stride_px: Annotated[int, Field(gt=0)] | None = None
    """Step between patches at the model's µm/px; a divisor of the patch side. Default: the patch
    side (no overlap)."""
    coarse_step: Annotated[int, Field(ge=2, le=8)] | None = None
    """Coarse to fine: classify every n-th patch along both axes, and the others only near what may
    be tumor. Default: every patch."""
    refine_above: Share = 0.2
    """Patches beside one of at least this probability are classified too."""
    border_step: Annotated[int, Field(ge=1, le=16)] = 1
    """Where outlines run, patches so many times as dense along both axes, and the map of cells as
    fine; a divisor of the patch side. It goes with neither `stride_px` nor `coarse_step`."""
    border_share: Share = 0.6
    """Of the patches of a map without borders, so many more at most are spent on borders."""

    @model_validator(mode="after")
    def _one_way_to_add_patches(self) -> Self:
        for name in ("stride_px", "coarse_step"):
            if self.border_step > 1 and getattr(self, name) is not None:
                raise ValueError(
                    f"border_step {self.border_step} does not go with {name}: leave one of them out"
                )
        return self


class StainSection(Section):
    """Stain normalization."""

    method: StainMethod | None = None
    """Default: what the model was trained with."""
    reference: str | None = None
    """What slides are normalized to: a saved stain_reference.json, or a slide or picture. Default:
    the model's training set."""


class InferenceSection(Section):
    """How patches are classified."""

    device: Device = "auto"
    batch_size: Annotated[int, Field(gt=0)] | None = None
    """Patches a call on Keras; default 1024 on a GPU, 64 on the CPU."""
    threads: Annotated[int, Field(ge=0)] = 0
    """CPU threads of the engine in each process; default: the cores over the processes."""
    tta: bool = False
    """Average eight flips and turns; adds the array `uncertainty`, costs eight times as much."""
    context: bool = True
    """Refine the map by each cell's neighbors where the model folder brings the means for it."""


class RegionsSection(Section):
    """From the map to regions."""

    threshold: Share | None = None
    """Probability from which a cell is called IDC; default: the model's."""
    low_share: Share = 0.8
    """A region extends to connected cells above this share of the threshold (hysteresis)."""
    smoothing_cells: Annotated[float, Field(ge=0, le=10)] | None = None
    """Sigma of the smoothing before thresholding, in cells; default: 0.4 of a patch side."""
    min_area_mm2: Annotated[float, Field(ge=0)] = 0.0
    """Regions with less tissue are dropped."""
    outline: Literal["contour", "cells"] = "contour"
    """"contour": along the interpolated map, cut by the tissue; "cells": along the edges of cells.
    Areas are those of the tissue inside in either case."""


class RenderSection(Section):
    """The pictures."""

    um_px: Positive = 16.0
    """Resolution of overlay and heatmap, µm per picture px; finer for small slides."""
    colormap: str = "viridis"
    """A perceptually uniform matplotlib color map; the limits are always 0 and 1."""
    opacity: Share = 0.6
    """Of the map over the slide."""
    map: Literal["smooth", "cells"] = "smooth"
    """How overlays show it: interpolated between cells, on the tissue alone; or as squares, which
    are what is stored. heatmap.png always shows cells."""
    flagged: Literal["kept", "hatched", "dropped"] = "kept"
    """Cells with a quality flag (out of focus, pen, fold, blank, saturated): "kept" shows them as
    any other; "hatched" strikes them through in the overlay, regions and figures as they were;
    "dropped" takes them for not classified in regions, figures, patches.csv and pictures: IDC under
    a pen or in a fold is then neither found nor counted. probability.zarr holds all in any case."""


class ExecutionSection(Section):
    """Where the work is done."""

    workers: Annotated[int, Field(ge=0)] = 0
    """Slides done at the same time, each in a process of its own; threads where there is but one
    or two slides. 0 = all cores."""
    isolation: Literal["auto", "threads", "processes"] = "auto"
    """Processes: a slide that crashes, hangs or eats memory costs its process, not the run. "auto":
    from three slides on."""
    stall_seconds: Positive = 600.0
    """A process that finishes no block and no stage in this time is given up, with its slide."""
    memory_gb: Positive | None = None
    """What a process may use; default: its share of four fifths of the machine's memory."""
    local_cache: str | None = None
    """Folder on a fast drive that each slide is copied to while it is done. It pays where a slide's
    size over the drive's speed is less than its requests (some 300) times their latency."""
    block_px: Annotated[int, Field(ge=256, le=8192)] = 2048
    """Side of what one task reads, px of the pyramid level read."""
    scheduler: str | None = None
    """Address of a running Dask scheduler, e.g. tcp://host:8786."""
    slurm: dict[str, Any] | None = None
    """Arguments of dask_jobqueue.SLURMCluster; `jobs` is the number of jobs."""


class Config(Section):
    """Everything a run depends on beside the slides."""

    model: str = "idc-compact"
    """Bundled name or folder of the model."""
    outputs: Literal["all", "map"] = "all"
    """ "map" writes probability.zarr and status.json only."""
    parquet: bool = False
    """summary.parquet beside summary.csv; needs the extra `parquet`."""
    slide: SlideSection = SlideSection()
    tissue: TissueSection = TissueSection()
    tiling: TilingSection = TilingSection()
    stain: StainSection = StainSection()
    inference: InferenceSection = InferenceSection()
    regions: RegionsSection = RegionsSection()
    render: RenderSection = RenderSection()
    execution: ExecutionSection = ExecutionSection()

    @model_validator(mode="before")
    @classmethod
    def _no_empty_sections(cls, values: Any) -> Any:
        """Let a section whose keys are all commented out stand in a file."""
        if isinstance(values, dict):
            known = cls.model_fields
            return {
                key: value for key, value in values.items() if value is not None or key not in known
            }
        return values

    def map_sha256(self, model_sha256: str) -> str:
        """Return the sha256 of what a map's numbers depend on, not of how they are computed."""
        record = self.model_dump(include={"slide", "tissue", "tiling", "stain"})
        record["slide"].pop("max_lost_share")
        record["stain"].pop("reference")  # its content counts, see SlideJob.map_sha256
        record["views"] = {"tta": self.inference.tta, "context": self.inference.context}
        record["model"] = model_sha256
        return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()


def load_config(path: Path | None = None, overrides: Mapping[str, Any] | None = None) -> Config:
    """Read a configuration file and lay options over it.

    Parameters
    ----------
    path : Path, optional
        A YAML file; none means the built-in defaults.
    overrides : mapping, optional
        Nested values that stand above the file; None values are skipped.

    Raises
    ------
    ConfigError
        Where the file cannot be read, a key is unknown (the nearest known one is named) or a value
        is out of range.
    """
    values = _read_yaml(path) if path else {}
    _lay_over(values, overrides or {})
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        raise _config_error(error, str(path) if path else "the options") from error


def as_config(config: Config | Mapping[str, Any] | str | Path | None) -> Config:
    """Return the configuration that a caller from Python means.

    Parameters
    ----------
    config : Config, mapping, path of a YAML file or None
        A mapping holds nested values that stand above the built-in defaults, which None means.

    Raises
    ------
    ConfigError
        As `load_config`; or for anything else, with what to pass.

    Examples
    --------
    >>> as_config({"tiling": {"stride_px": 25}}).tiling.stride_px
    25
    >>> as_config({"tiling": {"stride": 25}})
    Traceback (most recent call last):
        ...
    wsi_pipeline.errors.ConfigError: the options: unknown key tiling.stride; did you mean ...
    """
    if isinstance(config, Config):
        return config
    if config is None or isinstance(config, str | Path):
        return load_config(Path(config) if config is not None else None)
    if isinstance(config, Mapping):
        return load_config(None, config)
    raise ConfigError(
        f"config is a {type(config).__name__}",
        'Pass the path of a YAML file, a mapping such as {"tiling": {"stride_px": 25}}, or None',
    )


def _read_yaml(path: Path) -> dict[str, Any]:  # as a user wrote it; `Config` checks it
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(
            f"configuration {path} cannot be read ({error.strerror})", "Check the path"
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"configuration {path} is not YAML: {error}") from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigError(
            f"configuration {path} holds {type(values).__name__}, not keys and values",
            "See configs/default.yaml",
        )
    return values


def _lay_over(values: dict[str, Any], overrides: Mapping[str, Any]) -> None:
    for key, value in overrides.items():
        if isinstance(value, Mapping) and isinstance(values.get(key) or {}, dict):
            section = values.get(key) or {}
            _lay_over(section, value)
            values[key] = section  # an empty one too: its name may be wrong
        elif value is not None:
            values[key] = value


def _config_error(error: ValidationError, where: str) -> ConfigError:
    problems = []
    for item in error.errors():
        place = ".".join(str(part) for part in item["loc"])
        if item["type"] == "extra_forbidden":
            known = _known_keys(item["loc"][:-1])
            nearest = difflib.get_close_matches(str(item["loc"][-1]), known, n=1, cutoff=0.4)
            hint = f"did you mean {nearest[0]}?" if nearest else f"known are {', '.join(known)}"
            problems.append(f"unknown key {place}; {hint}")
        else:
            problems.append(f"{place} is {item['input']!r}: {item['msg']}")
    return ConfigError(
        f"{where}: {'; '.join(problems)}",
        "Every key stands with its meaning in configs/default.yaml",
    )


def _known_keys(section: tuple[int | str, ...]) -> list[str]:
    """Return the keys of a section of the configuration."""
    model: type[BaseModel] = Config
    for name in section:
        annotation = model.model_fields[str(name)].annotation
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return []
        model = annotation
    return list(model.model_fields)
