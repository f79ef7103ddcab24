"""The page of a study: what it says, that it cannot be broken out of, that it fetches nothing."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dse.config import yaml_text
from dse.errors import StudyError, UsageError
from dse.report.html.contents import Contents, read_contents
from dse.report.html.errors import errors_section
from dse.report.html.markup import Html, tag
from dse.report.html.page import report_page
from dse.report.html.plot import Scale, linear_scale, log_scale
from dse.stats.classification import Outcomes
from tests.report.rows import HEADER, row
from tests.report.searches import SEARCH_HEADER, big_search, small_search

RESULTS = Path(__file__).parents[2] / "results"
SEARCH = "squeezenet-cifar10-jpeg-search"
EVIL = "<script>alert(1)</script>"


def write_study(results: Path, name: str, header: list[str], rows: list[list[object]], **facts):
    folder = results / name
    folder.mkdir(parents=True)
    with (folder / "trials.csv").open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    (folder / "study.yaml").write_text(yaml_text({"study": name, **facts}))


def page_of(results: Path, *names: str) -> str:
    studies = [read_contents(results, name, at=at) for at, name in enumerate(names)]
    return report_page(studies, made="today")


class Tags(HTMLParser):
    """Every start tag with its attributes, and the text outside style and script."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.inside = ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.inside = tag

    def handle_data(self, data):
        if self.inside not in ("style", "script"):
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", "".join(self.words))

    def having(self, name: str, **attributes: str) -> list[dict[str, str | None]]:
        return [
            found
            for tag, found in self.tags
            if tag == name and all(found.get(key) == value for key, value in attributes.items())
        ]


def test_text_becomes_no_markup():
    assert tag("p", EVIL, title='"><b>') == (
        '<p title="&quot;&gt;&lt;b&gt;">&lt;script&gt;alert(1)&lt;/script&gt;</p>'
    )
    assert tag("p", Html("<b>x</b>"), None, 3, "\x1b[31m", class_="a") == (
        '<p class="a"><b>x</b>3\\x1b[31m</p>'
    )


def test_scales():
    assert Scale(1, 100, is_log=True).at(10) == pytest.approx(50)
    assert Scale(0.5, 1.0).at(0.6) == pytest.approx(20)
    for scale, values in ((log_scale([10, 1000]), (10, 1000)), (linear_scale([3, 5]), (3, 5))):
        assert all(0 < scale.at(value) < 100 for value in values)
        assert scale.at(values[0]) == pytest.approx(100 - scale.at(values[1]))


def test_a_search_says_its_answer_claim_and_provenance():
    text = Tags(page_of(RESULTS, SEARCH)).text
    for words in (
        "non-inferior to alexnet has 160,026 parameters, 145× fewer than the 23,272,266",
        "84.18% (95% interval 83.28 to 85.08), on test images 83.75%",
        "+0.59 points, lower bound -0.54, margin −1, p = 0.0160 (3 seeds)",
        "2,500 validation images that had no part in any choice",
        "1af281a2f711e36eeb0a9267a70cac79",
        "jax 0.10.2",
        "dse search cifar10/squeezenet.yaml --data folder:cifar10-jpeg",
    ):
        assert words in text


def test_a_study_of_given_weights_says_that_test_images_may_have_been_seen(tmp_path):
    rows = [row("a", 0, 0.5), row("b", 0, 0.7)]
    write_study(tmp_path, "s", HEADER, rows, init={"file": "a.safetensors", "digest": "0f"})
    text = Tags(page_of(tmp_path, "s")).text
    assert "starts froma.safetensors" in text
    assert "may have seen some of the test images" in text


def test_every_point_leads_to_the_layers_of_its_candidate():
    found = Tags(page_of(RESULTS, "squeeze_ratio-cifar10-jpeg"))
    sheets = {attributes["id"] for attributes in found.having("article")}
    targets = [a["href"] for a in found.having("a") if str(a.get("href")).startswith("#s0-")]
    assert len(sheets) == 5
    assert {target.removeprefix("#") for target in targets} == sheets
    assert targets.count("#s0-0") >= 4  # in the plot of each size
    # conv1 of all of them: 3·3·3·32 weights and 32 scales and shifts of its batch norm.
    assert found.text.count("conv1conv 3x3/132x32x32928") == 5


def test_a_page_runs_its_own_script_alone_and_names_no_other_file():
    page = page_of(RESULTS, SEARCH, "squeeze_ratio-cifar10-jpeg")
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    for name in ("script", "style"):
        (inside,) = re.findall(rf"<{name}>(.*?)</{name}>", page, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()
        assert f"{name}-src &#x27;sha256-{digest}&#x27;" in policy
    assert policy.startswith("default-src &#x27;none&#x27;; img-src data:;")
    for _, attributes in Tags(page).tags:
        assert not {"style", "srcset"} & set(attributes)
        assert not [name for name in attributes if name.startswith("on")]
        for name in ("src", "href", "action", "data", "xlink:href"):
            assert str(attributes.get(name, "#")).startswith(("#", "data:"))
    assert "url(" not in page
    assert "@import" not in page


def test_names_of_others_are_text(tmp_path):
    rows = [row("a", 0, 0.5, bypass=EVIL), row("b", 0, 0.7, bypass="\x1b[31mred\u202e")]
    facts = {
        "data": {"name": EVIL, "classes": [EVIL, "cat\x1b]0;"], "input_shape": [8, 8, 1]},
        "command": f"dse sweep '{EVIL}'",
        "versions": {"dse": EVIL},
        "recipe": {EVIL: EVIL},
    }
    write_study(tmp_path, "s", HEADER, rows, **facts)
    page = page_of(tmp_path, "s")
    assert page.count("<script") == 1
    assert "alert(1)" in page
    assert "may have seen" not in page
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]", page)


def test_two_hundred_trials_stay_below_a_megabyte(tmp_path):
    from dse.architecture import build, cost, make_candidate

    rows: list[list[object]] = []
    header = [*SEARCH_HEADER]
    for index, cells in enumerate(big_search(190)):
        varied = {"base_e": 8 + index, "bypass": cells[3], "squeeze_ratio": cells[2]}
        candidate = make_candidate("squeezenet", {**varied, "pools": ("conv1", "fire2")})
        found = cost(build(candidate, (32, 32, 3), 10)).by_name
        values = {"base_e": 8 + index, "candidate": candidate.key, **found}
        rows.append([values.get(name, cell) for name, cell in zip(header, cells, strict=True)])
    pools = [[*r[:4], "conv1 fire2", *r[4:]] for r in rows]
    write_study(
        tmp_path,
        "big",
        [*header[:4], "pools", *header[4:]],
        pools,
        space={"family": "squeezenet"},
        data={"name": "d", "input_shape": [32, 32, 3], "classes": list("abcdefghij")},
    )
    page = page_of(tmp_path, "big")
    found = Tags(page)
    assert len(found.having("article")) >= 190
    assert "Its layers cannot be shown" not in page
    assert "Its layers: dse describe" not in page
    assert len(page.encode()) < 1_000_000


def test_a_search_shows_its_curves_and_where_candidates_were_paused(tmp_path):
    write_study(tmp_path, "s", SEARCH_HEADER, small_search(), kind="search")
    page = page_of(tmp_path, "s")
    text = Tags(page).text
    assert "This search has not ended, so it has no answer yet" in text
    # a, c with three rungs and d with two; b has one rung and e, reused, its last.
    assert "3 candidates at 3 rungs: 2 trained to the end, 1 paused on the way" in text
    assert "Its layers cannot be shown: study s: study.yaml must name space.family" in text


def test_what_has_not_ended_or_failed_is_said(tmp_path):
    write_study(tmp_path, "failed", HEADER, [row("a", 0, None)])
    write_study(tmp_path, "half", HEADER, [row("a", 0, 0.5)], trials_count=4)
    write_study(tmp_path, "empty", HEADER, [])
    assert "No candidate has finished. " in page_of(tmp_path, "failed")
    assert "3 trials are still to be trained" in Tags(page_of(tmp_path, "half")).text
    text = Tags(page_of(tmp_path, "empty")).text
    assert "No candidate has finished." in text
    assert "No candidate was measured yet, so there is nothing to draw." in text


def test_an_answer_that_cannot_be_read_is_named_and_the_rest_shown(tmp_path):
    write_study(tmp_path, "s", SEARCH_HEADER, small_search(), kind="search")
    (tmp_path / "s" / "answer.json").write_text("{}")
    text = Tags(page_of(tmp_path, "s")).text
    assert "Not shown: " in text
    assert "answer.json" in text
    assert "10,000 parameters" in text


def test_studies_of_different_images_are_not_compared(tmp_path):
    for name in ("one", "two"):
        write_study(tmp_path, name, HEADER, [row("a", 0, 0.5)], data={"fingerprint": name})
    assert "These studies have different images" in page_of(tmp_path, "one", "two")


def test_too_many_studies_are_refused(tmp_path):
    write_study(tmp_path, "one", HEADER, [row("a", 0, 0.5)])
    study: Contents = read_contents(tmp_path, "one")
    with pytest.raises(UsageError, match="a page shows 1 to 8 studies, but 9 were named"):
        report_page([study] * 9)
    with pytest.raises(StudyError, match="study 'two' not found"):
        read_contents(tmp_path, "two")


def test_what_a_network_gets_wrong_is_shown_as_text_and_thumbnails():
    classes = (EVIL, "cat")
    outcomes = Outcomes(
        classes,
        np.array([0, 0, 1, 1]),
        np.array([[0, 1], [1, 0], [1, 0], [1, 0]]),
        np.array([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.6, 0.4]]),
    )
    pictures = np.zeros((4, 200, 300, 3), np.uint8)
    section = errors_section(outcomes, what="On four images:", pictures=pictures)
    found = Tags(section)
    assert "3 of 4 images are correct (75.00%)" in found.text
    assert "is 75.00%" in found.text  # mean of 1/2 and 1
    assert f"{EVIL}taken for cat, 80%" in found.text
    (image,) = found.having("img")
    picture = Image.open(io.BytesIO(base64.b64decode(image["src"].partition(",")[2])))
    assert (picture.format, picture.size) == ("JPEG", (112, 75))
    assert "<script" not in section
    assert not Tags(errors_section(outcomes, what="")).having("img")
