"""What is painted: rivers, roads, homes with gardens and pools, traffic, trees; then light.

A scene is 256 px wide as a rule, and a pixel is about half a metre. The colours are chosen so
that they do not give the class away (muddy rivers look like wet asphalt, roofs like roads, lawns
like trees): what tells the classes apart is shape, texture, shadow and neighbourhood.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from segbench.data.synthetic.world import (
    BACKGROUND,
    BUILDING,
    GRASS,
    POOL,
    ROAD,
    TREE,
    VEHICLE,
    WATER,
    Field,
    Path2D,
    Pose,
    Region,
    Window,
    World,
)


def colors_of(codes: str) -> Field:
    """An RGB colour for each hex code."""
    return np.frombuffer(bytes.fromhex(codes), np.uint8).reshape(-1, 3).astype(np.float32)


_SOILS = colors_of("967c5e a8a094 78706c b8a480")
_PAVINGS = colors_of("b0aca4 92908c baac96")
_ASPHALTS = colors_of("787674 5c5e62 8c8882 747062")
_MARKINGS = colors_of("d6d4cc ceb460")
_WATERS = colors_of("7a705c 3e5046 586872 70726e 5a5e4a")
_ROOFS = colors_of("6e6c6c 505056 8c8882 5c6c7c 7c6452 9e604e c4c0ba a8967c")
_RIMS = colors_of("cecac2 b8b0a2")
_POOLS = colors_of("60b8c8 88c4d0 468cb0 5c8264 52624a")
_CARS = colors_of("e2e2e0 aaacb0 2c2c32 606266 a42c28 304c8c 968260 3c5a42")


def _paint_ground(world: World, grass: Field) -> None:
    """Bare ground, and meadows on it."""
    whole = world.everywhere
    soil = world.texture(whole, 0.07, 0.07) + 0.06 * world.noise(12)
    world.paint(whole, np.ones(world.shape, bool), BACKGROUND, world.pick(_SOILS), soil)
    meadow = world.noise(40) + 0.25 * world.noise(7) > world.rng.uniform(-1.2, 0.5)
    blades = world.texture(whole, 0.05, 0.07) + 0.05 * world.noise(20)
    world.paint(whole, meadow, GRASS, world.pick(grass), blades)


def _paint_river(world: World) -> None:
    """A winding river."""
    bend, wavelength = world.rng.uniform(0.15, 0.8), world.rng.uniform(140, 320)
    half = world.rng.uniform(6, 20)
    path = world.wander(world.somewhere(0.2), bend, wavelength)
    shore = world.distance(path) + 0.15 * half * world.noise(24) + 0.6 * world.clumps - half
    _paint_water(world, world.everywhere, shore)


def _paint_pond(world: World) -> None:
    """A roundish pond."""
    radius, stretch = world.rng.uniform(16, 42), world.rng.uniform(1, 1.8)
    window, u, v = world.around(world.somewhere(), 2.4 * radius)
    shore = np.hypot(u / stretch, v) + 0.12 * radius * world.noise(20)[window] - radius
    _paint_water(world, window, shore)


def _paint_water(world: World, window: Window, shore: Field) -> None:
    """Water where ``shore``, the distance to it, is negative, in a muddy bank."""
    color = world.pick(_WATERS)
    mud = 0.5 * color + 0.5 * world.pick(_SOILS)
    bank = shore < world.rng.uniform(1, 5)
    world.paint(window, bank, BACKGROUND, mud, world.texture(window, 0.08, 0.06))
    _, along, _ = world.around(Pose(0, 0, world.sun), sum(world.shape))
    ripples = np.sin(world.rng.uniform(0.3, 1.2) * along[window] + 2 * world.clumps[window])
    depth = np.clip(shore / -20, 0, 1)
    shade = world.texture(window, 0, 0.02) + 0.03 * ripples - 0.14 * depth
    world.paint(window, shore < 0, WATER, color, shade)


def _roads(world: World, count: int) -> list[tuple[Path2D, float]]:
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


def _paint_road(world: World, path: Path2D, half: float, asphalt: Field) -> None:
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


def _lots(world: World, path: Path2D, half: float) -> list[Pose]:
    """Where houses may stand on both sides of a road: their fronts, across which the land lies."""
    settled = world.rng.uniform(0.2, 1)
    return [
        stop.moved(0, side * half, turn + world.rng.normal(0, 0.05))
        for stop in world.stops(path)[world.rng.integers(8) :: 17]
        for side, turn in ((1, 0), (-1, np.pi))
        if world.rng.random() < settled
    ]


def _paint_garden(world: World, lot: Pose, grass: Field) -> None:
    """The ground of a lot: its own lawn, or a paved or bare yard."""
    half, depth = world.rng.uniform(14, 20), world.rng.uniform(30, 50)
    window, u, v = world.around(lot.moved(0, depth / 2), half + depth / 2)
    inside = (abs(u) < half) & (abs(v) < depth / 2) & world.is_ground(window)
    if world.rng.random() < 0.6:
        world.paint(window, inside, GRASS, world.pick(grass), world.texture(window, 0.04, 0.06))
    else:
        color = world.pick(np.concatenate([_SOILS, _PAVINGS]))
        world.paint(window, inside, BACKGROUND, color, world.texture(window, 0.06, 0.05))


def _paint_home(world: World, lot: Pose, pools: float) -> None:
    """A house with a driveway, and by the chance ``pools`` a pool behind it."""
    rng = world.rng
    length, depth, front = rng.uniform(15, 26), rng.uniform(11, 17), rng.uniform(8, 13)
    if _paint_house(world, lot.moved(0, front + depth / 2), length, depth):
        _paint_driveway(world, lot.moved(4 - length / 2, front / 2, np.pi / 2), front)
    if rng.random() < pools:
        behind = front + depth + rng.uniform(10, 14)
        _paint_pool(world, lot.moved(rng.uniform(-6, 6), behind, rng.normal(0, 0.3)))


def _paint_house(world: World, pose: Pose, length: float, depth: float) -> bool:
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
    world: World, pose: Pose, extent: tuple[float, float], color: Field, flat: bool
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


def _paint_driveway(world: World, pose: Pose, length: float) -> None:
    """A paved strip over open ground, often with a parked car."""
    window, u, v = world.around(pose, length)
    inside = (abs(u) < length / 2) & (abs(v) < 3) & world.is_ground(window)
    world.paint(window, inside, BACKGROUND, world.pick(_PAVINGS), world.texture(window, 0.04, 0.04))
    if world.rng.random() < 0.6:
        _paint_vehicle(world, pose)


def _paint_pool(world: World, pose: Pose) -> None:
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


def _paint_traffic(world: World, path: Path2D, half: float) -> None:
    """Cars on both lanes of a road."""
    rng = world.rng
    for stop in world.stops(path)[:: rng.integers(10, 36)]:
        lane = rng.choice([-0.5, 0.5]) * half
        _paint_vehicle(world, stop.moved(rng.uniform(-6, 6), lane, rng.normal(0, 0.04)))


def _paint_vehicle(world: World, pose: Pose) -> None:
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


def _paint_trees(world: World, leaves: Field) -> None:
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
        _paint_tree(world, Pose(x, y, world.sun), radius, leaves)


def _paint_tree(world: World, pose: Pose, radius: float, leaves: Field) -> None:
    """A ragged crown, lit from the side the sun is on: behind, as ``pose`` looks."""
    window, u, v = world.around(pose, 1.5 * radius)
    dome = 1 + 0.25 * world.clumps[window] - np.square(u / radius) - np.square(v / radius)
    shade = world.texture(window, 0.12, 0.1) - 0.05 - 0.22 * (u / radius)
    elevation = radius * (0.4 + np.sqrt(np.maximum(dome, 0)))
    world.paint(window, dome > 0, TREE, world.pick(leaves), shade, elevation)


def _shadows(world: World) -> Region:
    """Where something stands between a pixel and the sun."""
    height, width = world.shape
    slope = world.rng.uniform(0.7, 1.4)
    shaded = np.zeros(world.shape, bool)
    for step in range(1, int(world.elevation.max() / slope) + 1):
        shift = np.array([[1, 0, step * np.cos(world.sun)], [0, 1, step * np.sin(world.sun)]])
        ray = cv2.warpAffine(world.elevation, shift, (width, height), flags=cv2.INTER_NEAREST)
        shaded |= ray - step * slope > world.elevation + 0.5
    return shaded


def _expose(world: World) -> NDArray[np.uint8]:
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
        height: rows, at least 64.
        width: columns, at least 64. A larger image shows more of the world.

    Returns:
        The RGB image (height, width, 3) and the mask of class ids (height, width).
    """
    world = World(rng, height, width)
    dry = rng.uniform(0, 1) ** 1.5
    grass = ((1 - dry) * world.pick(colors_of("58743e")) + dry * world.pick(colors_of("a09262")))[
        None
    ]
    leaves = world.pick(colors_of("425c32")) + dry * colors_of("140402")

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
