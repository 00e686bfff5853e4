"""The pages say what the results say; a wrong number is caught, in a piece and outside of one."""

import ast
import re
import shutil
from pathlib import Path

import pytest
from made_studies import write_study, write_tables
from pieces.allowed import ALLOWED
from pieces.gallery import MARK, NOT_COMMITTED, PAGE
from pieces.lint import PATTERNS, unmarked
from pieces.pages import build, main
from pieces.studies import Results

from grokkit.report import all_figures

ROOT = Path(__file__).parents[2]


def test_regenerating_the_pages_changes_nothing():
    report = build(ROOT, write=False)
    assert [str(problem) for problem in [*report.errors, *report.differences, *report.findings]] == []


def test_committed_results_stay_small():
    assert sum(path.stat().st_size for path in (ROOT / "docs" / "results").rglob("*") if path.is_file()) < 10e6


def test_the_gallery_shows_committed_studies_below_their_commands():
    """What make docs would stop at, without the drawing."""
    page, figures = PAGE.read_text(), {figure.name for figure in all_figures()} - NOT_COMMITTED
    marks = MARK.findall(page)
    assert len(marks) == page.count("<!-- page:") >= 4
    for name, shown, words in marks:
        assert Results(ROOT / "docs" / "results").study(name).curves is not None
        assert shown in figures
        assert words
        command = page.partition(f'<!--= command("{name}") -->')[2].partition(f"<!-- page: {name} ")[0]
        assert command.startswith("\n```\ngrokkit compare ")


@pytest.fixture
def root(tmp_path):
    results = tmp_path / "docs" / "results"
    write_study(results, "one", {"base": [100, 200, 400], "half": [50, 100, 200]})
    write_tables(results)
    (tmp_path / "README.md").write_text('It took <!--= each("one", "half") --><!--/--> steps.\n')
    return tmp_path


def test_a_planted_wrong_number_is_caught_and_mended(root, capsys):
    readme = root / "README.md"
    assert main([], root) == 0
    assert "-->50 · 100 · 200<!--/--> steps" in readme.read_text()
    assert main(["--check"], root) == 0
    readme.write_text(readme.read_text().replace("· 100 ·", "· 90 ·"))
    capsys.readouterr()
    assert main(["--check"], root) == 1
    assert capsys.readouterr().out == "README.md:1: is '50 · 90 · 200', should be '50 · 100 · 200'\n"
    assert "· 90 ·" in readme.read_text()  # a check writes nothing
    assert main([], root) == 0
    assert "· 100 ·" in readme.read_text()


def test_a_planted_number_in_a_committed_page_is_caught(tmp_path):
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    readme = tmp_path / "README.md"
    readme.write_text((ROOT / "README.md").read_text() + "\nOurs took 0.42× [0.40–0.45] of the steps.\n")
    report = build(tmp_path, write=False)
    assert {finding.what for finding in report.findings} == {"a ratio", "an interval"}
    assert {finding.line for finding in report.findings} == {readme.read_text().count("\n")}


def test_other_results_rewrite_the_words_too(root):
    readme = root / "README.md"
    readme.write_text('half <!--= says("one", "half") --><!--/-->.\n')
    main([], root)
    assert "needs fewer steps than `base`, 0.50× [0.50–0.50]" in readme.read_text()
    shutil.rmtree(root / "docs" / "results" / "one")
    write_study(root / "docs" / "results", "one", {"base": [100, 200, 400], "half": [50, 400, 400]})
    main([], root)
    assert "shows no clear difference from `base` in steps" in readme.read_text()


def test_where_a_piece_is_wrong_nothing_is_written_and_all_of_them_are_named(root, capsys):
    readme = root / "README.md"
    calls = ['each("one", "third")', 'each("two", "half")', 'each("one", "base")']
    text = " and ".join(f"see <!--= {call} --><!--/-->" for call in calls)
    readme.write_text(text)
    assert main([], root) == 1
    shown = capsys.readouterr()
    assert "README.md:1: each(\"one\", \"third\"): study 'one' has no arm 'third'; it has base, half" in shown.err
    assert "no study 'two'" in shown.err
    assert shown.out == "nothing written\n"
    assert readme.read_text() == text


@pytest.mark.parametrize(
    "sentence",
    [
        "It needs 0.85× the steps.",
        "It needs less, [0.72–1.01].",
        "From [330–∞] on.",
        "It got there in 3 of 5 runs.",
        "None of five runs arrived.",
        "Reached: 4/5.",
        "The median is at 521.",
        "It took 930 steps.",
        "A step takes 13 ms.",
        "It holds 593 MiB.",
        "It ends at 88–90 %.",
        "A training takes a third of the time.",
        "It is faster.",
        "It needs fewer steps.",
    ],
)
def test_what_looks_measured_is_found(sentence):
    assert [finding.line for finding in unmarked("docs/new.md", f"Title\n\n{sentence}\n")][:1] == [3]


@pytest.mark.parametrize(
    "sentence",
    [
        "AdamW, lr 3e-3, decay 1.0, batch 512, width 128.",
        "Held-out accuracy of 95 % that stays, half of the table for training, within 3,000 steps.",
        "`took 930 steps`, [0.85×](x.md) and <!--= f() -->0.85× [0.72–1.01]<!--/-->",
        "```\n0.85× [0.72–1.01]\n```",
    ],
)
def test_settings_code_and_pieces_are_not(sentence):
    source = sentence.replace("[0.85×]", "[it]")
    assert unmarked("docs/new.md", source) == []


@pytest.mark.parametrize("page", ALLOWED)
def test_what_is_allowed_still_stands_in_its_page(page):
    source = (ROOT / page).read_text()
    assert [text for text in ALLOWED[page] if text not in source] == []


def test_every_pattern_has_a_sentence_above():
    assert len(PATTERNS) == 8


def test_no_sign_of_a_product_is_taken_for_italics():
    """Where two stand in a paragraph, as in a*c + b*d, Markdown shows neither."""
    hidden = re.compile(r"^```.*?^```|<!--.*?-->|`[^`\n]*`", re.DOTALL | re.MULTILINE)
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    assert [page.name for page in pages if re.search(r"\w\*\w", hidden.sub("", page.read_text(encoding="utf-8")))] == []


def _is_prose(line):
    """Whether a line that stands where an entry begins, ``name: what it is``, begins none."""
    return re.match(r"    (?=\S)(?!\*{0,2}[\w, *]+( \([^)]*\))?:)", line)


def test_a_docstring_has_a_name_where_each_entry_of_a_list_begins():
    """What the site's reference is made of, and stops at."""
    found = []
    for path in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
                lists = re.findall(r"^(?:Args|Attributes):\n((?: {4}.*\n|\n)*)", f"{ast.get_docstring(node)}\n", re.M)
                found += [(path.name, line) for text in lists for line in text.splitlines() if _is_prose(line)]
    assert found == []
