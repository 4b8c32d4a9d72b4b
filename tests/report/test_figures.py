"""Figures of many arms."""

import numpy as np

from segbench.report.figures.curves import curve_figure
from segbench.report.figures.style import swatch


def test_the_curves_of_ten_arms_can_be_told_apart():
    values = np.linspace(0.2, 0.4, 6).reshape(2, 3)
    arms = [(f"arm {number}", (0, 1), values) for number in range(10)]
    drawn = [one for one in curve_figure(arms, "val mean IoU").data if one.showlegend is None]
    assert [one.name for one in drawn] == [f"arm {number}" for number in range(10)]
    assert len({(one.line.color, one.line.dash) for one in drawn}) == 10
    assert len({swatch(number) for number in range(10)}) == 10
