"""A picture that is there is drawn again where anything of it is another, or the file is damaged, and only there."""

import pytest

from grokkit.report import images


@pytest.fixture
def drawn(tmp_path, monkeypatch):
    """Draw a specification into a file, and give how often something was drawn."""
    calls = []

    def png(spec, **options):
        calls.append(spec)
        return b"\x89PNG\r\n\x1a\n" + b"the size and its sum, in all" + str(spec).encode()

    monkeypatch.setattr("vl_convert.vegalite_to_png", png)
    path = tmp_path / "a.png"

    def draw(spec, there=None):
        if there is not None:
            path.write_bytes(there)
        path.write_bytes(images._kept(path, spec))
        return len(calls)

    draw.path = path
    return draw


def test_a_picture_is_drawn_when_it_would_be_another(drawn, monkeypatch):
    assert [drawn({"a": 1}), drawn({"a": 1}), drawn({"a": 2}), drawn({"a": 2})] == [1, 1, 2, 2]
    whole = drawn.path.read_bytes()
    for count, damaged in enumerate((whole[:-1], whole[:40], b"", whole.replace(b"2", b"3")), start=3):
        assert drawn({"a": 2}, damaged) == count
        assert drawn.path.read_bytes() == whole
    monkeypatch.setattr(images, "CONFIG", {"font": "another"})
    assert drawn({"a": 2}) == 7
