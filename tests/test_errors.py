import inspect
import pickle

import pytest

from wsi_pipeline import errors

CLASSES = [
    item
    for _, item in inspect.getmembers(errors, inspect.isclass)
    if issubclass(item, errors.WsiPipelineError)
]


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_errors_survive_pickling_on_their_way_from_a_worker(
    kind: type[errors.WsiPipelineError],
) -> None:
    error = kind("mpp is 352.8", "Give --mpp")
    back = pickle.loads(pickle.dumps(error))
    assert type(back) is kind
    assert str(back) == "mpp is 352.8. Give --mpp"
    assert (back.problem, back.advice) == (error.problem, error.advice)


def test_without_advice_the_text_is_the_problem() -> None:
    assert str(errors.SlideError("gone")) == "gone"
