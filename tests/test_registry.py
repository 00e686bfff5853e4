"""Names become parts: built in, from entry points, from files and from modules; and code is told from changed code."""

import importlib
import importlib.metadata
import json
import sys
from functools import partial
from pathlib import Path
from threading import Lock
from types import SimpleNamespace

import pytest
import torch

from grokkit import registry
from grokkit.errors import InputError
from grokkit.methods import MethodCard
from grokkit.needed import own_modules
from grokkit.outside import digest, import_file, own_place
from grokkit.registry import broken, find, made, parts, recall
from grokkit.study.plan import make_plan
from grokkit.study.question import Question
from grokkit.study.travel import given_parts
from grokkit.train.resolve import model_config, task_config

CARD = """
from grokkit.methods import MethodCard
from grokkit.transform import GradientTransform

def sign(strength: float = 1.0):
    def init(params):
        return ()
    def update(grads, state, params):
        return {name: strength * g.sign() for name, g in grads.items()}, state
    return GradientTransform(init, update)

CARD = MethodCard(
    name="sign", summary="The sign of each entry.", equations="g' = s·sign(g)", cost="a pass",
    base={"optimizer": "adamw", "lr": 1e-3, "wd": 0.1}, factory=sign,
)
"""


@pytest.fixture
def registered_anew(tmp_path):
    """What a test adds to the path is found, and forgotten again; what others import meanwhile, such as parts of
    PyTorch that cannot be imported twice, stays."""
    registry._registered.cache_clear()
    yield
    registry._registered.cache_clear()
    for name, module in list(sys.modules.items()):
        own = vars(module)
        places = [own.get("__file__") or "", *(own.get("__path__") or ())]
        if any(tmp_path in Path(place).parents for place in places):
            del sys.modules[name]


@pytest.fixture
def installed(tmp_path, monkeypatch, registered_anew):
    """Install a distribution of one module: its metadata lie beside it on the path, as pip leaves them."""
    monkeypatch.syspath_prepend(tmp_path)

    def install(name, source, points, *, version="1.0", editable=False):
        (tmp_path / f"{name}.py").write_text(source)
        info = tmp_path / f"{name}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        (info / "top_level.txt").write_text(f"{name}\n")
        (info / "entry_points.txt").write_text("[grokkit.methods]\n" + "".join(f"{p}\n" for p in points))
        if editable:
            (info / "direct_url.json").write_text(json.dumps({"url": "file:///x", "dir_info": {"editable": True}}))
        importlib.invalidate_caches()

    return install


def test_every_built_in_card_is_found_by_looking():
    found = parts("methods")
    assert {"adamw", "gd", "grokfast-ema", "grokfast-ma", "neuralgrok", "groktransfer", "clip-only"} <= found.keys()
    assert all(isinstance(part.value, MethodCard) and name == part.value.name for name, part in found.items())
    for part in found.values():
        if part.origin == "grokkit":
            assert part.code == (f"revision {part.value.revision}" if part.value.revision else "")
    assert found["adamw"].code == ""


def test_an_alias_finds_the_card():
    assert find("methods", "adamw-lr×(1+λ)").name == "adamw-lr-scaled"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("grokfast-em", "unknown method 'grokfast-em'; did you mean 'grokfast-ema'"),
        ("nowhere.py:CARD", "there is no file nowhere.py; .*module:NAME"),
        ("a+b.py:CARD", r"a\+b.py has one of \+ , \( \) = in it, .*; name it without them$"),
        ("a+b/ideas.py:CARD", r"in it, .*; name it without them, or put its folder on PYTHONPATH and give ideas:CARD$"),
        (
            "no.such.module:CARD",
            "cannot import no.such.module: .*No module named 'no'; install no, put the "
            "folder that it lies in on PYTHONPATH, or give path/to/file.py:NAME",
        ),
        ("grokkit.rng:CARD", "grokkit.rng has no CARD, nor any MethodCard; write e.g. CARD = MethodCard"),
        ("grokkit.methods.baselines:ADAM", "unknown name in grokkit.methods.baselines 'ADAM'; did you mean 'ADAMW'"),
        ("grokkit.methods:__all__", "__all__ in grokkit.methods is a list; it must be a MethodCard, or a function"),
        ("mul:97", "unknown method 'mul:97'"),
        ("ideas.py", "ideas.py is a file, .*; write ideas.py:NAME"),
        ("ideas.py:", "'ideas.py:' is not a name in a file; write ideas.py:NAME"),
        ("ideas.py:CARD(a=1", r"'ideas.py:CARD\(a=1' is not a name in a file"),
    ],
)
def test_what_is_not_there_is_one_line(name, message):
    with pytest.raises(InputError, match=message) as caught:
        find("methods", name)
    assert "\n" not in str(caught.value)


def test_a_file_s_part_has_the_file_s_name_and_not_its_path(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    for folder in (tmp_path, tmp_path / "elsewhere"):
        (folder / "ideas.py").write_text(CARD)
    one, other = (find("methods", f"{folder}/ideas.py:CARD") for folder in (tmp_path, tmp_path / "elsewhere"))
    assert one.name == other.name == "ideas.py:CARD"
    assert one.code == other.code != ""
    assert one.origin == str(tmp_path / "ideas.py")
    assert recall("methods", one.text, one.code).value is one.value


def test_the_working_directory_does_not_matter_for_what_is_found_again(tmp_path, monkeypatch):
    (tmp_path / "ideas.py").write_text(CARD)
    monkeypatch.chdir(tmp_path)
    part = find("methods", "ideas.py:CARD")
    monkeypatch.chdir("/")
    assert recall("methods", part.text, part.code).value is part.value


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("def CARD(:", "SyntaxError"),
        (
            "import nothing_of_the_kind",
            "ModuleNotFoundError: No module named 'nothing_of_the_kind' .line 1 of ideas.py",
        ),
        ("x = 1\nx.y\n", "AttributeError: .* .line 2 of ideas.py"),
        ("from .parts import half", "ImportError: .*; what lies beside it is imported without the dot, `from name"),
    ],
)
def test_a_file_that_cannot_be_imported_is_one_line(tmp_path, source, message):
    (tmp_path / "ideas.py").write_text(source)
    before = set(sys.modules)
    with pytest.raises(InputError, match=f"cannot import .*ideas.py: {message}") as caught:
        find("methods", f"{tmp_path}/ideas.py:CARD")
    assert "\n" not in str(caught.value)
    assert set(sys.modules) - before == set(), "nothing half imported is left"


def test_a_relative_import_says_by_what_name_it_works(tmp_path, monkeypatch, registered_anew):
    (tmp_path / "relatives/deep").mkdir(parents=True)
    for file in ("relatives/__init__.py", "relatives/deep/__init__.py", "relatives/deep/parts.py"):
        (tmp_path / file).write_text(CARD)
    for file in ("relatives/deep/ideas.py", "by_itself.py"):
        (tmp_path / file).write_text("from .parts import CARD\n")
    monkeypatch.chdir(tmp_path / "relatives/deep")
    remedy = f"; it belongs to a package: give relatives.deep.ideas:CARD, with {tmp_path} on PYTHONPATH"
    with pytest.raises(InputError, match=remedy):
        find("methods", "ideas.py:CARD")
    monkeypatch.syspath_prepend(tmp_path)
    assert find("methods", "relatives.deep.ideas:CARD").name == "relatives.deep.ideas:CARD"
    with pytest.raises(InputError, match="imported without the dot"):
        find("methods", "by_itself:CARD")


def test_an_edited_file_is_another_module_and_another_code(tmp_path):
    path = tmp_path / "ideas.py"
    path.write_text("x = 1\n")
    first, code = import_file(path)
    path.write_text("x = 2\n")  # of the same length and within the same second: what bytecode is not told apart by
    second, other = import_file(path)
    assert (first.x, second.x) == (1, 2)
    assert code != other
    path.write_text("x = 1\n")
    assert import_file(path) == (first, code), "and the first one again is not run again"


@pytest.mark.parametrize(
    ("imports", "helper"),
    [
        ("import helper", "helper.py"),
        ("from helper import y", "helper.py"),
        ("def later():\n    import helper", "helper.py"),
        ("from lib.deep import y", "lib/deep.py"),
        ("from lib import deep", "lib/deep.py"),
        ("import lib.deep", "lib/__init__.py"),
        ("import lib.through", "lib/deep.py"),
        ("import lib.relative", "lib/deep.py"),
        ("import importlib; importlib.import_module('lib.deep')", "lib/deep.py"),
    ],
)
def test_a_module_beside_it_counts_and_others_do_not(tmp_path, imports, helper, registered_anew):
    (tmp_path / "lib").mkdir()
    for name in ("helper.py", "lib/__init__.py", "lib/deep.py", "unused.py"):
        (tmp_path / name).write_text("y = 1\n")
    (tmp_path / "lib/through.py").write_text("import lib.deep\n")
    (tmp_path / "lib/relative.py").write_text("from .deep import y\n")
    path = tmp_path / "ideas.py"
    path.write_text(f"import random, numpy\n{imports}\n")
    first, code = import_file(path)
    (tmp_path / "unused.py").write_text("y = 2\n")
    assert import_file(path) == (first, code)
    (tmp_path / helper).write_text("y = 2\n")
    assert import_file(path)[1] != code
    assert tmp_path / helper in own_modules(path).values()


def test_an_edited_module_beside_it_is_read_anew(tmp_path, registered_anew):
    (tmp_path / "helper.py").write_text("y = 1\n")
    path = tmp_path / "ideas.py"
    path.write_text("from helper import y\n")
    first, _ = import_file(path)
    (tmp_path / "helper.py").write_text("y = 2\n")
    second, _ = import_file(path)
    assert (first.y, second.y) == (1, 2)


def in_two_folders(path, helper, source):
    """The modules in ``1/ideas.py`` and ``2/ideas.py``, both of ``source``, each with a ``helper`` beside it."""
    found = []
    for number in (1, 2):
        folder = path / str(number)
        folder.mkdir()
        (folder / f"{helper}.py").write_text(f"y = {number}\n")
        (folder / "ideas.py").write_text(source)
        found.append(import_file(folder / "ideas.py")[0])
    return found


def test_two_folders_have_modules_of_the_same_name(tmp_path, registered_anew):
    found = in_two_folders(tmp_path, "helper", "from helper import y\n")
    assert [module.y for module in found] == [1, 2]
    assert str(tmp_path / "1") not in sys.path


@pytest.mark.parametrize("imports", ["from late_helper import y", "from late_lib.deep import y"])
def test_a_function_s_own_import_finds_what_is_beside_its_file(tmp_path, imports, registered_anew):
    (tmp_path / "late_lib").mkdir()
    for name in ("late_helper.py", "late_lib/deep.py"):
        (tmp_path / name).write_text("y = 1\n")
    (tmp_path / "ideas.py").write_text(f"def later():\n    {imports}\n    return y\n")
    module, _ = import_file(tmp_path / "ideas.py")
    assert module.later() == 1
    assert str(tmp_path) not in sys.path


def test_a_function_s_own_import_of_a_name_in_two_folders_is_not_guessed(tmp_path, registered_anew):
    found = in_two_folders(tmp_path, "late_twin", "def later():\n    from late_twin import y\n    return y\n")
    with pytest.raises(ImportError, match="late_twin is in .*1 and in .*2; import it at the top of the file"):
        found[0].later()


@pytest.mark.parametrize("order", ["12", "21"])
def test_a_function_s_own_import_never_gets_another_folder_s_module(tmp_path, order, registered_anew):
    """One file imports it at the top, so that it is imported already when the other's function asks for it."""
    helper = f"shared_{order}"
    imports = f"from {helper} import y\n"
    sources = {"1": imports, "2": f"def later():\n    {imports}    return y\n"}
    found = {}
    for name in order:
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{helper}.py").write_text(f"y = {name}\n")
        (tmp_path / name / "ideas.py").write_text(sources[name])
        found[name], _ = import_file(tmp_path / name / "ideas.py")
        if order == "21" and name == "2":
            assert found["2"].later() == 2, "it is in one folder so far, and this leaves it imported"
    assert found["1"].y == 1
    with pytest.raises(ImportError, match=f"{helper} is in .* and in .*; import it at the top of the file"):
        found["2"].later()


def test_what_is_beside_the_file_comes_before_what_is_on_the_path(tmp_path, monkeypatch, registered_anew):
    for folder in ("mine", "path"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "twice_there.py").write_text(f"y = {folder!r}\n")
    monkeypatch.syspath_prepend(tmp_path / "path")
    path = tmp_path / "mine/ideas.py"
    path.write_text("def later():\n    import twice_there\n    return twice_there.y\n")
    first, _ = import_file(path)
    assert importlib.import_module("twice_there").y == "path", "somebody else's import is none of the file's"
    path.write_text(path.read_text() + "# edited\n")
    with pytest.raises(ImportError, match="imports twice_there, and another module of that name is imported already"):
        import_file(path)
    del sys.modules["twice_there"]
    assert first.later() == "mine"


def test_a_name_that_is_imported_already_stays_the_other_s(tmp_path, monkeypatch, registered_anew):
    for folder in ("mine", "path"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "there_before.py").write_text(f"y = {folder!r}\n")
    monkeypatch.syspath_prepend(tmp_path / "path")
    before = importlib.import_module("there_before")
    (tmp_path / "mine/ideas.py").write_text("import there_before\n")
    module, _ = import_file(tmp_path / "mine/ideas.py")
    assert (module.there_before.y, sys.modules["there_before"]) == ("mine", before)


def test_the_same_text_in_two_folders_is_two_modules_of_one_code(tmp_path):
    found = []
    for folder in ("1", "2"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "data.csv").write_text(folder)
        path = tmp_path / folder / "problem.py"
        path.write_text("from pathlib import Path\nDATA = Path(__file__).with_name('data.csv').read_text()\n")
        found.append(import_file(path))
    (first, code), (second, other) = found
    assert (first.DATA, second.DATA) == ("1", "2")
    assert code == other


@pytest.mark.parametrize("imports", ["from sched import K", "def later():\n    import sched"])
def test_a_file_named_like_a_module_of_python_s_own_is_refused(tmp_path, imports):
    (tmp_path / "sched.py").write_text("K = 1\n")
    (tmp_path / "ideas.py").write_text(imports + "\n")
    with pytest.raises(
        InputError,
        match="cannot import .*ideas.py: .*sched.py has the name of a module of Python's own, sched; rename it",
    ):
        find("methods", f"{tmp_path}/ideas.py:CARD")
    (tmp_path / "ideas.py").write_text("import random\n" + CARD)
    assert find("methods", f"{tmp_path}/ideas.py:CARD"), "one that is not imported is in nobody's way"


def test_a_file_in_a_package_counts_what_it_imports_of_the_package(tmp_path):
    package = tmp_path / "mypkg" / "sub"
    package.mkdir(parents=True)
    for name in ("mypkg/__init__.py", "mypkg/other.py", "mypkg/sub/__init__.py"):
        (tmp_path / name).write_text("")
    (package / "ideas.py").write_text("from mypkg.other import x\n")
    assert set(own_modules(package / "ideas.py")) == {"", "mypkg", "mypkg.other"}


def test_for_a_name_of_ours_no_entry_point_is_loaded(monkeypatch):
    def fail(kind):
        raise AssertionError("loaded")

    monkeypatch.setattr(registry, "parts", fail)
    assert find("methods", "adamw").origin == "grokkit"
    with pytest.raises(AssertionError, match="loaded"):
        find("methods", "nonesuch")


def test_a_function_is_called_with_the_settings_that_are_its_arguments(tmp_path):
    source = (
        CARD + "\nfrom dataclasses import replace\ndef make(name, summary='-'):\n    return replace(CARD, name=name)\n"
    )
    (tmp_path / "ideas.py").write_text(source + "def nothing():\n    return 3\n")
    part = find("methods", f"{tmp_path}/ideas.py:make")
    assert made(part, {"name": "x", "lr": 1}).name == "x"
    with pytest.raises(InputError, match=r"ideas.py:make needs name; write ideas.py:make\(name=...\)"):
        made(part, {})
    with pytest.raises(InputError, match="ideas.py:nothing returns a int; it must return a MethodCard"):
        made(find("methods", f"{tmp_path}/ideas.py:nothing"), {})


def test_an_installed_distribution_answers_with_its_version(installed):
    installed("signs", CARD, ["sign-step = signs:CARD"])
    part = parts("methods")["sign-step"]
    assert (part.name, part.value.name, part.origin, part.code) == ("sign-step", "sign", "signs 1.0", "signs 1.0")
    assert find("methods", "sign-step") is part
    by_module = find("methods", "signs:CARD")
    assert (by_module.name, by_module.value, by_module.code) == ("signs:CARD", part.value, "signs 1.0")


def test_an_editable_distribution_answers_with_a_digest_of_its_files(installed, tmp_path):
    installed("editables", CARD, ["sign-step = editables:CARD"], editable=True)
    part = find("methods", "sign-step")
    assert part.origin == "editables 1.0, editable"
    assert part.code == import_file(tmp_path / "editables.py")[1]


def test_of_a_package_in_parts_each_answers_for_its_own(installed, tmp_path, monkeypatch):
    """Two distributions bring a part each of a package without a file of its own, and a third part is nobody's."""
    for name, version in (("ones", "1.0"), ("twos", "2.0")):
        installed(f"{name}_top", "", [], version=version)
        info = tmp_path / f"{name}_top-{version}.dist-info"
        (info / "top_level.txt").write_text("in_parts\n")
        (info / "RECORD").write_text(f"in_parts/{name}.py,,\n")
    for place in (tmp_path / "in_parts", tmp_path / "mine/in_parts"):
        place.mkdir(parents=True)
    for file in ("in_parts/ones.py", "in_parts/twos.py", "mine/in_parts/own.py"):
        (tmp_path / file).write_text(CARD)
    installed("names_others", "", ["elsewhere-sign = in_parts.twos:CARD"])
    (tmp_path / "names_others-1.0.dist-info/RECORD").write_text("names_others.py,,\n")
    monkeypatch.syspath_prepend(tmp_path / "mine")
    codes = [find("methods", f"in_parts.{name}:CARD").code for name in ("ones", "twos", "own")]
    assert codes[:2] == ["ones_top 1.0", "twos_top 2.0"]
    assert codes[2] == digest({"own.py": CARD.encode()})
    assert own_place("in_parts.own:CARD") == tmp_path / "mine"
    assert own_place("in_parts.twos:CARD") is None
    assert find("methods", "elsewhere-sign").code == "twos_top 2.0", "it is the code's version, not the name's"


def test_a_module_on_the_path_without_a_distribution_answers_with_a_digest(tmp_path, monkeypatch, registered_anew):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "loose_package").mkdir()
    (tmp_path / "loose_package/__init__.py").write_text("")
    (tmp_path / "loose_package/ideas.py").write_text(CARD)
    part = find("methods", "loose_package.ideas:CARD")
    assert (part.origin, len(part.code)) == (str(tmp_path / "loose_package"), 12)


def test_a_module_by_itself_is_its_file_by_another_name(tmp_path, monkeypatch, registered_anew):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "loose_ideas.py").write_text(CARD + "import loose_helper\n")
    (tmp_path / "loose_helper.py").write_text("")
    texts = [f"{tmp_path}/loose_ideas.py:CARD", "loose_ideas:CARD"]
    one, other = (find("methods", text) for text in texts)
    assert (one.name, one.code) == (other.name, other.code) == ("loose_ideas.py:CARD", one.code)
    assert [part.text for part in (one, other)] == texts, "each is found again as it was"
    settings = {
        "task": task_config("mul:7"),
        "model": model_config("fnn(dim=4,width=8)"),
        "budget": 5,
        "batch_size": None,
    }
    ids = [make_plan(methods=[text], seeds=1, **settings).study["run_ids"] for text in texts]
    assert ids[0] == ids[1]
    with pytest.raises(InputError, match="given twice"):
        make_plan(methods=texts, seeds=1, **settings)


def test_a_module_of_a_package_is_not_its_file(tmp_path, monkeypatch, registered_anew):
    """One stands for the package's files, the other for what it imports of them."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "some_package").mkdir()
    (tmp_path / "some_package/__init__.py").write_text("")
    (tmp_path / "some_package/ideas.py").write_text(CARD)
    (tmp_path / "some_package/others.py").write_text("")
    module, file = find("methods", "some_package.ideas:CARD"), find("methods", f"{tmp_path}/some_package/ideas.py:CARD")
    assert (module.name, file.name) == ("some_package.ideas:CARD", "ideas.py:CARD")
    assert module.code != file.code


@pytest.mark.parametrize(
    ("source", "point", "why"),
    [
        ("import nothing_of_the_kind", "odd = broken_one:CARD", "cannot import broken_one: ModuleNotFoundError"),
        ("raise SystemExit(3)", "odd = broken_one:CARD", "cannot import broken_one: SystemExit"),
        ("CARD = 3", "odd = broken_one:CARD", "CARD in broken_one is a int; it must be a MethodCard"),
        ("", "odd = broken_one:CARD", "broken_one has no CARD"),
        (CARD, "adamw = broken_one:CARD", "that name is grokkit's already"),
        (CARD, "odd = broken_one", "an entry point is written module:NAME"),
        (CARD, "odd = bro-ken!.one:CARD", "an entry point is written module:NAME"),
        (CARD, "odd+name = broken_one:CARD", "names are typed with settings and in lists, so none can have a '+'"),
        (CARD, "odd,name = broken_one:CARD", "names are typed with settings and in lists, so none can have a ','"),
        (CARD, "odd@2 = broken_one:CARD", "names are typed with settings and in lists, so none can have a '@'"),
    ],
)
def test_a_broken_entry_point_is_a_line_and_harms_nobody(installed, source, point, why):
    installed("broken_one", source, [point])
    name = point.split()[0]
    assert "grokfast-ema" in parts("methods")
    assert find("methods", "adamw").origin == "grokkit"
    value = point.split()[-1]
    assert broken("methods")[name].startswith(f"method {name!r} of broken_one 1.0 ({value}) cannot be used: ")
    assert why in broken("methods")[name]
    assert "\n" not in broken("methods")[name]
    if name == "odd":
        with pytest.raises(InputError, match="method 'odd' of broken_one 1.0"):
            find("methods", "odd")


def test_a_raised_revision_is_another_code(monkeypatch):
    from dataclasses import replace

    from grokkit.methods import baselines

    registry._built_in.cache_clear()
    monkeypatch.setattr(baselines, "AGAIN", replace(baselines.ADAMW, name="adamw-again", revision=2), raising=False)
    try:
        assert find("methods", "adamw-again").code == "revision 2"
    finally:
        registry._built_in.cache_clear()
        registry._registered.cache_clear()


def test_other_code_than_planned_is_refused(tmp_path):
    path = tmp_path / "ideas.py"
    path.write_text(CARD)
    part = find("methods", f"{path}:CARD")
    path.write_text(CARD.replace("1.0", "2.0"))
    recall.__globals__["_same"].cache_clear()
    with pytest.raises(InputError, match="ideas.py:CARD is not what it was when this run was planned"):
        recall("methods", part.text, part.code)
    with pytest.raises(InputError, match="adamw is not what it was"):
        recall("methods", "adamw", "revision 1")


def test_a_function_that_does_not_name_its_settings_is_refused(tmp_path):
    (tmp_path / "ideas.py").write_text("def make(**own): ...\n")
    with pytest.raises(InputError, match=r"ideas.py:make takes \*\*own, which does not say what its settings are"):
        made(find("methods", f"{tmp_path}/ideas.py:make"), {})


def test_a_module_without_a_file_is_one_line(monkeypatch):
    without = type(sys)("in_memory")
    without.CARD = MethodCard(name="mine")
    monkeypatch.setitem(sys.modules, "in_memory", without)
    with pytest.raises(InputError, match="the module in_memory has no file, .* write file.py:NAME"):
        find("methods", "in_memory:CARD")


def test_what_is_not_asked_for_is_not_handed_to_a_worker_and_in_nobody_s_way(monkeypatch):
    """What a process gave before may be of gigabytes, or such that it cannot be pickled."""
    monkeypatch.setattr(registry, "_GIVEN", {})
    card = registry.find("methods", "grad-norm").value
    registry.give("methods", "here:wanted", card, "code")
    registry.give("methods", "here:locked", partial(print, Lock()), "code")
    with pytest.raises(InputError, match="^here:locked cannot be handed to a worker process .*pickle"):
        registry.carried(["here:locked"])
    runs = Question(task="add:7", methods=["here:wanted", "adamw"], seeds=1, budget=5).plan().runs
    parts = given_parts(runs)
    registry._GIVEN.clear()
    registry.carry(parts)
    assert registry._GIVEN.keys() == {("methods", "here:wanted")}
    assert given_parts(Question(task="add:7", methods=["adamw"], seeds=1, budget=5).plan().runs) == b""


def test_a_function_that_says_torch_and_classes_is_handed_over(monkeypatch):
    """A dataset of a notebook often does; what has both names brings the module ``torch.classes`` with it."""
    monkeypatch.setattr(registry, "_GIVEN", {})
    where = {"__name__": "__main__", "torch": torch}
    exec("def counted(data):\n    return torch.tensor(len(data.classes))\n", where)
    registry.give("methods", "here:counted", where["counted"], "code")
    parts = registry.carried(["here:counted"])
    registry._GIVEN.clear()
    registry.carry(parts)
    counted = registry._GIVEN["methods", "here:counted"].value
    assert counted is not where["counted"]
    assert counted(SimpleNamespace(classes="abc")) == 3
