"""GeoTIFF images to segment, of any size: read and written in parts. Needs the extra ``geo``."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from segbench.data.classes import IGNORE, SegmentationClass
from segbench.errors import InputError
from segbench.files import replacing
from segbench.inference.pictures import (
    Pixels,
    Predict,
    overlay_path,
    overlay_size,
    write_overlay,
)

if TYPE_CHECKING:
    import rasterio

BLOCK = 256
"""Side of the blocks that a class map is stored in."""

CACHE = 128 * 2**20
"""Bytes of blocks that GDAL may hold; its own limit is a share of the machine's memory."""


@dataclass(frozen=True)
class GeoTiff:
    """A TIFF with or without a place on Earth."""

    suffixes = (".tif", ".tiff")
    path: Path
    height: int
    width: int

    @classmethod
    def at(cls, path: Path) -> "GeoTiff":
        """Looks at the header only.

        Raises:
            InputError: not a TIFF, not of 8 bits, of indexed colours, or rasterio is missing.
        """
        with _opened(path) as source:
            kinds = {source.dtypes[index - 1] for index in _bands(source)}
            if kinds != {"uint8"}:
                raise InputError(
                    f"{path}: bands of {' and '.join(sorted(kinds))}; images must have 8 bits per "
                    "channel, scaled as the training images were: gdal_translate -ot Byte -scale"
                )
            if "palette" in (interp.name for interp in source.colorinterp):
                raise InputError(
                    f"{path}: indexed colours; make them RGB: gdal_translate -expand rgb"
                )
            return cls(path, source.height, source.width)

    def outputs(self, folder: Path) -> tuple[Path, Path]:
        """The class map and the overlay."""
        return folder / f"{self.path.stem}.tif", overlay_path(folder, self.path)

    def segment(self, folder: Path, predict: Predict, classes: Sequence[SegmentationClass]) -> None:
        """Write both. The class map lies where the image lies; where that has no data it is 255."""
        class_map, overlay = self.outputs(folder)
        size = overlay_size(self.height, self.width)
        with _opened(self.path) as source:
            with replacing(class_map) as part, _writing(class_map):
                written = self._write(part, source, predict, classes)
                found, ids = _read_back(part, size)
                if (found != written).any():  # GDAL does not always say that a disk is full
                    raise InputError(f"{class_map}: only written in part; free space for it")
            image = _read_small(source, size)
        write_overlay(overlay, image, ids, classes)

    def _write(
        self,
        part: Path,
        source: "rasterio.DatasetReader",
        predict: Predict,
        classes: Sequence[SegmentationClass],
    ) -> NDArray[np.int64]:
        """Write the class map; gives how many pixels each value has [256]."""
        written = np.zeros(256, np.int64)
        with _created(part, source, classes) as target:
            for rows, columns, ids in predict(
                lambda r, c: _read(source, r, c), self.height, self.width
            ):
                place = _window(rows, columns)
                with _reading(self.path):
                    ids[source.dataset_mask(window=place) == 0] = IGNORE
                target.write(ids, 1, window=place)
                written += np.bincount(ids.ravel(), minlength=256)
        return written


@contextmanager
def _opened(path: Path) -> Iterator["rasterio.DatasetReader"]:
    try:
        import rasterio
        from rasterio.errors import NotGeoreferencedWarning
    except ImportError:
        raise InputError(
            f"{path}: GeoTIFF needs rasterio; install it with: pip install 'segbench[geo]'"
        ) from None
    with warnings.catch_warnings(), rasterio.Env(GDAL_CACHEMAX=CACHE):
        warnings.simplefilter("ignore", NotGeoreferencedWarning)  # then the class map has none
        with _reading(path):
            source = rasterio.open(path, driver="GTiff")
        with source:
            yield source


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    from rasterio.errors import RasterioError

    try:
        yield
    except RasterioError as error:
        reason = error.__cause__ or error
        raise InputError(f"{path}: not readable as GeoTIFF ({reason}); replace it") from None


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    from rasterio.errors import RasterioError

    try:
        yield
    except RasterioError as error:
        reason = error.__cause__ or error
        raise InputError(f"{path}: not writable ({reason}); free space for it") from None


@contextmanager
def _created(
    path: Path, source: "rasterio.DatasetReader", classes: Sequence[SegmentationClass]
) -> Iterator[Any]:
    """A class map to write into, with the place of ``source`` and the classes' colours."""
    import rasterio

    points, system = source.gcps
    place = {"crs": source.crs, "transform": source.transform}
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        **({"crs": system, "gcps": points} if points else place),
        **{"height": source.height, "width": source.width, "count": 1, "dtype": "uint8"},
        nodata=IGNORE,
        **{"tiled": True, "blockxsize": BLOCK, "blockysize": BLOCK},
        **{"compress": "deflate", "bigtiff": "if_safer"},
    ) as target:
        colours = {one.id: (*one.color, 255) for one in classes}
        target.write_colormap(1, colours | {IGNORE: (0, 0, 0, 0)})
        yield target


def _bands(source: "rasterio.DatasetReader") -> list[int]:
    """The first three, or the first three times where there are fewer: grey."""
    return [1, 2, 3] if source.count >= 3 else [1, 1, 1]


def _read(source: "rasterio.DatasetReader", rows: slice, columns: slice) -> Tensor:
    with _reading(Path(source.name)):
        pixels = source.read(_bands(source), window=_window(rows, columns))
    return torch.from_numpy(pixels)[None]


def _read_small(source: "rasterio.DatasetReader", size: tuple[int, int]) -> Pixels:
    from rasterio.enums import Resampling

    with _reading(Path(source.name)):
        pixels: Pixels = source.read(
            _bands(source), out_shape=(3, *size), resampling=Resampling.average
        )
    return np.ascontiguousarray(pixels.transpose(1, 2, 0))


def _read_back(path: Path, size: tuple[int, int]) -> tuple[NDArray[np.int64], Pixels]:
    """How many pixels of a class map each value has [256], and the map at another size."""
    import rasterio

    found = np.zeros(256, np.int64)
    with rasterio.open(path) as written:
        for _, block in written.block_windows(1):
            found += np.bincount(written.read(1, window=block).ravel(), minlength=256)
        return found, written.read(1, out_shape=size)


def _window(rows: slice, columns: slice) -> Any:
    from rasterio.windows import Window

    return Window.from_slices(rows, columns)
