"""Every image and mask looked at once, before the first step and not in epoch 37."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from PIL import Image

from segbench.data.classes import IGNORE
from segbench.data.dataset import DataSet, Pair, read_mask
from segbench.errors import InputError


def check_data_set(data_set: DataSet) -> None:
    """Check sizes and mask ids of all pairs, in parallel.

    Raises:
        InputError: the first pair, in the order of splits and names, with a mask of another size
            than its image, with ids outside classes.json, or unreadable.
    """
    pairs = [*data_set.train, *data_set.val, *data_set.test]
    with ThreadPoolExecutor() as pool:
        for problem in pool.map(lambda pair: _problem(pair, len(data_set.classes)), pairs):
            if problem is not None:
                raise InputError(problem)


def _problem(pair: Pair, num_classes: int) -> str | None:
    try:
        mask = read_mask(pair.mask)
        with Image.open(pair.image) as image:
            width, height = image.size
    except InputError as error:
        return str(error)
    except OSError as error:
        return f"{pair.image}: not readable as an image ({error})"
    if mask.shape != (height, width):
        return (
            f"{pair.mask}: is {mask.shape[1]}x{mask.shape[0]} px, its image {width}x{height}; "
            "resize the mask by nearest neighbour"
        )
    ids = np.flatnonzero(np.bincount(mask.ravel(), minlength=IGNORE + 1))
    unknown = [int(i) for i in ids if num_classes <= i != IGNORE]
    if unknown:
        return (
            f"{pair.mask}: holds the ids {unknown}, classes.json has 0..{num_classes - 1} "
            f"({IGNORE} = ignore); add the classes or mend the mask"
        )
    return None
