"""The page: complete in itself, safe with any name, and drawn by a real browser."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from grokkit.report import View
from grokkit.report.figures.embedding import EMBEDDING
from grokkit.report.figures.kernel import KERNEL_CHANGE
from grokkit.report.figures.weak_models import WEAK_QUALITY

EVIL = "<script>alert(1)</script>&\"'"
CHROMIUM = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--enable-logging=stderr",
    "--dump-dom",
]

SECONDS_TO_LOAD = 120
"""Of a page, on a machine that is busy with other things; it takes five where there are none."""

DRAWN = "document.documentElement.dataset.drawn"
"""True once all charts are there, of the page itself."""


class Document(HTMLParser):
    """Tags with their attributes, and the text of scripts and of everything else."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.text = ""
        self._open = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._open = tag
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        self._open = ""

    def handle_data(self, data: str) -> None:
        if self._open == "script":
            self.scripts[-1] += data
        elif self._open != "style":
            self.text += data


def make(synthetic, crossings=None, evaluations=150, amplified=(), looked_at=(), **changes) -> str:
    crossings = crossings or synthetic.CROSSINGS
    found = {**synthetic.probes(crossings, amplified), **synthetic.embeddings(crossings, looked_at)}
    return synthetic.page(synthetic.view(crossings, found, evaluations=evaluations, **changes))


@pytest.fixture(scope="module")
def page(synthetic) -> str:
    return make(synthetic)


@pytest.fixture(scope="module")
def amplified(synthetic) -> str:
    """The page of a study in which two methods of three have an amplifier."""
    return make(synthetic, synthetic.AMPLIFIED, amplified=list(synthetic.AMPLIFIED)[1:])


@pytest.fixture(scope="module")
def transferred(synthetic) -> str:
    """The page of a study in which a method starts from a weak model, and embeddings and kernels were looked at."""
    return make(synthetic, synthetic.TRANSFERRED, looked_at=list(synthetic.TRANSFERRED))


@pytest.fixture(scope="module")
def evil(synthetic) -> str:
    """The page of a study in which every name is markup."""
    study = {EVIL: [700, 800], "groktransfer": [900, None]}
    return make(synthetic, study, title=EVIL, command=EVIL, amplified=[EVIL], looked_at=[EVIL])


def charts_of(page: str) -> list[str]:
    """The names of the slots for charts, in order."""
    return [str(attributes["data-chart"]) for _, attributes in Document(page).tags if "data-chart" in attributes]


def test_the_page_loads_nothing(page) -> None:
    document = Document(page)
    assert "default-src 'none'" in page
    for tag, attributes in document.tags:
        assert tag not in ("link", "iframe", "img", "object", "embed", "base"), tag
        assert not {"src", "href", "srcset", "action", "data", "xlink:href"} & attributes.keys()
    data, _, own = document.scripts
    assert not re.search(r"\bimport\b|fetch\(|XMLHttpRequest", own)
    assert "http://" not in own + data.replace("https://vega.github.io/schema", "")
    style = re.search(r"<style>(.*?)</style>", page, re.S)
    assert style is not None
    assert not re.search(r"url\(|@import", style[1])


def test_the_page_says_what_matters_in_order(page) -> None:
    text = Document(page).text
    words = [
        "grokfast-ema needs 0.32× the FLOPs of adamw",
        "Leaderboard",
        "not reached",
        "Learning curves",
        "When runs generalize",
        "Weights and gradients",
        "Every run",
        "What the words mean",
        "The first evaluation with train accuracy",
        "How this was made",
        "grokkit compare mul:97",
        "torch 2.13.0",
        "weight_decay=1",
    ]
    assert [text.index(word) for word in words] == sorted(text.index(word) for word in words)
    assert "None" not in text
    assert "nan" not in text.lower().replace("finance", "").replace("on" + "angle", "")


def test_markup_is_accessible(page) -> None:
    document = Document(page)
    tags = [tag for tag, _ in document.tags]
    assert ("html", {"lang": "en"}) in document.tags
    assert "a*b mod 97" in page.split("<title>")[1].split("</title>")[0]
    assert tags.count("h1") == tags.count("main") == 1
    charts = [attributes for _, attributes in document.tags if "data-chart" in attributes]
    assert len(charts) == 10
    assert all(chart["role"] == "img" and chart["aria-label"] for chart in charts)
    assert tags.count("table") == tags.count("caption") == 3
    ids = [attributes["id"] for _, attributes in document.tags if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_names_from_the_command_line_are_text_everywhere(evil) -> None:
    assert "<script>alert" not in evil
    document = Document(evil)
    assert [tag for tag, _ in document.tags].count("script") == 3
    assert document.text.count("alert(1)") >= 10
    charts = json.loads(document.scripts[0])
    assert EVIL in json.dumps(charts["datasets"], ensure_ascii=False).replace('\\"', '"')


def test_fifty_runs_stay_below_a_megabyte_beside_the_library(synthetic) -> None:
    crossings = {f"method-{i}": [3000 + 50 * i] * 5 for i in range(10)}
    page = make(synthetic, crossings, evaluations=400, amplified=list(crossings)[:3])
    library = len(Document(page).scripts[1].encode())
    assert len(page.encode()) - library < 1_000_000


def test_twelve_runs_are_a_page_of_a_megabyte_and_a_half_at_most(page) -> None:
    assert len(page.encode()) < 1_500_000


def test_the_section_on_amplifiers_is_there_if_a_run_has_one(page, amplified) -> None:
    assert "amplifier" not in Document(page).text.lower()
    text = Document(amplified).text
    words = ["Weights and gradients", "The learned amplifier", "most unequal tensor", "Every run"]
    assert [text.index(word) for word in words] == sorted(text.index(word) for word in words)
    names = charts_of(amplified)
    assert [name for name in names if ":" in name] == [
        "amplifier:neuralgrok",
        "amplifier:neuralgrok-random",
        "divergence:median",
        "divergence:largest",
    ]
    assert set(names) - {"train", "test"} <= json.loads(Document(amplified).scripts[0])["charts"].keys()


def test_embeddings_kernels_and_costs_have_their_places(transferred) -> None:
    document = Document(transferred)
    words = ["What it costs", "Weak models tried", "71.0\u00a0%", "Weights and gradients", "The embedding"]
    words += ["The tangent kernel", "Every run"]
    assert [document.text.index(word) for word in words] == sorted(document.text.index(word) for word in words)
    names = charts_of(transferred)
    assert [name for name in names if ":" in name or name == "kernel"] == [
        *("cost:seconds", "cost:flops", "quality:steps", "quality:seconds"),
        *("spectrum:adamw", "circle:adamw", "pca:adamw"),
        *("spectrum:groktransfer", "circle:groktransfer", "pca:groktransfer"),
        "kernel",
    ]
    assert set(names) - {"train", "test"} <= json.loads(document.scripts[0])["charts"].keys()
    tables = [tag for tag, _ in document.tags]
    assert tables.count("table") == tables.count("caption") == 4
    assert "None" not in document.text


@pytest.mark.parametrize(
    ("figure", "absent"),
    [(EMBEDDING, ("fourier", "circle", "pca")), (KERNEL_CHANGE, ("ntk",)), (WEAK_QUALITY, ("attempts",))],
    ids=lambda value: getattr(value, "name", ""),
)
def test_a_figure_stands_only_where_there_is_something(synthetic, figure, absent) -> None:
    found = synthetic.embeddings()
    assert figure.blocks(synthetic.view(synthetic.TRANSFERRED, found))
    without = {name: table for name, table in found.items() if name not in absent}
    emptied = {name: table.clear() if name in absent else table for name, table in found.items()}
    for tables in (without, emptied):
        assert figure.blocks(synthetic.view(synthetic.TRANSFERRED, tables)) == []


def test_costs_are_shown_only_if_a_run_had_a_start(page, amplified, transferred) -> None:
    assert ["What it costs" in Document(text).text for text in (page, amplified, transferred)] == [False, False, True]


def test_one_picture_of_an_embedding_is_enough_and_only_its_methods_have_a_key(synthetic) -> None:
    crossings = {**synthetic.TRANSFERRED, "other": [800, 900, 700]}
    tables = synthetic.embeddings(crossings, ["groktransfer"])
    view = synthetic.view(crossings, {name: tables[name] for name in ("pca", "ntk")})
    (row,) = EMBEDDING.blocks(view)
    assert [panel.name for panel in row.panels] == ["pca:groktransfer"]
    (row,) = KERNEL_CHANGE.blocks(view)
    assert row.key == ("groktransfer",)


def test_the_key_of_the_amplifiers_names_only_methods_that_have_one(amplified) -> None:
    own = amplified.split('<h2 id="the-learned-amplifier">')[1].split("</section>")[0]
    own = own.replace("<wbr>", "")  # where a long name may break
    assert re.findall(r"</svg><span>([^<]+)</span></button>", own) == ["neuralgrok", "neuralgrok-random"]


@pytest.mark.parametrize(
    "crossings", [{"only": [700]}, {"a": [None], "b": [None]}, {"a": [5, 6], "b": [None, 7]}], ids=str
)
def test_small_studies_make_a_page(synthetic, crossings) -> None:
    assert "Leaderboard" in make(synthetic, crossings)


def test_a_study_that_is_not_finished_and_knows_little_says_so(synthetic) -> None:
    whole = synthetic.view()
    study = {key: value for key, value in whole.study.items() if key not in ("methods_detail", "command")}
    some = whole.runs.filter(pl.col("seed") < 2).drop("provenance")
    page = Document(synthetic.page(View(study, some, whole.curves, whole.tables, "page")))
    assert "8 of 12 runs finished" in page.text
    assert "pre" not in [tag for tag, _ in page.tags], "no command"


def with_script(page: str, script: str) -> str:
    """``page`` with ``script`` at its end; the library's text holds the words ``</body>`` too."""
    head, _, tail = page.rpartition("</body>")
    return f"{head}{script}</body>{tail}"


def once_drawn(script: str) -> str:
    """An element that runs ``script`` when all charts of its page are there."""
    wait = f"while (!{DRAWN}) await new Promise((goOn) => setTimeout(goOn, 20));"
    return f"<script>(async () => {{{wait} {script}}})();</script>"


def browse(page: str, folder: Path, *flags: str, until: str = DRAWN) -> tuple[str, str]:
    """The document as soon as ``until``, an expression of JavaScript, is true in it, and what its console said.

    A browser that writes a document down does so once it is loaded. A frame that is still being written puts that
    off: no clock decides, neither the processor's nor the browser's own, which runs ahead of work done elsewhere.
    """
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("no chromium on the path: the page is not drawn")
    hold = f"""<script>{{
        const self = document.currentScript;
        const held = self.parentNode.appendChild(document.createElement("iframe"));
        const paper = held.contentDocument;
        held.hidden = true;
        paper.open();
        const end = performance.now() + {SECONDS_TO_LOAD * 1000};
        const look = () => {{
            if (!({until}) && performance.now() < end) return setTimeout(look, 20);
            paper.close();
            held.remove();
            self.remove();
        }};
        look();
    }}</script>"""
    file = folder / "report.html"
    file.write_text(with_script(page, hold), encoding="utf-8")
    done = subprocess.run(
        [chromium, *CHROMIUM, *flags, f"--user-data-dir={folder / 'profile'}", file.as_uri()],
        capture_output=True,
        text=True,
        timeout=2 * SECONDS_TO_LOAD,
        check=True,
        env={**os.environ, "LANG": "C.UTF-8"},
    )
    return done.stdout, "\n".join(line for line in done.stderr.splitlines() if "CONSOLE" in line)


def chart_parts(dom: str) -> list[str]:
    return re.split(r"<div class=\"chart", dom)[1:]


@pytest.mark.parametrize(("which", "charts"), [("page", 10), ("amplified", 14), ("transferred", 21)])
def test_a_browser_draws_every_chart_without_a_word_of_complaint(request, tmp_path, which, charts) -> None:
    dom, console = browse(request.getfixturevalue(which), tmp_path)
    assert not console
    parts = chart_parts(dom)
    assert len(parts) == charts
    for part in parts:
        drawing = part.split("</figure>")[0]
        assert "<svg" in drawing
        assert drawing.count("<path") > 4
    assert 'data-drawn="step"' in dom


@pytest.mark.parametrize(("which", "charts"), [("amplified", 14), ("transferred", 21)])
def test_nothing_is_wider_than_the_screen(request, tmp_path, which, charts) -> None:
    # A window of this browser cannot be as narrow as a phone, a frame can. The page in it tells what it found, and
    # is loaded again in a frame of another width.
    tell = f"<script>const expected = {charts};</script>" + once_drawn(
        """
        const width = document.documentElement.clientWidth;
        const drawings = [...document.querySelectorAll("[data-chart] svg")];
        const boxes = [...document.querySelectorAll(".scroll")];
        const fits = drawings.length === expected
            && drawings.every((svg) => svg.getBoundingClientRect().right <= width + 1)
            && drawings.every((svg) => svg.getBoundingClientRect().width > 200)
            && boxes.every((box) => box.scrollWidth <= box.clientWidth + 1)
            && document.documentElement.scrollWidth <= width;
        parent.postMessage(fits ? `fits ${innerWidth}` : `too wide for ${innerWidth}`, "*");
        """
    )
    (tmp_path / "inner.html").write_text(with_script(request.getfixturevalue(which), tell), encoding="utf-8")
    frame = """<!DOCTYPE html><title>silent</title><body>
        <iframe src="inner.html" style="width: 390px; height: 9000px; border: 0"></iframe>
        <script>
        const widths = [768, 1400], said = [];
        addEventListener("message", (event) => {
          said.push(event.data);
          document.title = said.join(", ");
          if (!widths.length) return;
          const frame = document.querySelector("iframe");
          frame.style.width = `${widths.shift()}px`;
          frame.src = `inner.html?${widths.length}`;
        });
        </script></body>"""
    dom, console = browse(frame, tmp_path, until="document.title.includes('1400')")
    assert not console
    assert "<title>fits 390, fits 768, fits 1400</title>" in dom


DARK = ["rgb(20, 24, 28)", "rgb(230, 234, 238)"]
"""Of paper and of words."""


def test_a_reader_can_point_hide_zoom_sort_save_and_change_the_axes(synthetic, page, tmp_path) -> None:
    reader = Path(__file__).with_name("reader.js").read_text(encoding="utf-8")
    dark = "--blink-settings=preferredColorScheme=0"
    dom, console = browse(
        with_script(page, f"<script>{reader}</script>"), tmp_path, dark, until="document.title.startsWith('{')"
    )
    assert not console
    saw = json.loads(unescape(dom.split("<title>")[1].split("</title>")[0]))
    assert all(any(method in said for method in synthetic.CROSSINGS) for said in saw["said"]), saw["said"]
    assert "held-out accuracy" in saw["said"][0]
    assert saw["marks"] == [10, 0, 0, 10], "charts with a mark of the method: before, hidden, drawn anew, all again"
    assert saw["pressed"] == ["false"] * 3
    assert saw["pale"] == ["grad-norm"] * 5, "in three tables"
    assert saw["linear"] == ["5k", "10k", "15k", "20k"]
    assert saw["axes"] == {
        clock: [title] * 2
        for clock, title in {
            "train_seconds": "seconds of training",
            "flops": "training FLOPs",
            "step": "optimizer steps",
        }.items()
    }
    whole = saw["whole"]
    assert whole[:2] == ["1", "10"]
    assert saw["part"][0] != "1"
    (untouched, closer, further), keys = saw["wheel"], saw["keys"]
    assert untouched == [False, whole], "without Ctrl the page moves"
    assert closer[0], "the page is not enlarged"
    assert closer[1][0] != "1", "the right end stays where the pointer is"
    assert closer[1][-1] == whole[-1]
    assert further == [True, whole]
    assert keys["+"][0]
    assert keys["+"][1][0] not in ("1", keys["ArrowRight"][1][0])
    assert keys["ArrowLeft"] == keys["+"]
    assert keys["0"] == [True, whole]
    assert keys["x"] == keys["ofBrowser"] == [False, whole]
    labels = [attributes["aria-label"] for _, attributes in Document(page).tags if "data-chart" in attributes]
    assert saw["spoken"] == [f"img: {label}" for label in labels], "what Vega says of its drawing is no description"
    assert saw["sorted"] == [
        *(["grokfast-ema", "adamw", "grad-norm", "adam-paper"], "ascending"),
        *(["grad-norm", "adamw", "grokfast-ema", "adam-paper"], "descending"),
    ]
    assert saw["file"] == "leaderboard-one-row-per-method.csv"
    assert 'grokfast-ema,3/3,2200,"≥ 2,000",0.32×*' in saw["csv"]
    assert saw["csv"].count("\r\n") == 5
    assert saw["colors"][:2] == DARK
    assert contrast(*(saw["colors"][0], saw["colors"][2])) > 4.5


def contrast(*colors: str) -> float:
    """Of two colours, as the guidelines for accessible pages define it."""
    light = []
    for color in colors:
        shares = [int(part) / 255 for part in re.findall(r"\d+", color)[:3]]
        linear = [share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares]
        light.append(0.05 + float(np.dot(linear, [0.2126, 0.7152, 0.0722])))
    return max(light) / min(light)


def test_words_can_be_read_on_light_and_on_dark(page) -> None:
    style = page.split("<style>")[1].split("</style>")[0]
    blocks = re.findall(r":root \{([^{}]*--paper: [^{}]*)\}", style)
    assert len(blocks) == 2
    for block in blocks:
        found = dict(re.findall(r"(--[\w-]+): (#\w+)", block))
        rgb = {}
        for name, color in found.items():
            digits = color[1:] if len(color) == 7 else "".join(2 * digit for digit in color[1:])
            rgb[name] = str([int(digits[i : i + 2], 16) for i in (0, 2, 4)])
        for words in ("--ink", "--text", "--muted", "--accent"):
            for ground in ("--paper", "--soft"):
                assert contrast(rgb[words], rgb[ground]) > 4.5, (words, ground)
        assert contrast(rgb["--ink"], rgb["--bar"]) > 4.5
        assert contrast(rgb["--ink"], rgb["--weak"]) > 4.5


def test_a_page_is_printed_upright_and_wide_tables_on_their_side(page, tmp_path) -> None:
    pdf = tmp_path / "report.pdf"
    browse(page, tmp_path, f"--print-to-pdf={pdf}")
    text = pdf.read_bytes()
    assert text.startswith(b"%PDF")
    sheets = set(re.findall(rb"/MediaBox ?\[([^]]*)\]", text))
    assert len(sheets) == 2, "upright ones, and one on its side for the runs"


def test_no_column_is_cut_on_paper(page, tmp_path) -> None:
    # The rules for print are made those of the screen; the frame is as wide as what an upright sheet of A4 can hold.
    tell = once_drawn("""
        const widths = [...document.querySelectorAll(".scroll")].map((box) => {
            const table = box.querySelector("table");
            const isHere = [...table.querySelectorAll("th, td")].every((cell) => cell.offsetWidth > 0);
            return isHere && table.offsetWidth <= (box.matches(".many") ? 1016 : 688);
        });
        parent.postMessage(widths.join(), "*");
        """)
    printed = with_script(page.replace("@media print", "@media screen"), tell)
    (tmp_path / "inner.html").write_text(printed, encoding="utf-8")
    frame = """<!DOCTYPE html><title>silent</title><body>
        <script>addEventListener("message", (event) => { document.title = event.data; });</script>
        <iframe src="inner.html" style="width: 688px; height: 9000px; border: 0"></iframe></body>"""
    dom, _ = browse(frame, tmp_path, until="document.title !== 'silent'")
    assert "<title>true,true,true</title>" in dom


def test_evil_names_do_nothing_in_a_browser(evil, tmp_path) -> None:
    press = once_drawn("document.querySelector('.key button').click();")
    dom, console = browse(with_script(evil, press), tmp_path, until="document.querySelector('tr.off')")
    assert not console
    assert dom.count("<script") == 4
    rows = [attributes for tag, attributes in Document(dom).tags if tag == "tr" and attributes.get("class") == "off"]
    assert {row["data-arm"] for row in rows} == {EVIL}
    assert all("<svg" in part.split("</figure>")[0] for part in chart_parts(dom))
