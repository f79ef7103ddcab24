from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest

from dse.weights.preprocessing import (
    PREPROCESSINGS,
    describe_preprocessing,
    preprocessing_from_dict,
    trained_preprocessing,
)

OWN = trained_preprocessing((8, 6, 1), [0.25], [0.5])


def test_caffe_is_what_the_published_network_was_fed() -> None:
    rule = PREPROCESSINGS["caffe"]
    assert (rule.channel_order, rule.scale, rule.mean) == ("bgr", 255, (104, 117, 123))
    assert (rule.resize, rule.resize_px, rule.input_shape) == ("exact", (256, 256), (227, 227, 3))


def test_torchvision_is_what_its_documentation_says() -> None:
    rule = PREPROCESSINGS["torchvision"]
    assert (rule.mean, rule.std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert (rule.resize, rule.resize_px, rule.input_shape) == ("shorter", (256,) * 2, (224, 224, 3))


@pytest.mark.parametrize("rule", [*PREPROCESSINGS.values(), OWN])
def test_a_rule_survives_json(rule: Any) -> None:
    assert preprocessing_from_dict(json.loads(json.dumps(rule.to_dict()))) == rule


def test_a_rule_of_ones_own_takes_the_images_as_they_were_trained_on() -> None:
    assert OWN.input_shape == (8, 6, 1)
    assert (OWN.channel_order, OWN.scale, OWN.upright, OWN.draft) == ("gray", 1, True, True)
    assert trained_preprocessing((8, 8, 3), [0] * 3, [1] * 3).channel_order == "rgb"
    with pytest.raises(ValueError, match="1 or 3 channels, but these have 2"):
        trained_preprocessing((8, 8, 2), [0] * 2, [1] * 2)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"channel_order": "hsv"}, "channel_order is 'hsv', but must be gray, rgb, bgr"),
        ({"resize": "longer"}, "resize is 'longer', but must be exact or shorter"),
        ({"scale": 0}, "scale is 0, but must be a number above 0"),
        ({"scale": True}, "scale is True"),
        ({"mean": (1.0,) * 3}, r"mean is \(1.0, 1.0, 1.0\), but must be 1 number"),
        ({"mean": (float("nan"),)}, "mean is"),
        ({"std": (0.0,)}, r"std is \(0.0,\), but must be above 0"),
        ({"std": ("1",)}, "std is"),
        ({"resize_px": (8,)}, r"resize_px is \(8,\), but must be two whole numbers from 1 to"),
        ({"crop_px": (8, 6.5)}, "crop_px is"),
        ({"crop_px": (9, 6)}, r"crop_px \(9, 6\) is larger than resize_px \(8, 6\)"),
        ({"upright": 1}, "upright is 1, but must be true or false"),
    ],
)
def test_what_cannot_be_applied_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(OWN, **changes)


def test_a_rule_in_words() -> None:
    assert describe_preprocessing(PREPROCESSINGS["caffe"]) == (
        "caffe: BGR from 0 to 255, less (104, 117, 123), resized to 256x256, middle 227x227"
    )
    assert describe_preprocessing(OWN) == (
        "GRAY from 0 to 1, less (0.25), over (0.5), resized to cover 8x6, middle 8x6, "
        "turned as EXIF says"
    )


def test_it_needs_no_arrays() -> None:
    code = "import dse.weights.preprocessing, sys; assert 'numpy' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
