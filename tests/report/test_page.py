"""The report page, as ``segbench report`` writes it, read back as HTML."""

import base64
import io
import json
import re
import shlex
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from painted import ROAD, WATER, Ids, study_of_networks
from PIL import Image
from studies_on_paper import plan_of

from segbench.report.page.pictures import majority
from segbench.study import planning
from segbench.study.commands import _sweep_options
from segbench.study.spec import Sweep, read_sweep

Segbench = Callable[..., str]

HOSTILE = [
    "<script>alert(1)</script>",
    "</script><script>alert(2)</script>",
    "<img src=x onerror=alert(3)>",
    '"><svg onload=alert(4)>',
    "{{ 7 * 7 }}",
    "{% raw %}",
    "<!--",
    "]]>",
    "&lt;b&gt;",
    "<b>bold</b>",
    "javascript:alert(5)",
    "'; alert(6); '",
    "[bold red]rich[/]",
    "\\u003cscript\\u003e",
    "=HYPERLINK(1)",
    "%3Cscript%3E",
    "a<br>b",
    "<a href='http://example.com'>x</a>",
    "${7*7}",
    "\u202edrow",
]


class Page(HTMLParser):
    """Text by the id of its section, tags in their order, and the JSON of scripts."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.text: dict[str, str] = {}
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.content: list[Any] = []
        self._section = ""
        self._script = ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.tags.append((tag, found))
        if tag in ("article", "section"):
            self._section = found["id"] or ""
        self._script = (found.get("type") or "code") if tag == "script" else ""

    def handle_endtag(self, tag: str) -> None:
        if tag == "script":
            self._script = ""

    def handle_data(self, data: str) -> None:
        if self._script == "application/json":
            self.content.append(json.loads(data))
        elif not self._script:
            self.text[self._section] = self.text.get(self._section, "") + data


def picture(source: str) -> Ids:
    """The class ids of a picture in the page."""
    content = base64.b64decode(source.removeprefix("data:image/png;base64,"))
    return np.asarray(Image.open(io.BytesIO(content)), dtype=np.uint8)


def good(ids: Ids, seed: int) -> Ids:
    """Right but for a corner that differs by seed."""
    said = ids.copy()
    said[: 4 + 2 * seed, :8] = (said[: 4 + 2 * seed, :8] + 1) % 4
    return said


def swapped(ids: Ids, seed: int) -> Ids:
    """Ponds are called roads."""
    said = good(ids, seed)
    said[ids == WATER] = ROAD
    return said


@pytest.fixture(scope="module")
def painted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("painted")
    return study_of_networks(folder, {"good": good, "swapped": swapped})


@pytest.fixture
def study(painted: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(painted, tmp_path / "painted"))


def plan(study: Path, seeds: int = 3, **rules: Any) -> None:
    plan_of(study, {"config": ["good.yaml", "swapped.yaml"]}, seeds, **rules)


def test_a_study_is_told_from_verdict_to_provenance(segbench: Segbench, study: Path):
    plan(study, margin=0.05)
    said = segbench("report", study)
    assert said.startswith(f"{study / 'report.html'}: ")
    page = Page(study / "report.html")
    names = [attrs["id"] for tag, attrs in page.tags if tag == "section"]
    assert names == [f"painted-{n}" for n in ("verdicts", "curves", "cost", "errors", "provenance")]
    verdicts = page.text["painted-verdicts"]
    (line,) = [line for line in segbench("compare", study).splitlines() if " changes the " in line]
    assert line in " ".join(verdicts.split())
    assert "worse" in verdicts
    errors = segbench("errors", study, "--arm", "good").splitlines()[0]
    assert errors in " ".join(page.text["painted-errors"].split())
    content = yaml.safe_load((study / "study.yaml").read_text())
    assert content["hash"] in page.text["painted-provenance"]
    assert "segbench sweep" in page.text["painted-provenance"]
    assert "Latency and memory are not measured" in page.text["painted-cost"]


def test_the_command_that_makes_a_study_again_asks_for_the_same_cells(
    segbench: Segbench, study: Path, tmp_path: Path
):
    """With the options that it was made with: seeds, folds, keys of all types."""
    options = {"model.backbone": None, "model.aspp": True, "model.aspp_rates": [1, 2]}
    sweep = tmp_path / "my sweep.yaml"
    content = {
        "method": "grid",
        "parameters": {
            "data.augmentation": {"values": ["none", "full"]},
            "seed_everything": {"values": [0, 1, 2, 3, 4]},
        },
        "command": ["segbench", "fit", "--config", "${args_json}"],
    }
    sweep.write_text(yaml.safe_dump(content))
    made = read_sweep(sweep, options, seeds=2, folds=3)
    planning.plan_study(made, study, planning.tested_in(study)).write()
    segbench("report", study)
    provenance = Page(study / "report.html").text["painted-provenance"]
    (line,) = re.findall("segbench sweep .*", provenance)
    again = asked_by(shlex.split(line)[2:])
    assert again.cells() == made.cells()


def test_a_study_that_was_pulled_is_pulled_again(segbench: Segbench, study: Path):
    content = {
        "method": "grid",
        "parameters": {
            "config": {"values": ["good.yaml", "swapped.yaml"]},
            "seed_everything": {"values": [0, 1, 2]},
        },
        "command": ["segbench", "fit", "--config", "${args_json}"],
    }
    sweep = Sweep(Path("me/roofs/abc"), content)
    planning.plan_study(sweep, study, planning.tested_in(study), after=True).write()
    segbench("report", study)
    provenance = Page(study / "report.html").text["painted-provenance"]
    assert f"segbench pull me/roofs/abc --out {study}" in provenance
    assert "segbench sweep" not in provenance


def asked_by(argv: list[str]) -> Sweep:
    given, constants = _sweep_options(argv)
    return read_sweep(given.file, constants, given.seeds, given.folds)


def test_the_page_asks_nobody_for_anything(segbench: Segbench, study: Path):
    segbench("report", study, "--out", "page.html")
    page = Page(Path("page.html"))
    for tag, attrs in page.tags:
        for key in ("src", "href", "action", "srcset", "poster"):
            if attrs.get(key):
                assert str(attrs[key]).startswith(("#", "data:")), (tag, attrs)
    (policy,) = [a["content"] for t, a in page.tags if a.get("http-equiv")]
    assert str(policy).startswith("default-src 'none'")
    assert Path("page.html").stat().st_size < 15e6


def test_figures_hold_what_the_tables_say(segbench: Segbench, study: Path):
    plan(study)
    segbench("report", study, "--out", "page.html")
    page = Page(Path("page.html"))
    names = [a["data-chart"] for _, a in page.tags if "data-chart" in a]
    charts = dict(zip(names, page.content, strict=False))
    segbench("compare", study, "--json", "compare.json")
    (contrast,) = json.loads(Path("compare.json").read_text())
    (point,) = [one for one in charts["painted-forest"]["data"] if one["x"]]
    assert point["x"] == [contrast["difference"]]
    assert point["x"][0] + point["error_x"]["array"][0] == pytest.approx(contrast["ci_high"])
    assert point["name"] == "worse"
    flow = charts["painted-flow"]["data"][0]
    segbench("errors", study, "--arm", "good", "--json", "errors.json")
    for one in json.loads(Path("errors.json").read_text())["confusion"]:
        row, column = flow["y"].index(one["truth"]), flow["x"].index(one["predicted"])
        assert flow["z"][row][column] == pytest.approx(one["share_of_missed"][0], abs=1e-4)
    val = charts["painted-curve-val-mean_iou"]["data"]
    assert [t["y"] for t in val if t.get("name") == "good"] == [[0.1, 0.2, 0.3]]
    assert len([t for t in val if "seed" in (t.get("name") or "")]) == 6


def test_the_gallery_shows_a_place_as_each_arm_sees_it(segbench: Segbench, study: Path):
    segbench("report", study, "--arm", "swapped", "--out", "page.html")
    crops = Page(Path("page.html")).content[-1]
    assert {crop["cause"] for crop in crops[:10]} == {"class 1 called class 2"}
    assert list(crops[0]["predictions"]) == ["swapped", "good"]
    truth = picture(crops[0]["truth_source"])
    image = Image.open(study / "test" / "truth" / f"{crops[0]['image']}.png")
    top, left = [int(n) for n in re.findall(r"\d+", crops[0]["place"])][::2]
    ids = np.asarray(image)[top : top + len(truth), left : left + len(truth)]
    assert (truth[: len(ids), : ids.shape[1]] == ids).all()
    right, wrong = (picture(crops[0]["predictions"][arm]) for arm in ("good", "swapped"))
    assert (right[20:] == truth[20:]).all()
    assert (wrong[20:] == np.where(truth == WATER, ROAD, truth)[20:]).all()


def test_the_vote_of_seeds_is_the_commonest_class():
    rng = np.random.default_rng(0)
    said = rng.integers(0, 4, (5, 6, 7), dtype=np.uint8)
    brute = [[np.bincount(said[:, y, x]).argmax() for x in range(7)] for y in range(6)]
    assert (majority(said) == brute).all()


def test_between_looks_there_is_no_verdict(segbench: Segbench, study: Path):
    plan(study, seeds=3, looks=[2, 3])
    shutil.rmtree(study / "swapped_seed-2")
    segbench("report", study)
    page = Page(study / "report.html")
    assert "5 of 6 planned runs are finished" in page.text["painted"]
    assert "2 seeds" in page.text["painted-verdicts"]  # those of the look that is complete
    assert "verdict without" in page.text["painted-errors"]
    shutil.rmtree(study / "swapped_seed-1")
    segbench("report", study)
    page = Page(study / "report.html")
    assert "no look is complete" in page.text["painted-verdicts"]
    assert "mean IoU" in page.text["painted-curves"]
    assert " changes the " not in page.text["painted-verdicts"]
    assert "verdict without" not in page.text["painted-errors"]


def test_a_part_that_is_damaged_takes_no_other_with_it(segbench: Segbench, study: Path):
    (study / "good_seed-0" / "test" / "predictions" / "scene_0.png").write_bytes(b"no picture")
    segbench("report", study)
    page = Page(study / "report.html")
    assert "not readable as a picture" in page.text["painted-errors"]
    assert " changes the " in page.text["painted-verdicts"]


def test_a_study_without_a_finished_run_still_says_what_it_is(segbench: Segbench, study: Path):
    plan(study)
    for run in study.glob("*_seed-*"):
        shutil.rmtree(run)
    segbench("report", study)
    page = Page(study / "report.html")
    assert "No verdicts, curves or errors yet" in page.text["painted"]
    assert "none" in page.text["painted-provenance"]


def test_several_studies_are_chapters_of_one_page(segbench: Segbench, study: Path):
    other = Path(shutil.copytree(study, study.with_name("other")))
    segbench("report", study, other, "--out", "page.html")
    page = Page(Path("page.html"))
    assert [a["id"] for t, a in page.tags if t == "article"] == ["painted", "other"]
    identities = [a["id"] for _, a in page.tags if a.get("id")]
    assert len(identities) == len(set(identities))


def test_names_of_users_are_text(segbench: Segbench, study: Path):
    rename = dict(zip(("class 0", "class 1", "class 2", "class 3"), HOSTILE, strict=False))
    for number, run in enumerate(sorted(study.glob("*_seed-*"))):
        stored = dict(np.load(run / "test" / "counts.npz"))
        stored["classes"] = np.array([rename[str(name)] for name in stored["classes"]])
        np.savez_compressed(run / "test" / "counts.npz", **stored)
        record = json.loads((run / "run.json").read_text())
        record["arm"] = {"data.augmentation": HOSTILE[4 + number // 3]}
        record["classes"] = [one | {"name": rename[one["name"]]} for one in record["classes"]]
        record["git_commit"] = HOSTILE[8 + number]
        record["versions"] = {HOSTILE[14]: HOSTILE[15], HOSTILE[16]: HOSTILE[17], HOSTILE[18]: "1"}
        (run / "run.json").write_text(json.dumps(record))
    hostile = study.with_name("<i>study")
    study.rename(hostile)
    segbench("report", hostile, "--out", "page.html")
    page = Page(Path("page.html"))
    text = "".join(page.text.values())
    for name in [*HOSTILE[:6], *HOSTILE[8:19], "<i>study"]:
        assert name in text, name
    assert not [tag for tag, _ in page.tags if tag in ("svg", "iframe", "object")]
    assert not [a for _, a in page.tags for key in a if key.startswith("on")]
    assert len([tag for tag, _ in page.tags if tag == "script"]) == 2 + len(page.content)


def test_bad_input_is_one_line(refusal: Segbench, study: Path):
    assert "no runs here" in refusal("report", study / "nothing")
    assert "one of good, swapped" in refusal("report", study, "--arm", "bad")
    assert "give a name in .html" in refusal("report", study, "--out", "page.pdf")
    assert "not a folder" in refusal("report", study, "--out", "nowhere/page.html")
    other = Path(shutil.copytree(study, study.with_name("other")))
    assert "give one study" in refusal("report", study, other, "--arm", "good")


def test_an_arm_whose_seeds_all_diverged_has_no_difference(segbench: Segbench, study: Path):
    for run in study.glob("swapped_seed-*"):
        record = json.loads((run / "run.json").read_text())
        (run / "run.json").write_text(json.dumps(record | {"status": "diverged"}))
    plan(study)
    segbench("report", study)
    page = Page(study / "report.html")
    assert "(swapped against good): not assessable: all seeds of an arm diverged" in " ".join(
        page.text["painted-verdicts"].split()
    )
    (chart,) = [
        content
        for name, content in zip(
            [a["data-chart"] for _, a in page.tags if "data-chart" in a], page.content, strict=False
        )
        if name == "painted-forest"
    ]
    assert [trace for trace in chart["data"] if trace["x"]] == []
    segbench("compare", study, "--json", "v.json")
    (contrast,) = json.loads(Path("v.json").read_text())
    assert contrast["difference"] is None
