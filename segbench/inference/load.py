"""The network of a run folder."""

from collections.abc import Mapping
from typing import Any

from segbench.models import SegmentationNetwork, build_model

NETWORK = (
    *("architecture", "num_classes", "backbone", "variant", "width", "aspp", "aspp_rates"),
    "output_stride",
)
"""The ``model`` keys that say what is computed, and so what it costs."""


def build_network(config: Mapping[str, Any]) -> SegmentationNetwork:
    """The network of a run's configuration, in eval mode, with random weights."""
    given = {key: config["model"][key] for key in NETWORK if key in config["model"]}
    return build_model(**given).eval()
