"""A run, resolved: what is the same for all of its slides, settled before there are any."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

from wsi_pipeline.classifier import ModelCard, ModelRequest, find_model
from wsi_pipeline.classifier.engines.owned import OwnerAddress
from wsi_pipeline.config import Config
from wsi_pipeline.geometry import Box, Mpp
from wsi_pipeline.pipeline.plan import grid_over
from wsi_pipeline.pipeline.stain import settle_reference
from wsi_pipeline.results.layout import slide_folder
from wsi_pipeline.slides import SlideSource


@dataclass(frozen=True, slots=True)
class SlideJob:
    """One slide to do, as plain data."""

    slide_id: str
    source: SlideSource
    mask_path: Path | None = None
    """A user's tissue mask: outlines or a picture."""
    notes: tuple[str, ...] = ()
    """What has to be said of the slide before it is opened."""
    fingerprint: str = ""
    """Of the content that the id stands for; empty where the file is out of reach."""
    duplicate_of: str = ""
    """Id of a slide of the same run that has the same content and comes first."""


@dataclass(frozen=True, slots=True)
class ResolvedRun:
    """What all slides of a run share, as plain data that goes to workers."""

    out: Path
    """The output folder, absolute."""
    config: Config
    card: ModelCard
    model: ModelRequest
    run_id: str = ""

    def folder(self, job: SlideJob) -> Path:
        """Return where a slide's results go."""
        return slide_folder(self.out, job.slide_id)

    def map_sha256(self, job: SlideJob) -> str:
        """Return the sha256 of all that the numbers of a slide's map depend on.

        Raises
        ------
        OSError
            Where a mask or stain reference cannot be read.
        """
        card = self.card
        key = [self.config.map_sha256(card.sha256), str(job.source.mpp_override)]
        key += [str(card.temperature), str(card.context), str(card.glass_rgb)]
        for path in (job.mask_path, self.config.stain.reference):
            if path is not None:
                key.append(hashlib.sha256(Path(path).read_bytes()).hexdigest())
        return hashlib.sha256("|".join(key).encode()).hexdigest()

    def placed(
        self, n_threads: int, *, on_gpu_workers: bool, owner: OwnerAddress | None = None
    ) -> ResolvedRun:
        """Return the run with the engine's threads, and where it classifies, as a backend says.

        It goes out with every slide: what the card has for display alone, most of it, stays here.
        """
        threads = self.config.inference.threads or n_threads
        model = replace(self.model, n_threads=threads, on_gpu_workers=on_gpu_workers, owner=owner)
        return replace(self, card=replace(self.card, record={}), model=model)


def resolve_run(config: Config, out: Path, reference_folder: Path | None = None) -> ResolvedRun:
    """Find the model, settle the stain reference and check what no slide could be done with.

    Parameters
    ----------
    config : Config
    out : Path
        The output folder.
    reference_folder : Path, optional
        Where a stain reference that is fitted now is written, if not in `out`.

    Raises
    ------
    ModelError, ConfigError
        Where no slide could be done with this model, stride or reference.
    """
    card = find_model(config.model)
    grid_over(Box(0, 0, 1, 1), Mpp(1, 1), config, card)
    config = settle_reference(config, card, reference_folder or out)
    return ResolvedRun(out.absolute(), config, card, ModelRequest.of(card, config))
