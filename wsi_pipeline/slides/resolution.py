"""µm/px of a slide: where it comes from, and whether it can be true.

A model run at the wrong scale is the worst silent error of this package, so that a resolution is
never guessed (not from the magnification either) and never taken without its source.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from wsi_pipeline.errors import MissingResolutionError
from wsi_pipeline.geometry import Mpp, Size
from wsi_pipeline.slides.pyramid import SlideInfo

PLAUSIBLE_UM_PX: Final = (0.05, 20.0)
"""Below: finer than light resolves, even through a 100x objective. Above: a nucleus of 8 µm is less
than half a pixel, and 72 or 96 dpi tags (352.8 and 264.6 µm/px) lie far beyond."""
LARGEST_SLIDE_MM: Final = 250.0
"""No glass is longer: the largest whole-organ slides measure some 200 mm."""
LARGEST_ANISOTROPY: Final = 2.0
POWER_TIMES_MPP: Final = 10.0
"""Objective power times µm/px of common scanners: 40 x 0.25, 20 x 0.5."""
SUSPICIOUS_FACTOR: Final = 4.0
DISAGREEMENT: Final = 0.02
"""Relative difference between two resolutions of one slide that earns a warning."""

NO_SOURCE: Final = "none"
OPTION_SOURCE: Final = "override (--mpp)"
LIST_SOURCE: Final = "override (slide list)"
OME_SOURCE: Final = "OME-XML PhysicalSizeX"

_VENDOR_KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "aperio": ("aperio.MPP",),
    "dicom": ("dicom.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing[0]",),
    "generic-tiff": ("tiff.XResolution",),
    "hamamatsu": ("tiff.XResolution", "hamamatsu.PhysicalWidth"),
    "leica": ("tiff.XResolution",),
    "mirax": ("mirax.LAYER_0_LEVEL_0_SECTION.MICROMETER_PER_PIXEL_X",),
    "philips": ("philips.DICOM_PIXEL_SPACING",),
    "ventana": ("ventana.ScanRes",),
    "zeiss": ("zeiss.Scaling.Items.X.Value",),
}
_TIFF_UNIT_UM: Final[Mapping[str, float]] = {"inch": 25_400.0, "centimeter": 10_000.0}


@dataclass(frozen=True, slots=True)
class Resolution:
    """µm/px of level 0 and where it comes from."""

    mpp: Mpp | None
    """None where there is none, or only one that cannot be true."""
    source: str
    """Its source; for a refused one a sentence with the value met."""
    warnings: tuple[str, ...] = ()


def stated_resolution(properties: Mapping[str, str]) -> Resolution:
    """Return what the properties of an OpenSlide file state, plausible or not.

    OpenSlide's own figure comes first. A TIFF tag per inch, which OpenSlide leaves alone, is read
    here. A magnification is never turned into a resolution.
    """
    mpp = _positive_mpp(properties.get("openslide.mpp-x"), properties.get("openslide.mpp-y"))
    if mpp is not None:
        return Resolution(mpp, _vendor_source(properties))
    return tiff_resolution(
        properties.get("tiff.XResolution"),
        properties.get("tiff.YResolution"),
        properties.get("tiff.ResolutionUnit", "inch"),
    )


def tiff_resolution(x_per_unit: object, y_per_unit: object, unit: str) -> Resolution:
    """Return µm/px from the resolution tags of a TIFF; the tag's default unit is the inch."""
    per_unit = _positive_mpp(x_per_unit, y_per_unit)
    unit_um = _TIFF_UNIT_UM.get(unit.lower())
    if per_unit is None or unit_um is None:
        return Resolution(None, NO_SOURCE)
    return Resolution(Mpp(unit_um / per_unit.x, unit_um / per_unit.y), "tiff.XResolution")


def with_ome(ome: Mpp | None, tagged: Resolution, size_l0: Size) -> Resolution:
    """Return what an OME-TIFF states: its XML speaks of µm, the tags often of a screen.

    Parameters
    ----------
    ome : Mpp or None
        PhysicalSizeX and -Y, µm/px.
    tagged : Resolution
        By the tags of the TIFF.
    size_l0 : Size
        Level-0 px.
    """
    if ome is None or _fault(ome, size_l0):
        return tagged if ome is None or tagged.mpp else Resolution(ome, OME_SOURCE)
    if tagged.mpp is None or _fault(tagged.mpp, size_l0) or not _differ(tagged.mpp, ome):
        return Resolution(ome, OME_SOURCE)
    warning = (
        f"{OME_SOURCE} states {_words(ome)}, used in place of the {_words(tagged.mpp)} of "
        f"{tagged.source}"
    )
    return Resolution(ome, OME_SOURCE, (warning,))


def resolve(
    stated: Resolution,
    size_l0: Size,
    *,
    objective_power: float | None = None,
    mpp: Mpp | None = None,
    mpp_override: Mpp | None = None,
) -> Resolution:
    """Choose between what the file states and what the user states, and judge it.

    Parameters
    ----------
    stated : Resolution
        Of the file itself.
    size_l0 : Size
        Level-0 px: a resolution that makes the glass meters long is refused.
    objective_power : float or None
        Nominal magnification: a disagreement earns a warning, never a guess.
    mpp : Mpp or None
        Fills in for slides that state none or an absurd one (``--mpp``).
    mpp_override : Mpp or None
        Wins over whatever the file states (a row of a slide list).
    """
    plausible = stated.mpp is not None and not _fault(stated.mpp, size_l0)
    if mpp_override is not None and not (plausible and repeats(stated.mpp, mpp_override)):
        chosen = Resolution(mpp_override, LIST_SOURCE)
    elif mpp is not None and not plausible:
        chosen = Resolution(mpp, OPTION_SOURCE)
    else:
        chosen = stated
    warnings = _disagreements(stated, chosen, mpp)
    if chosen is stated:
        warnings = stated.warnings + warnings
    if chosen.mpp is None:
        return chosen
    fault = _fault(chosen.mpp, size_l0)
    if fault:
        return Resolution(None, f"{chosen.source} states {_words(chosen.mpp)}, {fault}", warnings)
    return Resolution(chosen.mpp, chosen.source, warnings + _power_warning(chosen, objective_power))


def require_mpp(info: SlideInfo) -> Mpp:
    """Return the resolution of level 0, or say why there is none.

    Raises
    ------
    MissingResolutionError
        Where the slide states none, or one that cannot be true.
    """
    if info.mpp is not None:
        return info.mpp
    advice = "State the true one with --mpp, or in the mpp_x column of a slide list"
    if info.mpp_source == NO_SOURCE:
        raise MissingResolutionError(f"{info.path.name} does not state its µm/px", advice)
    raise MissingResolutionError(f"{info.path.name} has no usable µm/px: {info.mpp_source}", advice)


def _positive_mpp(x: object, y: object) -> Mpp | None:
    try:
        return Mpp(float(str(x)), float(str(y)))
    except ValueError:
        return None


def _vendor_source(properties: Mapping[str, str]) -> str:
    keys = _VENDOR_KEYS.get(properties.get("openslide.vendor", ""), ())
    return next((key for key in keys if key in properties), "openslide.mpp-x")


def _fault(mpp: Mpp, size_l0: Size) -> str:
    """Say what is wrong with a resolution; empty where nothing is."""
    low, high = PLAUSIBLE_UM_PX
    longest_mm = max(size_l0.width * mpp.x, size_l0.height * mpp.y) / 1000
    if not (low <= min(mpp.x, mpp.y) and max(mpp.x, mpp.y) <= high):
        return f"outside the plausible {low:g} to {high:g} µm/px"
    if mpp.anisotropy > LARGEST_ANISOTROPY:
        return f"but its axes differ by more than a factor {LARGEST_ANISOTROPY:g}"
    if longest_mm > LARGEST_SLIDE_MM:
        return f"which would make the slide {longest_mm:.0f} mm long"
    return ""


def _disagreements(stated: Resolution, chosen: Resolution, option: Mpp | None) -> tuple[str, ...]:
    """Return warnings where the user and the file differ."""
    if stated.mpp is None:
        return ()
    if chosen is not stated and chosen.mpp is not None and _differ(stated.mpp, chosen.mpp):
        return (
            f"{chosen.source} gives {_words(chosen.mpp)}, used in place of the "
            f"{_words(stated.mpp)} of {stated.source}",
        )
    if chosen is stated and option is not None and _differ(stated.mpp, option):
        return (
            f"--mpp gives {_words(option)}, but {stated.source} states {_words(stated.mpp)}, "
            "which stands (a slide list overrides it)",
        )
    return ()


def repeats(stated: Mpp | None, override: Mpp) -> bool:
    """Return whether a list repeats what the slide states (as the lists of `scan` do)."""
    return stated is not None and all(
        abs(a - b) <= 1e-5 * b for a, b in ((stated.x, override.x), (stated.y, override.y))
    )


def _differ(a: Mpp, b: Mpp) -> bool:
    return any(abs(p - q) > DISAGREEMENT * q for p, q in ((a.x, b.x), (a.y, b.y)))


def _power_warning(resolution: Resolution, objective_power: float | None) -> tuple[str, ...]:
    if resolution.mpp is None or not objective_power or objective_power <= 0:
        return ()
    product = objective_power * resolution.mpp.mean / POWER_TIMES_MPP
    if 1 / SUSPICIOUS_FACTOR <= product <= SUSPICIOUS_FACTOR:
        return ()
    return (
        f"{_words(resolution.mpp)} ({resolution.source}) is unusual for an objective of "
        f"{objective_power:g}x: check the scale bar",
    )


def _words(mpp: Mpp) -> str:
    if mpp.x == mpp.y:
        return f"{mpp.x:.6g} µm/px"
    return f"{mpp.x:.6g} x {mpp.y:.6g} µm/px"
