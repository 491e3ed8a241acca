"""The interface over HTTP that the pages and other programs use."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Literal
from urllib.parse import quote

from fastapi import APIRouter, Body, Depends, Path, Query, Request, Response, UploadFile

from wsi_pipeline.annotations.features import FeatureCollection
from wsi_pipeline.results.layout import CARD_NAME, HEATMAP_NAME, OVERLAY_NAME, THUMBNAIL_NAME
from wsi_pipeline.web.answers import (
    Archive,
    LayerName,
    ModelCardAnswer,
    RegionsAnswer,
    Review,
    Session,
    SlideDetail,
)
from wsi_pipeline.web.classify import MAX_UPLOAD_BYTES, Classification
from wsi_pipeline.web.errors import TooLargeError
from wsi_pipeline.web.layers import layer_bytes, regions_at
from wsi_pipeline.web.review import ReviewUpdate, review_geojson
from wsi_pipeline.web.service import ReviewService
from wsi_pipeline.web.visits import TheVisit

KEEP: Final = {"cache-control": "private, max-age=604800, immutable"}
"""For what has the slide's fingerprint in its address."""
PICTURES: Final = {
    "overlay": OVERLAY_NAME,
    "heatmap": HEATMAP_NAME,
    "thumbnail": THUMBNAIL_NAME,
    "gallery": CARD_NAME,
}
JSON_OBJECT: Final = dict[str, Any]
"""What is checked of an answer on its way out: its parts come from files, which may be of any
version, and go out as they are. Their types are for whoever reads or calls the functions."""
_REFUSAL: Final = {
    "description": "Refused: `error` says why, `advice` what to do",
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "properties": {"error": {"type": "string"}, "advice": {"type": "string"}},
                "required": ["error", "advice"],
            }
        }
    },
}


def error_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the documentation of the statuses with which a request may be refused."""
    return dict.fromkeys((403, 429, *statuses), _REFUSAL)


def attachment(name: str) -> str:
    """Return the header that saves an answer under a name (RFC 6266), of whatever letters."""
    plain = re.sub(r"[^A-Za-z0-9 ._-]", "_", name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


async def service_of(request: Request) -> ReviewService:
    """Return the application's service."""
    service: ReviewService = request.app.state.service
    return service


TheService = Annotated[ReviewService, Depends(service_of)]
SlideId = Annotated[str, Path(max_length=255, description="As in the archive's list")]
Index = Annotated[int, Path(ge=0, le=2**31)]
PictureName = Literal["overlay", "heatmap", "thumbnail", "gallery"]

router = APIRouter(prefix="/api")


@router.get(
    "/archive",
    summary="The run and a row a slide",
    response_model=JSON_OBJECT,
    responses=error_responses(),
)
def archive(service: TheService) -> Archive:
    """Return the run and a row a slide."""
    return service.archive()


@router.get(
    "/session", summary="Who is signed in", response_model=JSON_OBJECT, responses=error_responses()
)
def session(visit: TheVisit) -> Session:
    """Return the name under which reviews are saved (null: as the reviewer says) and the role."""
    person = visit.person
    return {
        "name": person.name if person else None,
        "role": person.role if person else None,
        "can_review": person is not None and person.can_review,
    }


@router.get(
    "/slides/{slide_id}",
    summary="One slide in figures",
    response_model=JSON_OBJECT,
    responses=error_responses(404, 422),
)
def slide(service: TheService, visit: TheVisit, slide_id: SlideId) -> SlideDetail:
    """Return image size, grid, thresholds, figures and provenance of a slide."""
    entry = service.catalog.entry(slide_id)
    visit.note("view", slide=entry.slide_id)
    return service.slide(entry)


@router.get(
    "/slides/{slide_id}/tiles/{level}/{col}_{row}.jpg",
    summary="A Deep Zoom tile of the slide",
    response_class=Response,
    responses={200: {"content": {"image/jpeg": {}}}, **error_responses(404, 422)},
)
def tile(service: TheService, slide_id: SlideId, level: Index, col: Index, row: Index) -> Response:
    """Return a tile; the last level is the slide itself, each one before it half as large."""
    data = service.tiles.tile(service.catalog.entry(slide_id), level, col, row)
    return Response(data, media_type="image/jpeg", headers=KEEP)


@router.get(
    "/slides/{slide_id}/pictures/{name}",
    summary="A stored picture, scaled down",
    response_class=Response,
    responses={200: {"content": {"image/jpeg": {}}}, **error_responses(404, 422)},
)
def picture(
    service: TheService,
    slide_id: SlideId,
    name: PictureName,
    width: Annotated[int, Query(ge=16, le=4096, description="At most, px")] = 1600,
) -> Response:
    """Return overlay, heatmap, thumbnail or the archive's small picture as JPEG."""
    data = service.tiles.picture(service.catalog.entry(slide_id), PICTURES[name], width)
    return Response(data, media_type="image/jpeg", headers=KEEP)


@router.get(
    "/slides/{slide_id}/layers/{layer}",
    summary="The map's values",
    response_class=Response,
    responses={200: {"content": {"application/octet-stream": {}}}, **error_responses(404, 422)},
)
def layer(service: TheService, slide_id: SlideId, layer: LayerName) -> Response:
    """Return rows x cols float32, little-endian, gzipped; NaN = not classified. Mask: uint8."""
    data = layer_bytes(service.catalog.map(service.catalog.entry(slide_id)), layer)
    headers = {**KEEP, "content-encoding": "gzip"}
    return Response(data, media_type="application/octet-stream", headers=headers)


@router.get(
    "/slides/{slide_id}/regions",
    summary="The regions as GeoJSON",
    response_model=JSON_OBJECT,
    responses=error_responses(404, 422),
)
async def regions(
    service: TheService,
    slide_id: SlideId,
    threshold: Annotated[
        float | None, Query(ge=0, le=1, description="Default: the run's own regions")
    ] = None,
) -> RegionsAnswer:
    """Return the regions of the run, or those at another threshold; image px."""
    return await service.lanes.computing.run(
        lambda: regions_at(service.catalog, service.catalog.entry(slide_id), threshold)
    )


@router.get(
    "/slides/{slide_id}/review",
    summary="The review",
    response_model=JSON_OBJECT,
    responses=error_responses(404, 422),
)
def review(service: TheService, slide_id: SlideId) -> Review:
    """Return decisions, comments, drawn outlines and their history, with the revision."""
    return service.review(service.catalog.entry(slide_id)).read()


@router.put(
    "/slides/{slide_id}/review",
    summary="Save changes to the review",
    response_model=JSON_OBJECT,
    responses=error_responses(404, 408, 409, 413, 422),
)
async def save_review(
    service: TheService,
    visit: TheVisit,
    slide_id: SlideId,
    update: Annotated[ReviewUpdate, Body()],
) -> Review:
    """Save changes made on a revision; 409 where somebody else has saved since.

    Where people sign in by name the review is saved under that name, whatever `reviewer` says.
    """
    visit.check_may_review()
    return await service.lanes.saving.run(
        lambda: service.save_review(service.catalog.entry(slide_id), update, visit)
    )


@router.get(
    "/slides/{slide_id}/review.geojson",
    summary="The reviewed regions for QuPath",
    response_model=JSON_OBJECT,
    responses=error_responses(404, 422),
)
def reviewed_regions(
    service: TheService,
    visit: TheVisit,
    slide_id: SlideId,
    response: Response,
    which: Literal["accepted", "all"] = "all",
) -> FeatureCollection:
    """Return reviewed regions as GeoJSON in the frame of `regions.geojson`."""
    entry = service.catalog.entry(slide_id)
    visit.note("export", slide=entry.slide_id, what=f"review.geojson ({which})")
    response.headers["content-disposition"] = attachment(f"{entry.slide_id}_review.geojson")
    return review_geojson(service.review(entry).read(), which)


@router.get(
    "/model",
    summary="The card of the model that classifies uploads",
    response_model=JSON_OBJECT,
    responses=error_responses(),
)
def model(service: TheService) -> ModelCardAnswer:
    """Return what the model expects, its operating points and its figures."""
    return service.uploads.card_record()


@router.post(
    "/classify", summary="Classify an uploaded picture", responses=error_responses(400, 413, 422)
)
async def classify(
    service: TheService,
    visit: TheVisit,
    file: Annotated[UploadFile, "PNG, JPEG or TIFF of a patch or a larger field"],
    um_px: Annotated[
        float | None,
        Query(ge=0.01, le=100, description="µm per px of the picture; default: the model's own"),
    ] = None,
) -> Classification:
    """Return probability, calls, spread over eight views and an occlusion map. No diagnosis."""
    data = await file.read(MAX_UPLOAD_BYTES + 1)
    if len(data) > MAX_UPLOAD_BYTES:
        raise TooLargeError(
            f"the file is larger than {MAX_UPLOAD_BYTES // 2**20} MB", "Send a smaller picture"
        )
    visit.note("classify", bytes=len(data))
    return await service.lanes.classifying.run(lambda: service.uploads.classify(data, um_px))
