"""What a scene is painted on: ground seen from above, its materials, heights and labels."""

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from segbench.data.classes import SegmentationClass

CLASSES = (
    SegmentationClass(0, "Background", (0, 0, 0)),
    SegmentationClass(1, "Building", (180, 120, 120)),
    SegmentationClass(2, "Road", (140, 140, 140)),
    SegmentationClass(3, "Water", (61, 230, 250)),
    SegmentationClass(4, "Tree", (0, 82, 255)),
    SegmentationClass(5, "Vehicle", (255, 0, 245)),
    SegmentationClass(6, "Pool", (255, 235, 0)),
    SegmentationClass(7, "Grass", (4, 250, 7)),
)
BACKGROUND, BUILDING, ROAD, WATER, TREE, VEHICLE, POOL, GRASS = range(8)

Field = NDArray[np.float32]
Region = NDArray[np.bool_]
Window = tuple[slice, slice]
Path2D = NDArray[np.float64]
"""A line across the scene: rows of x, y and heading, 2 px apart."""


class Pose(NamedTuple):
    """A point and a direction."""

    x: float
    y: float
    angle: float

    def moved(self, along: float, across: float, turn: float = 0.0) -> "Pose":
        """The pose so many pixels ``along`` and ``across`` this one's direction, turned."""
        cos, sin = float(np.cos(self.angle)), float(np.sin(self.angle))
        x, y = self.x + along * cos - across * sin, self.y + along * sin + across * cos
        return Pose(x, y, self.angle + turn)


class World:
    """The scene being painted, its textures and its sun.

    A pixel's colour is that of its material, one entry of ``colors`` for each thing painted,
    times its shade.
    """

    def __init__(self, rng: np.random.Generator, height: int, width: int) -> None:
        self.rng = rng
        self.shape = (height, width)
        self.everywhere: Window = (slice(0, height), slice(0, width))
        self.colors: list[Field] = []
        self.material = np.zeros(self.shape, np.int32)
        self.shade = np.ones(self.shape, np.float32)
        self.mask = np.zeros(self.shape, np.uint8)
        self.elevation = np.zeros(self.shape, np.float32)
        self.clumps = self.noise(3)
        self.grain = rng.standard_normal(self.shape, np.float32)
        self.sun = rng.uniform(0, 2 * np.pi)
        """The direction in which shadows fall."""

    def noise(self, scale: float) -> Field:
        """Smooth noise of about unit variance whose blobs are about ``scale`` px wide."""
        height, width = self.shape
        cells = int(height / scale) + 2, int(width / scale) + 2
        coarse = 1.3 * self.rng.standard_normal(cells, np.float32)
        smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
        return np.asarray(smooth, np.float32)

    def texture(self, window: Window, clumps: float, grain: float) -> Field:
        """A shade around 1, uneven at the two scales by so much."""
        return 1 + clumps * self.clumps[window] + grain * self.grain[window]

    def around(self, pose: Pose, reach: float) -> tuple[Window, Field, Field]:
        """The window within ``reach`` of a pose, and its pixels' coordinates along and across.

        All are empty where the pose lies that far outside the image.
        """
        top, left = max(0, int(pose.y - reach)), max(0, int(pose.x - reach))
        bottom = max(top, min(self.shape[0], int(pose.y + reach) + 2))
        right = max(left, min(self.shape[1], int(pose.x + reach) + 2))
        dx = np.arange(left, right, dtype=np.float32) - np.float32(pose.x)
        dy = np.arange(top, bottom, dtype=np.float32)[:, None] - np.float32(pose.y)
        cos, sin = np.float32(np.cos(pose.angle)), np.float32(np.sin(pose.angle))
        return (slice(top, bottom), slice(left, right)), dx * cos + dy * sin, dy * cos - dx * sin

    def paint(
        self,
        window: Window,
        inside: Region,
        label: int,
        color: Field,
        shade: Field,
        elevation: Field | float = 0.0,
    ) -> None:
        """Cover the pixels ``inside`` the window with one thing."""
        np.copyto(self.material[window], len(self.colors), where=inside)
        np.copyto(self.shade[window], shade, where=inside)
        np.copyto(self.mask[window], label, where=inside)
        np.copyto(self.elevation[window], elevation, where=inside)
        self.colors.append(color)

    def is_ground(self, window: Window) -> Region:
        """Where only grass and background are, nothing built, wet or grown."""
        ground: Region = self.mask[window] % GRASS == 0
        return ground

    def has_room(self, window: Window, inside: Region) -> bool:
        """Whether all ``inside`` is ground."""
        return bool(self.is_ground(window)[inside].all())

    def pick(self, colors: Field) -> Field:
        """One row of ``colors``, varied in brightness and, less, in hue."""
        color = colors[self.rng.integers(len(colors))]
        varied: Field = color * self.rng.normal(1, 0.1)
        return varied + self.rng.normal(0, 4, 3).astype(np.float32)

    def somewhere(self, margin: float = 0.0) -> Pose:
        """A random pose; ``margin`` is the share of the image to keep clear at each side."""
        y, x = self.rng.uniform(margin, 1 - margin, 2) * self.shape
        return Pose(x, y, self.rng.uniform(0, 2 * np.pi))

    def wander(self, pose: Pose, bend: float, wavelength: float) -> Path2D:
        """A path through ``pose`` that winds by the angle ``bend`` and ends outside the image."""
        reach = sum(self.shape)
        phase = self.rng.uniform(0, 2 * np.pi)
        swing = np.sin(2 * np.pi * np.arange(-reach, reach + 1, 2) / wavelength + phase)
        headings = pose.angle + bend * (swing - np.sin(phase))
        points = np.cumsum(2 * np.stack([np.cos(headings), np.sin(headings)], 1), 0)
        return np.column_stack([points - points[len(points) // 2] + pose[:2], headings])

    def distance(self, path: Path2D) -> Field:
        """Each pixel's distance to the path."""
        canvas = np.ones(self.shape, np.uint8)
        cv2.polylines(canvas, [path[:, :2].round().astype(np.int32)], False, 0)
        distance = cv2.distanceTransform(canvas, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        return np.asarray(distance, np.float32)

    def stops(self, path: Path2D) -> list[Pose]:
        """The poses along the part of the path that lies in the image or close to it."""
        y_max, x_max = self.shape
        x, y, _ = path.T
        near = (x > -20) & (x < x_max + 20) & (y > -20) & (y < y_max + 20)
        return [Pose(*row) for row in path[near].tolist()]
