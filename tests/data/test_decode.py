from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from dejavu_lightning.data.decode import Header, decode, orient_boxes, read_header

Y, X = np.mgrid[:40, :60]
RGB = np.stack([X * 4, Y * 6, (X + Y) * 2], -1).astype(np.uint8)
GRAY = (X * 4).astype(np.uint8)


def by_pil(path):
    with Image.open(path) as picture:
        return np.array(ImageOps.exif_transpose(picture).convert("RGB"))


def oriented(number):
    exif = Image.Exif()
    exif[0x0112] = number
    return exif


def with_alpha():
    picture = Image.fromarray(RGB)
    picture.putalpha(Image.fromarray(GRAY))
    return picture


PALETTE = Image.fromarray(RGB).quantize(16)
FILES = {
    "rgb.jpg": (Image.fromarray(RGB), {}),
    "progressive.jpg": (Image.fromarray(RGB), {"progressive": True}),
    "gray.jpg": (Image.fromarray(GRAY), {}),
    "cmyk.jpg": (Image.fromarray(RGB).convert("CMYK"), {"quality": 95}),
    "rgb.png": (Image.fromarray(RGB), {}),
    "gray.png": (Image.fromarray(GRAY), {}),
    "bilevel.png": (Image.fromarray(GRAY).convert("1"), {}),
    "alpha.png": (with_alpha(), {}),
    "gray_alpha.png": (with_alpha().convert("LA"), {}),
    "palette.png": (PALETTE, {}),
    "palette_transparent.png": (PALETTE, {"transparency": 3}),
    "png.JPEG": (Image.fromarray(RGB), {"format": "PNG"}),
    "jpeg.png": (Image.fromarray(RGB), {"format": "JPEG"}),
    "bmp.JPEG": (Image.fromarray(RGB), {"format": "BMP"}),
    "gif.png": (PALETTE, {"format": "GIF"}),
    "lossy.webp": (Image.fromarray(RGB), {}),
    "alpha.webp": (with_alpha(), {"lossless": True}),
    "animated.webp": (Image.fromarray(RGB), {"save_all": True, "append_images": [PALETTE.convert("RGB")]}),
}


@pytest.mark.parametrize("name", FILES)
def test_every_kind_of_file_gives_the_pixels_that_pil_gives(tmp_path, name):
    picture, options = FILES[name]
    picture.save(tmp_path / name, **options)
    pixels = decode(tmp_path / name)
    assert pixels.dtype == torch.uint8
    assert np.array_equal(pixels.permute(1, 2, 0), by_pil(tmp_path / name))


def test_cmyk_is_taken_as_adobe_writes_it(tmp_path):
    # Stored inverted: 255 is no ink. PIL inverts when it saves, and marks the file as Adobe's.
    ink = np.zeros((16, 16, 4), np.uint8)
    ink[..., 0] = 255
    Image.fromarray(ink, "CMYK").save(tmp_path / "cyan.jpg", quality=100)
    assert b"Adobe" in (tmp_path / "cyan.jpg").read_bytes()
    assert decode(tmp_path / "cyan.jpg")[:, 8, 8].tolist() == [0, 255, 255]


def test_sixteen_bits_keep_the_upper_eight(tmp_path):
    Image.fromarray((X * 1000 + Y).astype(np.uint16)).save(tmp_path / "deep.png")
    pixels = decode(tmp_path / "deep.png")
    assert pixels.dtype == torch.uint8
    assert pixels.shape == (3, 40, 60)
    for channel in pixels:
        assert np.array_equal(channel, (X * 1000 + Y) // 256)


@pytest.mark.parametrize("ending", ["jpg", "png", "webp"])
@pytest.mark.parametrize("number", range(1, 9))
def test_pictures_and_their_boxes_are_turned_upright(tmp_path, number, ending):
    canvas = np.zeros((40, 60, 3), np.uint8)
    canvas[8:24, 16:48] = 255
    path = tmp_path / f"a.{ending}"
    options = {"quality": 100, "subsampling": 0} if ending == "jpg" else {}
    Image.fromarray(canvas).save(path, exif=oriented(number), **options)
    pixels = decode(path).permute(1, 2, 0).numpy()
    assert np.array_equal(pixels, by_pil(path))
    header = read_header(path)
    assert header == Header(60, 40, number, "RGB")
    assert header.upright == pixels.shape[1::-1]
    [[x0, y0, x1, y1]] = orient_boxes(np.array([[16, 8, 48, 24]]), 60, 40, number).tolist()
    expected = np.zeros(pixels.shape[:2], bool)
    expected[y0:y1, x0:x1] = True
    assert np.array_equal(pixels[..., 0] > 127, expected)
    stored = decode(path, upright=False).permute(1, 2, 0).numpy()
    assert np.array_equal(stored[..., 0] > 127, canvas[..., 0] > 127)


def test_boxes_turn_as_worked_out_by_hand():
    # A quarter turn clockwise: what was 5 to 15 from the bottom of 40 is then that far from the left.
    assert orient_boxes(np.array([[10, 25, 20, 35]]), 60, 40, 6).tolist() == [[5, 10, 15, 20]]
    assert orient_boxes(np.array([[10, 25, 20, 35]]), 60, 40, 8).tolist() == [[25, 40, 35, 50]]
    assert orient_boxes(np.array([[10, 25, 20, 35]]), 60, 40, 3).tolist() == [[40, 5, 50, 15]]
    assert orient_boxes(np.zeros((0, 4)), 60, 40, 6).shape == (0, 4)


@pytest.mark.parametrize("exif", [b"Exif\0\0broken", b"Exif\0\0II*\0\xff\xff\xff\xff", oriented(9).tobytes()])
def test_broken_orientation_is_none(tmp_path, exif):
    Image.fromarray(RGB).save(tmp_path / "a.jpg", exif=exif)
    assert read_header(tmp_path / "a.jpg").orientation == 1
    assert decode(tmp_path / "a.jpg").shape == (3, 40, 60)


def test_headers_are_read_without_pixels(tmp_path):
    modes = {"gray.jpg": "L", "cmyk.jpg": "CMYK", "palette.png": "P", "rgb.jpg": "RGB", "alpha.webp": "RGBA"}
    for name, mode in modes.items():
        picture, options = FILES[name]
        picture.save(tmp_path / name, **options)
        assert read_header(tmp_path / name) == Header(60, 40, 1, mode)
    whole = (tmp_path / "rgb.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(whole[: whole.index(b"\xff\xda") + 20])  # to just after where pixels start
    assert read_header(tmp_path / "cut.jpg") == Header(60, 40, 1, "RGB")


@pytest.mark.parametrize("ending", ["jpg", "png", "webp", "bmp"])
@pytest.mark.parametrize("part", [0.0, 0.3, 0.6, 0.9])
def test_truncated_files_are_named(tmp_path, ending, part):
    stream = BytesIO()
    noise = np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)
    Image.fromarray(noise).save(stream, {"jpg": "jpeg"}.get(ending, ending))
    data = stream.getvalue()
    path = tmp_path / f"cut.{ending}"
    path.write_bytes(data[: int(len(data) * part)])
    with pytest.raises(ValueError, match=rf"cut.{ending} cannot be decoded: "):
        decode(path)


def test_jpegs_filled_up_with_zeros_are_truncated_too(tmp_path):
    Image.fromarray(RGB).save(tmp_path / "a.jpg")
    data = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "a.jpg").write_bytes(data[: len(data) // 2] + bytes(len(data) - len(data) // 2))
    with pytest.raises(ValueError, match=r"a.jpg cannot be decoded"):
        decode(tmp_path / "a.jpg")


def test_other_files_are_named(tmp_path):
    (tmp_path / "page.jpg").write_text("<html>not found</html>")
    with pytest.raises(ValueError, match=r"page.jpg cannot be read as one of \['JPEG', 'PNG'"):
        read_header(tmp_path / "page.jpg")
    with pytest.raises(ValueError, match=r"page.jpg cannot be decoded"):
        decode(tmp_path / "page.jpg")
    for read in (decode, read_header):
        with pytest.raises(FileNotFoundError, match=r"none\.jpg"):
            read(tmp_path / "none.jpg")
