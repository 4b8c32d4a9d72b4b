"""Synthetic aerial scenes with FloodNet's classes: data for the tests and the demo.

A scene is 256 px wide as a rule, and a pixel is about half a metre. The colours are chosen so
that they do not give the class away (muddy rivers look like wet asphalt, roofs like roads, lawns
like trees): what tells the classes apart is shape, texture, shadow and neighbourhood.
"""

import itertools
import tempfile
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from segbench.data.classes import SegmentationClass, write_classes
from segbench.data.contact_sheet import contact_sheet
from segbench.errors import InputError

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
MIN_SIZE = 64
_SHEET_SCENES = 24

Field = NDArray[np.float32]
Region = NDArray[np.bool_]
Window = tuple[slice, slice]
Path2D = NDArray[np.float64]
"""A line across the scene: rows of x, y and heading, 2 px apart."""


def _colors(codes: str) -> Field:
    """An RGB colour for each hex code."""
    return np.frombuffer(bytes.fromhex(codes), np.uint8).reshape(-1, 3).astype(np.float32)


_SOILS = _colors("967c5e a8a094 78706c b8a480")
_PAVINGS = _colors("b0aca4 92908c baac96")
_ASPHALTS = _colors("787674 5c5e62 8c8882 747062")
_MARKINGS = _colors("d6d4cc ceb460")
_WATERS = _colors("7a705c 3e5046 586872 70726e 5a5e4a")
_ROOFS = _colors("6e6c6c 505056 8c8882 5c6c7c 7c6452 9e604e c4c0ba a8967c")
_RIMS = _colors("cecac2 b8b0a2")
_POOLS = _colors("60b8c8 88c4d0 468cb0 5c8264 52624a")
_CARS = _colors("e2e2e0 aaacb0 2c2c32 606266 a42c28 304c8c 968260 3c5a42")


class _Pose(NamedTuple):
    """A point and a direction."""

    x: float
    y: float
    angle: float

    def moved(self, along: float, across: float, turn: float = 0.0) -> "_Pose":
        """The pose so many pixels ``along`` and ``across`` this one's direction, turned."""
        cos, sin = float(np.cos(self.angle)), float(np.sin(self.angle))
        x, y = self.x + along * cos - across * sin, self.y + along * sin + across * cos
        return _Pose(x, y, self.angle + turn)


class _World:
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

    def around(self, pose: _Pose, reach: float) -> tuple[Window, Field, Field]:
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

    def somewhere(self, margin: float = 0.0) -> _Pose:
        """A random pose; ``margin`` is the share of the image to keep clear at each side."""
        y, x = self.rng.uniform(margin, 1 - margin, 2) * self.shape
        return _Pose(x, y, self.rng.uniform(0, 2 * np.pi))

    def wander(self, pose: _Pose, bend: float, wavelength: float) -> Path2D:
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

    def stops(self, path: Path2D) -> list[_Pose]:
        """The poses along the part of the path that lies in the image or close to it."""
        y_max, x_max = self.shape
        x, y, _ = path.T
        near = (x > -20) & (x < x_max + 20) & (y > -20) & (y < y_max + 20)
        return [_Pose(*row) for row in path[near].tolist()]


def _paint_ground(world: _World, grass: Field) -> None:
    """Bare ground, and meadows on it."""
    whole = world.everywhere
    soil = world.texture(whole, 0.07, 0.07) + 0.06 * world.noise(12)
    world.paint(whole, np.ones(world.shape, bool), BACKGROUND, world.pick(_SOILS), soil)
    meadow = world.noise(40) + 0.25 * world.noise(7) > world.rng.uniform(-1.2, 0.5)
    blades = world.texture(whole, 0.05, 0.07) + 0.05 * world.noise(20)
    world.paint(whole, meadow, GRASS, world.pick(grass), blades)


def _paint_river(world: _World) -> None:
    """A winding river."""
    bend, wavelength = world.rng.uniform(0.15, 0.8), world.rng.uniform(140, 320)
    half = world.rng.uniform(6, 20)
    path = world.wander(world.somewhere(0.2), bend, wavelength)
    shore = world.distance(path) + 0.15 * half * world.noise(24) + 0.6 * world.clumps - half
    _paint_water(world, world.everywhere, shore)


def _paint_pond(world: _World) -> None:
    """A roundish pond."""
    radius, stretch = world.rng.uniform(16, 42), world.rng.uniform(1, 1.8)
    window, u, v = world.around(world.somewhere(), 2.4 * radius)
    shore = np.hypot(u / stretch, v) + 0.12 * radius * world.noise(20)[window] - radius
    _paint_water(world, window, shore)


def _paint_water(world: _World, window: Window, shore: Field) -> None:
    """Water where ``shore``, the distance to it, is negative, in a muddy bank."""
    color = world.pick(_WATERS)
    mud = 0.5 * color + 0.5 * world.pick(_SOILS)
    bank = shore < world.rng.uniform(1, 5)
    world.paint(window, bank, BACKGROUND, mud, world.texture(window, 0.08, 0.06))
    _, along, _ = world.around(_Pose(0, 0, world.sun), sum(world.shape))
    ripples = np.sin(world.rng.uniform(0.3, 1.2) * along[window] + 2 * world.clumps[window])
    depth = np.clip(shore / -20, 0, 1)
    shade = world.texture(window, 0, 0.02) + 0.03 * ripples - 0.14 * depth
    world.paint(window, shore < 0, WATER, color, shade)


def _roads(world: _World, count: int) -> list[tuple[Path2D, float]]:
    """Paths and half widths of ``count`` main roads, each with up to two side roads."""
    rng = world.rng
    roads = []
    for _ in range(count):
        bend, wavelength = rng.choice([0.0, rng.uniform(0.15, 0.5)]), rng.uniform(200, 500)
        main = world.wander(world.somewhere(0.3), bend, wavelength)
        roads.append((main, rng.choice([5.5, 7.0, 9.0])))
        stops = world.stops(main)
        for stop in rng.integers(len(stops), size=rng.integers(0, 3)):
            crossing = stops[stop].moved(0, 0, np.pi / 2 + rng.normal(0, 0.15))
            roads.append((world.wander(crossing, 0.5 * bend, wavelength), rng.choice([4.0, 5.0])))
    return roads


def _paint_road(world: _World, path: Path2D, half: float, asphalt: Field) -> None:
    """A road with worn lanes; some have pavements, most wide ones a dashed centre line."""
    whole = world.everywhere
    distance = world.distance(path)
    if world.rng.random() < 0.4:
        # Where roads meet, the pavement of one must not cross the other.
        pavement = (distance < half + world.rng.uniform(1.2, 3)) & (world.mask != ROAD)
        slabs = world.texture(whole, 0.03, 0.04)
        world.paint(whole, pavement, BACKGROUND, world.pick(_PAVINGS), slabs)
    shade = world.texture(whole, 0.04, 0.05) + 0.2 * abs(distance / half - 0.5)
    world.paint(whole, distance < half, ROAD, asphalt, shade)
    if half > 5 and world.rng.random() < 0.8:
        line = np.zeros(world.shape, np.uint8)
        dashes = [path[start : start + 4, :2] for start in range(0, len(path), 7)]
        cv2.polylines(line, [dash.round().astype(np.int32) for dash in dashes], False, 1)
        world.paint(whole, line > 0, ROAD, world.pick(_MARKINGS), shade)


def _lots(world: _World, path: Path2D, half: float) -> list[_Pose]:
    """Where houses may stand on both sides of a road: their fronts, across which the land lies."""
    settled = world.rng.uniform(0.2, 1)
    return [
        stop.moved(0, side * half, turn + world.rng.normal(0, 0.05))
        for stop in world.stops(path)[world.rng.integers(8) :: 17]
        for side, turn in ((1, 0), (-1, np.pi))
        if world.rng.random() < settled
    ]


def _paint_garden(world: _World, lot: _Pose, grass: Field) -> None:
    """The ground of a lot: its own lawn, or a paved or bare yard."""
    half, depth = world.rng.uniform(14, 20), world.rng.uniform(30, 50)
    window, u, v = world.around(lot.moved(0, depth / 2), half + depth / 2)
    inside = (abs(u) < half) & (abs(v) < depth / 2) & world.is_ground(window)
    if world.rng.random() < 0.6:
        world.paint(window, inside, GRASS, world.pick(grass), world.texture(window, 0.04, 0.06))
    else:
        color = world.pick(np.concatenate([_SOILS, _PAVINGS]))
        world.paint(window, inside, BACKGROUND, color, world.texture(window, 0.06, 0.05))


def _paint_home(world: _World, lot: _Pose, pools: float) -> None:
    """A house with a driveway, and by the chance ``pools`` a pool behind it."""
    rng = world.rng
    length, depth, front = rng.uniform(15, 26), rng.uniform(11, 17), rng.uniform(8, 13)
    if _paint_house(world, lot.moved(0, front + depth / 2), length, depth):
        _paint_driveway(world, lot.moved(4 - length / 2, front / 2, np.pi / 2), front)
    if rng.random() < pools:
        behind = front + depth + rng.uniform(10, 14)
        _paint_pool(world, lot.moved(rng.uniform(-6, 6), behind, rng.normal(0, 0.3)))


def _paint_house(world: _World, pose: _Pose, length: float, depth: float) -> bool:
    """A house of one wing, or two in an L; False, and nothing painted, without room for it."""
    rng = world.rng
    window, u, v = world.around(pose, length)
    if not world.has_room(window, (abs(u) < length / 2 + 3) & (abs(v) < depth / 2 + 3)):
        return False
    color, flat = world.pick(_ROOFS), rng.random() < 0.3
    _paint_wing(world, pose, (length, depth), color, flat)
    if rng.random() < 0.4:
        end = rng.choice([-0.5, 0.5]) * (length - 0.8 * depth)
        if world.has_room(window, (abs(u - end) < 0.4 * depth) & (v > depth / 2) & (v < depth)):
            wing = pose.moved(end, 0.4 * depth, np.pi / 2)
            _paint_wing(world, wing, (depth, 0.8 * depth), color, flat)
    return True


def _paint_wing(
    world: _World, pose: _Pose, extent: tuple[float, float], color: Field, flat: bool
) -> None:
    """A rectangle of roof: flat with a parapet, or a gable with a lit and a shaded half."""
    half_length, half_depth = extent[0] / 2, extent[1] / 2
    window, u, v = world.around(pose, half_length + half_depth)
    inside = (abs(u) < half_length) & (abs(v) < half_depth)
    shade = world.texture(window, 0.03, 0.03)
    elevation = np.full_like(u, 6)
    if flat:
        shade[(abs(u) > half_length - 1.3) | (abs(v) > half_depth - 1.3)] += 0.16
    else:
        shade += 0.05 * np.sin(1.6 * u) - 0.2 * np.sign(v) * np.sin(world.sun - pose.angle)
        shade[abs(v) < 0.8] += 0.12
        elevation += 0.4 * (half_depth - abs(v))
    world.paint(window, inside, BUILDING, color, shade, elevation)


def _paint_driveway(world: _World, pose: _Pose, length: float) -> None:
    """A paved strip over open ground, often with a parked car."""
    window, u, v = world.around(pose, length)
    inside = (abs(u) < length / 2) & (abs(v) < 3) & world.is_ground(window)
    world.paint(window, inside, BACKGROUND, world.pick(_PAVINGS), world.texture(window, 0.04, 0.04))
    if world.rng.random() < 0.6:
        _paint_vehicle(world, pose)


def _paint_pool(world: _World, pose: _Pose) -> None:
    """A rectangular, elliptic or kidney-shaped pool with a thin light rim, if there is room."""
    rng = world.rng
    a, b = rng.uniform(5, 9), rng.uniform(3.6, 6)
    window, u, v = world.around(pose, 14)
    if rng.random() < 0.4:
        edge = np.maximum(abs(u) - a, abs(v) - b)
    else:
        # The middle line of a kidney is bent.
        bent = rng.choice([0.0, 0.35]) * np.cos(2.4 * u / a)
        edge = b * (np.hypot(u / a, v / b + bent) - 1)
    if world.has_room(window, edge < 3):
        even, rim = world.texture(window, 0, 0.03), edge < rng.uniform(1, 2)
        world.paint(window, rim, BACKGROUND, world.pick(_RIMS), even)
        world.paint(window, edge < 0, POOL, world.pick(_POOLS), even - 0.1 * u / a)


def _paint_traffic(world: _World, path: Path2D, half: float) -> None:
    """Cars on both lanes of a road."""
    rng = world.rng
    for stop in world.stops(path)[:: rng.integers(10, 36)]:
        lane = rng.choice([-0.5, 0.5]) * half
        _paint_vehicle(world, stop.moved(rng.uniform(-6, 6), lane, rng.normal(0, 0.04)))


def _paint_vehicle(world: _World, pose: _Pose) -> None:
    """A car, or now and then a van, with dark windows; only on roads and bare ground."""
    rng = world.rng
    half_length, half_width = rng.choice([4.2, 4.6, 6.5], p=[0.5, 0.4, 0.1]), rng.uniform(2, 2.5)
    window, u, v = world.around(pose, 9)
    inside = (abs(u) < half_length) & (abs(v) < half_width)
    below = world.mask[window][inside]
    if ((below == BACKGROUND) | (below == ROAD)).all():
        shade = world.texture(window, 0, 0.02)
        shade[(u > 0.8) & (u < 2.4) | (u > -3.4) & (u < -2.4)] = 0.4
        world.paint(window, inside, VEHICLE, world.pick(_CARS), shade, 2.5)


def _paint_trees(world: _World, leaves: Field) -> None:
    """Woods where a slow noise is high, and single trees elsewhere, all rooted in open ground."""
    rng = world.rng
    height, width = world.shape
    woods = world.noise(45) > rng.uniform(0.6, 2)
    scattered = rng.uniform(0.02, 0.08)
    for y, x in (rng.uniform(0, 1, (height * width // 90, 2)) * world.shape).tolist():
        wooded = woods[int(y), int(x)]
        if world.mask[int(y), int(x)] % GRASS or rng.random() > (0.8 if wooded else scattered):
            continue
        radius = rng.uniform(4, 11) if wooded else rng.uniform(3, 8)
        _paint_tree(world, _Pose(x, y, world.sun), radius, leaves)


def _paint_tree(world: _World, pose: _Pose, radius: float, leaves: Field) -> None:
    """A ragged crown, lit from the side the sun is on: behind, as ``pose`` looks."""
    window, u, v = world.around(pose, 1.5 * radius)
    dome = 1 + 0.25 * world.clumps[window] - np.square(u / radius) - np.square(v / radius)
    shade = world.texture(window, 0.12, 0.1) - 0.05 - 0.22 * (u / radius)
    elevation = radius * (0.4 + np.sqrt(np.maximum(dome, 0)))
    world.paint(window, dome > 0, TREE, world.pick(leaves), shade, elevation)


def _shadows(world: _World) -> Region:
    """Where something stands between a pixel and the sun."""
    height, width = world.shape
    slope = world.rng.uniform(0.7, 1.4)
    shaded = np.zeros(world.shape, bool)
    for step in range(1, int(world.elevation.max() / slope) + 1):
        shift = np.array([[1, 0, step * np.cos(world.sun)], [0, 1, step * np.sin(world.sun)]])
        ray = cv2.warpAffine(world.elevation, shift, (width, height), flags=cv2.INTER_NEAREST)
        shaded |= ray - step * slope > world.elevation + 0.5
    return shaded


def _expose(world: _World) -> NDArray[np.uint8]:
    """The camera's picture: light and its colour, shadows, haze, blur and noise."""
    rng = world.rng
    light = rng.uniform(0.8, 1.2) * rng.normal(1, 0.03, 3)
    haze = rng.uniform(0, 0.25)
    # Shaded ground is lit by the sky alone, so it is bluer.
    sky = light * (1 - rng.uniform(0.45, 0.65) * np.array([1.05, 1, 0.9]))
    lit_and_shaded = (1 - haze) * np.stack([light, sky])[:, None] * np.stack(world.colors)
    palette = lit_and_shaded.astype(np.float32).reshape(-1, 3)
    entry = world.material + len(world.colors) * _shadows(world)
    rgb = palette[entry] * world.shade[..., None]
    blurred = cv2.GaussianBlur(rgb, (0, 0), rng.uniform(0.4, 0.7))
    noise = rng.uniform(2, 6) * rng.standard_normal((*world.shape, 1), np.float32)
    veil = (haze * np.array([190, 196, 206])).astype(np.float32)
    return np.asarray(np.clip(blurred + (noise + veil), 0, 255).astype(np.uint8))


def paint_scene(
    rng: np.random.Generator, height: int, width: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Paint one scene.

    Args:
        rng: the only source of chance.
        height: rows, at least ``MIN_SIZE``.
        width: columns, at least ``MIN_SIZE``. A larger image shows more of the world.

    Returns:
        The RGB image (height, width, 3) and the mask of class ids (height, width).
    """
    world = _World(rng, height, width)
    dry = rng.uniform(0, 1) ** 1.5
    grass = ((1 - dry) * world.pick(_colors("58743e")) + dry * world.pick(_colors("a09262")))[None]
    leaves = world.pick(_colors("425c32")) + dry * _colors("140402")

    _paint_ground(world, grass)
    share = max(1, round(height * width / 256**2))
    for _ in range(rng.binomial(share, 0.55)):
        _paint_river(world)
    for _ in range(rng.binomial(share, 0.35)):
        _paint_pond(world)
    roads, asphalt = _roads(world, share), world.pick(_ASPHALTS)
    for path, half in roads:
        _paint_road(world, path, half, asphalt)
    lots = [lot for path, half in roads for lot in _lots(world, path, half)]
    for lot in lots:
        _paint_garden(world, lot, grass)
    pools = rng.choice([0.0, 0.9], p=[0.25, 0.75])
    for lot in lots:
        _paint_home(world, lot, pools)
    for path, half in roads:
        _paint_traffic(world, path, half)
    _paint_trees(world, leaves)
    return _expose(world), world.mask


def generate(out: Path, *, train: int, val: int, test: int, size: int, seed: int) -> None:
    """Write a data set of synthetic scenes: images, masks, classes and a contact sheet.

    Scene number k is the same in every data set of the same seed and size.

    Args:
        out: the folder to make; it may exist if it is empty.
        train: scenes for training, at least one.
        val: scenes for validation.
        test: scenes for the test.
        size: height and width of the scenes, at least ``MIN_SIZE``.
        seed: 0 or more; another seed gives other scenes.

    Raises:
        InputError: ``out`` is in use, or a number is out of range.
    """
    counts = {"train": train, "val": val, "test": test}
    if train < 1 or min(counts.values()) < 0:
        raise InputError(f"scenes {counts}: give at least 1 for train and no negative number")
    if size < MIN_SIZE or seed < 0:
        raise InputError(f"size {size}, seed {seed}: give a size from {MIN_SIZE}, a seed from 0 on")
    out = out.resolve()
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise InputError(f"{out}: already in use; name a new or empty folder, or delete it first")
    out.parent.mkdir(parents=True, exist_ok=True)
    # A sibling, so that the finished data set takes its place in a single rename.
    with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as temporary:
        staging = Path(temporary) / out.name
        _write_scenes(staging, counts, size, seed)
        staging.rename(out)


def _write_scenes(folder: Path, counts: dict[str, int], size: int, seed: int) -> None:
    """Fill the data set folder."""
    numbers, shown = itertools.count(), []
    for split, count in counts.items():
        images, masks = folder / split / "image", folder / split / "mask"
        images.mkdir(parents=True)
        masks.mkdir()
        for k in itertools.islice(numbers, count):
            image, mask = paint_scene(np.random.default_rng([seed, k]), size, size)
            _write_image(images / f"scene_{k:04}.jpg", image)
            _write_image(masks / f"scene_{k:04}.png", mask)
            if k < _SHEET_SCENES:
                shown.append((image, mask))
    write_classes(folder / "classes.json", CLASSES)
    sheet = contact_sheet([image for image, _ in shown], [mask for _, mask in shown], CLASSES)
    _write_image(folder / "contact_sheet.jpg", sheet)


def _write_image(path: Path, pixels: NDArray[np.uint8]) -> None:
    """Write an RGB image as .jpg or a mask as .png."""
    if path.suffix == ".jpg":
        bgr = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
        encoded = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, 92])[1]
    else:
        encoded = cv2.imencode(".png", pixels)[1]
    path.write_bytes(encoded.tobytes())
