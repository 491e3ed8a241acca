"""Ids are bound to content: whatever happens to an archive, no result changes its slide."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wsi_pipeline.annotations.features import Geometry
from wsi_pipeline.errors import StorageError
from wsi_pipeline.files import write_json
from wsi_pipeline.results.layout import REVIEW_NAME, STATUS_NAME, slide_folder
from wsi_pipeline.results.locate import SlideLocator
from wsi_pipeline.results.registry import SlideRegistry, WantedSlide
from wsi_pipeline.results.status import Done, SlideFile, read_status, write_status
from wsi_pipeline.slides.identity import fingerprint
from wsi_pipeline.web.answers import NewItem
from wsi_pipeline.web.review import Change, ReviewStore, ReviewUpdate

SOME_ID = "00000000-0000-0000-0000-000000000001"


class SmallArchive:
    """Files that stand for slides, and runs that note what each was made of."""

    def __init__(self, folder: Path) -> None:
        self.slides, self.out = folder / "slides", folder / "out"
        self.slides.mkdir(parents=True)
        self.out.mkdir()

    def put(self, place: str, content: str) -> None:
        path = self.slides / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)

    def move(self, place: str, to: str) -> None:
        (self.slides / to).parent.mkdir(parents=True, exist_ok=True)
        (self.slides / place).rename(self.slides / to)

    def files(self) -> list[str]:
        found = (path for path in self.slides.rglob("*") if path.is_file())
        return sorted(str(path.relative_to(self.slides)) for path in found)

    def run(self) -> dict[str, str]:
        """Do what is not done yet; return the id of each file."""
        paths = [self.slides / place for place in self.files()]
        registry = SlideRegistry.read(self.out)
        bound = registry.bind([WantedSlide(path.stem, path) for path in paths])
        registry.save()
        for path, (slide_id, found) in zip(paths, bound, strict=True):
            assert found == fingerprint(path)
            folder = slide_folder(self.out, slide_id)
            status = read_status(folder)
            if isinstance(status, Done):
                assert status.fingerprint == found, "what is there is of this content"
                continue
            folder.mkdir(parents=True, exist_ok=True)
            content = path.read_text()
            file = SlideFile(bytes=len(content))
            write_status(folder, Done(slide=str(path), fingerprint=found, file=file))
            (folder / "made of").write_text(content)
        return {place: slide_id for place, (slide_id, _) in zip(self.files(), bound, strict=True)}

    def review(self, slide_id: str) -> None:
        """Decide on a slide; the comment names the content that was looked at."""
        folder = slide_folder(self.out, slide_id)
        status = read_status(folder)
        assert isinstance(status, Done)
        store = ReviewStore(folder, status.fingerprint)
        change = Change(id=SOME_ID, comment=(folder / "made of").read_text())
        update = ReviewUpdate(revision=store.read()["revision"], reviewer="A", changes=[change])
        nowhere: Geometry = {"type": "Polygon", "coordinates": []}
        item: NewItem = {"kind": "detected", "geometry": nowhere, "measurements": {}}
        store.save(update, lambda _: item)

    def check(self) -> None:
        """Hold every result, review and file that is found against the content."""
        locator = SlideLocator(self.slides)
        for folder in (self.out / "slides").iterdir():
            status = read_status(folder)
            assert isinstance(status, Done)
            made_of = (folder / "made of").read_text()
            if (folder / REVIEW_NAME).exists():
                review = ReviewStore(folder, status.fingerprint).read()
                assert review["items"][SOME_ID]["comment"] == made_of
            place = locator.find(status)
            if place is not None:
                assert place.read_text() == made_of


@pytest.fixture
def small(tmp_path: Path) -> SmallArchive:
    return SmallArchive(tmp_path)


def test_a_slide_that_sorts_first_takes_no_given_id(small: SmallArchive) -> None:
    small.put("S24-0002/HE/slide1.tif", "two")
    before = small.run()
    small.review("slide1")
    small.put("S24-0001/HE/slide1.tif", "one")
    after = small.run()
    assert after["S24-0002/HE/slide1.tif"] == before["S24-0002/HE/slide1.tif"] == "slide1"
    assert after["S24-0001/HE/slide1.tif"] == "S24-0001_slide1", "the folder that differs"
    assert not (slide_folder(small.out, "S24-0001_slide1") / REVIEW_NAME).exists()
    small.check()


def test_a_slide_that_was_moved_and_renamed_keeps_its_id_and_is_not_done_again(
    small: SmallArchive,
) -> None:
    small.put("a.tif", "one")
    assert small.run() == {"a.tif": "a"}
    small.move("a.tif", "moved/b.tif")
    assert small.run() == {"moved/b.tif": "a"}
    assert len(list((small.out / "slides").iterdir())) == 1


def test_another_scan_at_the_same_place_is_another_slide(
    small: SmallArchive, caplog: pytest.LogCaptureFixture
) -> None:
    small.put("a.tif", "one")
    small.run()
    small.review("a")
    small.put("a.tif", "scanned again")
    assert small.run() == {"a.tif": "a_2"}
    assert "holds other content now" in caplog.text
    assert (slide_folder(small.out, "a") / "made of").read_text() == "one"
    small.check()


def test_slides_that_change_places_keep_their_ids(small: SmallArchive) -> None:
    small.put("a.tif", "one")
    small.put("b.tif", "two")
    small.run()
    small.put("a.tif", "two")
    small.put("b.tif", "one")
    assert small.run() == {"a.tif": "b", "b.tif": "a"}


def test_of_two_copies_each_has_an_id_and_keeps_it(small: SmallArchive) -> None:
    small.put("x/a.tif", "same")
    small.put("y/a.tif", "same")
    first = small.run()
    assert len(set(first.values())) == 2
    assert small.run() == first


def test_without_results_a_place_keeps_its_id_whatever_it_holds(small: SmallArchive) -> None:
    small.put("a.tif", "half of")
    registry = SlideRegistry.read(small.out)
    assert registry.bind([WantedSlide("a", small.slides / "a.tif")])[0][0] == "a"
    registry.save()
    small.put("a.tif", "half of it, and the rest that was being copied")
    assert small.run() == {"a.tif": "a"}


def test_a_drive_that_is_away_changes_nothing(small: SmallArchive) -> None:
    small.put("a.tif", "one")
    small.run()
    shutil.move(small.slides, small.slides.with_name("away"))
    registry = SlideRegistry.read(small.out)
    (bound,) = registry.bind([WantedSlide("a", small.slides / "a.tif")])
    assert bound[0] == "a"


def test_two_runs_cannot_give_one_id_to_two_slides(small: SmallArchive) -> None:
    small.put("x/a.tif", "one")
    small.put("y/a.tif", "two")
    first, second = SlideRegistry.read(small.out), SlideRegistry.read(small.out)
    first.bind([WantedSlide("a", small.slides / "x/a.tif")])
    second.bind([WantedSlide("a", small.slides / "y/a.tif")])
    first.save()
    with pytest.raises(StorageError, match="another run has given the id a"):
        second.save()


def test_a_folder_of_a_version_without_a_registry_is_taken_over(small: SmallArchive) -> None:
    small.put("a.tif", "one")
    small.put("b.tif", "two")
    for name in "ab":
        path = small.slides / f"{name}.tif"
        stat = path.stat()
        record = {
            "state": "done",
            "slide": str(path),
            "file": {"bytes": stat.st_size, "mtime_ns": stat.st_mtime_ns, "quickhash": "q"},
        }
        folder = slide_folder(small.out, name)
        folder.mkdir(parents=True)
        write_json(folder / STATUS_NAME, record)
    small.put("b.tif", "other")
    registry = SlideRegistry.read(small.out)
    wanted = [WantedSlide(name, small.slides / f"{name}.tif") for name in "ab"]
    assert [slide_id for slide_id, _ in registry.bind(wanted)] == ["a", "b_2"]


@pytest.mark.parametrize("text", ["{", "[]", '{"schema_version": 99, "slides": {}}'])
def test_a_registry_that_cannot_be_read_ends_the_run(small: SmallArchive, text: str) -> None:
    (small.out / "slides.json").write_text(text)
    with pytest.raises(StorageError, match=r"cannot be read|newer"):
        SlideRegistry.read(small.out)


def test_a_review_copied_to_another_slide_is_refused(small: SmallArchive) -> None:
    small.put("a.tif", "one")
    small.put("b.tif", "two")
    small.run()
    small.review("a")
    source, target = (slide_folder(small.out, name) / REVIEW_NAME for name in "ab")
    shutil.copy(source, target)
    status = read_status(target.parent)
    assert isinstance(status, Done)
    with pytest.raises(StorageError, match="belongs to another slide"):
        ReviewStore(target.parent, status.fingerprint).read()


PLACES = ("a.tif", "b.tif", "x/a.tif", "y/a.tif", "y/HE/a.tif")
STEP = st.one_of(
    st.tuples(st.just("put"), st.sampled_from(PLACES), st.sampled_from("1234")),
    st.tuples(st.just("move"), st.sampled_from(PLACES), st.sampled_from(PLACES)),
    st.tuples(st.just("copy"), st.sampled_from(PLACES), st.sampled_from(PLACES)),
    st.tuples(st.just("drop"), st.sampled_from(PLACES), st.just("")),
    st.tuples(st.just("review"), st.sampled_from(PLACES), st.just("")),
    st.tuples(st.just("run"), st.just(""), st.just("")),
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps=st.lists(STEP, max_size=14))
def test_whatever_happens_no_result_or_review_belongs_to_other_content(
    steps: list[tuple[str, str, str]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    small = SmallArchive(tmp_path_factory.mktemp("archive"))
    ids: dict[str, str] = {}
    seen: dict[str, str] = {}
    for number, (what, place, other) in enumerate(steps):
        source, target = small.slides / place, small.slides / other
        if what == "put":
            small.put(place, f"content {other}" + " " * number)
        elif what == "move" and source.is_file() and place != other:
            small.move(place, other)
        elif what == "copy" and source.is_file() and place != other:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
        elif what == "drop" and source.is_file():
            source.unlink()
        elif what == "review" and place in ids:
            small.review(ids[place])
        elif what == "run":
            ids = small.run()
            assert max(Counter(ids.values()).values(), default=1) == 1, "one id a slide"
            for folder in (small.out / "slides").iterdir() if ids else ():
                made_of = (folder / "made of").read_text()
                assert seen.setdefault(folder.name, made_of) == made_of, "an id is for life"
            if ids:
                small.check()
    shutil.rmtree(small.slides.parent)
