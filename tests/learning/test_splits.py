import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsi_pipeline.errors import DatasetError
from wsi_pipeline.learning.data.splits import Split, published_cases, published_split, random_split


@pytest.mark.parametrize(("side", "n"), [("train", 84), ("val", 29), ("test", 49)])
def test_the_published_lists_are_whole(side: str, n: int) -> None:
    assert len(published_cases(side)) == n


def test_no_case_stands_in_two_published_lists() -> None:
    lists = [published_cases(side) for side in ("train", "val", "test")]
    assert len(frozenset.union(*lists)) == 84 + 29 + 49


def test_the_published_split_takes_unlisted_cases_to_train_and_leaves_test_cases_out() -> None:
    train, validation, test = (min(published_cases(s)) for s in ("train", "val", "test"))
    split = published_split([train, validation, test, "unlisted"])
    assert split.train == tuple(sorted([train, "unlisted"]))
    assert split.validation == (validation,)
    assert split.left_out == (test,)


def test_a_case_that_looks_like_a_validation_case_does_not_train() -> None:
    everyone = frozenset.union(*(published_cases(side) for side in ("train", "val", "test")))
    split = published_split(everyone | {"9123", "9078"})
    assert "9123" not in split.train
    assert "9078" not in split.train
    assert "9123" in split.left_out or "9123" in split.validation


def test_another_archive_is_refused_the_published_split() -> None:
    with pytest.raises(DatasetError, match=r"not those of the published IDC case lists.*random"):
        published_split(["alice", "bob"])


def test_a_patient_on_two_sides_is_refused() -> None:
    with pytest.raises(DatasetError, match="two sides"):
        Split("mine", ("a", "b"), ("b",))


@settings(deadline=None)
@given(st.sets(st.text("abcdefgh", min_size=1, max_size=3), min_size=2), st.integers(0, 99))
def test_a_random_split_puts_each_patient_on_one_side(patients: set[str], seed: int) -> None:
    split = random_split(patients, np.random.default_rng(seed))
    assert split.train
    assert split.validation
    assert sorted(split.train + split.validation) == sorted(patients)


@pytest.mark.parametrize("seed", range(8))
def test_a_random_split_keeps_patients_that_look_alike_together(seed: int) -> None:
    split = random_split(["9078", "9123", "a", "b", "c", "d"], np.random.default_rng(seed), 0.4)
    assert ("9078" in split.train) == ("9123" in split.train)


def test_one_patient_cannot_be_split() -> None:
    with pytest.raises(DatasetError, match="needs two patients, there are 1"):
        random_split(["only", "only"], np.random.default_rng(0))
