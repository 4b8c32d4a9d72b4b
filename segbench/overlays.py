"""A few predictions as W&B shows them: masks that lie over their images."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from segbench.data.classes import IGNORE

if TYPE_CHECKING:
    import wandb

EXAMPLES = "examples"
"""The key that they are logged under."""

PANELS = 4
"""Images of each run that are shown."""

LONGEST = 512  # pixels of the longest side that is kept at least


@dataclass(frozen=True)
class Example:
    """What is known of one image.

    Args:
        image: its pixels, uint8 [H, W, 3].
        masks: class ids by what they are, a prediction or the truth, uint8 [H, W].
        caption: what stands below.
    """

    image: NDArray[np.uint8]
    masks: Mapping[str, NDArray[np.uint8]]
    caption: str


def overlays(examples: Sequence[Example], labels: Mapping[int, str]) -> list["wandb.Image"]:
    """Reduced without mixing classes, then filled up to one size: W&B takes them for alike.

    Args:
        examples: what to show.
        labels: names of the classes by id.
    """
    import wandb

    reduced = [_reduced(example) for example in examples]
    height, width = np.max([example.image.shape[:2] for example in reduced], axis=0)
    return [
        wandb.Image(
            _filled(example.image, height, width, 0),
            masks={
                kind: {
                    "mask_data": _filled(ids, height, width, IGNORE),
                    "class_labels": dict(labels),
                }
                for kind, ids in example.masks.items()
            },
            caption=example.caption,
        )
        for example in reduced
    ]


def _reduced(example: Example) -> Example:
    step = max(1, max(example.image.shape[:2]) // LONGEST)
    masks = {kind: ids[::step, ::step] for kind, ids in example.masks.items()}
    return Example(example.image[::step, ::step], masks, example.caption)


def _filled(pixels: NDArray[Any], height: int, width: int, value: int) -> NDArray[Any]:
    below, right = height - pixels.shape[0], width - pixels.shape[1]
    rest = [(0, 0)] * (pixels.ndim - 2)
    return np.pad(pixels, [(0, below), (0, right), *rest], constant_values=value)
