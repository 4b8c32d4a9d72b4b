"""Synthetic aerial scenes with FloodNet's classes: data for the tests and the demo."""

from segbench.data.synthetic.folder import generate
from segbench.data.synthetic.scene import paint_scene
from segbench.data.synthetic.world import CLASSES

__all__ = ["CLASSES", "generate", "paint_scene"]
