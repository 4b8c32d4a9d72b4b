"""The geometry of errors, against brute force and painted cases."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy import ndimage

from segbench.analysis.segments import Kind, borders, connected, depth, kinds, look_at

Ids = NDArray[np.uint8]
SQUARE = np.ones((3, 3), dtype=bool)
maps = arrays(np.uint8, (9, 11), elements=st.sampled_from([0, 1, 2, 255]))


@given(maps)
def test_depth_is_how_often_a_class_can_be_eroded(ids: Ids):
    found = depth(ids)
    for value in (0, 1, 2):
        mask = ids == value
        expected = np.zeros(mask.shape, dtype=int)
        left = mask.copy()
        while left.any():
            expected += left
            left = ndimage.binary_erosion(left, SQUARE)  # outside of the image is no part of it
        np.testing.assert_array_equal(found[mask], expected[mask])
    assert (found[ids == 255] == 0).all()


@given(maps)
def test_segments_are_those_of_scipy(ids: Ids):
    numbers = connected(ids)
    for value in (0, 1, 2):
        expected, count = ndimage.label(ids == value, SQUARE)
        pairs = {(int(a), int(b)) for a, b in zip(numbers.ravel(), expected.ravel(), strict=True)}
        inside = {pair for pair in pairs if pair[1] > 0}
        assert len(inside) == count == len({a for a, _ in inside})
    assert ((numbers == 0) == (ids == 255)).all()


@given(maps)
def test_borders_by_looking_at_every_neighbour(ids: Ids):
    expected = np.zeros(ids.shape, dtype=bool)
    for y, x in np.ndindex(*ids.shape):
        for b, a in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
            if 0 <= b < ids.shape[0] and 0 <= a < ids.shape[1]:
                expected[y, x] |= ids[y, x] != ids[b, a] and 255 not in (ids[y, x], ids[b, a])
    np.testing.assert_array_equal(borders(ids), expected)


@given(maps, arrays(np.uint8, (9, 11), elements=st.integers(0, 2)))
@settings(max_examples=50)
def test_every_wrong_pixel_has_one_kind_and_no_other_has(ids: Ids, predicted: Ids):
    found = kinds(look_at(ids), predicted, 2)
    np.testing.assert_array_equal(found >= 0, (ids != 255) & (ids != predicted))


def painted() -> Ids:
    ids = np.zeros((60, 80), dtype=np.uint8)
    ids[20:40, 20:60] = 1
    return ids


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("grown", {Kind.BOUNDARY: 2 * 3 * 40 + 2 * 3 * 20}),
        ("shifted", {Kind.BOUNDARY: 4 * 20 * 1}),
        # of the lost half, 20 x 20, what is more than 3 px from its three true borders: the pixels
        # at a border are 0 px from it
        ("halved", {Kind.BOUNDARY: 400 - 12 * 16, Kind.EXTENT: 12 * 16}),
        ("missed", {Kind.SEGMENT: 20 * 40}),
        ("made up", {Kind.SEGMENT: 10 * 10}),
    ],
)
def test_each_fault_is_of_its_kind(change: str, expected: dict[Kind, int]):
    truth = painted()
    predicted = np.zeros_like(truth)
    if change == "grown":
        predicted[17:43, 20:60] = predicted[20:40, 17:63] = 1
    elif change == "shifted":
        predicted[20:40, 22:62] = 1
    elif change == "halved":
        predicted[20:40, 20:40] = 1
    elif change == "made up":
        predicted[:] = truth
        predicted[45:55, 5:15] = 1
    found = kinds(look_at(truth), predicted, 3)
    assert {kind: int((found == kind).sum()) for kind in Kind if (found == kind).any()} == expected
