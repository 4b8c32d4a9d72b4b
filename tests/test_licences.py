"""What segbench brings along may be used by whoever may use segbench: no GPL, no AGPL."""

import re
from importlib.metadata import Distribution, PackageNotFoundError, distribution

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

COPYLEFT = re.compile(r"(?<!L)(?<!Lesser )\bA?GPL|(?<!Lesser )(Affero )?General Public License")


def closure(root: str) -> dict[str, Distribution]:
    """Every installed distribution that ``root`` needs, with all of its extras but dev."""
    found: dict[str, Distribution] = {}
    asked = [(root, set(distribution(root).metadata.get_all("Provides-Extra") or ()) - {"dev"})]
    while asked:
        name, extras = asked.pop()
        try:
            one = distribution(name)
        except PackageNotFoundError:  # of another platform
            continue
        if name in found and not extras:
            continue
        found[name] = one
        for text in one.requires or ():
            needed = Requirement(text)
            wanted = [{"extra": extra} for extra in ("", *extras)]
            if needed.marker is None or any(needed.marker.evaluate(w) for w in wanted):
                asked.append((canonicalize_name(needed.name), set(needed.extras)))
    return found


def licence(one: Distribution) -> str:
    """As its author names it; the full text, which some put there, is not read."""
    named = [one.metadata.get("License-Expression") or (one.metadata.get("License") or "")[:80]]
    classifiers = one.metadata.get_all("Classifier") or []
    return " | ".join([*named, *(c for c in classifiers if c.startswith("License"))])


def test_nothing_under_the_gpl_comes_along():
    found = closure("segbench")
    assert {"torch", "albumentations", "wandb", "plotly", "ray", "rasterio"} <= found.keys()
    assert [name for name, one in found.items() if COPYLEFT.search(licence(one))] == []


def test_the_pattern_knows_the_family():
    for bad in ("GPL-3.0", "AGPL-3.0-only", "GNU General Public License v3 (GPLv3)"):
        assert COPYLEFT.search(bad)
    for good in ("MIT", "LGPL-3.0", "GNU Lesser General Public License v3 (LGPLv3)", "Apache-2.0"):
        assert not COPYLEFT.search(good)
