"""Single rows on the page: drawn as they are, escaped, and absent where there are none."""

import base64
import struct
import zlib

import polars as pl
import pytest

from grokkit.analyse import leaderboard, verdict
from grokkit.report import build_page
from grokkit.report.charts import page_charts
from grokkit.report.examples import digits, reviews
from grokkit.report.figures import predictions_data
from grokkit.report.images import images
from grokkit.report.schemas import TABLES, completed

NASTY = '<script>alert("1")</script> & so on'
PIXELS = bytes(range(0, 4 * 49, 4))  # 7 × 7


def table(name, *rows):
    names = [column for column in TABLES[name] if column != "run_id"]
    frame = pl.DataFrame([dict(zip(names, row, strict=True)) for row in rows]).with_columns(run_id=pl.lit("r"))
    return frame.select(list(TABLES[name])).cast(dict(TABLES[name]))


DIGITS = table(
    "digits",
    ("adamw", 1, 5, 8, 3, base64.b64encode(PIXELS).decode()),
    ("adamw", 0, 7, 4, 9, base64.b64encode(PIXELS).decode()),
    (NASTY, 0, 7, 1, 2, base64.b64encode(PIXELS).decode()),
)
REVIEWS = table(
    "reviews",
    ("adamw", 0, 3, 1, 0.0213, f"{NASTY} " + "a long review " * 30),
    ("adamw", 0, 4, -1, 1e-9, "short"),
)
PREDICTIONS = table(
    "predictions",
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
    data = predictions_data(PREDICTIONS)
    assert data.select("method", "target", "predicted").rows() == [
        ("adamw", 75.0, 70.0),
        ("adamw", 85.0, 1e9),
        ("adam-paper", 75.12, 74.0),
    ]


def test_charts_of_predictions_share_their_axes(synthetic):
    runs, curves = synthetic.tables()
    charts = page_charts(synthetic.study(), runs, curves, completed({"predictions": PREDICTIONS}))["charts"]
    assert {name for name in charts if name.startswith("predictions")} == {
        "predictions:adamw",
        "predictions:adam-paper",
    }
    for name in ("predictions:adamw", "predictions:adam-paper"):
        for layer in charts[name]["spec"]["layer"]:
            for axis in ("x", "y"):
                assert layer["encoding"][axis]["scale"]["domain"] == pytest.approx([72.5, 87.5])
                assert "bohr³" in layer["encoding"][axis]["title"]


def test_a_section_stands_where_there_is_something(synthetic):
    found = {"digits": DIGITS, "reviews": REVIEWS, "predictions": PREDICTIONS}
    with_them, without = (_page(synthetic, own) for own in (found, {}))
    for title in ("Misread digits", "Most surprising reviews", "Predicted and true"):
        assert f">{title}</h2>" in with_them
        assert f">{title}</h2>" not in without


def test_predictions_are_a_picture_of_their_own(synthetic, monkeypatch):
    monkeypatch.setattr("grokkit.report.images._png", lambda chart: b"")  # drawing takes seconds
    study, (runs, curves) = synthetic.study(), synthetic.tables()
    assert "predictions.png" in images(study, runs, curves, {"predictions": PREDICTIONS})
    assert "predictions.png" not in images(study, runs, curves, {})


def _page(synthetic, found):
    about, (runs, curves) = synthetic.study(), synthetic.tables()
    rows = leaderboard(runs, about["methods"], about["baseline"])
    return build_page(about, runs, curves, found, rows, verdict(rows, about))
