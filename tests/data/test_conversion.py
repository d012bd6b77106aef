"""Every input mode, crop and filter against numbers worked out by hand or by numpy."""

from __future__ import annotations

import io
import struct
import zlib
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from every import every
from styleloom.data import conversion
from styleloom.data.conversion import BadImageError, ConversionOptions, convert_image, validate_resolution
from styleloom.errors import UserError

from .images import encoded, noise


def same_size(pixels: np.ndarray | Image.Image, format: str = "PNG", channels: int = 3, **save) -> np.ndarray:
    """Convert without resizing; [H, W, C]."""
    data = encoded(pixels, format, **save)
    side = Image.open(io.BytesIO(data)).width
    return convert_image(data, ConversionOptions(side, channels=channels)).transpose(1, 2, 0)


def over(rgba: np.ndarray, background: tuple[int, int, int]) -> np.ndarray:
    """Alpha compositing in floating point."""
    alpha = rgba[:, :, 3:] / 255
    return rgba[:, :, :3] * alpha + np.array(background) * (1 - alpha)


LUMA = np.array([0.299, 0.587, 0.114])


@every("format", ["PNG", "WEBP", "BMP", "TIFF"])
def test_rgb_survives_unchanged(format: str) -> None:
    pixels = noise(16, 16)
    save = {"lossless": True} if format == "WEBP" else {}
    np.testing.assert_array_equal(same_size(pixels, format, **save), pixels)


def test_jpeg_is_read() -> None:
    flat = np.full((16, 16, 3), (200, 100, 50), np.uint8)
    assert np.abs(same_size(flat, "JPEG", quality=95).astype(int) - flat).max() <= 3


def test_grey_is_repeated_over_rgb() -> None:
    grey = noise(16, 16, 1)
    np.testing.assert_array_equal(same_size(grey), np.repeat(grey[:, :, None], 3, 2))


def test_rgba_is_composited_on_white_or_the_background() -> None:
    rgba = noise(16, 16, 4)
    assert np.abs(same_size(rgba) - over(rgba, (255, 255, 255))).max() <= 1
    blue = convert_image(encoded(rgba), ConversionOptions(16, background="#0000ff")).transpose(1, 2, 0)
    assert np.abs(blue - over(rgba, (0, 0, 255))).max() <= 1


def test_grey_with_alpha() -> None:
    both = noise(16, 16, 2)
    expected = over(np.dstack([both[:, :, :1]] * 3 + [both[:, :, 1:]]), (255, 255, 255))
    assert np.abs(same_size(Image.fromarray(both, "LA")) - expected).max() <= 1


def test_palette_with_and_without_transparency() -> None:
    image = Image.new("P", (4, 4))
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255] + [0] * 759)
    image.putdata([0, 1, 2, 0] * 4)
    red, green, blue, white = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)
    assert [tuple(v) for v in same_size(image)[0]] == [red, green, blue, red]
    assert [tuple(v) for v in same_size(image, transparency=1)[0]] == [red, white, blue, red]
    half = same_size(image, transparency=bytes([255, 0, 128]))[0]
    assert [tuple(v) for v in half[:2]] == [red, white]
    assert np.abs(half[2].astype(int) - (127, 127, 255)).max() <= 1
    assert same_size(image, channels=4, transparency=1)[0, 1, 3] == 0


def test_colour_key_of_rgb_and_grey() -> None:
    rgb = np.full((4, 4, 3), 10, np.uint8)
    rgb[0, 0] = (1, 2, 3)
    keyed = same_size(Image.fromarray(rgb), transparency=(1, 2, 3))
    assert tuple(keyed[0, 0]) == (255, 255, 255)
    assert tuple(keyed[1, 1]) == (10, 10, 10)
    grey = same_size(Image.fromarray(np.full((4, 4), 7, np.uint8)), transparency=7)
    assert (grey == 255).all()


def test_cmyk() -> None:
    image = Image.new("CMYK", (8, 8), (255, 0, 0, 0))
    assert tuple(same_size(image, "TIFF")[0, 0]) == (0, 255, 255)
    assert np.abs(same_size(image, "JPEG")[0, 0].astype(int) - (0, 255, 255)).max() <= 3


def test_one_bit() -> None:
    image = Image.fromarray(np.eye(8, dtype=bool))
    np.testing.assert_array_equal(same_size(image)[:, :, 0], np.eye(8) * 255)


@every("format", ["PNG", "TIFF"])
def test_sixteen_bit_grey_is_scaled_by_257_and_rounded(format: str) -> None:
    values = np.linspace(0, 65535, 64).round().astype(np.uint16).reshape(8, 8)
    values[0, :4] = (0, 128, 129, 65535)
    converted = same_size(Image.fromarray(values), format, channels=1)[:, :, 0]
    np.testing.assert_array_equal(converted, np.rint(values / 257))


def test_sixteen_bit_grey_with_a_transparent_value() -> None:
    values = np.full((4, 4), 1000, np.uint16)
    values[0, 0] = 5000
    data = bytearray(encoded(Image.fromarray(values)))
    chunk = b"tRNS" + struct.pack(">H", 5000)
    place = data.index(b"IDAT") - 4
    data[place:place] = struct.pack(">I", 2) + chunk + struct.pack(">I", zlib.crc32(chunk))
    pixels = convert_image(bytes(data), ConversionOptions(4))
    assert pixels[0, 0, 0] == 255
    assert pixels[0, 1, 1] == 4


def test_sixteen_bit_colour_keeps_the_high_byte() -> None:
    values = np.random.RandomState(0).randint(0, 65536, (4, 4, 3)).astype(">u2")
    rows = b"".join(b"\0" + row.tobytes() for row in values)

    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    head = chunk(b"IHDR", struct.pack(">2I5B", 4, 4, 16, 2, 0, 0, 0))
    png = b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    np.testing.assert_array_equal(convert_image(png, ConversionOptions(4)).transpose(1, 2, 0), values >> 8)


def test_floating_point_pixels_are_refused() -> None:
    with pytest.raises(BadImageError, match="floating point"):
        same_size(Image.fromarray(np.zeros((8, 8), np.float32)), "TIFF")


@every("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation: int) -> None:
    pixels = noise(8, 8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    turned = {
        1: pixels,
        2: pixels[:, ::-1],
        3: pixels[::-1, ::-1],
        4: pixels[::-1],
        5: pixels.transpose(1, 0, 2),
        6: np.rot90(pixels, -1),
        7: pixels.transpose(1, 0, 2)[::-1, ::-1],
        8: np.rot90(pixels, 1),
    }[orientation]
    np.testing.assert_array_equal(same_size(pixels, exif=exif), turned)


def test_one_channel_is_luma() -> None:
    pixels = noise(16, 16)
    assert np.abs(same_size(pixels, channels=1)[:, :, 0] - pixels @ LUMA).max() <= 1


def test_four_channels_keep_alpha_and_default_to_opaque() -> None:
    rgba = noise(16, 16, 4)
    np.testing.assert_array_equal(same_size(rgba, channels=4), rgba)
    assert (same_size(noise(16, 16), channels=4)[:, :, 3] == 255).all()


def test_transparent_colour_leaves_no_halo() -> None:
    # Black under full transparency, beside opaque white: any mixing before compositing would darken the edge.
    rgba = np.zeros((64, 64, 4), np.uint8)
    rgba[16:48, 16:48] = 255
    assert (convert_image(encoded(rgba), ConversionOptions(16)) == 255).all()
    transparent = convert_image(encoded(rgba), ConversionOptions(16, channels=4))
    assert (transparent[:3, 4:12, 4:12] == 255).all()


@given(st.integers(16, 60), st.integers(16, 60), st.sampled_from(["box", "lanczos", "bilinear", "bicubic"]))
@settings(deadline=None, max_examples=30)
def test_center_takes_the_largest_central_square(width: int, height: int, filter: str) -> None:
    pixels = noise(width, height)
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    square = pixels[top : top + side, left : left + side]
    if side % 16 == 0 and filter == "box":
        expected = square.reshape(16, side // 16, 16, side // 16, 3).mean((1, 3))
        found = convert_image(encoded(pixels), ConversionOptions(16, filter="box")).transpose(1, 2, 0)
        assert np.abs(found - expected).max() <= 1
    options = ConversionOptions(16, filter=filter)  # pyright: ignore[reportArgumentType]
    np.testing.assert_array_equal(
        convert_image(encoded(pixels), options), convert_image(encoded(square), options)
    )


def test_box_is_the_mean_of_blocks() -> None:
    pixels = noise(64, 64)
    found = convert_image(encoded(pixels), ConversionOptions(16, filter="box")).transpose(1, 2, 0)
    assert (
        np.abs(found - pixels.reshape(16, 4, 16, 4, 3).mean((1, 3))).max() < 1
    )  # rounded once per direction


def lanczos_matrix(size: int, out: int) -> np.ndarray:
    """The weights of a widened Lanczos-3 window, from its definition."""
    scale = size / out
    centres = (np.arange(out) + 0.5) * scale
    x = (np.arange(size)[None] + 0.5 - centres[:, None]) / scale
    weights = np.where(np.abs(x) < 3, np.sinc(x) * np.sinc(x / 3), 0)
    return weights / weights.sum(1, keepdims=True)


def test_lanczos_is_the_three_lobed_window() -> None:
    pixels = noise(40, 40)
    matrix = lanczos_matrix(40, 16)
    expected = np.einsum("ah,hwc,bw->abc", matrix, pixels.astype(float), matrix).clip(0, 255)
    found = convert_image(encoded(pixels), ConversionOptions(16)).transpose(1, 2, 0)
    assert np.abs(found - expected).max() <= 2  # Pillow rounds to eight bits after each direction


def test_none_accepts_squares_only() -> None:
    options = ConversionOptions(16, crop="none")
    assert convert_image(encoded(noise(20, 20)), options).shape == (3, 16, 16)
    with pytest.raises(BadImageError, match="not square: 20x21 px"):
        convert_image(encoded(noise(20, 21)), options)


@given(st.integers(1, 80), st.integers(1, 80), st.sampled_from([1, 3, 4]))
@settings(deadline=None, max_examples=30)
def test_pad_keeps_the_whole_image_between_black_bars(width: int, height: int, channels: int) -> None:
    options = ConversionOptions(32, crop="pad", channels=channels)
    data = encoded(np.full((height, width, 3), 255, np.uint8))
    if max(width, height) < 32:
        with pytest.raises(BadImageError, match="32 px on the longer side"):
            convert_image(data, options)
        return
    pixels = convert_image(data, options)
    scaled_w = max(1, round(width * 32 / max(width, height)))
    scaled_h = max(1, round(height * 32 / max(width, height)))
    expected = np.zeros((32, 32), np.uint8)
    top, left = (32 - scaled_h) // 2, (32 - scaled_w) // 2
    expected[top : top + scaled_h, left : left + scaled_w] = 255
    np.testing.assert_array_equal(pixels[0], expected)
    if channels == 4:
        assert (pixels[3] == 255).all()


GRIDS = st.tuples(st.integers(2, 16), st.integers(2, 16))


@given(GRIDS, st.sampled_from([4, 8]), st.integers(1, 90), st.integers(1, 90))
@settings(deadline=None, max_examples=60)
def test_center_takes_the_largest_central_part_of_the_grid(
    grid: tuple[int, int], resolution: int, width: int, height: int
) -> None:
    rows, columns = (side * resolution // 4 for side in grid)
    options = ConversionOptions(resolution, grid=grid)
    assert options.size == (rows, columns)
    pixels = noise(width, height)
    if width < columns or height < rows:
        with pytest.raises(BadImageError, match=f"too small: {width}x{height} px, need .* {columns}x{rows}"):
            convert_image(encoded(pixels), options)
        options = ConversionOptions(resolution, grid=grid, upscale=True)
    # One side whole, the other within half a pixel of the proportions.
    if width * rows >= height * columns:
        kept = max(1, round(Fraction(height * columns, rows))), height
    else:
        kept = width, max(1, round(Fraction(width * rows, columns)))
    left, top = (width - kept[0]) // 2, (height - kept[1]) // 2
    part = Image.fromarray(pixels[top : top + kept[1], left : left + kept[0]])
    expected = np.asarray(part.resize((columns, rows), Image.Resampling.LANCZOS)).transpose(2, 0, 1)
    np.testing.assert_array_equal(convert_image(encoded(pixels), options), expected)


@every("crop", ["center", "none", "pad"])
@every("grid", [(3, 4), (4, 3), (16, 2), (7, 5)])
def test_images_of_the_right_size_stay_as_they_are(grid: tuple[int, int], crop: str) -> None:
    pixels = noise(grid[1] * 4, grid[0] * 4)
    options = ConversionOptions(16, crop, grid=grid)  # pyright: ignore[reportArgumentType]
    np.testing.assert_array_equal(convert_image(encoded(pixels), options).transpose(1, 2, 0), pixels)


def test_none_accepts_exact_proportions_only() -> None:
    options = ConversionOptions(16, "none", grid=(3, 4))
    assert convert_image(encoded(noise(40, 30)), options).shape == (3, 12, 16)
    for width, height in [(40, 31), (41, 30), (30, 40), (40, 40)]:
        with pytest.raises(BadImageError, match=rf"not 4:3 \(width:height\): {width}x{height} px"):
            convert_image(encoded(noise(width, height)), options)


@given(GRIDS, st.integers(1, 80), st.integers(1, 80), st.sampled_from([1, 3, 4]), st.booleans())
@settings(deadline=None, max_examples=60)
def test_pad_fits_the_whole_image_into_the_grid(
    grid: tuple[int, int], width: int, height: int, channels: int, upscale: bool
) -> None:
    rows, columns = grid[0] * 4, grid[1] * 4
    options = ConversionOptions(16, "pad", channels=channels, upscale=upscale, grid=grid)
    data = encoded(np.full((height, width, 3), 255, np.uint8))
    if width < columns and height < rows and not upscale:
        with pytest.raises(BadImageError, match=r"too small: .* need at least"):
            convert_image(data, options)
        return
    pixels = convert_image(data, options)
    scale = min(Fraction(columns, width), Fraction(rows, height))
    scaled_w, scaled_h = max(1, round(width * scale)), max(1, round(height * scale))
    expected = np.zeros((rows, columns), np.uint8)
    top, left = (rows - scaled_h) // 2, (columns - scaled_w) // 2
    expected[top : top + scaled_h, left : left + scaled_w] = 255
    np.testing.assert_array_equal(pixels[0], expected)
    if channels == 4:
        assert (pixels[3] == 255).all()


def test_too_small_to_pad_names_both_sides() -> None:
    options = ConversionOptions(16, "pad", grid=(3, 4))
    with pytest.raises(BadImageError, match="15x11 px, need at least a width of 16 or a height of 12 px"):
        convert_image(encoded(noise(15, 11)), options)


@given(st.integers(500, 700), st.integers(300, 900), st.sampled_from([None, 512, 683, 1024]))
@settings(deadline=None, max_examples=12)
def test_lsun_car_is_the_papers_arithmetic(width: int, height: int, instead: int | None) -> None:
    """Reference A.8, line by line, on any size."""
    width = instead or width
    pixels = noise(width, height)
    options = ConversionOptions(512, crop="lsun-car")
    rows = int(np.round(512 * height / width))
    if width < 512 or rows < 384:
        with pytest.raises(BadImageError, match="too small"):
            convert_image(encoded(pixels), options)
        return
    central = pixels[(height - rows) // 2 : (height + rows) // 2]  # rows of the original, at its full width
    squeezed = Image.fromarray(central).resize((512, 384), Image.Resampling.LANCZOS)
    canvas = np.zeros((512, 512, 3), np.uint8)
    canvas[64:448] = np.asarray(squeezed)
    np.testing.assert_array_equal(convert_image(encoded(pixels), options).transpose(1, 2, 0), canvas)


def test_lsun_car_recipe() -> None:
    # 1024x900: round(512 * 900 / 1024) = 450 rows of the original, from row 225; so 2x across, 450/384 down.
    pixels = np.zeros((900, 1024, 3), np.uint8)
    pixels[225:675] = 200
    car = convert_image(encoded(pixels), ConversionOptions(512, crop="lsun-car"))
    assert (car[:, :64] == 0).all()
    assert (car[:, 448:] == 0).all()
    assert (car[:, 64:448] == 200).all()  # one row more on either side would mix in black
    ramp = np.repeat(np.linspace(0, 255, 1024)[None], 900, 0).astype(np.uint8)
    across = convert_image(encoded(ramp), ConversionOptions(512, crop="lsun-car", filter="box"))[0, 256]
    assert np.abs(across - ramp[0].reshape(512, 2).mean(1)).max() <= 1


@every("size", [(511, 600), (512, 383), (1000, 700)])
def test_lsun_car_refuses_small_images(size: tuple[int, int]) -> None:
    width, height = size
    assert width < 512 or round(512 * height / width) < 384
    with pytest.raises(BadImageError, match="too small"):
        convert_image(encoded(noise(width, height)), ConversionOptions(512, crop="lsun-car"))


@every(("grid", "size"), [((4, 4), (16, 16)), ((3, 4), (16, 12))])
def test_stretch_takes_the_whole_image(grid: tuple[int, int], size: tuple[int, int]) -> None:
    """As the resize of MSG-GAN's codes: no part is cut off, proportions are not kept."""
    columns, rows = size
    options = ConversionOptions(16, crop="stretch", filter="box", grid=grid)
    # 4 columns and 3 rows of the source to each pixel of the result, of which the mean is known
    pixels = np.kron(noise(columns, rows), np.ones((3, 4, 1), np.uint8))
    np.testing.assert_array_equal(
        convert_image(encoded(pixels), options), pixels[::3, ::4].transpose(2, 0, 1)
    )
    with pytest.raises(BadImageError, match="too small: 15x40 px"):
        convert_image(encoded(noise(15, 40)), options)


def test_celeba_is_the_part_around_89_121() -> None:
    """128x128 px of 178x218, not resized: columns 25 to 152, rows 57 to 184."""
    pixels = noise(178, 218)
    found = convert_image(encoded(pixels), ConversionOptions(128, crop="celeba"))
    np.testing.assert_array_equal(found.transpose(1, 2, 0), pixels[121 - 64 : 121 + 64, 89 - 64 : 89 + 64])
    for width, height in ((218, 178), (128, 128), (178, 219)):
        with pytest.raises(BadImageError, match=f"{width}x{height} px; crop celeba takes .* of 178x218 px"):
            convert_image(encoded(noise(width, height)), ConversionOptions(128, crop="celeba"))


def test_too_small_names_both_sizes_and_upscale_accepts() -> None:
    data = encoded(noise(40, 30))
    with pytest.raises(BadImageError, match="too small: 40x30 px, need at least 64x64"):
        convert_image(data, ConversionOptions(64))
    assert convert_image(data, ConversionOptions(64, upscale=True)).shape == (3, 64, 64)


def test_bad_bytes_have_reasons() -> None:
    good = encoded(noise(32, 32))
    for data, reason in [
        (b"", "0 bytes"),
        (b"hello", "not an image"),
        (good[: len(good) // 2], "truncated or damaged"),
        (encoded(noise(16, 16), "JPEG")[:-200], "truncated or damaged"),
        (encoded(noise(32, 32), "GIF"), "not an image"),
    ]:
        with pytest.raises(BadImageError, match=reason):
            convert_image(data, ConversionOptions(16))


@pytest.mark.parametrize("side", [8193, 20000])
def test_decompression_bomb(side: int) -> None:
    assert side**2 > conversion.MAX_PIXELS
    data = encoded(Image.new("1", (side, side)))
    with pytest.raises(BadImageError, match="67108864 px are accepted"):
        convert_image(data, ConversionOptions(16))


@given(
    st.binary(max_size=200), st.sampled_from(["PNG", "JPEG", "WEBP", "BMP", "TIFF"]), st.integers(0, 10**6)
)
@settings(deadline=None, max_examples=150)
def test_damage_never_escapes_as_another_error(junk: bytes, format: str, place: int) -> None:
    data = encoded(noise(16, 16), format)
    place %= len(data)
    damaged = data[:place] + junk + data[place + len(junk) :]
    try:
        shape = convert_image(damaged, ConversionOptions(16)).shape
    except BadImageError:
        return  # any other exception fails the test
    assert shape == (3, 16, 16)


def test_phone_jpegs_with_a_second_picture_are_read() -> None:
    first, second = (Image.fromarray(np.full((16, 16, 3), value, np.uint8)) for value in (50, 200))
    data = encoded(first, "MPO", save_all=True, append_images=[second])
    assert np.abs(convert_image(data, ConversionOptions(16)).astype(int) - 50).max() <= 2


def test_the_first_frame_counts() -> None:
    first, second = (Image.fromarray(np.full((16, 16, 3), value, np.uint8)) for value in (50, 200))
    for format in ("TIFF", "WEBP", "PNG"):
        data = encoded(first, format, save_all=True, append_images=[second])
        assert np.abs(convert_image(data, ConversionOptions(16)).astype(int) - 50).max() <= 2


@every(
    ("fields", "message"),
    [
        ({"resolution": 100}, "nearest: 64 and 128"),
        ({"resolution": 2}, "nearest: 4"),
        ({"resolution": 2**14}, "16,384x16,384 px; valid: at most 67,108,864"),
        ({"resolution": 2**13, "grid": (4, 5)}, "10,240x8,192 px; valid: at most"),
        ({"resolution": 64, "crop": "centre"}, "did you mean 'center'"),
        ({"resolution": 64, "filter": "nearest"}, "filter: .nearest. .* choose from lanczos"),
        ({"resolution": 64, "channels": 2}, "valid: 1"),
        ({"resolution": 64, "background": "nocolour"}, "not a colour"),
        ({"resolution": 256, "crop": "lsun-car"}, "512x512"),
        ({"resolution": 512, "crop": "lsun-car", "upscale": True}, "contradicts"),
        ({"resolution": 512, "crop": "lsun-car", "grid": (3, 4)}, "grid 3,4: crop lsun-car .*valid: 4,4, or"),
        (
            {"resolution": 256, "crop": "celeba"},
            "128x128 px; resolution 256 contradicts it",
        ),
        ({"resolution": 128, "crop": "celeba", "upscale": True}, "contradicts"),
        ({"resolution": 128, "crop": "celeba", "grid": (3, 4)}, "grid 3,4: crop celeba .*valid: 4,4, or"),
        ({"resolution": 512, "grid": (1, 4)}, "grid 1,4: valid: height,width of 2 to 16 px each"),
        ({"resolution": 512, "grid": (4, 17)}, "grid 4,17: valid"),
        ({"resolution": 512, "grid": (3, 4, 5)}, "grid 3,4,5: valid"),
        ({"resolution": 100, "grid": (3, 4)}, "nearest: 64 and 128"),
    ],
)
def test_contradictory_options_fail_at_construction(fields: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        ConversionOptions(**fields)


@given(st.integers(-5, 5000))
def test_resolution_is_a_power_of_two(resolution: int) -> None:
    if resolution in {4 * 2**k for k in range(12)}:
        validate_resolution(resolution)
    else:
        with pytest.raises(UserError, match="power of two"):
            validate_resolution(resolution)
