from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dse.data.augment import augment as augment_uncompiled
from dse.errors import DataError

augment = jax.jit(augment_uncompiled, static_argnames=("crop", "flip", "cutout"))

RNG = np.random.default_rng(0)


def some_images(
    count: int, shape: tuple[int, int, int] = (7, 9, 3), dtype: type = np.uint8
) -> np.ndarray:
    # Every value is there once in an image of at most 256 values, so a window names its place.
    values = np.stack([RNG.permutation(np.prod(shape)) for _ in range(count)])
    return values.reshape(count, *shape).astype(dtype)


def windows(image: np.ndarray, crop: int) -> list[np.ndarray]:
    height, width, _ = image.shape
    padded = np.pad(image, ((crop, crop), (crop, crop), (0, 0)), mode="reflect")
    return [
        padded[top : top + height, left : left + width]
        for top in range(2 * crop + 1)
        for left in range(2 * crop + 1)
    ]


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_a_crop_is_a_window_of_the_padded_image(dtype: type) -> None:
    images = some_images(400, dtype=dtype)
    found = np.asarray(augment(images, jax.random.key(1), crop=2, flip=False, cutout=0))
    assert found.dtype == dtype
    chosen = np.zeros(25, int)
    for before, after in zip(images, found, strict=True):
        same = [np.array_equal(after, window) for window in windows(before, 2)]
        assert sum(same) == 1
        chosen[same.index(True)] += 1
    # 400 draws from 25 windows: 16 each; a chi-square of 24 degrees stays below 51 (p = 0.001).
    assert ((chosen - 16) ** 2 / 16).sum() < 51


def test_a_crop_may_be_as_wide_as_the_image_but_one() -> None:
    images = some_images(50, (3, 3, 1))
    found = np.asarray(augment(images, jax.random.key(0), crop=2, flip=False, cutout=0))
    for before, after in zip(images, found, strict=True):
        assert any(np.array_equal(after, window) for window in windows(before, 2))


def test_a_flip_mirrors_columns_of_half_of_the_images() -> None:
    images = some_images(400)
    found = np.asarray(augment(images, jax.random.key(2), crop=0, flip=True, cutout=0))
    mirrored = (found == images[:, :, ::-1]).all((1, 2, 3))
    kept = (found == images).all((1, 2, 3))
    assert (mirrored ^ kept).all()
    assert 160 <= mirrored.sum() <= 240  # four standard deviations of 10


def test_crop_and_flip_together_are_a_window_of_the_image_or_its_mirror() -> None:
    images = some_images(100)
    found = np.asarray(augment(images, jax.random.key(3), crop=2, flip=True, cutout=0))
    for before, after in zip(images, found, strict=True):
        both = windows(before, 2) + windows(before[:, ::-1], 2)
        assert sum(np.array_equal(after, window) for window in both) == 1


@pytest.mark.parametrize("side", [1, 4, 5])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_cutout_covers_one_square_that_ends_at_the_border(side: int, dtype: type) -> None:
    images = np.full((300, 8, 10, 2), 7, dtype)
    found = np.asarray(augment(images, jax.random.key(4), crop=0, flip=False, cutout=side))
    expected = set()
    for row in range(8):
        for column in range(10):
            image = np.full((8, 10, 2), 7, dtype)
            top, left = row - side // 2, column - side // 2
            image[max(0, top) : top + side, max(0, left) : left + side] = 0
            expected.add(image.tobytes())
    seen = {image.tobytes() for image in found}
    assert seen <= expected
    assert len(seen) > 60  # of 80; 300 draws leave out 80 (79/80)^300 = 2 on average


def test_all_off_is_the_input() -> None:
    images = some_images(4)
    assert augment_uncompiled(images, jax.random.key(0), crop=0, flip=False, cutout=0) is images


def test_images_are_changed_independently_and_the_key_repeats_them() -> None:
    images = np.repeat(some_images(1), 64, axis=0)
    options = {"crop": 3, "flip": True, "cutout": 3}
    one = np.asarray(augment(images, jax.random.key(5), **options))
    assert len({image.tobytes() for image in one}) > 55
    again = np.asarray(augment(images, jax.random.key(5), **options))
    other = np.asarray(augment(images, jax.random.key(6), **options))
    np.testing.assert_array_equal(one, again)
    assert (one != other).any()


def test_inside_a_compiled_scan_it_is_the_same() -> None:
    images = jnp.asarray(some_images(16))
    keys = jax.random.split(jax.random.key(7), 3)

    @jax.jit
    def epoch(images: jax.Array, keys: jax.Array) -> jax.Array:
        def step(carry: None, key: jax.Array) -> tuple[None, jax.Array]:
            return carry, augment(images, key, crop=2, flip=True, cutout=2)

        return jax.lax.scan(step, None, keys)[1]

    found = epoch(images, keys)
    for key, batch in zip(keys, found, strict=True):
        expected = augment(images, key, crop=2, flip=True, cutout=2)
        np.testing.assert_array_equal(batch, expected)


def test_out_of_bounds() -> None:
    images = some_images(1)
    with pytest.raises(DataError, match=r"crop is 7 pixels, but must be in \[0, 7\) for images"):
        augment(images, jax.random.key(0), crop=7, flip=False, cutout=0)
    with pytest.raises(DataError, match=r"cutout is -1 pixels, but must be at least 0"):
        augment(images, jax.random.key(0), crop=0, flip=False, cutout=-1)
