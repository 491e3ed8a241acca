"""The owner of the GPU, with classifiers that know the answer in the place of a GPU."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil  # type: ignore[import-untyped]
import pytest

from tests.classifier import faulty
from wsi_pipeline.classifier import find_model
from wsi_pipeline.classifier.classifier import PatchClassifier
from wsi_pipeline.classifier.engines.owned import OwnedClassifier, OwnerAddress
from wsi_pipeline.classifier.engines.owner import Owner
from wsi_pipeline.errors import ModelError
from wsi_pipeline.execution import gpu_owner as owners
from wsi_pipeline.execution.gpu_owner import gpu_owner
from wsi_pipeline.geometry import FloatArray, RgbArray

SECONDS = 60


def patches_of(*levels: int) -> RgbArray:
    return np.asarray(levels, np.uint8).reshape(-1, 1, 1, 1) * np.ones((1, 50, 50, 3), np.uint8)


def here() -> PatchClassifier:
    return faulty.FaultyClassifier(None, 1, "")


def reader(address: OwnerAddress, *, only_owner: bool = False) -> OwnedClassifier:
    return OwnedClassifier(address, find_model("idc-compact").folder, here, only_owner=only_owner)


def owner_pid(folder_of: OwnerAddress) -> int:
    """Return the process that listens at the address."""
    (found,) = (
        process.pid
        for process in psutil.Process().children()
        if any(c.laddr.startswith(folder_of.path) for c in process.net_connections("unix"))
    )
    return int(found)


@pytest.fixture(scope="module")
def address() -> Iterator[OwnerAddress]:
    with gpu_owner(faulty.sound) as found:
        yield found


def test_a_reader_gets_the_answers_of_its_own_patches_in_order(address: OwnerAddress) -> None:
    levels = np.arange(5000) % 13
    probability, features = reader(address).predict_features(patches_of(*levels))
    np.testing.assert_array_equal(probability, (levels / 255).astype(np.float32))
    assert features is not None
    np.testing.assert_array_equal(features[:, 0], levels)


def test_many_threads_share_it_and_each_hears_of_the_device(address: OwnerAddress) -> None:
    one = reader(address)

    def ask(level: int) -> tuple[float, str]:
        return float(one.predict(patches_of(*[level] * 3))[2]), one.device

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(ask, range(12)))
    assert found == [(float(np.float32(n / 255)), "batches of 64") for n in range(12)]


def test_no_patches_are_no_trouble(address: OwnerAddress) -> None:
    probability, features = reader(address).predict_features(np.empty((0, 50, 50, 3), np.uint8))
    assert probability.shape == (0,)
    assert features is None or len(features) == 0


def test_an_error_of_the_patches_is_the_readers_and_the_owner_goes_on(
    address: OwnerAddress,
) -> None:
    with pytest.raises(ValueError, match="broadcast"):
        reader(address).predict(np.zeros((2, 20, 20, 3), np.uint8))
    assert reader(address).predict(patches_of(5))[0] == np.float32(5 / 255)


def test_patches_of_several_readers_are_classified_together() -> None:
    inner = faulty.FaultyClassifier(64, 10**6, "")
    begun, go_on = threading.Event(), threading.Event()

    class Slow(faulty.FaultyClassifier):
        def predict_features(self, patches: RgbArray) -> tuple[FloatArray, FloatArray | None]:
            begun.set()
            go_on.wait(SECONDS)
            return inner.predict_features(patches)

    owner = Owner(Slow(64, 10**6, ""))
    with ThreadPoolExecutor(9) as pool:
        first = pool.submit(owner.predict, patches_of(1))
        assert begun.wait(SECONDS)
        rest = [pool.submit(owner.predict, patches_of(n)) for n in range(2, 10)]
        while not all(found.running() for found in rest):
            time.sleep(0.01)
        time.sleep(0.2)
        go_on.set()
        levels = [round(255 * float(found.result()[0])) for found in (first, *rest)]
    assert levels == list(range(1, 10))
    assert sum(inner.calls) == 9
    assert len(inner.calls) <= 4, "the first, two that were taken meanwhile, and the rest"


def test_a_stranger_without_the_key_is_left_outside(address: OwnerAddress) -> None:
    stranger = reader(OwnerAddress(address.path, b"another key"))
    assert stranger.predict(patches_of(3))[0] == np.float32(3 / 255)
    assert stranger.device == "CPU", "it classifies by itself"
    assert reader(address).device == "batches of 64"


def _read_on(address: OwnerAddress, told: multiprocessing.connection.Connection) -> None:
    mine = reader(address)
    while True:
        mine.predict(patches_of(*[7] * 100))
        told.send(os.getpid())


def test_a_reader_that_is_killed_leaves_the_owner_to_the_others(address: OwnerAddress) -> None:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_read_on, args=(address, theirs), daemon=True)
    process.start()
    assert ours.recv() == process.pid
    process.kill()
    process.join(SECONDS)
    assert reader(address).predict(patches_of(9))[0] == np.float32(9 / 255)
    assert reader(address).device == "batches of 64"


def test_an_owner_that_is_killed_is_started_again() -> None:
    with gpu_owner(faulty.sound) as address:
        mine = reader(address)
        assert mine.predict(patches_of(4))[0] == np.float32(4 / 255)
        first = owner_pid(address)
        os.kill(first, signal.SIGKILL)
        psutil.wait_procs([psutil.Process(first)] if psutil.pid_exists(first) else [], SECONDS)
        assert mine.predict(patches_of(6))[0] == np.float32(6 / 255)
        assert mine.device == "batches of 64"
        assert owner_pid(address) != first


def test_patches_that_kill_every_owner_are_classified_by_their_reader(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(owners, "RESTARTS", 1)
    with gpu_owner(faulty.sound) as address:
        deadly = OwnedClassifier(address, find_model("idc-compact").folder, _unharmed)
        assert deadly.predict(patches_of(faulty.DEADLY))[0] == np.float32(0.5)
        assert deadly.device == "here"
        assert not Path(address.path).exists(), "nobody waits for another"
        late = reader(address)
        assert late.predict(patches_of(8))[0] == np.float32(8 / 255)
        assert late.device == "CPU"
    assert not Path(address.path).parent.exists()


def _unharmed() -> PatchClassifier:
    class Unharmed(faulty.FaultyClassifier):
        @property
        def device(self) -> str:
            return "here"

        def predict_features(self, patches: RgbArray) -> tuple[FloatArray, FloatArray | None]:
            return np.full(len(patches), 0.5, np.float32), None

    return Unharmed(None, 1, "")


def test_a_gpu_without_memory_takes_smaller_batches_and_says_so() -> None:
    with gpu_owner(faulty.without_memory) as address:
        mine = reader(address)
        assert mine.device == "batches of 1024"
        assert mine.predict(patches_of(4))[0] == np.float32(4 / 255)
        assert mine.device == "batches of 64"


def test_without_a_gpu_readers_go_on_by_themselves_unless_one_was_asked_for() -> None:
    with gpu_owner(faulty.without_gpu) as address:
        assert reader(address).device == "CPU"
        with pytest.raises(ModelError, match="no GPU was found"):
            reader(address, only_owner=True).predict(patches_of(1))


def _on_keras() -> PatchClassifier:
    from wsi_pipeline.classifier.engines.keras import KerasClassifier

    return KerasClassifier(find_model("idc-compact"), batch_size=16, device="CPU")


@pytest.mark.tensorflow
def test_the_owner_gives_what_the_direct_path_gives_but_for_the_last_bit() -> None:
    # TensorFlow rounds by a patch's place in its batch, which depends on who else asks.
    patches = np.random.default_rng(0).integers(60, 250, (53, 50, 50, 3), dtype=np.uint8)
    direct = _on_keras()
    with gpu_owner(_on_keras) as address:
        mine = reader(address)
        with ThreadPoolExecutor(4) as pool:
            parts = [patches[start : start + 11] for start in range(0, 53, 11)]
            found = list(pool.map(mine.predict, parts))
        np.testing.assert_allclose(np.concatenate(found), direct.predict(patches), atol=1e-6)
        alone, features = mine.predict_features(patches)
    same, same_features = direct.predict_features(patches)
    np.testing.assert_array_equal(alone, same)  # the same batches, the same bytes
    assert features is not None
    assert same_features is not None
    np.testing.assert_array_equal(features, same_features)
