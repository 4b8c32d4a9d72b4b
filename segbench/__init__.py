"""Choose a segmentation network for a small set of aerial images, and defend the choice."""

import os

__version__ = "0.1.0"

# albumentations asks PyPI for its newest version at import; segbench contacts nobody unasked.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
