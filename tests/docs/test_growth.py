"""How a step's cost grows: the table and the picture are of the committed numbers."""

import json

import pytest
from made_studies import write_study, write_tables
from pieces.growth import growth_picture, growth_table, growth_where, share_of_rate
from pieces.pages import build, main

GROWTH = {
    "processor": "a processor",
    "torch": "2.9",
    "gflops": 100.0,
    "rows": [
        {"axis": "p", "value": 97, "seconds": 0.05, "flops": 2_500_000_000},
        {"axis": "batch", "value": 2048, "seconds": 0.1, "flops": 9_000_000_000},
    ],
}


def test_a_row_says_what_the_step_takes_and_how_near_the_machine_s_rate_that_is():
    header, _, first, second = growth_table(GROWTH).splitlines()
    assert header.count("|") == first.count("|") == 6
    assert first == "| p | 97 | 50 | 2.50 | 50 % |"
    assert second == "| batch | 2,048 | 100 | 9.00 | 90 % |"
    assert share_of_rate(GROWTH, GROWTH["rows"][1]) == pytest.approx(0.9)
    assert growth_where(GROWTH) == "a processor, PyTorch 2.9, where one thread reaches 100 GFLOP/s"


def test_the_picture_has_a_panel_for_each_thing_that_is_changed():
    picture = growth_picture(GROWTH)
    assert picture.startswith("<svg")
    assert all(
        f">{words}</text>" in picture for words in ("p", "batch", "a step", "its products at the machine's rate")
    )


def test_the_picture_is_drawn_again_when_the_numbers_are_others(tmp_path, capsys):
    results = tmp_path / "docs" / "results"
    write_study(results, "one", {"base": [100, 200, 400], "half": [50, 100, 200]})
    write_tables(results)
    (tmp_path / "README.md").write_text("Nothing measured.\n")
    (results / "growth.json").write_text(json.dumps(GROWTH))
    assert main(["--check"], tmp_path) == 1
    assert "growth.svg" in capsys.readouterr().out
    assert main([], tmp_path) == 0
    drawn = (results / "growth.svg").read_text()
    assert drawn == growth_picture(GROWTH)
    assert not build(tmp_path, write=False).differences
    (results / "growth.json").write_text(json.dumps({**GROWTH, "gflops": 50.0}))
    assert build(tmp_path, write=True).differences
    assert (results / "growth.svg").read_text() != drawn
