"""``segbench segment``: a run's network on images of any size, through its own door."""

import resource
import shutil
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
from numpy.typing import NDArray
from PIL import Image
from rasterio.control import GroundControlPoint
from rasterio.errors import NotGeoreferencedWarning
from rasterio.transform import Affine

from segbench import cli
from segbench.data.classes import read_classes
from segbench.inference.geotiff import GeoTiff
from segbench.inference.pictures import Part
from segbench.runs import RunFolder

Segbench = Callable[..., str]
Pixels = NDArray[np.uint8]

PLACE: dict[str, Any] = {
    "crs": "EPSG:32640",
    "transform": Affine(0.25, 0, 325_000.5, 0, -0.5, 2_780_000),
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, scenes: Path) -> RunFolder:
    """A run with several classes in its predictions."""
    run = RunFolder(tmp_path_factory.mktemp("runs") / "study" / "cell")
    with pytest.MonkeyPatch.context() as patch:
        args = (
            *("--model.width=8", "--model.lr=0.01", "--model.channels_last=true"),
            *("--data.crop_size=64", "--data.samples_per_epoch=32", "--data.batch_size=4"),
            "--trainer.max_epochs=4",
        )
        argv = ["segbench", "fit", "--data.root", str(scenes), *args, "--run_dir", str(run.path)]
        patch.setattr(sys, "argv", argv)
        cli.main()
    return run


@pytest.fixture
def run(trained: RunFolder, tmp_path: Path) -> RunFolder:
    """A copy to spoil."""
    return RunFolder(Path(shutil.copytree(trained.path, tmp_path / "cell")))


@pytest.fixture(scope="module")
def picture(scenes: Path) -> Pixels:
    """RGB [130, 288, 3]: three scenes side by side, and some of it again below."""
    row = np.hstack([np.asarray(Image.open(p)) for p in sorted((scenes / "test/image").iterdir())])
    return np.vstack([row, row[:34]])


def ids(path: Path | str) -> Pixels:
    return np.asarray(Image.open(path))


def geotiff(path: Path, pixels: Pixels, **profile: Any) -> Path:
    """Write [bands, h, w]."""
    count, height, width = pixels.shape
    shape = {"count": count, "height": height, "width": width, "dtype": pixels.dtype}
    with rasterio.open(path, "w", driver="GTiff", **shape, **profile) as target:
        target.write(pixels)
    return path


def test_a_tile_that_covers_the_image_gives_what_the_test_stored(
    segbench: Segbench, trained: RunFolder, scenes: Path
):
    printed = segbench("segment", trained.path, scenes / "test" / "image", "--out", "out/maps")
    assert printed == "out/maps: class maps and overlays of 3 images\n"
    stored = sorted((trained.test / "predictions").iterdir())
    assert len(np.unique(np.stack([ids(path) for path in stored]))) > 3
    for path in stored:
        found = ids(f"out/maps/{path.name}")
        assert found.dtype == np.uint8
        assert (found == ids(path)).all()
    expected = [f"{path.stem}{end}" for path in stored for end in (".png", "_overlay.jpg")]
    assert sorted(p.name for p in Path("out/maps").iterdir()) == sorted(expected)


def test_smaller_tiles_give_what_a_test_in_tiles_sees(
    segbench: Segbench, trained: RunFolder, scenes: Path
):
    images = sorted((scenes / "test" / "image").iterdir())
    segbench("segment", trained.path, *images, "--out=out", "--tile=64", "--overlap=16")
    segbench(
        *("predict", "--config", trained.config, "--ckpt_path", trained.best),
        *("--data.root", scenes, "--data.eval_tile=64"),
    )
    (folder,) = Path("runs/predict").iterdir()
    changed = 0
    for path in (trained.test / "predictions").iterdir():
        found = ids(f"out/{path.name}")
        assert (found == ids(folder / "predictions" / path.name)).all()
        changed += (found != ids(path)).mean() / 3
    assert 0 < changed < 0.1


def test_an_overlay_is_half_image_half_colours(
    segbench: Segbench, trained: RunFolder, scenes: Path, picture: Pixels
):
    Image.fromarray(picture).save("large.png")
    segbench("segment", trained.path, "large.png", "--out=out")
    colours = np.array([c.color for c in read_classes(scenes / "classes.json")])
    expected = (picture + colours[ids("out/large.png")]) / 2
    assert np.abs(ids("out/large_overlay.jpg") - expected).mean() < 8


def test_a_large_overlay_is_reduced(segbench: Segbench, trained: RunFolder):
    Image.new("RGB", (4096, 40), (90, 120, 60)).save("wide.png")
    segbench("segment", trained.path, "wide.png", "--out=out")
    assert ids("out/wide.png").shape == (40, 4096)
    assert ids("out/wide_overlay.jpg").shape == (20, 2048, 3)


@pytest.mark.parametrize("tile", [64, 512])
def test_a_geotiff_keeps_its_place(
    segbench: Segbench, trained: RunFolder, scenes: Path, picture: Pixels, tile: int
):
    pixels = picture.copy()
    pixels[100:, 200:] = 0
    pixels[5, 5] = (0, 0, 9)  # one band of no data is data
    Image.fromarray(pixels).save("same.png")
    image = geotiff(Path("scene.tif"), pixels.transpose(2, 0, 1), nodata=0, **PLACE)
    segbench(
        *("segment", trained.path, image, "same.png", "--out=out"),
        *("--tile", tile, "--overlap", tile // 4),
    )
    with rasterio.open("out/scene.tif") as written:
        found, profile, colours = written.read(1), written.profile, written.colormap(1)
    assert (profile["crs"], profile["transform"]) == (PLACE["crs"], PLACE["transform"])
    assert (profile["dtype"], profile["count"], profile["nodata"]) == ("uint8", 1, 255)
    for one in read_classes(scenes / "classes.json"):
        assert colours[one.id] == (*one.color, 255)
    missing = (pixels == 0).all(2)
    assert missing.sum() >= 30 * 88
    assert ((found == 255) == missing).all()
    assert (found == np.where(missing, 255, ids("out/same.png"))).all()
    names = ("scene.tif", "scene_overlay.jpg", "same.png", "same_overlay.jpg")
    assert sorted(p.name for p in Path("out").iterdir()) == sorted(names)
    overlay = ids("out/scene_overlay.jpg")
    assert overlay[104:, 204:].max() < 20  # no data stays as it is


def test_a_tiff_without_a_place_and_one_of_ground_control_points(
    segbench: Segbench, trained: RunFolder, picture: Pixels
):
    pixels = picture.transpose(2, 0, 1)
    points = [GroundControlPoint(r, c, x=c / 2, y=-r) for r in (0, 130) for c in (0, 288)]
    with pytest.warns(NotGeoreferencedWarning):
        plain = geotiff(Path("plain.TIFF"), pixels)
    pinned = geotiff(Path("pinned.tif"), pixels, gcps=points, crs="EPSG:32640")
    segbench("segment", trained.path, plain, pinned, "--out=out")
    with rasterio.open("out/pinned.tif") as written:
        found, system = written.gcps
        assert [(p.row, p.col, p.x, p.y) for p in found] == [
            (p.row, p.col, p.x, p.y) for p in points
        ]
        assert system == "EPSG:32640"
        assert (ids("out/plain.tif") == written.read(1)).all()


def test_kinds_of_images(segbench: Segbench, trained: RunFolder, picture: Pixels):
    """Grey is three equal channels, of more bands than three the first three count."""
    colour, grey = picture.transpose(2, 0, 1), picture[..., :1].transpose(2, 0, 1)
    near = 255 - colour[:1]
    seen = np.full_like(near, 255)
    seen[0, :20] = 0
    Image.fromarray(picture).save("colour.png")
    Image.fromarray(np.repeat(picture[..., :1], 3, 2)).save("grey3.png")
    Image.fromarray(picture[..., 0]).save("grey.png")
    Image.fromarray(np.dstack([picture, near[0]])).save("alpha.png")
    geotiff(Path("grey1.tif"), grey, **PLACE)
    geotiff(Path("near.tif"), np.concatenate([colour, near]), photometric="rgb", **PLACE)
    geotiff(Path("seen.tif"), np.concatenate([colour, seen]), alpha="yes", **PLACE)
    names = ("colour.png", "grey3.png", "grey.png", "alpha.png", "grey1.tif", "seen.tif")
    with rasterio.open("near.tif", "r+") as target:
        target.colorinterp = [*target.colorinterp[:3], rasterio.enums.ColorInterp.undefined]
    segbench("segment", trained.path, *names, "near.tif", "--out=out")
    assert (ids("out/grey.png") == ids("out/grey3.png")).all()
    assert (ids("out/grey1.tif") == ids("out/grey3.png")).all()
    assert (ids("out/alpha.png") == ids("out/colour.png")).all()
    assert (ids("out/near.tif") == ids("out/colour.png")).all()
    expected = ids("out/colour.png").copy()
    expected[:20] = 255
    assert (ids("out/seen.tif") == expected).all()
    assert (ids("out/grey.png") != ids("out/colour.png")).any()


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (65, 63)])
def test_odd_sizes(segbench: Segbench, trained: RunFolder, size: tuple[int, int]):
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    Image.fromarray(pixels).save("odd.png")
    geotiff(Path("odder.tif"), pixels.transpose(2, 0, 1), **PLACE)
    segbench(
        "segment", trained.path, "odd.png", "odder.tif", "--out=out", "--tile=64", "--overlap=32"
    )
    assert ids("out/odd.png").shape == size
    assert (ids("out/odd.png") == ids("out/odder.tif")).all()


def test_odd_names(segbench: Segbench, trained: RunFolder, picture: Pixels):
    names = ("with space", "quo'te\"", "снимок 1", "[bold]x", "-dash", "a.b")
    Path("im ages").mkdir()
    for name in names:
        Image.fromarray(picture[:40, :40]).save(f"im ages/{name}.png")
    segbench("segment", trained.path, "im ages", "--out", "ou t")
    assert {path.name for path in Path("ou t").glob("*.png")} == {f"{name}.png" for name in names}


def test_memory_does_not_grow_with_a_geotiff(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Its reading and writing; tests/models/test_tiling.py has the network's part."""

    def predict(read: Callable[..., torch.Tensor], height: int, width: int) -> Iterator[Part]:
        for top in range(0, height, 64):
            rows, columns = slice(top, min(top + 64, height)), slice(0, width)
            yield Part(rows, columns, read(rows, columns)[0, 0].numpy() % 8)

    def peak(height: int) -> int:
        pixels = np.full((3, height, 64), 5, np.uint8)
        image = GeoTiff.at(geotiff(Path(f"{height}.tif"), pixels, tiled=True, **PLACE))
        del pixels
        tracemalloc.start()
        image.segment(out, predict, [])
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    monkeypatch.chdir(tmp_path)
    (out := tmp_path / "out").mkdir()
    peak(2048)  # what is imported on the way counts but once
    assert peak(8192) < 1.05 * peak(2048)


def test_a_full_disk(trained: RunFolder, tmp_path: Path, picture: Pixels):
    image = geotiff(tmp_path / "scene.tif", picture.transpose(2, 0, 1), **PLACE)
    done = subprocess.run(
        [sys.executable, "-m", "segbench", "segment", trained.path, image, "--out=out"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000)),
    )
    assert done.returncode == 2
    (line,) = (line for line in done.stderr.splitlines() if line.startswith("segbench:"))
    assert "out/scene.tif: not writable" in line
    assert "free space" in line
    assert "Traceback" not in done.stderr
    assert list((tmp_path / "out").iterdir()) == []


@pytest.fixture
def refused(refusal: Segbench, trained: RunFolder) -> Callable[..., str]:
    def refused(*args: object, run: RunFolder = trained) -> str:
        line = refusal("segment", run.path, *args)
        assert not Path("out").exists()
        return line

    return refused


def test_images_that_are_not_read(refused: Callable[..., str], picture: Pixels):
    deep = picture.astype(np.uint16) * 257
    Image.fromarray(deep[..., 0]).save("deep.png")
    bands = deep.transpose(2, 0, 1)
    geotiff(Path("deep.tif"), bands, **PLACE)
    geotiff(Path("reals.tif"), bands.astype(np.float32), **PLACE)
    geotiff(Path("indexed.tif"), picture[None, ..., 0], photometric="palette", **PLACE)
    Path("broken.tif").write_bytes(b"II*\0")
    Path("broken.jpg").write_bytes(b"no")
    Path("notes.txt").write_text("no")
    Path("empty").mkdir()
    for name, complaint in {
        "deep.png": "deep.png: an image of mode 16 bits; images must have 8 bits per channel",
        "deep.tif": "deep.tif: bands of uint16; images must have 8 bits per channel",
        "reals.tif": "reals.tif: bands of float32; images must have 8 bits per channel",
        "indexed.tif": "indexed.tif: indexed colours; make them RGB: gdal_translate -expand rgb",
        "broken.tif": "broken.tif: not readable as GeoTIFF",
        "broken.jpg": "broken.jpg: not readable as an image",
        "notes.txt": "notes.txt: not read; give JPEG",
        "nowhere.jpg": "nowhere.jpg: there is no such image",
        "empty": "empty: no images here",
    }.items():
        assert refused(name, "--out=out").startswith(f"segbench: {complaint}")


def test_a_geotiff_cut_short(refusal: Segbench, trained: RunFolder, picture: Pixels):
    image = geotiff(Path("scene.tif"), picture.transpose(2, 0, 1), **PLACE)
    image.write_bytes(image.read_bytes()[:60_000])
    assert "scene.tif: not readable as GeoTIFF" in refusal(
        "segment", trained.path, image, "--out=out"
    )
    assert list(Path("out").iterdir()) == []


def test_without_rasterio(
    refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch, picture: Pixels
):
    geotiff(Path("scene.tif"), picture.transpose(2, 0, 1), **PLACE)
    monkeypatch.setitem(sys.modules, "rasterio", None)
    assert refused("scene.tif", "--out=out") == (
        "segbench: scene.tif: GeoTIFF needs rasterio; install it with: pip install 'segbench[geo]'"
    )


@pytest.mark.parametrize(
    ("argument", "complaint"),
    [
        ("--tile=100", "--tile: 100; give a multiple of 32 from 64 on"),
        ("--tile=0", "--tile: 0; give a multiple of 32 from 64 on"),
        ("--tile=big", "argument --tile: invalid int value: 'big'"),
        ("--overlap=257", "--overlap: 257; give 0 to 256, half of --tile"),
        ("--overlap=-1", "--overlap: -1; give 0 to 256, half of --tile"),
        ("--device=tpu9", "--device: tpu9; give auto, cpu or cuda"),
        ("--device=cuda:99", "--device: cuda:99"),
        ("--tiles=64", "unrecognized arguments: --tiles=64"),
    ],
)
def test_bad_arguments(refused: Callable[..., str], picture: Pixels, argument: str, complaint: str):
    Image.fromarray(picture).save("image.png")
    assert refused("image.png", "--out=out", argument).startswith(f"segbench: {complaint}")


def test_nothing_is_written_over(refusal: Segbench, trained: RunFolder, picture: Pixels):
    for name in ("a/one.png", "b/one.jpg"):
        Path(name).parent.mkdir()
        Image.fromarray(picture).save(name)
    before = Path("a/one.png").read_bytes()
    command = ("segment", trained.path)
    assert "--out a: would overwrite a/one.png" in refusal(*command, "a", "--out=a")
    assert "b/one.jpg: has the name of a/one.png" in refusal(*command, "a", "b", "--out=out")
    Path("file").write_text("mine")
    assert "write elsewhere" in refusal(*command, "a", "--out=file")
    assert Path("a/one.png").read_bytes() == before


def test_runs_that_cannot_be_used(
    refused: Callable[..., str], run: RunFolder, tmp_path: Path, picture: Pixels
):
    Image.fromarray(picture).save("image.png")
    args = ("image.png", "--out=out")
    nothing = RunFolder(tmp_path / "nowhere")
    assert f"{nothing.path}: no run here" in refused(*args, run=nothing)
    weights = run.best.read_bytes()
    run.best.write_bytes(weights[: len(weights) // 2])
    assert f"{run.best}: damaged" in refused(*args, run=run)
    run.best.write_bytes(weights)
    config = run.config.read_text()
    run.config.write_text(config.replace("width: 8", "width: 12"))
    assert f"{run.config}: is not what its run began with" in refused(*args, run=run)
    run.config.write_text(config)
    other = torch.load(run.best, weights_only=True)
    del other["state_dict"][next(iter(other["state_dict"]))]
    torch.save(other, run.best)
    assert f"{run.best}: holds another network" in refused(*args, run=run)
    run.best.unlink()
    assert f"{run.path}: has no checkpoint" in refused(*args, run=run)


def test_the_data_set_is_not_needed(
    segbench: Segbench, run: RunFolder, scenes: Path, picture: Pixels
):
    Image.fromarray(picture).save("image.png")
    segbench("segment", run.path, "image.png", "--out=here")
    aside = scenes.rename(scenes.with_name("aside"))
    try:
        segbench("segment", run.path, "image.png", "--out=gone")
    finally:
        aside.rename(scenes)
    for name in ("image.png", "image_overlay.jpg"):
        assert Path("gone", name).read_bytes() == Path("here", name).read_bytes()
