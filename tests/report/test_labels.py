"""What a method is called never changes the page: every chart has its place, and every picture is drawn."""

from __future__ import annotations

import json
import re
from html import unescape

import pytest

from grokkit.report import Row, all_figures
from grokkit.report.images import images

LABELS = [
    "adamw",
    "half of it is 50 % here",
    " %",
    "a<b & b>a",
    "</script><script>alert(1)</script>",
    'it\'s "quoted"',
    "back\\slash\\n",
    "$HOME ${x} `y`",
    "two\nlines\tand a tab",
    "emoji 😀 and é",
    "{} {0} %s %(a)s",
    "a.b[0]['c']",
    "datum.step",
    "a,b;c=d|e",
    "\u2028 and \u202e",
    "x" * 300,
]


@pytest.fixture(scope="module", params=[1, 6, 11])
def study(request):
    """The baseline, and five of the other labels."""
    methods = [LABELS[0], *LABELS[request.param : request.param + 5]]
    return {method: [1000 + 100 * place, 1500] for place, method in enumerate(methods)}


def found(synthetic, crossings):
    looked_at = list(crossings)[1:]
    return {**synthetic.probes(crossings, looked_at), **synthetic.embeddings(crossings, looked_at)}


def without_a_doubt(crossings):
    """The same study under names that nobody could take for anything else."""
    return {"adamw" if not place else f"m{place}": found for place, found in enumerate(crossings.values())}


def view(synthetic, crossings, medium="page"):
    tables = found(synthetic, crossings)
    return synthetic.view(crossings, tables, evaluations=20, medium=medium, title="mod 50 % <x>")


def test_every_chart_of_the_page_has_its_place_and_every_place_its_chart(synthetic, study):
    page = synthetic.page(view(synthetic, study))
    places = re.findall(r'data-chart="([^"]*)"( data-clocked)?', page)
    (data,) = re.findall(r'<script type="application/json" id="charts">(.*?)</script>', page, re.DOTALL)
    wanted = {
        f"{clock}{unescape(name)}"
        for name, is_clocked in places
        for clock in (("step:", "train_seconds:", "flops:") if is_clocked else ("",))
    }
    assert wanted == set(json.loads(data)["charts"])
    usual = synthetic.page(view(synthetic, without_a_doubt(study)))
    assert len(places) == usual.count("data-chart=")


def test_every_chart_is_vega_lite(synthetic):
    """The page and the pictures do not ask again."""
    study = {method: [1000 + 100 * place, 1500] for place, method in enumerate(LABELS[:4])}
    for medium in ("page", "image"):
        seen = view(synthetic, study, medium)
        for figure in all_figures():
            rows = [block for block in figure.blocks(seen) if isinstance(block, Row)]
            for panel in [panel for row in rows for panel in row.panels]:
                size = getattr(panel.sizes or figure.sizes, medium)
                assert panel.specifications(size, check=True)


def test_every_picture_is_drawn(synthetic, study, monkeypatch):
    failures: dict[str, str] = {}
    pictures = images(all_figures(), view(synthetic, study, "image"), failures)
    monkeypatch.setattr("vl_convert.vegalite_to_png", lambda *_, **__: b"there is one")
    usual = images(all_figures(), view(synthetic, without_a_doubt(study), "image"), failures)
    assert failures == {}
    assert pictures.keys() == usual.keys()
    assert all(picture.startswith(b"\x89PNG") for picture in pictures.values())
