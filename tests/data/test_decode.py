from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.Image import Exif

from dse.data.decode import Rule, decode, decode_preprocessed
from dse.data.headers import choose_rule
from dse.data.opening import EXTENSIONS
from dse.data.source import silent
from dse.errors import DataError, ImageError
from dse.weights.preprocessing import Preprocessing, trained_preprocessing
from tests.data.trees import random_image, write_image

RNG = np.random.default_rng(0)


def triangle(values: np.ndarray, size: int) -> np.ndarray:
    """Resize axis 0 with the triangle filter, as wide as the reduction: antialiased bilinear."""
    scale = len(values) / size
    reach = max(scale, 1.0)
    result = np.zeros((size, *values.shape[1:]))
    for i in range(size):
        centre = (i + 0.5) * scale
        weights = np.array(
            [max(0.0, 1 - abs(x + 0.5 - centre) / reach) for x in range(len(values))]
        )
        result[i] = np.tensordot(weights / weights.sum(), values, 1)
    return result


def slow_resize_and_crop(image: np.ndarray, size: int) -> np.ndarray:
    height, width = image.shape[:2]
    shorter = min(height, width)
    tall, wide = round(height * size / shorter), round(width * size / shorter)
    resized = triangle(image.astype(float), tall)
    resized = triangle(resized.swapaxes(0, 1), wide).swapaxes(0, 1)
    top, left = (tall - size) // 2, (wide - size) // 2
    return resized[top : top + size, left : left + size]


@pytest.mark.parametrize("shape", [(20, 30, 3), (33, 21, 3), (8, 8, 3), (5, 9, 3), (12, 40, 1)])
def test_resize_and_crop_agree_with_the_slow_version(
    shape: tuple[int, ...], tmp_path: Path
) -> None:
    image = random_image(RNG, shape)
    write_image(tmp_path / "a.png", image)
    found = decode(tmp_path / "a.png", Rule((8, 8, shape[2]), resized=True))
    # Pillow rounds after each of the two passes.
    assert np.abs(found - slow_resize_and_crop(image, 8)).max() <= 1.01


def test_a_large_jpeg_is_shrunk_as_a_png_is(tmp_path: Path) -> None:
    # A smooth image: what remains is the difference of decoding at a smaller scale.
    rows, columns = np.mgrid[0:300, 0:400]
    image = np.stack([rows * 255 / 299, columns * 255 / 399, rows * 0 + 99], -1).astype(np.uint8)
    write_image(tmp_path / "a.png", image)
    Image.fromarray(image).save(tmp_path / "a.jpg", quality=95)
    rule = Rule((32, 32, 3), resized=True)
    difference = decode(tmp_path / "a.png", rule).astype(int) - decode(tmp_path / "a.jpg", rule)
    assert np.abs(difference).max() <= 3


@pytest.mark.parametrize("extension", ["png", "bmp", "tif", "ppm", "webp"])
def test_lossless_formats_come_back_exactly(extension: str, tmp_path: Path) -> None:
    image = random_image(RNG, (6, 4, 3))
    Image.fromarray(image).save(tmp_path / f"a.{extension}", lossless=True)
    found = decode(tmp_path / f"a.{extension}", Rule((6, 4, 3), resized=False))
    np.testing.assert_array_equal(found, image)
    assert f".{extension}" in EXTENSIONS


def test_the_exif_orientation_turns_the_image(tmp_path: Path) -> None:
    image = random_image(RNG, (2, 3, 3))
    exif = Exif()
    exif[0x0112] = 6  # to be turned a quarter clockwise
    Image.fromarray(image).save(tmp_path / "a.png", exif=exif)
    rule, _ = choose_rule([str(tmp_path / "a.png")], None, silent)
    assert rule == Rule((3, 2, 3), resized=False)
    np.testing.assert_array_equal(decode(tmp_path / "a.png", rule), np.rot90(image, -1))


def test_a_turned_image_is_cropped_in_its_middle(tmp_path: Path) -> None:
    image = random_image(RNG, (8, 20, 3))
    exif = Exif()
    exif[0x0112] = 8  # a quarter counterclockwise
    Image.fromarray(image).save(tmp_path / "a.png", exif=exif)
    found = decode(tmp_path / "a.png", Rule((8, 8, 3), resized=True))
    np.testing.assert_array_equal(found, np.rot90(image)[6:14])


def test_transparency_is_laid_on_white(tmp_path: Path) -> None:
    rgba = np.array([[[10, 20, 30, 255], [10, 20, 30, 0], [0, 0, 0, 51]]], np.uint8)
    Image.fromarray(rgba).save(tmp_path / "a.png")
    found = decode(tmp_path / "a.png", Rule((1, 3, 3), resized=False))
    # 51/255 is a fifth of black on white: 204.
    assert found.tolist() == [[[10, 20, 30], [255, 255, 255], [204, 204, 204]]]


def test_a_palette_with_a_transparent_colour(tmp_path: Path) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([200, 100, 50, 1, 2, 3])
    image.putpixel((1, 0), 1)
    image.save(tmp_path / "a.png", transparency=1)
    found = decode(tmp_path / "a.png", Rule((1, 2, 3), resized=False))
    assert found.tolist() == [[[200, 100, 50], [255, 255, 255]]]


def test_sixteen_bits_are_divided_by_257(tmp_path: Path) -> None:
    values = np.array([[0, 128, 129, 257, 65535]], np.uint16)
    Image.fromarray(values).save(tmp_path / "a.png")
    found = decode(tmp_path / "a.png", Rule((1, 5, 1), resized=False))
    assert found[..., 0].tolist() == [[0, 0, 1, 1, 255]]


def test_one_bit_and_gray_in_a_colour_folder(tmp_path: Path) -> None:
    Image.fromarray(np.array([[True, False]])).save(tmp_path / "a.png")
    found = decode(tmp_path / "a.png", Rule((1, 2, 3), resized=False))
    assert found.tolist() == [[[255] * 3, [0] * 3]]


def test_float_pixels_are_refused(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((2, 2), np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(ImageError, match=r"a\.tif: 32-bit pixels \(mode F\) have no stated range"):
        decode(tmp_path / "a.tif", Rule((2, 2, 1), resized=False))


def rule_of(
    tmp_path: Path, shapes: list[tuple[int, ...]], image_size: int | None = None
) -> tuple[Rule, tuple[str, ...]]:
    for index, shape in enumerate(shapes):
        write_image(tmp_path / f"{index}.png", random_image(RNG, shape))
    paths = [str(tmp_path / f"{index}.png") for index in range(len(shapes))]
    return choose_rule(paths, image_size, silent)


def test_one_size_stays_as_it_is(tmp_path: Path) -> None:
    assert rule_of(tmp_path, [(9, 7, 3)] * 3) == (Rule((9, 7, 3), resized=False), ())


def test_gray_images_only_give_one_channel(tmp_path: Path) -> None:
    assert rule_of(tmp_path, [(9, 7, 1)] * 3)[0].shape == (9, 7, 1)
    # The one in colour comes last: no header may be passed over.
    assert rule_of(tmp_path, [(9, 7, 1)] * 300 + [(9, 7, 3)])[0].shape == (9, 7, 3)


def test_sizes_that_differ_are_resized_with_a_warning(tmp_path: Path) -> None:
    rule, warnings = rule_of(tmp_path, [(9, 7, 3)] * 300 + [(9, 8, 3)])
    assert rule == Rule((64, 64, 3), resized=True)
    assert warnings == (
        "images differ in size (7x9 and 8x9): the shorter side is resized to 64 pixels and "
        "the middle cropped; --image-size sets another size",
    )


def test_large_images_are_resized_with_a_warning(tmp_path: Path) -> None:
    assert rule_of(tmp_path, [(256, 256, 1)])[0] == Rule((256, 256, 1), resized=False)
    rule, warnings = rule_of(tmp_path, [(257, 40, 1)])
    assert rule == Rule((64, 64, 1), resized=True)
    assert warnings[0].startswith("images are large (40x257): ")


def test_a_size_that_was_asked_for_needs_no_warning(tmp_path: Path) -> None:
    found = rule_of(tmp_path, [(9, 7, 3), (5, 5, 3)], image_size=24)
    assert found == (Rule((24, 24, 3), resized=True), ())


def test_nothing_that_opens(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"text")
    with pytest.raises(DataError, match=r"none of 1 images can be opened; the first is .*a\.png"):
        choose_rule([str(tmp_path / "a.png")], None, silent)


def test_files_that_other_programs_would_read_are_not_images() -> None:
    assert {".eps", ".ps", ".pdf", ".mpg", ".wmf", ".h5"} & EXTENSIONS == set()
    assert {".jpg", ".jpeg", ".png", ".gif", ".webp", ".tiff", ".bmp"} <= EXTENSIONS


CAFFE_LIKE = Preprocessing(
    channel_order="bgr",
    scale=255.0,
    mean=(0.0,) * 3,
    std=(1.0,) * 3,
    resize="exact",
    resize_px=(8, 10),
    crop_px=(5, 7),
)


def test_an_exact_resize_does_not_keep_the_aspect(tmp_path: Path) -> None:
    image = random_image(RNG, (20, 13, 3))
    write_image(tmp_path / "a.png", image)
    found = decode_preprocessed(tmp_path / "a.png", CAFFE_LIKE)
    resized = triangle(image.astype(float), 8)
    resized = triangle(resized.swapaxes(0, 1), 10).swapaxes(0, 1)
    # 8 - 5 = 3 and 10 - 7 = 3 pixels too many: one above and left, two below and right.
    assert np.abs(found - resized[1:6, 1:8]).max() <= 1.01


@pytest.mark.parametrize(("shape", "resized"), [((20, 40), (8, 16)), ((40, 20), (12, 6))])
def test_a_resize_covers_what_is_no_square(
    shape: tuple[int, int], resized: tuple[int, int], tmp_path: Path
) -> None:
    image = random_image(RNG, (*shape, 3))
    write_image(tmp_path / "a.png", image)
    rule = trained_preprocessing((8, 6, 3), [0] * 3, [1] * 3)
    found = decode_preprocessed(tmp_path / "a.png", rule)
    wanted = triangle(image.astype(float), resized[0])
    wanted = triangle(wanted.swapaxes(0, 1), resized[1]).swapaxes(0, 1)
    top, left = (resized[0] - 8) // 2, (resized[1] - 6) // 2
    assert np.abs(found - wanted[top : top + 8, left : left + 6]).max() <= 1.01


@pytest.mark.parametrize("shape", [(20, 30, 3), (33, 21, 1), (8, 8, 3), (300, 400, 3)])
def test_ones_own_rule_gives_the_pixels_that_were_trained_on(
    shape: tuple[int, ...], tmp_path: Path
) -> None:
    path = tmp_path / "a.jpg"
    exif = Exif()
    exif[0x0112] = 6
    Image.fromarray(random_image(RNG, shape).squeeze()).save(path, exif=exif)
    for channels in (1, 3):
        rule = trained_preprocessing((8, 8, channels), [0] * channels, [1] * channels)
        np.testing.assert_array_equal(
            decode_preprocessed(path, rule), decode(path, Rule((8, 8, channels), resized=True))
        )
    height, width = shape[1], shape[0]  # turned
    rule = trained_preprocessing((height, width, 3), [0] * 3, [1] * 3)
    np.testing.assert_array_equal(
        decode_preprocessed(path, rule), decode(path, Rule((height, width, 3), resized=False))
    )


def test_published_rules_pass_over_the_orientation(tmp_path: Path) -> None:
    image = random_image(RNG, (8, 10, 3))
    exif = Exif()
    exif[0x0112] = 3  # upside down
    Image.fromarray(image).save(tmp_path / "a.png", exif=exif)
    found = decode_preprocessed(tmp_path / "a.png", CAFFE_LIKE)
    np.testing.assert_array_equal(found, image[1:6, 1:8])
    turned = decode_preprocessed(tmp_path / "a.png", replace(CAFFE_LIKE, upright=True))
    np.testing.assert_array_equal(turned, image[::-1, ::-1][1:6, 1:8])
