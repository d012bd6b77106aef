"""What is read is read right, by numbers worked out by hand; what cannot be is refused with its reason."""

from __future__ import annotations

import io
import struct
import threading
import time
import zlib

import numpy as np
import pytest
from PIL import Image

from styleloom.data import decoding
from styleloom.data.conversion import ConversionOptions, convert_image
from styleloom.data.decoding import BadImageError, Budget

from .images import encoded, noise
from .raw_images import bmp, chunk, packed, png, tiff

WIDTH = HEIGHT = 8


def read(data: bytes, channels: int = 3) -> np.ndarray:
    """uint8 [H, W, C] at the image's own size, 8x8."""
    return convert_image(data, ConversionOptions(8, channels=channels)).transpose(1, 2, 0)


def ramp(bits: int) -> np.ndarray:
    """8x8 values from 0 to the largest of so many bits."""
    return np.linspace(0, 2**bits - 1, 64).round().astype(np.int64).reshape(8, 8)


def eight_bits(values: np.ndarray, bits: int) -> np.ndarray:
    return np.floor(values * 255 / (2**bits - 1) + 0.5)


@pytest.mark.parametrize("order", ["<", ">"])
def test_tiff_grey_of_every_depth_from_black_to_white_and_from_white_to_black(order: str) -> None:
    read_depths = set()
    for bits in (1, 2, 4, 8, 10, 12, 14, 16, 24, 32):
        values = ramp(bits)
        whole = {8: "u1", 16: order + "u2", 32: order + "u4"}
        plain = values.astype(whole[bits]).tobytes() if bits in whole else packed(values, bits)
        for photometric, expected in ((1, eight_bits(values, bits)), (0, 255 - eight_bits(values, bits))):
            for compression, content in ((1, plain), (8, zlib.compress(plain))):
                data = tiff(8, 8, [bits], photometric, [content], order, t259=[compression])
                try:
                    found = read(data, 1)[:, :, 0]
                except BadImageError:
                    continue
                assert np.abs(found - expected).max() <= (bits > 8), (bits, photometric, compression)
                read_depths.add((bits, photometric))
    assert read_depths >= {(bits, photometric) for bits in (1, 2, 4, 8) for photometric in (0, 1)} | {(16, 1)}
    assert order == ">" or read_depths >= {(12, 1), (16, 0)}
    assert not {bits for bits, _ in read_depths} & {24, 32}


def test_twelve_bits_are_as_bright_as_eight() -> None:
    values = np.array([[0, 16, 2048, 4095] * 2] * 8)
    found = read(tiff(8, 8, [12], 1, [packed(values, 12)]), 1)[0, :4, 0]
    assert found.tolist() == [0, 1, 128, 255]


def test_tiff_colours() -> None:
    rgb = np.random.RandomState(0).randint(0, 256, (8, 8, 3), np.uint8)
    planes = [np.ascontiguousarray(rgb[:, :, c]).tobytes() for c in range(3)]
    wide = (rgb.astype(np.uint16) << 8) + 77
    alpha = np.dstack([rgb, np.full((8, 8), 255, np.uint8)])
    palette = [value * 257 for value in rgb.reshape(-1, 3).T.reshape(3, 64).repeat(4, 1).ravel().tolist()]
    for name, data in {
        "pixels": tiff(8, 8, [8] * 3, 2, [rgb.tobytes()]),
        "strips": tiff(8, 8, [8] * 3, 2, [rgb[:4].tobytes(), rgb[4:].tobytes()], t278=[4]),
        "planes": tiff(8, 8, [8] * 3, 2, planes, t284=[2]),
        "packed planes": tiff(8, 8, [8] * 3, 2, [*map(zlib.compress, planes)], t284=[2], t259=[8]),
        "16 bits": tiff(8, 8, [16] * 3, 2, [wide.astype("<u2").tobytes()]),
        "16 bits, big": tiff(8, 8, [16] * 3, 2, [wide.astype(">u2").tobytes()], ">"),
        "opaque": tiff(8, 8, [8] * 4, 2, [alpha.tobytes()], t338=[2]),
        "premultiplied": tiff(8, 8, [8] * 4, 2, [alpha.tobytes()], t338=[1]),
        "palette": tiff(8, 8, [8], 3, [bytes(range(0, 256, 4))], t320=palette),
    }.items():
        np.testing.assert_array_equal(read(data), rgb, name)
    inks = np.dstack([255 - rgb, np.zeros((8, 8), np.uint8)])
    np.testing.assert_array_equal(read(tiff(8, 8, [8] * 4, 5, [inks.tobytes()])), rgb)


def test_tiff_that_would_come_out_wrong_is_refused() -> None:
    grey, rgb = bytes(range(64)), bytes(range(192))
    for reason, data in {
        "signed integers": tiff(8, 8, [8], 1, [grey], t339=[2]),
        "signed integer": tiff(8, 8, [16], 1, [grey * 2], t339=[2]),
        "floating point": tiff(8, 8, [32], 1, [grey * 4], t339=[3]),
        r"of \[32\] bits": tiff(8, 8, [32], 1, [bytes(256)]),
        "of 16-bit planes": tiff(8, 8, [16] * 3, 2, [grey * 2] * 3, t284=[2]),
        "colour space 8": tiff(8, 8, [8] * 3, 8, [rgb]),
        "colour space -1": tiff(8, 8, [8], None, [grey]),
        "palette of 8-bit colours": tiff(8, 8, [8], 3, [grey], t320=list(range(256)) * 3),
        "grey and alpha in planes": tiff(
            8, 8, [8] * 2, 1, [zlib.compress(grey)] * 2, t284=[2], t259=[8], t338=[2]
        ),
        "as a fax": tiff(8, 8, [1], 1, [bytes(8)], t259=[4]),
        "tiles larger": tiff(8, 8, [8], 1, [grey], t322=[65520], t323=[65520], t324=[8], t325=[64]),
    }.items():
        with pytest.raises(BadImageError, match=reason):
            read(data)


def test_damaged_strips_of_tiff_are_refused(capfd: pytest.CaptureFixture[str]) -> None:
    image = Image.fromarray((np.add.outer(np.arange(64), np.arange(64)) * 2).astype(np.uint8))
    for compression in ("raw", "tiff_deflate", "tiff_lzw", "packbits", "jpeg", "lzma"):
        data = encoded(image, "TIFF", compression=compression)
        opened = Image.open(io.BytesIO(data))
        (place,), (length,) = opened.tag_v2[273], opened.tag_v2[279]
        convert_image(data, ConversionOptions(64))
        entry = data.index(struct.pack("<HHII", 279, 4, 1, length))
        cut = data[: entry + 8] + struct.pack("<I", length // 2) + data[entry + 12 :]
        bad = [data[: place + length - 5]] + [cut] * (compression != "raw")
        if compression in ("tiff_deflate", "lzma"):  # those with a checksum
            flipped = bytearray(data)
            flipped[place + length - 2] ^= 1
            bad.append(bytes(flipped))
        for damaged in bad:
            with pytest.raises(BadImageError, match=r"truncated|damaged"):
                convert_image(damaged, ConversionOptions(64))
    capfd.readouterr()  # libtiff speaks on stderr


def test_what_stands_in_place_of_missing_pixels_is_not_taken_for_pixels(
    capfd: pytest.CaptureFixture[str],
) -> None:
    smooth = np.add.outer(np.arange(64), np.arange(96)).astype(np.uint8)
    picture = np.dstack([smooth, smooth[::-1], smooth[:, ::-1]])
    whole = {
        "PNG": encoded(picture),
        "JPEG": encoded(picture, "JPEG"),
        "TIFF": encoded(picture, "TIFF", compression="jpeg"),
        "WEBP": encoded(noise(64, 64), "WEBP"),
    }
    for name, data in whole.items():
        convert_image(data, ConversionOptions(64))
        for part in (0.3, 0.6, 0.8):
            start = data[: int(part * len(data))]
            for fill in (bytes(len(data) - len(start)), bytes(20_000), b"<html>" * 5000):
                if name in ("WEBP", "TIFF") and (len(fill) < 1024 or b"<" in fill):
                    continue  # these hold their lengths, and nothing else that tells damage
                with pytest.raises(BadImageError, match=r"truncated|damaged"):
                    convert_image(start + fill, ConversionOptions(64))
    for name in ("PNG", "JPEG"):  # behind the end anything may stand
        np.testing.assert_array_equal(read(whole[name] + bytes(5000)), read(whole[name]))
    capfd.readouterr()  # libtiff speaks on stderr


def test_a_colour_beyond_the_palette_is_damage() -> None:
    for data in (
        bmp(8, 8, 8, bytes(range(64)), bytes(range(12))),
        png(8, 8, 8, 3, [bytes([5] * 8)] * 8, chunk(b"PLTE", bytes(range(9)))),
    ):
        with pytest.raises(BadImageError, match="of a palette of 3"):
            read(data)


def test_png_of_every_depth_with_a_transparent_grey() -> None:
    for depth in (1, 2, 4, 8, 16):
        values = ramp(depth)
        key = int(values[3, 5])
        rows = (
            [row.tobytes() for row in values.astype(">u2")]
            if depth == 16
            else [packed(values[i : i + 1], depth) for i in range(8)]
        )
        found = read(png(8, 8, depth, 0, rows, chunk(b"tRNS", struct.pack(">H", key))), 4)
        np.testing.assert_array_equal(found[:, :, 0], eight_bits(values, depth), f"depth {depth}")
        np.testing.assert_array_equal(found[:, :, 3], np.where(values == key, 0, 255), f"depth {depth}")


def test_png_that_would_come_out_wrong_is_refused() -> None:
    wide = [bytes(range(48))] * 8
    colours = chunk(b"PLTE", bytes(6))
    for reason, data in {
        "16-bit colour with a transparent": png(8, 8, 16, 2, wide, chunk(b"tRNS", bytes(6))),
        "colour 3 of a palette of 2": png(8, 8, 8, 3, [bytes([0, 1, 2, 3] * 2)] * 8, colours),
        "fewer rows": png(8, 8, 8, 2, [bytes(range(24))] * 5),
    }.items():
        with pytest.raises(BadImageError, match=reason):
            read(data)
    assert read(png(8, 8, 8, 2, [bytes(range(24))] * 7 + [bytes(24)]))[7].max() == 0  # black is no damage


def segment(marker: int, content: bytes) -> bytes:
    return b"\xff" + bytes([marker]) + struct.pack(">H", len(content) + 2) + content


def exif(kind: int, count: int, value: bytes, tag: int = 0x0112) -> bytes:
    entry = struct.pack("<HHI", tag, kind, count) + value.ljust(4, b"\0")
    return b"Exif\0\0II*\0\x08\0\0\0\1\0" + entry + bytes(4)


def test_broken_metadata_does_not_refuse_good_pixels() -> None:
    rows = [bytes(range(i, i + 24)) for i in range(8)]
    plain = read(png(8, 8, 8, 2, rows))
    control = struct.pack(">IIIIIHHBB", 0, 900, 900, 0, 0, 1, 1, 0, 0)
    for name, extra in {
        "colour profile": chunk(b"iCCP", b"x\0\0junk"),
        "text": chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(10**7))) + chunk(b"iTXt", b"k\0\1\1junk"),
        "animation of no frames": chunk(b"acTL", bytes(8)),
        "animation cut": chunk(b"acTL", b"\1"),
        "frame outside": chunk(b"acTL", struct.pack(">II", 2, 0)) + chunk(b"fcTL", control),
        "checksum": chunk(b"tIME", b"1234567")[:-1] + b"?",
        "short": chunk(b"pHYs", b"1") + chunk(b"cHRM", b"1") + chunk(b"gAMA", b""),
        "exif": chunk(b"eXIf", b"junk"),
    }.items():
        np.testing.assert_array_equal(read(png(8, 8, 8, 2, rows, extra)), plain, name)
    image = Image.fromarray(np.arange(192, dtype=np.uint8).reshape(8, 8, 3))
    data = encoded(image, "JPEG", quality=95)
    plain = read(data)
    for name, part in {
        "exif": segment(0xE1, b"Exif\0\0II*\0\xff\xff\xff\x7f"),
        "exif of 65535 entries": segment(0xE1, b"Exif\0\0II*\0\x08\0\0\0\xff\xff"),
        "orientation 9": segment(0xE1, exif(3, 1, b"\x09")),
        "orientation of four billion": segment(0xE1, exif(4, 1, b"\xff\xff\xff\xff")),
        "orientation in words": segment(0xE1, exif(2, 4, b"abc")),
        "resolution outside": segment(0xE1, exif(5, 1, b"\xff\xff", 0x011A)),
        "pictures": segment(0xE2, b"MPF\0junkjunk"),
        "profile": segment(0xE2, b"ICC_PROFILE\0"),
        "short": segment(0xE0, b"JFIF") + segment(0xEE, b"Adobe"),
    }.items():
        np.testing.assert_array_equal(read(data[:2] + part + data[2:]), plain, name)


def test_what_else_is_broken_does_not_lose_the_orientation() -> None:
    data = encoded(Image.fromarray(np.arange(192, dtype=np.uint8).reshape(8, 8, 3)), "JPEG", quality=95)
    turned = data[:2] + segment(0xE1, exif(3, 1, b"\x06")) + segment(0xE0, b"JFIF") + data[2:]
    np.testing.assert_array_equal(read(turned), np.rot90(read(data), -1))


def test_cmyk_jpeg_without_a_word_on_its_inks_is_refused() -> None:
    data = encoded(Image.new("CMYK", (8, 8), (255, 0, 0, 0)), "JPEG")
    assert np.abs(read(data)[0, 0].astype(int) - (0, 255, 255)).max() <= 3
    place = data.index(b"Adobe") - 4
    with pytest.raises(BadImageError, match="whether its inks are inverted"):
        read(data[:place] + data[place + 16 :])


def test_no_more_is_held_than_the_budget_but_for_one_alone() -> None:
    budget, held, most = Budget(10), [], []

    def work(amount: int) -> None:
        with budget.hold(amount):
            held.append(amount)
            most.append(sum(held))
            time.sleep(0.002)
            held.remove(amount)

    threads = [threading.Thread(target=work, args=(amount,)) for amount in [4, 5, 6, 3, 25] * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(most) == 20
    assert max(total for total in most if total != 25) <= 10


def test_converting_holds_every_pixel(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    budget = Budget(64)
    hold = budget.hold
    monkeypatch.setattr(budget, "hold", lambda amount: (seen.append(amount), hold(amount))[1])
    monkeypatch.setattr(decoding, "_PIXELS", budget)
    convert_image(encoded(np.zeros((48, 32, 3), np.uint8)), ConversionOptions(8))
    assert seen == [48 * 32]
