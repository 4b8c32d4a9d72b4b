"""``segbench segment RUN IMAGES... --out DIR``: a run's network on images of any size."""

import argparse
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from segbench.arguments import Arguments, progress_console
from segbench.errors import InputError
from segbench.inference.geotiff import GeoTiff
from segbench.inference.load import device_called, load_network
from segbench.inference.pictures import Part, Picture
from segbench.models import SegmentationNetwork
from segbench.models.folding import folded
from segbench.models.tiling import Read, tiled
from segbench.runs import RunFolder
from segbench.wording import counted

SUFFIXES = (*Picture.suffixes, *GeoTiff.suffixes)


def main(argv: list[str]) -> None:
    """Segment images of any size with the best checkpoint of a run.

    For each image DIR gets <name>.png, the class ids in 8 bits, and <name>_overlay.jpg, the image
    under the classes' colours, at most 2048 px wide or high. A GeoTIFF gives <name>.tif with its
    place on Earth and a colour table; what is no data there becomes 255. Of more than three bands
    the first three count; grey is read as three equal channels. The network sees tiles that
    overlap, and their logits are blended: memory depends on the tile alone, except that a JPEG or
    PNG is held as a whole.
    """
    options = _options(argv)
    device = device_called(options.device)
    images = find_images(options.images)
    _check_outputs(images, options.out)
    loaded = load_network(RunFolder(options.run), device)
    network = folded(loaded.network)
    options.out.mkdir(parents=True, exist_ok=True)
    console = progress_console()
    with (
        torch.inference_mode(),
        Progress(
            TextColumn("{task.description}", markup=False),
            *(BarColumn(), TaskProgressColumn(), TimeRemainingColumn(elapsed_when_finished=True)),
            console=console,
            disable=not console.is_terminal,
        ) as progress,
    ):
        task = progress.add_task("", total=sum(image.height * image.width for image in images))

        def predict(read: Read, height: int, width: int) -> Iterator[Part]:
            for part in _parts(network, device, read, height, width, options):
                yield part
                progress.advance(task, part.ids.size)

        for image in images:
            progress.update(task, description=image.path.name)
            image.segment(options.out, predict, loaded.classes)
            if not console.is_terminal:
                console.print(f"{image.path} done", markup=False, highlight=False, soft_wrap=True)
    print(f"{options.out}: class maps and overlays of {counted(len(images), 'image')}")


def _parts(
    network: SegmentationNetwork,
    device: torch.device,
    read: Read,
    height: int,
    width: int,
    options: argparse.Namespace,
) -> Iterator[Part]:
    for rows, columns, logits in tiled(
        *(network, lambda r, c: read(r, c).to(device), height, width),
        **{"tile": options.tile, "overlap": options.overlap},
    ):
        ids = logits[0].max(0).indices  # as the test takes them
        yield Part(rows, columns, ids.cpu().numpy().astype(np.uint8))


def find_images(given: Sequence[Path]) -> list[Picture | GeoTiff]:
    """The images that are given, and those in the folders that are, by their headers.

    Raises:
        InputError: none, one that is missing, or one that segbench does not read.
    """
    found: list[Picture | GeoTiff] = []
    for path in given:
        if path.is_dir():
            inside = [
                file
                for file in sorted(path.iterdir())
                if file.suffix.lower() in SUFFIXES and not file.name.startswith(".")
            ]
            if not inside:
                raise InputError(f"{path}: no images here (*.jpg, *.png, *.tif)")
            found += [_kind(file)(file) for file in inside]
        elif path.exists():
            found.append(_kind(path)(path))
        else:
            raise InputError(f"{path}: there is no such image or folder")
    return found


def _kind(path: Path) -> Callable[[Path], Picture | GeoTiff]:
    for kind in (Picture, GeoTiff):
        if path.suffix.lower() in kind.suffixes:
            return kind.at
    raise InputError(f"{path}: not read; give JPEG (.jpg), PNG (.png) or GeoTIFF (.tif) images")


def _check_outputs(images: Sequence[Picture | GeoTiff], folder: Path) -> None:
    """Refuse to write over an image, or two results into one file."""
    given = {image.path.resolve() for image in images}
    by_name: dict[str, Path] = {}
    for image in images:
        other = by_name.setdefault(image.path.stem, image.path)
        if other != image.path:
            raise InputError(
                f"{image.path}: has the name of {other}; segment them into folders of their own"
            )
        for output in image.outputs(folder):
            if output.resolve() in given:
                raise InputError(f"--out {folder}: would overwrite {output}; give another folder")


def _options(argv: list[str]) -> argparse.Namespace:
    parser = Arguments("segbench segment", main.__doc__)
    parser.add_argument("run", type=Path, help="a run folder with its checkpoint")
    parser.add_argument("images", type=Path, nargs="+", help="images, or folders of images")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where to write")
    parser.add_argument(
        "--tile", type=int, default=512, help="side of the tiles, a multiple of 32 (512)"
    )
    parser.add_argument(
        "--overlap", type=int, default=128, help="pixels that neighbours share at least (128)"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    options = parser.parse_args(argv)
    if options.tile < 64 or options.tile % 32:
        raise InputError(f"--tile: {options.tile}; give a multiple of 32 from 64 on")
    if not 0 <= options.overlap <= options.tile // 2:
        raise InputError(
            f"--overlap: {options.overlap}; give 0 to {options.tile // 2}, half of --tile"
        )
    return options
