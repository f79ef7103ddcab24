"""What a network gets wrong: recall of each class, confusions, the worst images."""

from __future__ import annotations

import io
import math
from base64 import b64encode
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from dse.report.html.markup import Html, Part, join, table, tag
from dse.report.html.plot import Scale, interval_row
from dse.stats.classification import Outcomes, calibration
from dse.stats.intervals import Interval
from dse.text import counted, percent

MATRIX_COUNT = 20
"""Classes up to which the whole matrix is shown."""

CLASSES_COUNT, PAIRS_COUNT, WORST_COUNT = 40, 12, 24
_SIDE_PX, _SHADES_COUNT = 112, 9
_NUMBERED_COUNT = 6
"""Classes up to which a telephone has room for numbers in the cells."""


class Pictures(Protocol):
    """Images by their index, wherever they are kept."""

    def __getitem__(self, which: Any, /) -> NDArray[np.uint8]:
        """One of them, uint8 (height, width, channel)."""


def errors_section(outcomes: Outcomes, *, what: str, pictures: Pictures | None = None) -> Html:
    """The section of one network.

    Args:
        outcomes: of the images that were scored.
        what: which network and which images, as a sentence.
        pictures: uint8 (image, height, width, channel), those images in the same order, of which
            the worst are shown; None for none.
    """
    found = calibration(outcomes)
    name, share = outcomes.largest
    parts: list[Part] = [
        tag(
            "p",
            f"{what} {outcomes.is_correct.sum():,} of {counted(len(outcomes.labels), 'image')} "
            f"are correct ({percent(float(outcomes.is_correct.mean()))}); balanced accuracy, the "
            f"mean recall of the classes, is {percent(outcomes.balanced_accuracy)}. The largest "
            f"class, {name}, has {percent(share)} of the images. Probabilities are off by "
            f"{100 * found.error:.1f} points on average (expected calibration error).",
        ),
        tag("h3", "Recall and precision"),
        _classes(outcomes),
    ]
    if len(outcomes.classes) <= MATRIX_COUNT:
        parts += [tag("h3", "Confusion matrix"), _matrix(outcomes)]
    if pairs := outcomes.confused()[:PAIRS_COUNT]:
        names = outcomes.classes
        rows = [(names[true], names[said], count) for true, said, count in pairs]
        parts.append(tag("h3", "Most confused"))
        parts.append(table(["true class", "taken for", "images"], rows, numbers=2))
    if pictures is not None and not outcomes.is_correct.all():
        parts += [tag("h3", "Wrong and most confident"), _worst(outcomes, pictures)]
    return join(parts)


def _classes(outcomes: Outcomes) -> Html:
    scale = Scale(-0.02, 1.02)
    rows: list[list[Part]] = []
    for name, correct, images, recall, precision in sorted(
        outcomes.by_class, key=lambda row: row[3].estimate
    ):
        drawn = interval_row(scale, recall.estimate, recall.low, recall.high)
        said = _words(precision) if precision else "never predicted"
        rows.append([name, f"{correct:,} of {images:,}", drawn, _words(recall), said])
    shown = rows[:CLASSES_COUNT]
    left = len(rows) - len(shown)
    return join(
        [
            table(
                ["class", "correct", "", "recall (95%)", "precision (95%)"], shown, class_="recall"
            ),
            tag("p", f"{counted(left, 'class')} of higher recall are left out.", class_="small")
            if left
            else None,
        ]
    )


def _words(share: Interval) -> Html:
    ends = tag("span", f"({100 * share.low:.1f} to {100 * share.high:.1f})")
    return join([percent(share.estimate), " ", ends])


def _matrix(outcomes: Outcomes) -> Html:
    """Counts; the darker, the larger the share of the true class; what is wrong is warm."""
    counts = outcomes.confusion
    names = outcomes.classes
    head = tag("tr", tag("td"), *(tag("th", tag("span", name)) for name in names))
    rows = [
        tag(
            "tr",
            tag("th", names[true]),
            *(
                tag(
                    "td",
                    int(count) or "",
                    class_=f"h{math.ceil(_SHADES_COUNT * count / max(row.sum(), 1))}"
                    + (" wrong" if said != true else ""),
                    title=f"{names[true]} taken for {names[said]}: {count}" if count else None,
                )
                for said, count in enumerate(row)
            ),
        )
        for true, row in enumerate(counts)
    ]
    look = "matrix many" if len(names) > _NUMBERED_COUNT else "matrix"
    told = "Rows: the true class; columns: the predicted one; orange: not correct."
    return join(
        [
            tag("div", tag("table", head, *rows, class_=look), class_="scroll", tabindex=0),
            tag("p", told, class_="small"),
        ]
    )


def _worst(outcomes: Outcomes, pictures: Pictures) -> Html:
    worst = outcomes.worst()[:WORST_COUNT]
    names = outcomes.classes
    return tag(
        "ul",
        *(
            tag(
                "li",
                tag(
                    "img",
                    src=_data_uri(pictures[at]),
                    alt=f"an image of {names[outcomes.labels[at]]}",
                ),
                tag("b", names[outcomes.labels[at]]),
                tag(
                    "span",
                    f"taken for {names[outcomes.best[at, 0]]}, {outcomes.probabilities[at, 0]:.0%}",
                ),
            )
            for at in worst
        ),
        class_="worst",
    )


def _data_uri(image: NDArray[np.uint8]) -> str:
    """A thumbnail, encoded anew: nothing of the file but its pixels."""
    from PIL import Image

    picture = Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image)
    file = io.BytesIO()
    picture.thumbnail((_SIDE_PX, _SIDE_PX))
    is_tiny = max(picture.size) <= 32  # where JPEG would blur what little there is
    picture.save(file, "PNG" if is_tiny else "JPEG", **({} if is_tiny else {"quality": 80}))
    kind = "png" if is_tiny else "jpeg"
    return f"data:image/{kind};base64,{b64encode(file.getvalue()).decode()}"
