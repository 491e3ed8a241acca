"""From a thumbnail to the tissue mask of a slide.

Tissue is told from everything else by *color in optical density*: stains absorb the three channels
unequally, while glass, dust, hair, scratches, bubbles and coverslip edges only dim them all.
Strongly colored pixels are the core of the mask. Fat, whose membranes hardly stain, is faint or
grey but forms a lace some hundred µm wide that hangs on the core: it is kept by its texture. A
hair is grey too, but thin; a smudge is wide, but smooth; dust is neither next to tissue nor large;
the edge of a slide or coverslip is all these, but hardly anything about it has a stain's hue. A
wash of eosin on the glass has a stain's hue, but neither texture nor an edge.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.filters import threshold_otsu

from wsi_pipeline.errors import ConfigError, TissueError
from wsi_pipeline.geometry import BoolMask, FloatArray, RgbArray
from wsi_pipeline.tissue import morphology
from wsi_pipeline.tissue.artifacts import Artifacts, find_black, find_pen, is_black, under_pen
from wsi_pipeline.tissue.glass import Glass, find_glass, same_color
from wsi_pipeline.tissue.planes import in_planes, strips
from wsi_pipeline.tissue.residue import find_residue

TARGET_UM_PX = 16.0
"""µm/px to make the thumbnail at: fat membranes (a few µm thick around cells of 50 to 100 µm) still
show as texture after averaging, and a slide of 24 x 60 mm is no more than 6 Mpx."""
COARSEST_UM_PX = 100.0
_BRIGHTEST_OD = -0.02  # the lumens of fat, lenses of a kind, are this much brighter than glass
_ROUNDING = 1e-7  # of a mean over some ten thousand float32
_MIN_GREEN = 0.97  # of the largest density; the yellow of a slide's ground edge has 0.9


@dataclass(frozen=True, slots=True)
class TissueParameters:
    """What counts as tissue. Lengths in µm, areas in µm², densities dimensionless (natural log)."""

    min_color_od: float = 0.03
    """Lower guard of the Otsu threshold: compression noise of pure glass stays below it."""
    max_color_od: float = 0.08
    """Upper guard: where a slide is all tissue, Otsu splits pale from dark; both are tissue."""
    faint_color_od: float = 0.02
    """Color from which a pixel beside tissue is a faint part of it."""
    faint_texture_od: float = 0.04
    """Darkness above the surroundings from which a grey pixel beside tissue is a part of it."""
    closing_um: float = 50.0
    """Radius to bridge gaps: the lumen of a fat cell (50 to 100 µm wide) is tissue."""
    min_width_um: float = 60.0
    """Half the width below which a faint strand is a hair or a scratch."""
    reach_um: float = 1500.0
    """How far from colored tissue faint tissue may lie."""
    min_hued_share: float = 0.2
    """Share of the faint pixels within that reach which have a stain's hue; grey dirt has none."""
    margin_um: float = 16.0
    """Width of the strip of plain glass that bridging gaps leaves along the rim; it is trimmed."""
    min_tissue_um2: float = 10_000.0
    """Smaller parts are specks."""
    max_hole_um2: float = 50_000.0
    """Smaller holes are filled (ducts, vessels, fat)."""

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if not (np.isfinite(value) and value >= 0):
                raise ConfigError(
                    f"tissue.{item.name} is {value}", "Give a finite number, zero or above"
                )
        if self.min_color_od > self.max_color_od:
            raise ConfigError(
                f"tissue.min_color_od {self.min_color_od} is above "
                f"max_color_od {self.max_color_od}",
                "The lower guard has to be the smaller one",
            )


DEFAULT_PARAMETERS = TissueParameters()


@dataclass(frozen=True, slots=True, eq=False)
class TissueMask:
    """Where the tissue of a slide is, in the frame of the thumbnail that it was made from."""

    mask: BoolMask
    """bool, shape (H, W), True = tissue; read-only."""
    um_px: tuple[float, float]
    """Resolution along (x, y), µm per mask px."""
    method: str
    """"otsu" from the slide's own colors, or "geojson" or "png" for a user's mask."""
    artifacts: Artifacts
    """What else lies on the slide, each of the mask's shape."""
    threshold: float = float("nan")
    """Color density from which a pixel is tissue by itself; NaN for a user's mask."""
    glass_rgb: tuple[int, int, int] = (255, 255, 255)
    """Color of empty glass that densities refer to."""
    glass_share: float = 0.0
    """Share of the scanned pixels that show it; 0 where it is assumed, not seen."""

    def __post_init__(self) -> None:
        if self.mask.ndim != 2 or self.mask.dtype != np.bool_ or self.mask.size == 0:
            raise ValueError(
                f"a mask must be bool (H, W), received {self.mask.dtype} {self.mask.shape}"
            )
        if self.artifacts.pen.shape != self.mask.shape:
            raise ValueError(
                f"artifacts {self.artifacts.pen.shape} do not fit a mask {self.mask.shape}"
            )
        self.mask.flags.writeable = False

    @property
    def pen_share(self) -> float:
        """Pen marks, share of the picture's area."""
        return _share(self.artifacts.pen)

    @property
    def black_share(self) -> float:
        """Black scanner fill, share of the picture's area."""
        return _share(self.artifacts.black)

    @property
    def debris_share(self) -> float:
        """Grey things left out (dust, hair, bubbles, coverslip edges), share of the area."""
        return _share(self.artifacts.debris)

    @property
    def glass(self) -> Glass:
        """The slide's empty glass, as far as it is seen."""
        return Glass(self.glass_rgb, self.glass_share)

    @property
    def tissue_share(self) -> float:
        """Share of the picture that is tissue, 0 to 1."""
        return _share(self.mask)

    @property
    def area_mm2(self) -> float:
        """Area of the tissue, mm²."""
        return np.count_nonzero(self.mask) * self.um_px[0] * self.um_px[1] / 1e6

    @property
    def is_empty(self) -> bool:
        """True where there is no tissue at all."""
        return not self.mask.any()


@dataclass(frozen=True, slots=True, eq=False)
class _Evidence:
    """What each pixel shows, shape (H, W)."""

    color: FloatArray
    """Spread of the optical density over the channels."""
    hued: BoolMask
    """Faintly colored or more, and in the hue of a stain: both absorb green most."""
    texture: FloatArray
    """Mean optical density above the brightest place nearby."""
    dark: BoolMask
    """Too dark for its color to mean anything."""


def segment_tissue(
    thumbnail: RgbArray,
    *,
    um_px: tuple[float, float],
    background_rgb: tuple[int, int, int] = (255, 255, 255),
    parameters: TissueParameters = DEFAULT_PARAMETERS,
) -> TissueMask:
    """Find the tissue on a thumbnail of a slide.

    Parameters
    ----------
    thumbnail : ndarray of uint8, shape (H, W, 3)
        The scanned area, averaged (not sampled) down to about `TARGET_UM_PX`.
    um_px : tuple of float
        Its resolution along (x, y), µm/px.
    background_rgb : tuple of int
        What the reader paints where nothing was scanned.
    parameters : TissueParameters
        Physical sizes and guards.

    Returns
    -------
    TissueMask
        Of the thumbnail's shape. Empty for a slide without tissue: that is a result, no error.

    Raises
    ------
    TissueError
        Where the thumbnail is coarser than `COARSEST_UM_PX`.

    Notes
    -----
    Otsu (1979) on the color density, guarded from both sides; then hysteresis: faint pixels are
    kept where they hang on colored ones, are wider than a hair, and lie within `reach_um`.
    """
    if not 0 < max(um_px) <= COARSEST_UM_PX:
        raise TissueError(
            f"a tissue mask cannot be made at {um_px[0]:g} x {um_px[1]:g} µm/px",
            f"Make the thumbnail at about {TARGET_UM_PX:g} µm/px, at most {COARSEST_UM_PX:g}",
        )
    thumbnail = in_planes(thumbnail)
    glass = find_glass(thumbnail, background_rgb)
    od = _optical_density(thumbnail, glass.rgb, background_rgb)
    dark = is_black(thumbnail)
    black = find_black(dark, um_px)
    pen = find_pen(od, black, um_px)
    foreign = pen | black
    evidence = _evidence(od, dark, um_px, parameters)
    residue = find_residue(thumbnail, od, um_px)
    evidence.color[residue], evidence.hued[residue] = 0.0, False
    colors = evidence.color[~foreign] if foreign.any() else evidence.color
    threshold = _guarded_otsu(colors, parameters)
    mask = _grow_from_core(evidence, foreign, threshold, um_px, parameters)
    debris = (evidence.texture > parameters.faint_texture_od) & ~mask & ~foreign
    # Tissue under a stroke is tissue: its cells are classified, and flagged.
    mask |= under_pen(mask, pen, um_px)
    return TissueMask(
        mask,
        um_px,
        "otsu",
        Artifacts(pen, black, debris),
        threshold=threshold,
        glass_rgb=glass.rgb,
        glass_share=glass.share,
    )


def _share(mask: BoolMask) -> float:
    return float(np.count_nonzero(mask) / mask.size)


def _optical_density(
    thumbnail: RgbArray, glass_rgb: tuple[int, int, int], background_rgb: tuple[int, int, int]
) -> FloatArray:
    """Natural-log density against the slide's own glass; 0 where nothing was scanned."""
    levels = np.log(np.maximum(np.arange(256, dtype=np.float32), 1.0))
    tables = np.log(np.asarray(glass_rgb, dtype=np.float32))[:, np.newaxis] - levels
    od = np.moveaxis(np.empty((3, *thumbnail.shape[:2]), np.float32), 0, -1)
    for rows in strips(thumbnail.shape):
        unscanned = same_color(thumbnail[rows], background_rgb)
        for channel, table in enumerate(tables):
            density = table.take(thumbnail[rows, :, channel])
            np.putmask(density, unscanned, 0.0)
            od[rows, :, channel] = density
    return od


def _evidence(
    od: FloatArray, dark: BoolMask, um_px: tuple[float, float], parameters: TissueParameters
) -> _Evidence:
    color, mean = (np.empty(dark.shape, np.float32) for _ in range(2))
    hued = np.empty(dark.shape, dtype=bool)
    for rows in strips(dark.shape):
        red, green, blue = (od[rows, :, channel] for channel in range(3))
        # Reductions over an axis of three are slow in numpy.
        densest = np.maximum(np.maximum(red, green), blue)
        spread = densest - np.minimum(np.minimum(red, green), blue)
        hued[rows] = (spread > parameters.faint_color_od) & (green > _MIN_GREEN * densest)
        np.putmask(spread, dark[rows], 0.0)  # the logarithm of nearly nothing: any tint is noise
        color[rows] = spread
        mean[rows] = (red + green + blue) / np.float32(3)
    return _Evidence(color, hued, _texture(mean, um_px, parameters), dark)


def _texture(
    mean: FloatArray, um_px: tuple[float, float], parameters: TissueParameters
) -> FloatArray:
    size = morphology.box_px(parameters.closing_um, um_px)
    texture = np.empty_like(mean)
    for rows in strips(mean.shape):
        above = min(rows.start, size[0] // 2)  # rows that the first of the strip looks at too
        around = mean[rows.start - above : rows.stop + size[0] // 2]
        brightest = morphology.box_filter(around, size, np.minimum)[above:][: len(texture[rows])]
        # Fill whiter than glass must not make all glass beside it look dark.
        texture[rows] = mean[rows] - np.maximum(brightest, _BRIGHTEST_OD)
    return texture


def _guarded_otsu(color: NDArray[np.float32], parameters: TissueParameters) -> float:
    low, high = parameters.min_color_od, parameters.max_color_od
    if color.size == 0 or float(np.ptp(color)) == 0.0:
        return high
    return float(np.clip(threshold_otsu(color), low, high))


def _grow_from_core(
    evidence: _Evidence,
    foreign: BoolMask,
    threshold: float,
    um_px: tuple[float, float],
    parameters: TissueParameters,
) -> BoolMask:
    core = morphology.drop_small(
        (evidence.color >= threshold) & ~foreign, parameters.min_tissue_um2 / 10, um_px
    )
    if not core.any():
        return core
    faint = (evidence.color > parameters.faint_color_od) | evidence.dark
    faint |= evidence.texture > parameters.faint_texture_od
    seen = (core | faint) & ~foreign
    lace = morphology.close_gaps(seen, parameters.closing_um, um_px)
    wide = morphology.open_strands(lace, parameters.min_width_um, um_px)
    # Opening cuts the corners of fat, so they are taken back; the stubs of hairs are not.
    lace &= morphology.grow(wide, parameters.min_width_um, um_px)
    lace = morphology.open_strands(lace, parameters.min_width_um / 3, um_px)
    near = morphology.grow(core, parameters.reach_um, um_px)
    near &= _has_hue(evidence.hued & ~foreign, seen, um_px, parameters)
    solid = morphology.close_gaps(core, parameters.closing_um, um_px)
    mask = morphology.parts_touching(solid | (lace & near), core) & ~foreign
    mask &= ~morphology.flood(~mask, ~seen, parameters.margin_um, um_px)
    mask = morphology.open_strands(mask, parameters.margin_um, um_px)
    mask = morphology.drop_small(mask, parameters.min_tissue_um2, um_px)
    return morphology.fill_small_holes(mask, parameters.max_hole_um2, um_px) & ~foreign


def _has_hue(
    hued: BoolMask, seen: BoolMask, um_px: tuple[float, float], parameters: TissueParameters
) -> BoolMask:
    """Return True where more of what is seen within reach than a share has the hue of a stain."""
    size = morphology.box_px(parameters.reach_um, um_px)
    share, surplus = np.float32(parameters.min_hued_share), np.empty(seen.shape, np.float32)
    for rows in strips(seen.shape):
        np.subtract(hued[rows], share * seen[rows], out=surplus[rows])
    found = ndimage.uniform_filter(surplus, size, mode="constant")
    return np.asarray((found > _ROUNDING) | (share == 0), dtype=bool)
