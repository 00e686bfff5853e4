"""Single rows on the page: drawn as they are, escaped, and absent where there are none."""

import base64
import struct
import zlib

import polars as pl
import pytest

from grokkit.report.figure import RUN_KEYS, Html
from grokkit.report.figures.examples import MISREAD_DIGITS, SURPRISING_REVIEWS, digits, reviews
from grokkit.report.figures.predictions import PREDICTIONS, predictions_data

NASTY = '<script>alert("1")</script> & so on'
PIXELS = bytes(range(0, 4 * 49, 4))  # 7 × 7


def table(figure, *rows):
    """The only table that ``figure`` reads; rows without the id of a run."""
    (columns,) = figure.columns.values()
    schema = {**RUN_KEYS, **columns}
    return pl.DataFrame([("r", *row) for row in rows], schema=schema, orient="row")


DIGITS = table(
    MISREAD_DIGITS,
    ("adamw", 1, 5, 8, 3, base64.b64encode(PIXELS).decode()),
    ("adamw", 0, 7, 4, 9, base64.b64encode(PIXELS).decode()),
    (NASTY, 0, 7, 1, 2, base64.b64encode(PIXELS).decode()),
)
REVIEWS = table(
    SURPRISING_REVIEWS,
    ("adamw", 0, 3, 1, 0.0213, f"{NASTY} " + "a long review " * 30),
    ("adamw", 0, 4, -1, 1e-9, "short"),
)
PREDICTED = table(
    PREDICTIONS,
    ("adamw", 0, 75.0, 70.0, "bohr³"),
    ("adamw", 0, 85.0, 1e9, "bohr³"),
    ("adamw", 0, 80.0, float("nan"), "bohr³"),
    ("adamw", 1, 60.0, 60.0, "bohr³"),
    ("adam-paper", 0, 75.123456, 74.0, "bohr³"),
)


def test_digits_are_those_of_the_first_seed_and_escaped():
    html = digits(DIGITS, ["adamw", NASTY, "absent"])
    assert html.count("<img") == 2
    assert "4, taken for 9" in html
    assert "8, taken for 3" not in html
    assert "<script>" not in html
    assert "absent" not in html


def test_a_digit_s_picture_has_its_pixels_dark_on_white():
    source = digits(DIGITS, ["adamw"]).split("base64,")[1].split('"')[0]
    data = base64.b64decode(source)
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    chunks, place = {}, 8
    while place < len(data):
        (length,) = struct.unpack(">I", data[place : place + 4])
        kind, body = data[place + 4 : place + 8], data[place + 8 : place + 8 + length]
        assert zlib.crc32(kind + body) == struct.unpack(">I", data[place + 8 + length : place + 12 + length])[0]
        chunks[kind], place = body, place + 12 + length
    assert struct.unpack(">IIBBBBB", chunks[b"IHDR"]) == (7, 7, 8, 0, 0, 0, 0)
    lines = zlib.decompress(chunks[b"IDAT"])
    assert b"".join(bytes(255 - value for value in lines[8 * row + 1 : 8 * row + 8]) for row in range(7)) == PIXELS


def test_reviews_are_escaped_and_open_at_a_click():
    html = reviews(REVIEWS, ["adamw"])
    assert "<script>" not in html
    assert html.count("&lt;script&gt;") == 2  # in the line, and in the text under it
    assert html.count("<details>") == 2
    assert "<b>positive</b>, which the model gave 2.1 %" in html
    assert "<b>negative</b>, which the model gave below 0.1 %: short" in html


def test_predictions_are_of_the_first_seed_and_finite():
    data = predictions_data(PREDICTED)
    assert data.select("method", "target", "predicted").rows() == [
        ("adamw", 75.0, 70.0),
        ("adamw", 85.0, 1e9),
        ("adam-paper", 75.12, 74.0),
    ]


def test_charts_of_predictions_share_their_axes(synthetic):
    (row,) = PREDICTIONS.blocks(synthetic.view(found={"predictions": PREDICTED}))
    assert [panel.name for panel in row.panels] == ["predictions:adamw", "predictions:adam-paper"]
    for panel in row.panels:
        (spec,) = panel.specifications((300, 300)).values()
        for layer in spec["layer"]:
            for axis in ("x", "y"):
                assert layer["encoding"][axis]["scale"]["domain"] == pytest.approx([72.5, 87.5])
                assert "bohr³" in layer["encoding"][axis]["title"]


@pytest.mark.parametrize(("figure", "found"), [(MISREAD_DIGITS, DIGITS), (SURPRISING_REVIEWS, REVIEWS)])
def test_rows_of_the_test_part_stand_on_the_page_where_there_are_some(synthetic, figure, found):
    (name,) = figure.columns
    (block,) = figure.blocks(synthetic.view(found={name: found}))
    assert isinstance(block, Html), "no chart, so no PNG"
    assert figure.blocks(synthetic.view()) == PREDICTIONS.blocks(synthetic.view()) == []
