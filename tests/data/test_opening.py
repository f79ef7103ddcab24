"""The one door of images: what is let in, how it is turned and flattened, and what it may cost."""

from __future__ import annotations

import errno
import io
import os
import struct
import subprocess
import sys
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dse.data.decode import Rule, decode, decode_preprocessed
from dse.data.headers import choose_rule
from dse.data.library_warnings import library_warnings
from dse.data.opening import EXTENSIONS, open_image
from dse.data.source import silent
from dse.data.stream import decode_blocks
from dse.errors import DataError, ImageError
from dse.weights.preprocessing import PREPROCESSINGS, trained_preprocessing
from tests.data.trees import random_image

RNG = np.random.default_rng(0)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(
    size: tuple[int, int], depth: int, colour: int, row: bytes | None = None, extra: bytes = b""
) -> bytes:
    """A PNG of any depth, all its rows like `row` or black; of large ones, the first million."""
    width, height = size
    samples = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    row = b"\0" + (row or bytes((width * samples * depth + 7) // 8))
    pixels = zlib.compress(row * min(height, 1_000_000 // len(row)), 9)
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra
    return start + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def saved(image: Image.Image, form: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def with_orientation(image: np.ndarray, form: str, orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return saved(Image.fromarray(image), form, exif=exif, lossless=True)


# Each orientation by what has to be done to the stored pixels (Exif 2.3, tag 274).
UPRIGHT = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a, 1),
}


@pytest.mark.parametrize("form", ["PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", UPRIGHT)
def test_an_orientation_means_the_same_in_every_format(
    form: str, orientation: int, tmp_path: Path
) -> None:
    image = random_image(RNG, (4, 6, 3))
    (tmp_path / "a.png").write_bytes(with_orientation(image, form, orientation))
    upright = UPRIGHT[orientation](image)
    rule, _ = choose_rule([str(tmp_path / "a.png")], None, silent)
    assert rule == Rule(upright.shape, resized=False)
    np.testing.assert_array_equal(decode(tmp_path / "a.png", rule), upright)
    height, width, _ = upright.shape
    own = trained_preprocessing((height, width, 3), [0] * 3, [1] * 3)
    np.testing.assert_array_equal(decode_preprocessed(tmp_path / "a.png", own), upright)
    # A published rule passes over the tag, also where Pillow does not.
    (tmp_path / "plain.png").write_bytes(saved(Image.fromarray(image), "PNG"))
    published = PREPROCESSINGS["caffe"]
    np.testing.assert_array_equal(
        decode_preprocessed(tmp_path / "a.png", published),
        decode_preprocessed(tmp_path / "plain.png", published),
    )


def test_a_turned_tiff_is_resized_as_a_turned_png_is(tmp_path: Path) -> None:
    stored = np.zeros((100, 200, 3), np.uint8)
    stored[30:70, 80:120] = 255
    found = []
    for form in ("PNG", "TIFF"):
        (tmp_path / form).write_bytes(with_orientation(stored, form, 6))
        found.append(decode(tmp_path / form, Rule((32, 32, 3), resized=True)))
    np.testing.assert_array_equal(*found)
    # 40 of 100 pixels on the shorter side are 12.8 of 32, on both sides.
    assert [int((found[1][..., 0].max(axis) > 127).sum()) for axis in (0, 1)] == [12, 12]


def test_an_orientation_after_the_pixels_counts(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    rows = bytes(range(12))
    data = png((4, 1), 8, 2, rows)
    end = chunk(b"IEND", b"")
    late = data.removesuffix(end) + chunk(b"eXIf", exif.tobytes()[6:]) + end
    (tmp_path / "a.png").write_bytes(late)
    rule, _ = choose_rule([str(tmp_path / "a.png")], None, silent)
    found = decode(tmp_path / "a.png", rule)
    assert found.shape == (4, 1, 3)
    assert found.tobytes() == rows


def test_exif_that_cannot_be_written_again_is_no_fault(tmp_path: Path) -> None:
    # Orientation 6, and a tag 700 that says "two ASCII bytes" but is listed as a rational.
    entries = struct.pack("<HHLHH", 0x0112, 3, 1, 6, 0) + struct.pack("<HHLL", 0x829A, 5, 1, 9999)
    exif = b"Exif\0\0II*\0\x08\0\0\0\x02\0" + entries + b"\0\0\0\0"
    image = Image.new("RGB", (40, 20), (255, 0, 0))
    image.paste((0, 0, 255), (0, 0, 20, 20))
    jpeg = saved(image, "JPEG", quality=95)
    segment = b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif
    (tmp_path / "a.jpg").write_bytes(jpeg[:2] + segment + jpeg[2:])
    with library_warnings():
        found = decode(tmp_path / "a.jpg", Rule((40, 20, 3), resized=False))
    assert found[5, 10, 2] > 240 > 15 > found[5, 10, 0]  # what was left is above


def test_exif_that_cannot_be_read_is_a_warning_with_the_name(tmp_path: Path) -> None:
    good = tmp_path / "good.jpg"
    good.write_bytes(saved(Image.new("RGB", (8, 8), (9, 9, 9)), "JPEG"))
    jpeg = good.read_bytes()
    (tmp_path / "odd.jpg").write_bytes(
        jpeg[:2] + b"\xff\xe1\x00\x10Exif\0\0II*\0\xff\0\0\0" + jpeg[2:]
    )
    (tmp_path / "bad.jpg").write_bytes(b"none")
    paths = [(str(tmp_path / f"{name}.jpg"), n) for n, name in enumerate(("good", "odd", "bad"))]
    rule = Rule((8, 8, 3), resized=False)
    (block,) = decode_blocks(
        paths, lambda p, label: decode(p, rule), shape=rule.shape, root=tmp_path
    )
    assert block.labels.tolist() == [0, 1]
    assert block.broken == ("bad.jpg (cannot identify image file)",)
    (warned,) = block.warnings
    assert warned.startswith("odd.jpg (Corrupt EXIF data.")
    np.testing.assert_array_equal(block.images[0], block.images[1])


def test_warnings_of_threads_are_kept_apart() -> None:
    def work(number: int) -> list[str]:
        with library_warnings() as said:
            for _ in range(20):
                warnings.warn(f"number {number}", stacklevel=1)
        return said

    state = warnings.filters[:], warnings.showwarning
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, range(200))) == [[f"number {n}"] for n in range(200)]
    assert (warnings.filters, warnings.showwarning) == state


GRAY_TRANSPARENT = {
    1: (b"\x40", 1, [0, 255, 0, 0]),
    2: (b"\x1b", 1, [0, 255, 170, 255]),
    4: (b"\x05\xaf", 5, [0, 255, 170, 255]),
    8: (b"\x00\x05\xaf\xfe", 5, [0, 255, 0xAF, 0xFE]),
    16: (struct.pack(">4H", 0, 1000, 257 * 7, 1001), 1000, [0, 255, 7, 4]),
}


@pytest.mark.parametrize("depth", GRAY_TRANSPARENT)
@pytest.mark.parametrize("channels", [1, 3])
def test_a_transparent_gray_becomes_white_at_any_depth(
    depth: int, channels: int, tmp_path: Path
) -> None:
    row, transparent, wanted = GRAY_TRANSPARENT[depth]
    extra = chunk(b"tRNS", struct.pack(">H", transparent))
    (tmp_path / "a.png").write_bytes(png((4, 1), depth, 0, row, extra))
    found = decode(tmp_path / "a.png", Rule((1, 4, channels), resized=False))
    assert found[0].tolist() == [[value] * channels for value in wanted]


@pytest.mark.parametrize("depth", [8, 16])
def test_a_transparent_colour_becomes_white(depth: int, tmp_path: Path) -> None:
    form = ">6B" if depth == 8 else ">6H"
    scale = 1 if depth == 8 else 257
    row = struct.pack(form, *(scale * value for value in (10, 20, 30, 40, 50, 60)))
    extra = chunk(b"tRNS", struct.pack(">3H", 10 * scale, 20 * scale, 30 * scale))
    (tmp_path / "a.png").write_bytes(png((2, 1), depth, 2, row, extra))
    found = decode(tmp_path / "a.png", Rule((1, 2, 3), resized=False))
    assert found.tolist() == [[[255] * 3, [40, 50, 60]]]


@pytest.mark.parametrize("depth", [8, 16])
def test_gray_with_alpha(depth: int, tmp_path: Path) -> None:
    row = (
        struct.pack(">4B", 100, 0, 0, 51)
        if depth == 8
        else struct.pack(">8B", *b"dd\0\0\0\0\x33\x33")
    )
    (tmp_path / "a.png").write_bytes(png((2, 1), depth, 4, row))
    found = decode(tmp_path / "a.png", Rule((1, 2, 1), resized=False))
    assert found[0].tolist() == [[255], [204]]  # 51/255 of black on white


@pytest.mark.parametrize("most", [65_535, 999])
def test_gray_of_sixteen_bits_in_pgm(most: int, tmp_path: Path) -> None:
    (tmp_path / "a.pgm").write_bytes(b"P5 3 1 %d\n" % most + struct.pack(">3H", 0, most // 3, most))
    rule, _ = choose_rule([str(tmp_path / "a.pgm")], None, silent)
    assert rule == Rule((1, 3, 1), resized=False)
    assert decode(tmp_path / "a.pgm", rule)[0, :, 0].tolist() == [0, 85, 255]


def test_transparency_is_flattened_the_same_in_parts(tmp_path: Path) -> None:
    image = random_image(RNG, (700, 600, 4))
    (tmp_path / "a.png").write_bytes(saved(Image.fromarray(image), "PNG"))
    found = decode(tmp_path / "a.png", Rule((700, 600, 3), resized=False))
    at_once = Image.alpha_composite(
        Image.new("RGBA", (600, 700), (255,) * 4), Image.fromarray(image)
    )
    np.testing.assert_array_equal(found, np.asarray(at_once.convert("RGB")))


def test_what_a_file_is_called_does_not_matter_and_what_it_holds_does(tmp_path: Path) -> None:
    image = random_image(RNG, (3, 3, 3))
    (tmp_path / "a.jpg").write_bytes(saved(Image.fromarray(image), "PNG"))
    np.testing.assert_array_equal(decode(tmp_path / "a.jpg", Rule((3, 3, 3), resized=False)), image)
    other = Image.fromarray(image)
    for form in ("EPS", "TGA", "PCX", "ICO", "SGI", "DDS", "PDF"):
        (tmp_path / "b.jpg").write_bytes(saved(other, form))
        with pytest.raises(ImageError, match=r"b\.jpg: cannot identify image file"):
            decode(tmp_path / "b.jpg", Rule((3, 3, 3), resized=False))
    (tmp_path / "b.jpg").write_bytes(saved(other.quantize(4), "BLP"))
    with pytest.raises(ImageError, match="cannot identify"):
        decode(tmp_path / "b.jpg", Rule((3, 3, 3), resized=False))
    assert not EXTENSIONS & {".eps", ".ps", ".pdf", ".tga", ".ico", ".dds", ".blp", ".pcx", ".mpg"}


def test_pipes_devices_and_folders_are_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "zero.png").symlink_to("/dev/zero")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "loop.png").symlink_to("loop.png")
    for name, reason in (
        ("pipe.png", "not an ordinary file"),
        ("zero.png", "not an ordinary file"),
        ("folder.png", "not an ordinary file"),
        ("loop.png", "Too many levels of symbolic links"),
        ("gone.png", "No such file or directory"),
        ("nul\0.png", "embedded null byte"),
    ):
        with pytest.raises(ImageError) as caught, open_image(tmp_path / name):
            pass
        assert caught.value.reason == reason


@pytest.mark.parametrize(
    "error",
    [
        *(SyntaxError("s"), struct.error("e"), OverflowError("o"), MemoryError()),
        *(RecursionError("r"), zlib.error("z"), AssertionError(), RuntimeError("u"), KeyError(7)),
    ],
    ids=lambda error: type(error).__name__,
)
def test_whatever_a_decoder_raises_is_the_images_own_error(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.png").write_bytes(png((2, 2), 8, 2))

    def load(self: object) -> None:
        raise error

    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", load)
    with pytest.raises(ImageError) as caught:
        decode(tmp_path / "a.png", Rule((2, 2, 3), resized=False))
    assert caught.value.reason == (str(error) or type(error).__name__)


@pytest.mark.parametrize("name", ["EMFILE", "EIO", "ENOMEM"])
def test_a_fault_of_the_machine_is_no_broken_image(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.png").write_bytes(png((2, 2), 8, 2))

    def fail(*_: object, **__: object) -> None:
        number = getattr(errno, name)
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", fail)
    with pytest.raises(DataError, match=r"a\.png cannot be read: .*; try again") as caught:
        decode(tmp_path / "a.png", Rule((2, 2, 3), resized=False))
    assert not isinstance(caught.value, ImageError)


LOW_MEMORY = """
import resource, sys
from dse.data.decode import Rule, decode
from dse.errors import DataError, ImageError
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 2**26, resource.RLIM_INFINITY))
try:
    decode(sys.argv[1], Rule((8, 8, 3), resized=True))
except ImageError as error:
    print("image", error)
except DataError as error:
    print("machine", error)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits of Linux")
def test_low_memory_is_no_broken_image(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png((6000, 6000), 8, 2))
    done = subprocess.run(
        [sys.executable, "-c", LOW_MEMORY, str(tmp_path / "a.png")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("machine out of memory while decoding")


PEAK = """
import resource, sys
from dse.data.decode import Rule, decode
from dse.data.library_warnings import library_warnings
from dse.errors import ImageError
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
for path in sys.argv[1:]:
    before = peak()
    with library_warnings():
        try:
            pixels = decode(path, Rule((224, 224, 3), resized=True))
            result = f"mean {pixels.mean():.0f}"
        except ImageError as error:
            result = error.reason
    print(f"{(peak() - before) / 1e6:.0f}|{result}")
"""


def tiff(entries: list[tuple[int, int, int, int]], rest: bytes = b"") -> bytes:
    packed = b"".join(struct.pack("<HHLL", *entry) for entry in entries)
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + packed + bytes(4) + rest


def hostile() -> dict[str, tuple[bytes, str]]:
    """Small files that ask for much, and what becomes of each."""
    noise = Image.effect_noise((900, 700), 90)
    progressive = saved(noise, "JPEG", progressive=True, quality=20)
    at = progressive.rindex(b"\xff\xda")
    scan = progressive[at : at + 2 + struct.unpack(">H", progressive[at + 2 : at + 4])[0]] + b"\0"
    jp2 = saved(noise, "JPEG2000")
    siz = jp2.index(b"\xff\x4f\xff\x51") + 4
    larger = bytearray(jp2)
    struct.pack_into(">LL", larger, siz + 4, 30_000, 30_000)
    avif = bytearray(saved(Image.new("RGB", (1500, 1200)), "AVIF", speed=10))
    struct.pack_into(">LL", avif, avif.index(b"ispe") + 8, 30, 20)
    flat, gif = saved(Image.new("L", (9, 9)), "JPEG"), saved(Image.new("L", (9, 9)), "GIF")
    pixels = gif.index(b",")
    words = gif[:pixels] + b"!\xfe" + b"\1a" * 500_000 + b"\0" + gif[pixels:]
    empty = bytearray(saved(Image.new("L", (9, 9)), "JPEG2000", no_jp2=True))
    struct.pack_into(">LL", empty, 8, 3000, 3000)
    struct.pack_into(">LL", empty, 24, 3000, 3000)
    layered = bytearray(jp2)
    struct.pack_into(">H", layered, layered.index(b"\xff\x52") + 6, 65_535)
    struct.pack_into(">LL", layered, siz + 20, 90, 70)
    tiled = bytearray(jp2)
    struct.pack_into(">LL", tiled, siz + 20, 1, 1)
    strip = [(256, 3, 1, 1), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (277, 3, 1, 1)]
    strips = sorted([*strip, (257, 4, 1, 200_000), (273, 4, 200_000, 0), (278, 3, 1, 1)])
    tile = [(256, 3, 1, 9), (257, 3, 1, 9), (258, 3, 1, 8), (259, 3, 1, 5), (262, 3, 1, 1)]
    tile += [(322, 4, 1, 32_768), (323, 4, 1, 32_768), (324, 4, 1, 200), (325, 4, 1, 50)]
    many = sorted([*strip[:1], (257, 3, 1, 1), (258, 3, 200_000, 100), *strip[2:], (273, 4, 1, 90)])
    over = [(256, 3, 1, 99), (257, 3, 1, 99), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1)]
    over += [(322, 4, 1, 99), (323, 4, 1, 98), (324, 4, 9000, 200), (325, 4, 9000, 200)]
    rle = bytearray(saved(Image.new("L", (9, 9)), "BMP"))
    struct.pack_into("<LL", rle, 18, 5000, 5000)
    struct.pack_into("<L", rle, 30, 1)  # run lengths of 8-bit pixels
    text = chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(20_000_000), 9))
    webp = bytearray(saved(Image.new("RGB", (9, 9)), "WEBP", lossless=True))
    struct.pack_into("<L", webp, 21, 11_999 | 8999 << 14)  # width and height less 1, 14 bits each
    return {
        "1x12000.png": (png((1, 12_000), 8, 2), "mean 0"),
        "1x65500.png": (png((1, 65_500), 8, 2), "mean 0"),
        "65500x1.png": (png((65_500, 1), 8, 0), "mean 0"),
        "rgba.png": (png((9000, 9000), 8, 6), "its 81 megapixels (PNG) take 648 MB to decode, but"),
        "16bit.png": (png((12_000, 12_000), 16, 0), "its 144 megapixels (PNG) take 864 MB to"),
        "webp.webp": (bytes(webp), "its 108 megapixels (WEBP)"),
        "text.png": (png((9, 9), 8, 2, extra=text), "Decompressed data too large for PngImage"),
        "scans.jpg": (progressive[:at] + scan * 4000 + progressive[at:], "900x700 pixels in 40"),
        "pixels.avif": (bytes(avif), "its header and its pixels differ in size"),
        "empty.j2k": (bytes(empty), "3000x3000 pixels in only "),
        "layers.jp2": (bytes(layered), "153 code blocks, 39321000 packets are too many"),
        "size.jp2": (bytes(larger), "header and codestream differ in size"),
        "tiles.jp2": (bytes(tiled), "630000 tiles; up to 4096 are read"),
        "parts.jpg": (flat[:2] + b"\xff\xe5\0\2" * 300_000 + flat[2:], "more than 100000 parts"),
        "parts.png": (png((9, 9), 8, 2, extra=chunk(b"prVt", b"") * 100_001), "more than 100000 p"),
        "words.gif": (words, "more than 4000 blocks before its pixels"),
        "strips.tif": (tiff(strips, bytes(800_000)), "more than 100000 values of one tag"),
        "bits.tif": (tiff(many, bytes(500_000)), "more than 100000 values of one tag"),
        "over.tif": (tiff(over, bytes(99_000)), "its strips or tiles lie on each other"),
        "rle.bmp": (bytes(rle), "5000x5000 pixels of this kind of BMP take too long"),
        "tile.tif": (tiff(tile, bytes(300)), "its 8.1e-05 megapixels (TIFF) take 2,147 MB to"),
        "kind.ppm": (b"P6 2000 2000 1023 " + bytes(99), "2000x2000 pixels of this kind of PPM"),
        "plain.ppm": (b"P3 2000 2000 255 " + b"0 " * 99, "2000x2000 pixels of this kind of PPM"),
    }


def test_small_files_that_ask_for_much_cost_megabytes_or_are_refused(tmp_path: Path) -> None:
    files = hostile()
    for name, (content, _) in files.items():
        (tmp_path / name).write_bytes(content)
    with open(tmp_path / "sparse.png", "wb") as file:
        file.write(png((9, 9), 8, 2))
        file.truncate(10**11)
    names = [*files, "sparse.png"]
    done = subprocess.run(
        [sys.executable, "-c", PEAK, *(str(tmp_path / name) for name in names)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    found = dict(zip(names, (line.split("|", 1) for line in done.stdout.splitlines()), strict=True))
    wanted = {name: result for name, (_, result) in files.items()}
    wanted["sparse.png"] = "100000 MB; up to 128 MB are read of such a file"
    assert {n: found[n][1][: len(wanted[n])] for n in names} == wanted
    assert {n: int(found[n][0]) for n in names if int(found[n][0]) > 10} == {}


def test_the_middle_of_a_thin_image_is_what_is_kept(tmp_path: Path) -> None:
    image = random_image(RNG, (10, 400, 3))
    (tmp_path / "a.png").write_bytes(saved(Image.fromarray(image), "PNG"))
    found = decode(tmp_path / "a.png", Rule((20, 20, 3), resized=True))
    whole = Image.fromarray(image).resize((800, 20), Image.Resampling.BILINEAR)
    wanted = np.asarray(whole.crop((390, 0, 410, 20)))
    assert np.abs(found.astype(int) - wanted).max() <= 1


def test_broken_tiffs_print_nothing(tmp_path: Path) -> None:
    data = bytearray(
        saved(Image.fromarray(random_image(RNG, (40, 40, 3))), "TIFF", compression="tiff_lzw")
    )
    data[100:160] = bytes(range(60))
    (tmp_path / "a.tif").write_bytes(data)
    samples = [(256, 3, 1, 1), (257, 3, 1, 1), (262, 3, 1, 2), (273, 4, 1, 9), (277, 3, 1, 99)]
    (tmp_path / "b.tif").write_bytes(tiff(samples))  # Pillow logs that these are too many
    done = subprocess.run(
        [sys.executable, "-c", PEAK, str(tmp_path / "a.tif"), str(tmp_path / "b.tif")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split("|")[1].startswith("decoder error")
    assert done.stderr == ""
