"""Pieces are found, their calls parsed and never evaluated, and what is wrong is named with its line."""

import pytest
from pieces.markers import PageError, parse_call, pieces, rebuilt


def double(number):
    return str(2 * number)


def table():
    return "| a |\n|---|"


def build(source):
    return rebuilt("page.md", source, {"double": double}, {"table": table})


def test_pieces_are_written_in_their_places_and_the_rest_is_left_alone():
    source = "one <!--= double(2) -->5<!--/--> two\n\n<!--= table() -->\n<!--/-->\nend\n"
    built = build(source)
    assert built.text == "one <!--= double(2) -->4<!--/--> two\n\n<!--= table() -->\n| a |\n|---|\n<!--/-->\nend\n"
    assert [(d.line, d.old, d.new) for d in built.differences] == [(1, "5", "4"), (3, "\n", "\n| a |\n|---|\n")]
    assert built.errors == []


def test_writing_twice_changes_nothing_the_second_time():
    once = build("a <!--= double(2) --><!--/-->\n\n<!--= table() --><!--/-->\n").text
    assert build(once).differences == []
    assert build(once).text == once


def test_a_difference_names_page_line_old_and_new():
    (difference,) = build("\nis <!--= double(3) -->7<!--/-->").differences
    assert str(difference) == "page.md:2: is '7', should be '6'"


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        ("double(len([1]))", "has an argument that is no literal"),
        ("double(**{'number': 1})", "has an argument that is no literal"),
        ("__import__('os').system('true')", "is no call"),
        ("double", "is no call"),
        ("double(1", "is no call"),
        ("treble(1)", "unknown piece 'treble'; there are double, table"),
        ("double(1, 2)", "takes 1 positional argument but 2 were given"),
    ],
)
def test_a_wrong_call_is_named_and_its_text_stays(call, reason):
    built = build(f"so <!--= {call} -->5<!--/-->")
    (error,) = built.errors
    assert error.startswith(f"page.md:1: {call}: ")
    assert reason in error
    assert "-->5<!--/-->" in built.text


def test_arguments_are_literals_of_any_kind():
    assert parse_call('f("a", ["b"], c={"d": 1.5}, e=None)') == ("f", ["a", ["b"]], {"c": {"d": 1.5}, "e": None})


@pytest.mark.parametrize(
    "source",
    ["a <!--= double(1) -->2", "a 2<!--/-->", "a <!--= double(1) -->2 <!--= double(1) -->2<!--/-->", "<!--/-->"],
)
def test_a_marker_without_its_counterpart_is_an_error(source):
    with pytest.raises(PageError, match=r"^page\.md:1: "):
        list(pieces("page.md", source))


@pytest.mark.parametrize("before", ["", "  ", "- ", "> ", "1. ", "text\n"])
def test_an_inline_piece_may_not_begin_a_line_which_markdown_would_take_for_html(before):
    (error,) = build(f"{before}<!--= double(1) -->2<!--/--> and more").errors
    assert "may not begin a line" in error


def test_a_block_stands_on_lines_of_its_own():
    (error,) = build("text <!--= table() -->\n<!--/-->").errors
    assert "a block begins a line" in error
