"""Tiles: every pixel once, weights that sum to one, the logits of the whole image."""

import gc
from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from segbench.models import SegmentationNetwork, build_model
from segbench.models.tiling import spans, tiled, tiled_logits


class Echo(nn.Module):
    """A network whose logits are what it is shown, checked to be a tile as the network needs it."""

    def __init__(self, stride: int, change: Callable[[Tensor], Tensor] = lambda x: x) -> None:
        super().__init__()
        self.stride, self.change = stride, change
        self.calls = 0

    def forward(self, images: Tensor) -> Tensor:
        self.calls += 1
        return self.change(images)


def places(height: int, width: int) -> Tensor:
    """An image [1, 3, H, W] whose pixels are their row, their column and 1."""
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack([rows, columns, torch.ones(height, width)])[None].float()


@st.composite
def settings_of_tiles(draw: st.DrawFn) -> tuple[int, int, int]:
    """Stride, tile, overlap."""
    stride = draw(st.sampled_from([1, 8, 16, 32]))
    tile = stride * draw(st.integers(max(1, 16 // stride), 96 // stride))
    return stride, tile, draw(st.integers(0, min(tile // 2, tile - stride)))


@settings(max_examples=300, deadline=None)
@given(st.integers(1, 300), settings_of_tiles())
def test_the_weights_of_every_pixel_sum_to_one(length: int, how: tuple[int, int, int]):
    stride, tile, overlap = how
    found = spans(length, tile, overlap, stride)
    total, tiles = torch.zeros(length), torch.zeros(length)
    for span in found:
        total[span.first : span.last] += span.weights
        tiles[span.first : span.last] += 1
        assert span.start <= span.first < span.last <= span.stop <= length
        assert span.start % stride == 0
        assert span.stop == min(span.start + tile, length)
        assert span.start == 0 or span.start + tile < length + stride  # whole tiles
        assert (span.weights > 0).all()
    assert torch.allclose(total, torch.ones(length))
    assert tiles.max() <= 2
    # what the network lacks beyond an inner edge does not count
    for left, right in pairwise(found):
        assert left.start + tile - right.start >= overlap
        assert right.first - right.start >= overlap // 4
        assert left.start + tile - left.last >= overlap // 4


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 150), st.integers(1, 150), settings_of_tiles(), st.integers(1, 200))
def test_every_pixel_comes_once_and_from_its_place(
    height: int, width: int, how: tuple[int, int, int], strip: int
):
    stride, tile, overlap = how
    image, seen = places(height, width), torch.zeros(height, width)
    found = torch.full_like(image, torch.nan)
    windows = tiled(
        *(Echo(stride), lambda r, c: image[..., r, c], height, width),
        **{"tile": tile, "overlap": overlap, "strip": strip},
    )
    for rows, columns, logits in windows:
        seen[rows, columns] += 1
        found[..., rows, columns] = logits
    assert (seen == 1).all()
    assert torch.allclose(found, image, rtol=1e-6)


@pytest.mark.parametrize("size", [(1, 1), (1, 200), (31, 64), (64, 64)])
def test_no_more_tiles_than_needed(size: tuple[int, int]):
    network = Echo(16)
    tiled_logits(network, places(*size), tile=64, overlap=16)
    assert network.calls == (1 if size[1] <= 64 else 4)  # 64 + 48 + 48 + 40 columns


@pytest.mark.parametrize(("spoilt", "shows"), [(8, False), (9, True)])
def test_what_a_network_makes_of_an_inner_edge_does_not_count(spoilt: int, shows: bool):
    """The outermost quarter of an overlap; the edges of the image count in full."""

    def spoil(tile: Tensor) -> Tensor:
        tile = tile.clone()
        (top, left), (bottom, right) = tile[0, :2, 0, 0].tolist(), tile[0, :2, -1, -1].tolist()
        tile[..., : spoilt if top > 0 else 0, :] = torch.nan
        tile[..., :, : spoilt if left > 0 else 0] = torch.nan
        tile[..., tile.shape[2] - (spoilt if bottom < 199 else 0) :, :] = torch.nan
        tile[..., :, tile.shape[3] - (spoilt if right < 159 else 0) :] = torch.nan
        return tile

    image = places(200, 160)
    found = tiled_logits(Echo(16, spoil), image, tile=96, overlap=32)
    assert bool(found.isnan().any()) == shows
    assert shows or torch.allclose(found, image)


@torch.no_grad()
def wake(network: nn.Module) -> nn.Module:
    """Random weights, and statistics under which they make something of every image."""
    torch.manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.8, 1.5)
            nn.init.normal_(module.bias, std=0.2)
            module.momentum = 1.0
    network.train()(picture(128, 160))
    return network.eval()


def picture(height: int, width: int) -> Tensor:
    """Blobs of colour, uint8 [1, 3, height, width]."""
    noise = torch.rand(1, 3, height // 8 + 2, width // 8 + 2, generator=torch.manual_seed(1))
    blobs = nn.functional.interpolate(noise, size=(height, width), mode="bilinear")
    return (255 * blobs).to(torch.uint8)


@torch.inference_mode()
@pytest.mark.parametrize("size", [(37, 1301), (1301, 37)])
def test_a_network_that_sees_no_farther_than_the_margin_gives_what_it_gives_for_all(
    size: tuple[int, int],
):
    network, image = wake(build_model("unet", 5, width=2)), picture(*size)
    whole = network(image)
    assert len(whole.argmax(1).unique()) > 1
    # a pixel of the UNet depends on those up to 107 px away
    found = tiled_logits(network, image, tile=864, overlap=432)
    assert torch.allclose(found, whole, atol=1e-5)
    assert torch.equal(found.argmax(1), whole.argmax(1))
    too_near = tiled_logits(network, image, tile=192, overlap=16)
    assert not torch.allclose(too_near, whole, atol=1e-2)


@torch.inference_mode()
@pytest.mark.parametrize("size", [(201, 333), (64, 65), (333, 70)])
def test_tiles_in_both_directions_give_what_the_whole_gives(size: tuple[int, int]):
    shallow = nn.Sequential(
        *(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(4), nn.Conv2d(8, 8, 3, padding=1)),
        *(nn.ReLU(), nn.ConvTranspose2d(8, 5, 4, stride=4)),
    )
    network, image = wake(SegmentationNetwork(shallow, 4)), picture(*size)
    whole = network(image)
    found = tiled_logits(network, image, tile=64, overlap=32)  # it sees 8 px to either side
    assert len(whole.argmax(1).unique()) > 1
    assert torch.allclose(found, whole, atol=1e-5)
    assert torch.equal(found.argmax(1), whole.argmax(1))


@torch.inference_mode()
def test_the_result_depends_neither_on_the_strips_nor_on_the_day():
    network, image = wake(build_model("unet", 5, width=2)), picture(70, 301)
    results = []
    for strip in (1, 100, 4096, 4096):
        result = torch.empty(1, 5, 70, 301)
        for rows, columns, logits in tiled(
            *(network, lambda r, c: image[..., r, c], 70, 301),
            **{"tile": 64, "overlap": 24, "strip": strip},
        ):
            result[..., rows, columns] = logits
        results.append(result)
    assert all(torch.equal(result, results[0]) for result in results)


@torch.inference_mode()
@pytest.mark.parametrize("size", [(1, 1), (50, 61), (64, 64)])
def test_an_image_no_larger_than_a_tile_is_that_tile(size: tuple[int, int]):
    network, image = wake(build_model("unet", 5, width=2)), picture(*size)
    assert torch.equal(tiled_logits(network, image, tile=64, overlap=16), network(image))


def test_several_images_of_a_size_at_a_time():
    images = torch.cat([places(100, 90), 2 * places(100, 90)])
    assert torch.allclose(tiled_logits(Echo(8), images, tile=64, overlap=16), images)


def test_memory_does_not_grow_with_the_image():
    """What is read at a time, what is handed out, and all that is held meanwhile, in bytes."""

    def held() -> int:
        gc.collect()
        return sum(thing.nbytes for thing in gc.get_objects() if type(thing) is Tensor)

    def most_held(height: int, width: int) -> int:
        before, most = held(), 0

        def read(rows: slice, columns: slice) -> Tensor:
            size = (rows.stop - rows.start, columns.stop - columns.start)
            assert max(size) <= 64
            return torch.zeros(1, 3, *size)

        how = {"tile": 64, "overlap": 16, "strip": 192}
        for number, window in enumerate(tiled(Echo(16), read, height, width, **how)):
            assert window.logits.shape[2] <= 64
            assert window.logits.shape[3] <= 192 + 64
            if number % 10 == 5:
                most = max(most, held() - before)
        return most

    band = 3 * 64 * (192 + 64) * 4
    assert 0 < most_held(600, 600) < 4 * band
    assert 0 < most_held(3000, 200) < 4 * band
    assert 0 < most_held(200, 3000) < 4 * band


@pytest.mark.parametrize(("tile", "overlap"), [(100, 16), (96, 49), (96, -1)])
def test_tiles_that_cannot_be(tile: int, overlap: int):
    with pytest.raises(ValueError, match=f"tiles of {tile} px that share {overlap}"):
        spans(300, tile, overlap, 16)
