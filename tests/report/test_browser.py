"""The report page in a real browser: it works, it is reachable by keyboard, and it asks nobody."""

import csv
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from painted import GRASS, NAMES, ROAD, TREE, WATER, Ids, study_of_networks
from playwright.sync_api import Browser, Page, expect, sync_playwright
from studies_on_paper import plan_of

from segbench import cli

pytestmark = pytest.mark.slow

HOSTILE = "<img src=x onerror=document.title='broken'>"


def noisy(ids: Ids, seed: int) -> Ids:
    said = ids.copy()
    said[: 4 + 2 * seed, :8] = (said[: 4 + 2 * seed, :8] + 1) % 4
    return said


def swapped(ids: Ids, seed: int) -> Ids:
    said = noisy(ids, seed)
    said[ids == WATER] = ROAD
    said[ids == TREE] = GRASS
    return said


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of two arms, one of a name that is markup."""
    folder = tmp_path_factory.mktemp("page")
    study = study_of_networks(folder, {"noisy": noisy, HOSTILE: swapped})
    plan_of(study, {"config": ["noisy.yaml", f"{HOSTILE}.yaml"]}, 3, margin=0.05)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["segbench", "report", str(study), "--arm", HOSTILE])
        cli.main()
    return study / "report.html"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    found = shutil.which("chromium") or shutil.which("google-chrome")
    assert found, "apt-get install chromium"
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture(params=[(1280, "light"), (390, "dark")], ids=["desktop", "phone"])
def page(request: pytest.FixtureRequest, browser: Browser, report: Path) -> Iterator[Page]:
    """The page, scrolled through once; anything it complains of or asks for fails the test."""
    width, scheme = request.param
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=scheme, accept_downloads=True
    )
    page = context.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda asked: said.append(asked.url) if _outside(asked.url) else None)
    page.goto(report.as_uri())
    for chart in page.locator(".chart:visible").all():
        chart.scroll_into_view_if_needed()
        chart.locator(".main-svg").first.wait_for()
    yield page
    assert said == []
    context.close()


def _outside(url: str) -> bool:
    return not url.startswith(("file:", "data:", "blob:"))


def test_everything_is_there_and_fits(page: Page):
    headings = page.locator("h3").all_inner_texts()
    assert headings == ["Verdicts", "Learning curves", "Cost", "What it gets wrong", "Provenance"]
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert "broken" not in page.title()
    assert HOSTILE in page.locator(".arms").inner_text()
    assert HOSTILE in page.locator("[data-chart=painted-forest] .ytick").first.text_content()


def test_nothing_stands_in_the_way_of_a_screen_reader(page: Page):
    for fold in page.locator("main details").all():
        fold.evaluate("fold => { fold.open = true; }")
    found: Any = Axe().run(page, options={"resultTypes": ["violations"]})
    broken = [(v["id"], v["nodes"][0]["html"][:200]) for v in found.response["violations"]]
    assert broken == []


def test_arms_are_switched_in_all_their_figures(page: Page):
    lines = (
        "Array.from(document.querySelector('[data-chart=painted-curve-val-mean_iou] .plot').data)"
    )
    before = page.evaluate(f"{lines}.filter(t => t.visible !== false).length")
    page.get_by_role("button", name="noisy", exact=True).click()
    after = page.evaluate(f"{lines}.filter(t => t.visible !== false).length")
    assert (before, after) == (12, 6)
    assert page.evaluate(f"{lines}.every(t => t.visible === (t.legendgroup !== 'noisy'))")


def test_a_quantity_is_chosen_and_smoothed_by_keyboard(page: Page):
    first = page.get_by_role("radio", name="mean IoU")
    first.focus()
    assert page.get_by_role("radio", name="loss").count() == 1
    page.keyboard.press("ArrowRight")
    assert page.get_by_role("radio", name="loss").get_attribute("aria-checked") == "true"
    assert page.locator("[data-chart=painted-curve-val-mean_iou]").is_hidden()
    page.keyboard.press("ArrowLeft")
    slider = page.get_by_label("smoothing")
    slider.focus()
    for _ in range(10):
        page.keyboard.press("ArrowRight")
    smooth = page.evaluate(
        "document.querySelector('[data-chart=painted-curve-val-mean_iou] .plot').data"
        ".find(t => t.name === 'noisy').y"
    )
    assert smooth == pytest.approx([0.1, 0.25 / 1.5, (0.3 + 0.5 * 0.25) / 1.75])


def test_a_chart_that_is_seen_later_is_as_smooth_as_the_others(page: Page):
    other = page.context.new_page()
    other.set_viewport_size({"width": 390, "height": 100})
    other.goto(page.url)
    chart = other.locator("[data-chart=painted-curve-val-mean_iou]")
    slider = other.get_by_label("smoothing")
    slider.evaluate("e => { e.value = 0.5; e.dispatchEvent(new Event('input')); }")
    assert chart.locator(".main-svg").count() == 0
    chart.scroll_into_view_if_needed()
    other.wait_for_function(
        "chart => chart.querySelector('.plot').data?.find(t => t.name === 'noisy').y[1] < 0.17",
        arg=chart.element_handle(), timeout=5000,
    )  # fmt: skip
    other.close()


def test_a_table_is_sorted_by_its_heads(page: Page):
    table = page.locator("table", has=page.get_by_text("Quality and cost", exact=False))
    head = table.get_by_role("button", name="mean IoU")
    column = "rows => rows.map(r => parseFloat(r.cells[1].textContent))"
    head.click()
    falling = table.locator("tbody tr").evaluate_all(column)
    head.click()
    rising = table.locator("tbody tr").evaluate_all(column)
    assert falling == sorted(falling, reverse=True) == rising[::-1]
    assert falling[0] > falling[1]


def test_a_table_is_saved_as_csv_that_runs_nothing(page: Page):
    table = page.locator("table", has=page.get_by_text("Quality and cost", exact=False))
    with page.expect_download() as saved:
        table.locator("xpath=../following-sibling::button[1]").click()
    rows = Path(saved.value.path()).read_text().splitlines()
    assert rows[0].startswith("arm,mean IoU")
    assert len(rows) == 3


def saved_rows(page: Page, figure: str) -> list[dict[str, str]]:
    with page.expect_download() as saved:
        page.locator(f"[data-chart=painted-{figure}] button.data").click()
    return list(csv.DictReader(Path(saved.value.path()).read_text().splitlines()))


def test_a_figure_is_saved_with_its_names_and_intervals(page: Page):
    (forest,) = saved_rows(page, "forest")
    assert list(forest) == ["series", "x", "x_low", "x_high", "y"]
    difference, low, high = (float(forest[key]) for key in ("x", "x_low", "x_high"))
    said = page.locator(".verdict").first.inner_text()
    assert f"{difference:+.3f} [{low:+.3f}, {high:+.3f}]" in said
    assert forest["y"] == f"{HOSTILE} - noisy"
    assert [row["text"] for row in saved_rows(page, "classes")] == NAMES
    frequency = saved_rows(page, "frequency")  # its points are of no series
    assert [row["text"] for row in frequency] == NAMES
    assert all(float(row["y_low"]) <= float(row["y"]) <= float(row["y_high"]) for row in frequency)
    flow = saved_rows(page, "flow")
    assert list(flow[0]) == ["x", "y", "value"]
    assert {row["value"] for row in flow} >= {"1", ""}
    curve = saved_rows(page, "curve-val-mean_iou")  # without the edges of its bands
    assert len({row["series"] for row in curve}) == 8
    assert len(curve) == 8 * 3
    assert "" in {row["y"] for row in saved_rows(page, "near")}


def test_the_gallery_is_leafed_through_filtered_and_linked(page: Page):
    gallery = page.locator(".gallery")
    gallery.scroll_into_view_if_needed()
    where = gallery.locator(".where")
    viewer = gallery.locator(".viewer")
    total = int(re.findall(r"of (\d+):", where.inner_text())[0])
    viewer.focus()
    page.keyboard.press("ArrowRight")
    assert where.inner_text().startswith(f"2 of {total}")
    page.keyboard.press("2")
    assert gallery.locator("[aria-checked=true]").inner_text().endswith("truth")
    shown = gallery.locator(".frame img").nth(1)
    assert shown.get_attribute("alt").startswith("truth of scene_")
    page.keyboard.press("+")
    assert shown.evaluate("image => image.style.width") == "200%"
    before = shown.get_attribute("src")
    page.keyboard.press("3")
    assert shown.get_attribute("src") != before
    link = gallery.locator(".permalink").get_attribute("href")
    assert link.startswith("#painted-gallery/1/prediction/")
    of_main = shown.get_attribute("src")
    gallery.get_by_label("Prediction of").select_option("noisy")
    of_noisy = shown.get_attribute("src")
    to_noisy = gallery.locator(".permalink").get_attribute("href")
    gallery.get_by_label("Cause").select_option(index=1)
    assert int(re.findall(r"of (\d+):", where.inner_text())[0]) < total
    assert of_main != of_noisy
    other = page.context.new_page()
    for to, source in (
        ("#painted-gallery/1/prediction", of_main),  # as of pages that left out the arm
        (to_noisy, of_noisy),
        (link, of_main),
    ):
        other.goto(page.url.split("#")[0] + to)
        expect(other.locator(".frame img").nth(1)).to_have_attribute("src", source)
        assert other.locator(".where").inner_text().startswith("2 of")
        assert other.locator(".gallery [aria-checked=true]").inner_text().endswith("prediction")
    other.close()


def test_filters_that_leave_no_crop_say_so(page: Page):
    gallery = page.locator(".gallery")
    truth = gallery.locator("select[name=truth]")
    truth.select_option("class 3")
    gallery.get_by_label("Cause").select_option("class 1 called class 2")
    assert gallery.get_by_text("no crop of this class and cause").is_visible()
    assert gallery.locator(".thumbs button").count() == 0
    truth.select_option("class 1")
    assert gallery.get_by_text("no crop of this class and cause").count() == 0
    assert gallery.locator(".viewer").is_visible()
    assert gallery.locator(".thumbs button").count() > 0


@pytest.mark.parametrize("place", [".viewer", ".viewer [aria-checked=true]"])
def test_shortcuts_of_the_browser_stay_its_own(page: Page, place: str):
    left_alone = """(place, [key, modifier]) => place.dispatchEvent(
        new KeyboardEvent("keydown", { key, [modifier]: true, bubbles: true, cancelable: true }))"""
    where = page.locator(".gallery").locator(place)
    for key in ("2", "+", "-", "ArrowLeft"):
        assert not where.evaluate(left_alone, [key, "shiftKey"])
        for modifier in ("ctrlKey", "metaKey", "altKey"):
            assert where.evaluate(left_alone, [key, modifier]), (key, modifier)


def test_all_that_can_be_pressed_is_reached_by_tab(page: Page):
    wanted = page.evaluate(
        "Array.from(document.querySelectorAll('button, select, input, a[href], summary'))"
        ".filter(e => e.offsetParent && e.tabIndex >= 0 && !e.closest('.js-plotly-plot')).length"
    )
    page.evaluate("document.body.focus()")
    reached = set()
    for _ in range(wanted + 80):
        page.keyboard.press("Tab")
        at = page.evaluate(
            "Array.from(document.querySelectorAll('button, select, input, a[href], summary'))"
            ".indexOf(document.activeElement)"
        )
        if at >= 0:
            reached.add(at)
    assert len(reached) >= wanted


def test_paper_is_white_whatever_the_theme(page: Page):
    page.reload()  # to print what was not yet seen
    page.evaluate("document.querySelector('#theme').value = 'dark'")
    page.locator("#theme").dispatch_event("change")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.emulate_media(media="print")
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    ink = page.evaluate("getComputedStyle(document.querySelector('h1')).color")
    label = page.locator("[data-chart=painted-forest] .ytick text").first
    assert (paper, ink) == ("rgb(255, 255, 255)", "rgb(0, 0, 0)")
    assert label.evaluate("text => getComputedStyle(text).fill") == "rgb(0, 0, 0)"
    assert page.locator("main details:not([open])").count() == 0
    inks = (
        "[...document.querySelectorAll('.plot[data-drawn]')].map((plot) => plot.layout?.font.color)"
    )
    page.wait_for_function(f"{inks}.every((ink) => ink === 'black')")
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    page.wait_for_function(f"!{inks}.includes('black')")
