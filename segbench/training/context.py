"""A warning about context that a network cannot learn."""

from segbench.models import SegmentationNetwork
from segbench.models.aspp import ASPP
from segbench.taps import fitting_rates, idle, map_side


def idle_rates(network: SegmentationNetwork, crop_size: int) -> str | None:
    """One line on rates of ASPP that see only padding around their centre, or nothing.

    Args:
        network: with or without ASPP on its coarsest map.
        crop_size: side of the training crops in pixels.
    """
    side = map_side(crop_size, network.stride)
    rates = [rate for part in network.modules() if isinstance(part, ASPP) for rate in part.rates]
    found = [rate for rate in rates if idle(side, side, rate).any()]
    if not found:
        return None
    fitting = fitting_rates(side)
    remedy = f"rates below {side} fit, such as {fitting}" if fitting else "no rate fits"
    return (
        f"model.aspp_rates: {', '.join(map(str, found))} of {rates}: on the {side}x{side} map of a "
        f"crop ({crop_size} px at stride {network.stride}) all taps but the centre see padding and "
        f"stay untrained; {remedy}, or take a larger data.crop_size or a smaller "
        "model.output_stride"
    )
