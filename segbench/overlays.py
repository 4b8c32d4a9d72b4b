"""A few predictions as W&B shows them: masks that lie over their image."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import wandb

EXAMPLES = "examples"
"""The key that they are logged under."""

PANELS = 4
"""Images of each run that are shown."""

LONGEST = 512  # pixels of the longest side that is kept at least


def overlay(
    image: NDArray[np.uint8],
    masks: Mapping[str, NDArray[np.uint8]],
    labels: Mapping[int, str],
    caption: str,
) -> "wandb.Image":
    """An image [H, W, 3] with masks of class ids [H, W], all reduced alike; not interpolated."""
    import wandb

    step = max(1, max(image.shape[:2]) // LONGEST)
    return wandb.Image(
        image[::step, ::step],
        masks={
            kind: {"mask_data": ids[::step, ::step], "class_labels": dict(labels)}
            for kind, ids in masks.items()
        },
        caption=caption,
    )
