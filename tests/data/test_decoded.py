"""The file of decoded pixels: the same pixels, once, within a limit."""

import os
import pickle
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segbench.data.dataset import DataSet, read_data_set
from segbench.data.decoded import DecodedPixels, decode, decoded

GENEROUS = 1.0


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where decoded files lie."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "segbench" / "decoded"


@pytest.fixture
def data_set(scenes: Path, tmp_path: Path) -> DataSet:
    """Scenes of 96 px and one of another size."""
    root = shutil.copytree(scenes, tmp_path / "scenes")
    for kind in ("image", "mask"):
        path = next(iter(sorted((root / "train" / kind).iterdir())))
        with Image.open(path) as picture:
            picture.crop((0, 0, 70, 41)).save(path)
    return read_data_set(root)


def pairs(data_set: DataSet) -> list:
    return [*data_set.train, *data_set.val, *data_set.test]


def assert_the_same(read, data_set: DataSet) -> None:
    for pair in pairs(data_set):
        for ours, stored in zip(read(pair), decode(pair), strict=True):
            assert ours.dtype == stored.dtype
            np.testing.assert_array_equal(ours, stored)


def test_pixels_are_those_of_the_files(kept: Path, data_set: DataSet):
    read = decoded(data_set, GENEROUS, write=True)
    assert isinstance(read, DecodedPixels)
    assert_the_same(read, data_set)
    (file,) = kept.iterdir()
    assert file.stat().st_size == 4 * (10 * 96 * 96 + 70 * 41)


def test_a_worker_gets_the_path_and_not_the_pixels(kept: Path, data_set: DataSet):
    sent = pickle.dumps(decoded(data_set, GENEROUS, write=True))
    assert len(sent) < 10_000
    assert_the_same(pickle.loads(sent), data_set)


def test_other_splits_and_a_moved_folder_share_the_file(
    kept: Path, data_set: DataSet, tmp_path: Path
):
    decoded(data_set, GENEROUS, write=True)
    (file,) = kept.iterdir()
    written = file.stat().st_ino
    moved = shutil.move(data_set.root, tmp_path / "elsewhere")
    folds = read_data_set(Path(moved), folds=3, fold=1)
    assert_the_same(decoded(folds, GENEROUS, write=False), folds)
    (file,) = kept.iterdir()
    assert file.stat().st_ino == written


def test_another_image_is_another_file(kept: Path, data_set: DataSet):
    decoded(data_set, GENEROUS, write=True)
    image = data_set.test[0].image
    Image.new("RGB", (96, 96), (1, 2, 3)).save(image)
    changed = read_data_set(data_set.root)
    read = decoded(changed, GENEROUS, write=True)
    assert len(list(kept.iterdir())) == 2
    assert_the_same(read, changed)


def test_nothing_is_written_unasked_or_beyond_the_limit(kept: Path, data_set: DataSet):
    size = 4 * (10 * 96 * 96 + 70 * 41) / 1e9
    assert decoded(data_set, GENEROUS, write=False) is decode
    assert decoded(data_set, 0.99 * size, write=True) is decode
    assert decoded(data_set, 0, write=True) is decode
    assert not kept.exists()
    nothing_kept = read_data_set(data_set.root)
    decoded(nothing_kept, 0, write=True)
    assert "digests" not in vars(nothing_kept)  # nor read for its hash, which may take minutes
    assert isinstance(decoded(data_set, 1.01 * size, write=True), DecodedPixels)


def test_the_least_recently_used_make_room(kept: Path, data_set: DataSet):
    size = 4 * (10 * 96 * 96 + 70 * 41)
    kept.mkdir(parents=True)
    for age, name in enumerate(("newest", "older", ".oldest.part")):
        (kept / name).write_bytes(bytes(size))
        os.utime(kept / name, (1e9 - age, 1e9 - age))
    decoded(data_set, 2.5 * size / 1e9, write=True)
    assert {"newest"} < {file.name for file in kept.iterdir()}
    assert len(list(kept.iterdir())) == 2


def test_what_another_process_is_writing_stays(kept: Path, data_set: DataSet):
    size = 4 * (10 * 96 * 96 + 70 * 41)
    kept.mkdir(parents=True)
    for name in (".young.part", "older"):
        (kept / name).write_bytes(bytes(size))
    os.utime(kept / ".young.part", (time.time() - 60, time.time() - 60))
    decoded(data_set, 1.5 * size / 1e9, write=True)
    assert (kept / ".young.part").exists()
    assert not (kept / "older").exists()


def test_a_file_cut_short_is_made_again(kept: Path, data_set: DataSet):
    decoded(data_set, GENEROUS, write=True)
    (file,) = kept.iterdir()
    os.truncate(file, 1000)
    assert decoded(data_set, GENEROUS, write=False) is decode
    assert_the_same(decoded(data_set, GENEROUS, write=True), data_set)


def test_without_a_place_the_images_are_decoded_each_time(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    data_set: DataSet,
    capsys: pytest.CaptureFixture[str],
):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert decoded(data_set, GENEROUS, write=True) is decode
    (line,) = capsys.readouterr().err.splitlines()
    assert "data.cache_gb" in line
