"""The page in a browser: every control does what it says, nothing leaves the page."""

from __future__ import annotations

import base64
import shutil
import subprocess
import sys
import tarfile
from collections import Counter
from pathlib import Path

import pytest

from docs.blocks import DATA
from dse.report.html.contents import read_contents
from dse.report.html.page import report_page
from tests.report.rows import HEADER, row
from tests.report.searches import SEARCH_HEADER, big_search
from tests.report.test_html import EVIL, RESULTS, SEARCH, write_study

pytestmark = pytest.mark.long
WIDTHS = (1280, 390)

OVERLAPS = """
const boxes = [];
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const node = walker.currentNode;
  if (!node.textContent.trim() || !node.parentElement.checkVisibility()) continue;
  if (node.parentElement.closest("script, style, title, #tip")) continue;
  const range = document.createRange();
  range.selectNodeContents(node);
  for (const box of range.getClientRects())
    if (box.width > 1) boxes.push([node.textContent.trim(), box, node.parentElement]);
}
const found = [];
for (let i = 0; i < boxes.length; i++)
  for (let j = i + 1; j < boxes.length; j++) {
    const [a, b] = [boxes[i][1], boxes[j][1]];
    const width = Math.min(a.right, b.right) - Math.max(a.left, b.left);
    const height = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
    // Line boxes are a little higher than their letters.
    if (width > 1 && height > 4 && !boxes[i][2].closest(".scroll, nav")
        && !boxes[j][2].closest(".scroll, nav")) found.push([boxes[i][0], boxes[j][0]]);
  }
return found;
"""


@pytest.fixture(scope="module")
def browser():
    webdriver = pytest.importorskip("selenium.webdriver", reason="needs selenium")
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (chromium and driver):
        pytest.skip("needs chromium and chromium-driver (apt-get install chromium chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    service = webdriver.ChromeService(executable_path=driver)
    found = webdriver.Chrome(options=options, service=service)
    yield found
    found.quit()


def show(browser, folder: Path, width: int, *studies: str, results: Path = RESULTS) -> None:
    """Open the page of some studies at a width."""
    path = folder / "page.html"
    contents = [read_contents(results, name, at=at) for at, name in enumerate(studies)]
    path.write_text(report_page(contents, made="today"), encoding="utf-8")
    open_page(browser, path, width)


def open_page(browser, path: Path, width: int) -> None:
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    browser.get_log("performance")
    browser.get("about:blank")
    browser.get(path.as_uri())


def assert_quiet(browser) -> None:
    """No message on the console, and no request but for the page itself."""
    assert browser.get_log("browser") == []
    sent = [
        line["message"]
        for line in browser.get_log("performance")
        if "Network.requestWillBeSent" in line["message"]
    ]
    assert not [line for line in sent if "/page.html" not in line and "about:blank" not in line]


def visible(browser, selector: str) -> int:
    script = (
        "return [...document.querySelectorAll(arguments[0])].filter(e => {"
        "  const box = e.getBoundingClientRect();"
        "  return e.checkVisibility() && box.width + box.height > 0"
        "}).length"
    )
    return browser.execute_script(script, selector)


def point_at(browser, selector: str, *, click: bool = False) -> None:
    from selenium.webdriver.common.action_chains import ActionChains

    mark = browser.find_element("css selector", selector)
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", mark)
    moves = ActionChains(browser, duration=0).move_to_element(mark)
    (moves.click() if click else moves).perform()


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("studies", [(SEARCH,), (SEARCH, "pct_3x3-cifar10-jpeg")], ids=len)
def test_no_error_no_request_no_overlap_and_no_sideways_scrolling(
    browser, tmp_path, width, studies
):
    show(browser, tmp_path, width, *studies)
    assert browser.execute_script(OVERLAPS) == []
    assert browser.execute_script("return document.documentElement.scrollWidth") == width
    assert_quiet(browser)


@pytest.mark.slow
@pytest.mark.data
@pytest.mark.parametrize("data", ["ants-bees", "tiny20", "cifar10-jpeg"])
def test_reports_of_real_photos(browser, tmp_path, data):
    archive = DATA / f"{data}.tar.xz"
    if not archive.exists():
        pytest.skip(f"{archive} is not there")
    taken: Counter[str] = Counter()
    with tarfile.open(archive) as packed:
        for member in packed:  # some of each class, in a folder named as the data are
            folder, _, _ = member.name.rpartition("/")
            taken[folder] += 1
            if member.isreg() and taken[folder] <= 120:
                where = tmp_path / ("" if folder.startswith(data) else data)
                packed.extract(member, where, filter="data")
    space = "squeeze_ratio={values: [0.25, 0.5]}"
    run_here(
        *("sweep", "squeeze_ratio.yaml", "--data", f"folder:{data}", "--image-size", "32"),
        *("--set", space, "--epochs", "4", "--train-images", "400"),
        folder=tmp_path,
    )
    run_here("report", f"squeeze_ratio-{data}", "--out", "page.html", folder=tmp_path)
    page = tmp_path / "page.html"
    assert page.stat().st_size < 1_000_000
    for width in WIDTHS:
        open_page(browser, page, width)
        assert browser.execute_script(OVERLAPS) == []
        assert browser.execute_script("return document.documentElement.scrollWidth") == width
        assert visible(browser, "img") > 5, "thumbnails of what it gets wrong"
        assert_quiet(browser)
        photograph(browser, tmp_path / f"{data}-{width}.png")


def photograph(browser, path: Path) -> None:
    """The whole page as a PNG, to be looked at: `pytest --basetemp DIR` keeps it."""
    options = {"captureBeyondViewport": True, "format": "png"}
    drawn = browser.execute_cdp_cmd("Page.captureScreenshot", options)["data"]
    path.write_bytes(base64.b64decode(drawn))


def run_here(*words: str, folder: Path) -> None:
    subprocess.run([sys.executable, "-m", "dse.cli.main", *words], cwd=folder, check=True)


def test_switches_show_what_they_say(browser, tmp_path):
    show(browser, tmp_path, 1280, SEARCH, "pct_3x3-cifar10-jpeg")
    for name in ("macs", "weight_bytes", "peak_activation_bytes", "params_count"):
        browser.find_element("css selector", f"#x-{name} + span").click()
        shown = browser.execute_script(
            "return [...document.querySelectorAll('.plot.front')]"
            ".filter(e => e.checkVisibility()).map(e => e.className)"
        )
        assert shown == [f"plot front x-{name}"]
    before = visible(browser, ".plot.front a")
    browser.find_element("css selector", "#t-s1").click()
    assert visible(browser, ".plot.front .s1") == 0
    assert 0 < visible(browser, ".plot.front a") < before
    browser.find_element("css selector", "#t-s1").click()
    assert visible(browser, ".plot.front .dominated") > 0
    browser.find_element("css selector", "#t-dominated").click()
    assert visible(browser, ".plot.front .dominated") == 0
    assert visible(browser, ".plot.front a") > 0
    assert visible(browser, ".plot.front line.bar") > 0
    browser.find_element("css selector", "#t-bars").click()
    assert visible(browser, ".plot.front line.bar") == 0
    assert_quiet(browser)


def test_a_point_says_what_it_is_and_opens_its_sheet(browser, tmp_path):
    show(browser, tmp_path, 1280, SEARCH)
    open_sheets = (
        "return [...document.querySelectorAll('.sheet')]"
        ".filter(e => e.checkVisibility()).map(e => e.id)"
    )
    (first,) = browser.execute_script(open_sheets)
    target = next(
        href.removeprefix("#")
        for a in browser.find_elements("css selector", ".x-params_count a")
        if (href := a.get_dom_attribute("href")) != f"#{first}"
    )
    point_at(browser, f'.x-params_count a[href="#{target}"]')
    tip = browser.find_element("css selector", "#tip")
    assert tip.is_displayed()
    heading = browser.execute_script(
        "return document.getElementById(arguments[0]).querySelector('h3').textContent", target
    )
    assert tip.text.startswith(heading)
    assert "parameters: " in tip.text
    point_at(browser, f'.x-params_count a[href="#{target}"]', click=True)
    assert browser.execute_script(open_sheets) == [target]
    hot = browser.find_elements("css selector", f'.parallel a.hot[href="#{target}"]')
    assert len(hot) == 1  # the same candidate, in the other plot
    point_at(browser, "h1")
    assert not tip.is_displayed()
    assert_quiet(browser)


def test_the_table_is_sorted_by_a_click(browser, tmp_path):
    show(browser, tmp_path, 1280, "squeeze_ratio-cifar10-jpeg")
    browser.find_element("css selector", "details summary").click()
    heads = browser.find_elements("css selector", ".sortable th")
    at = [head.text for head in heads].index("validation")

    def column() -> list[str]:
        cells = browser.find_elements("css selector", f".sortable td:nth-child({at + 1})")
        return [cell.text for cell in cells]

    heads[at].click()
    assert column() == ["69.26%", "73.42%", "76.02%", "78.40%", "78.98%"]
    heads[at].click()
    assert column() == ["78.98%", "78.40%", "76.02%", "73.42%", "69.26%"]
    assert_quiet(browser)


def test_lines_of_curves_answer_too_and_names_stay_text(browser, tmp_path):
    rows = big_search(40)
    rows[0][3] = EVIL
    write_study(tmp_path, "s", SEARCH_HEADER, rows, kind="search", data={"name": EVIL})
    show(browser, tmp_path, 390, "s", results=tmp_path)
    place = browser.execute_script(
        "const box = document.querySelector('#curves .box svg .hot').closest('.box');"
        "box.scrollIntoView({block: 'center'});"
        "const c = document.querySelector('#curves circle.hot').getBoundingClientRect();"
        "return [c.left, c.top + c.height / 2]"
    )
    event = {"type": "mouseMoved", "x": place[0], "y": place[1]}
    browser.execute_cdp_cmd("Input.dispatchMouseEvent", event)
    assert browser.find_element("css selector", "#tip").is_displayed()
    assert browser.execute_script("return document.scripts.length") == 1
    assert EVIL in browser.find_element("css selector", "h1").text
    assert_quiet(browser)


def test_without_scripts_a_point_opens_its_sheet_and_the_page_prints(browser, tmp_path):
    write_study(tmp_path, "s", HEADER, [row("a", 0, 0.5), row("b", 0, 0.7, params_count=9000)])
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        show(browser, tmp_path, 1280, "s", results=tmp_path)
        browser.get(f"{(tmp_path / 'page.html').as_uri()}#s0-0")
        printed = browser.execute_cdp_cmd("Page.printToPDF", {"printBackground": True})["data"]
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
    shown = [a.get_attribute("id") for a in browser.find_elements("css selector", ".sheet")]
    assert shown == ["s0-0", "s0-1"]
    assert visible(browser, "#s0-0") == 1
    assert visible(browser, "#s0-1") == 0
    assert len(printed) > 10_000
    assert_quiet(browser)
