"""``segbench data prepare floodnet``: its values, its resumption, and archives that mean harm."""

import gzip
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from bombs import png_header
from folders import photo
from numpy.typing import NDArray
from PIL import Image

from segbench.data import archives

Segbench = Callable[..., str]

SPLITS = {"train": ("6336", "6337", "7001"), "val": ("6400",), "test": ("6500",)}
OURS = {0: 0, 1: 1, 2: 1, 3: 2, 4: 2, 5: 3, 6: 4, 7: 5, 8: 6, 9: 7}
NAMES = ["Background", "Building", "Road", "Water", "Tree", "Vehicle", "Pool", "Grass"]
"""Official id -> ours, by hand from the release's class list and ours."""

TOP = "FloodNet-Supervised_v1.0"


def official(number: int, width: int, height: int) -> NDArray[np.uint8]:
    """Ids 0..9 in patches of 6 px, with specks: blocks of 4 px that agree and that do not."""
    rng = np.random.default_rng([3, number])
    rough = rng.integers(0, 10, (height // 6 + 1, width // 6 + 1), np.uint8)
    ids = rough.repeat(6, 0).repeat(6, 1)[:height, :width].copy()
    specks = rng.random(ids.shape) < 0.2
    ids[specks] = rng.integers(0, 10, specks.sum(), np.uint8)
    return ids


def write_release(folder: Path, scale: int = 1) -> Path:
    number = 0
    for split, names in SPLITS.items():
        for kind in ("org", "label"):
            (folder / TOP / split / f"{split}-{kind}-img").mkdir(parents=True)
        for name in names:
            # one of them is no multiple of 4 px, as the release has two sizes
            width, height = (71, 50) if name == "6337" else (64 * scale, 48 * scale)
            place = folder / TOP / split
            image = Image.fromarray(photo(number, width, height))
            image.save(place / f"{split}-org-img" / f"{name}.jpg", quality=95)
            mask = Image.fromarray(official(number, width, height))
            mask.save(place / f"{split}-label-img" / f"{name}_lab.png")
            number += 1
    # what else lies in the official .zip, and what a Mac adds
    for path in ("ColorMasks-FloodNetv1.0/ColorMasks-TrainSet/6336_lab.png", f"{TOP}/readme.txt"):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(b"other")
    junk = folder / "__MACOSX" / TOP / "train" / "train-org-img" / "._6336.jpg"
    junk.parent.mkdir(parents=True)
    junk.write_bytes(b"junk")
    return folder


@pytest.fixture
def release(tmp_path: Path) -> Path:
    return write_release(tmp_path / "FloodNet")


def content(root: Path) -> dict[str, bytes]:
    files = (path for path in root.rglob("*") if path.is_file())
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in files}


def blocks(ids: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The 16 values of each block of 4x4 [height / 4, width / 4, 16]."""
    height, width = ids.shape[0] // 4, ids.shape[1] // 4
    cut = ids[: 4 * height, : 4 * width].reshape(height, 4, width, 4)
    return cut.transpose(0, 2, 1, 3).reshape(height, width, 16)


def test_eight_classes_a_quarter_as_wide(release: Path, segbench: Segbench):
    out = segbench("data", "prepare", "floodnet", release, "--out", "new").splitlines()
    assert out == [
        "new: 10 files written, 0 were there already",
        "train: 3 pairs: 2 of 16x12 px, 1 of 17x12 px",
        "val: 1 pair: 1 of 16x12 px",
        "test: 1 pair: 1 of 16x12 px",
        "new: look it over with: segbench data check new",
    ]
    assert [one["name"] for one in json.loads(Path("new/classes.json").read_text())] == NAMES
    for split, names in SPLITS.items():
        for name in names:
            place = release / TOP / split
            before = np.asarray(Image.open(place / f"{split}-label-img" / f"{name}_lab.png"))
            after = np.asarray(Image.open(f"new/{split}/mask/{name}.png"))
            middle = blocks(before)[..., 5]  # row 1, column 1 of 4x4
            assert after.tolist() == [[OURS[i] for i in row] for row in middle.tolist()]
            image = np.asarray(Image.open(place / f"{split}-org-img" / f"{name}.jpg"))
            means = np.stack([blocks(image[..., c]).mean(-1) for c in range(3)], -1)
            small = np.asarray(Image.open(f"new/{split}/image/{name}.jpg"))
            assert np.abs(small - means).mean() < 5  # JPEG; red and blue exchanged give 21
    assert "not readable" not in segbench("data", "check", "new")


def test_the_majority_of_each_block(release: Path, segbench: Segbench):
    segbench("data", "prepare", "floodnet", release, "--out", "new", "--masks", "majority")
    before = np.asarray(Image.open(release / TOP / "train" / "train-label-img" / "6337_lab.png"))

    def most_frequent(values: list[int]) -> int:
        votes = Counter(OURS[value] for value in values)
        return min(votes, key=lambda one: (-votes[one], one))

    expected = [[most_frequent(block) for block in row] for row in blocks(before).tolist()]
    assert np.asarray(Image.open("new/train/mask/6337.png")).tolist() == expected


@pytest.mark.parametrize("kind", ["zip", "tar", "gztar"])
def test_an_archive_gives_what_the_folder_gives(release: Path, segbench: Segbench, kind: str):
    archive = shutil.make_archive("packed", kind, release.parent, release.name)
    segbench("data", "prepare", "floodnet", release, "--out", "one")
    segbench("data", "prepare", "floodnet", archive, "--out", "two")
    assert content(Path("one")) == content(Path("two"))


def test_a_second_call_writes_what_is_missing_and_nothing_else(release: Path, segbench: Segbench):
    command = ("data", "prepare", "floodnet", release, "--out", "new")
    segbench(*command)
    whole = content(Path("new"))
    kept = {path: path.stat() for path in Path("new").rglob("*.jpg")}
    # as a kill would leave it: two files missing, half of one under its temporary name
    for name in ("train/mask/6337.png", "test/mask/6500.png", "classes.json"):
        (Path("new") / name).unlink()
    (Path("new") / "train" / "mask" / ".6337.png.abc.part").write_bytes(b"half")
    assert segbench(*command).startswith("new: 2 files written, 8 were there already\n")
    assert content(Path("new")) == whole
    for path, before in kept.items():
        after = path.stat()
        assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert segbench(*command).startswith("new: 0 files written, 10 were there already\n")


def on_one_core() -> None:
    """One file after another, so that there is a middle."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def test_killed_in_the_middle_it_goes_on(segbench: Segbench, tmp_path: Path):
    release = write_release(tmp_path / "large", scale=20)
    command = ("data", "prepare", "floodnet", release, "--out")
    running = subprocess.Popen(
        [sys.executable, "-m", "segbench", *map(str, command), "new"],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        preexec_fn=on_one_core,
    )
    while running.poll() is None and not list(Path("new").glob("*/*/6*")):
        time.sleep(0.002)
    running.send_signal(signal.SIGKILL)
    running.wait()
    assert not Path("new/classes.json").exists()  # fit takes it for no data set
    written = len(list(Path("new").glob("*/*/6*")))
    assert 0 < written < 10
    assert f"{written} were there already" in segbench(*command, "new")
    segbench(*command, "whole")
    assert content(Path("new")) == content(Path("whole"))


def test_what_lies_there_already_stays(release: Path, refusal: Segbench, segbench: Segbench):
    command = ("data", "prepare", "floodnet", release, "--out")
    Path("mine").mkdir()
    Path("mine/notes.txt").write_text("mine")
    assert "mine: already in use" in refusal(*command, "mine")
    assert content(Path("mine")) == {"notes.txt": b"mine"}
    segbench(*command, "new")
    line = refusal(*command, "new", "--masks", "majority")
    assert "new: was begun with --masks nearest; go on with that" in line


def test_what_is_no_release(release: Path, refusal: Segbench, tmp_path: Path):
    def refused(source: Path = release) -> str:
        line = refusal("data", "prepare", "floodnet", source, "--out", "new")
        assert not Path("new/classes.json").exists()
        return line

    train = release / TOP / "train"
    label = train / "train-label-img" / "6336_lab.png"
    ids = Image.open(label)
    ids.load()
    assert "nowhere: not found" in refused(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    assert "empty: holds no train-org-img" in refused(tmp_path / "empty")
    label.write_bytes(png_header(50_000, 50_000))
    assert f"{label}: not readable as an image (Image size (2500000000 pixels)" in refused()
    label.write_bytes(png_header(9000, 8000))
    assert f"{label}: is 9000x8000 px; no FloodNet image" in refused()
    Image.new("L", (3, 48)).save(label)
    assert f"{label}: is 3x48 px; no FloodNet image" in refused()
    Image.new("RGB", (64, 48)).save(label)
    assert f"{label}: a mask of mode RGB" in refused()
    Image.new("L", (64, 48), 10).save(label)
    assert f"{label}: holds the id 10; FloodNet's are 0..9" in refused()
    Image.new("L", (60, 48)).save(label)
    assert "6336.jpg: 16x12 px, but its mask has 15x12" in refused()
    shutil.rmtree("new")
    ids.save(label)
    photo = train / "train-org-img" / "6336.jpg"
    photo.write_bytes(photo.read_bytes()[:600])
    assert f"{photo}: not readable as an image" in refused()
    photo.unlink()
    assert f"{TOP}/train/train-label-img/6336_lab.png has no partner in train-org-img" in refused()
    shutil.copytree(train / "train-label-img", release / "again" / "train-label-img")
    assert "are the same image; give one release" in refused()


def tar_of(*members: tuple[str, dict[str, object]], packed: bool = False) -> bytes:
    """A tar of empty members of those names and header fields."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, fields in members:
            member = tarfile.TarInfo(name)
            for key, value in fields.items():
                setattr(member, key, value)
            archive.fileobj.write(member.tobuf(format=tarfile.GNU_FORMAT))  # type: ignore[union-attr]
    return gzip.compress(stream.getvalue()) if packed else stream.getvalue()


def zip_of(*members: tuple[str, int, int]) -> bytes:
    """A zip of members of those names, modes and flags."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, mode, flags in members:
            info = zipfile.ZipInfo("x")
            info.filename = info.orig_filename = name
            info.external_attr = mode << 16
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of repeated names
                archive.writestr(info, b"x")
            info.flag_bits |= flags
    return stream.getvalue()


LINK = {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"}


@pytest.mark.parametrize(
    ("archive", "complaint"),
    [
        (tar_of(("/etc/cron.d/x", {})), "'/etc/cron.d/x' in it is a path that is not relative"),
        (tar_of(("a/../../x", {})), "'a/../../x' in it is a path that leads out of it"),
        (tar_of(("a\\..\\x", {})), "is a path that is not relative with slashes"),
        (tar_of(("C:/x", {})), "is a path that is not relative with slashes"),
        (tar_of(("a", LINK), ("a/x", {})), "'a' in it is a link or device"),
        (tar_of(("a", {"type": tarfile.LNKTYPE, "linkname": "b"})), "is a link or device"),
        (tar_of(("a", {"type": tarfile.CHRTYPE})), "is a link or device"),
        (tar_of(("a", {"type": tarfile.FIFOTYPE}), packed=True), "is a link or device"),
        (tar_of(("a\nsegbench: all is well", LINK)), r"'a\nsegbench: all is well' in it is a"),
        (tar_of(("a", {}), ("a", {})), "'a' in it is twice there"),
        (tar_of(("a", {"size": 2**40}), packed=True), "holds more than 100,000 files or 64 GiB"),
        (
            tar_of(("a", {"type": tarfile.GNUTYPE_LONGNAME, "size": 2**33}), packed=True),
            "holds a header of 8,589,934,592 bytes",
        ),
        (zip_of(("/etc/x", 0, 0)), "is a path that is not relative with slashes"),
        (zip_of(("a/../../x", 0, 0)), "is a path that leads out of it"),
        (zip_of(("..\\x", 0, 0)), "is a path that is not relative with slashes"),
        (zip_of(("a", 0o120777, 0)), "is a link or device"),
        (zip_of(("a", 0o020666, 0)), "is a link or device"),
        (zip_of(("a", 0, 1)), "'a' in it is encrypted"),
        (zip_of(("a", 0, 0), ("a", 0, 0)), "'a' in it is twice there"),
        (zip_of(("a", 0, 0))[:-30], "not readable as a .zip, a .tar or a .tar.gz"),
        (b"\x1f\x8bnothing", "not readable as a .zip, a .tar or a .tar.gz"),
        (b"notes", "not readable as a .zip, a .tar or a .tar.gz"),
        (b"", "not readable as a .zip, a .tar or a .tar.gz"),
    ],
    ids=lambda value: "" if isinstance(value, bytes) else value,  # packed bytes hold the time
)
def test_an_archive_that_means_harm_is_refused(
    refusal: Segbench, tmp_path: Path, archive: bytes, complaint: str
):
    (tmp_path / "archive").write_bytes(archive)
    line = refusal("data", "prepare", "floodnet", tmp_path / "archive", "--out", "new")
    assert line.startswith(f"segbench: {tmp_path}/archive: ")
    assert complaint in line
    assert os.listdir(tmp_path) == ["archive"]


def test_a_file_that_unpacks_to_more_than_an_image(
    release: Path, refusal: Segbench, monkeypatch: pytest.MonkeyPatch
):
    bomb = release / TOP / "val" / "val-org-img" / "6400.jpg"
    bomb.write_bytes(bytes(2_000_000))
    archive = Path(shutil.make_archive("packed", "zip", release))
    assert archive.stat().st_size < 200_000
    monkeypatch.setattr(archives, "MOST_BYTES_OF_A_FILE", 2**20)
    assert "6400.jpg: is larger than 1 MiB; no image is" in refusal(
        "data", "prepare", "floodnet", archive, "--out", "new"
    )


@pytest.mark.parametrize("packing", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_file_that_is_damaged_in_the_archive(release: Path, refusal: Segbench, packing: int):
    archive = Path("packed.zip")
    with zipfile.ZipFile(archive, "w", packing) as whole:
        for path in release.rglob("*.*g"):
            whole.write(path, path.relative_to(release))
    packed = bytearray(archive.read_bytes())
    with zipfile.ZipFile(archive) as listing:
        info = listing.getinfo(f"{TOP}/test/test-label-img/6500_lab.png")
    middle = info.header_offset + 30 + len(info.filename) + info.compress_size // 2
    packed[middle : middle + 40] = bytes(40)
    archive.write_bytes(packed)
    line = refusal("data", "prepare", "floodnet", archive, "--out", "new")
    assert "packed.zip: not readable as a .zip" in line
