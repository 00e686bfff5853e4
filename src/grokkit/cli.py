"""The ``grokkit`` command. Thin: it reads what was typed, calls the lab, prints."""

from __future__ import annotations

import inspect
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, redirect_stdout
from json import dumps
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Annotated, Any

from grokkit import __version__
from grokkit.arguments import Place, option
from grokkit.errors import InputError, about
from grokkit.extras import check_lab

try:
    check_lab()
except InputError as error:
    print(f"grokkit: {error}", file=sys.stderr)
    raise SystemExit(2) from None

import typer

from grokkit.printed import one_line, readable, unwritable_in_one_line
from grokkit.study.execution import NOT_OF_A_SEARCH, NOT_OF_A_SUITE, Execution, Jobs, SeedCount
from grokkit.terminal import terminal
from grokkit.typed import Command, Group, Json, Late, Quiet, run_command, signature_of

if TYPE_CHECKING:
    from grokkit.study.store import Store

app = typer.Typer(
    cls=Group,
    help="Which accelerator makes delayed generalization arrive earlier, and by how much?",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _print_version(asked: bool) -> None:
    if asked:
        print(f"grokkit {__version__}")
        raise typer.Exit


@app.callback()
def _of_the_command_itself(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    pass


# Options that became settings of the task, and how they are written there.
_MOVED = {
    "--layout": "'mul:97(layout=operands-first)'",
    "--operands-from": "'mul:97(b=1)'",
    "--unordered-split": "'mul:97(split=unordered)'",
}


def main() -> None:
    """Run the command; a user's mistake is one line on stderr and exit status 2, a full disk one line and status 1."""
    with readable(), unwritable_in_one_line():
        try:
            try:
                for moved, now in _MOVED.items():
                    if any(argument.partition("=")[0] == moved for argument in sys.argv[1:]):
                        raise InputError(f"{moved} is a setting of the task now; write e.g. {now}")
                raise SystemExit(run_command(app))
            finally:
                sys.stdout.flush()  # else Python does it when nobody is there any more to say what is wrong
        except InputError as error:
            print(f"grokkit: {one_line(error)}", file=sys.stderr)
            raise SystemExit(2) from None


_QUESTION, _EXECUTION = "grokkit.study.question:Question", "grokkit.study.execution:Execution"
_SEARCH, _SUITE = "grokkit.study.tune:SearchOptions", "grokkit.study.suite:SuiteQuestion"


def _asking(*kinds: str, leave: tuple[str, ...] = ()) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make a command of a function: its options are those of the ``kinds``, each named as MODULE:CLASS.

    They are made when it is called, because PyTorch is imported with most of them.
    """

    def as_command(function: Any) -> Callable[..., None]:
        function.__signature__ = inspect.Signature()
        function.signature = lambda: signature_of(*map(resolve_name, kinds), leave=leave)
        return app.command(cls=Late)(function)

    return as_command


@_asking(_QUESTION, _EXECUTION)
def compare(json: bool, quiet: bool, **options: Any) -> None:
    """Train every method on the same seeds, and say which helps, by how much, and how surely.

    The same command again continues where it stopped; other methods and more seeds extend the study.
    """
    from grokkit.lab.carry_out import carry_out
    from grokkit.lab.export import study_object
    from grokkit.study.question import asked

    with _unmixed(json), _interruptible():
        question, execution = asked(options)
        study, failures = carry_out(
            question, execution, command=_as_typed_in(), console=terminal(stderr=json, quiet=quiet)
        )
    _end(study_object(study, failures) if json else None, failures, quiet)


def _as_typed_in() -> str:
    """The command that is running."""
    return shlex.join(["grokkit", *sys.argv[1:]])


@contextmanager
def _interruptible() -> Iterator[None]:
    """Within it Ctrl-C, once what is done is kept, is exit status 130."""
    from grokkit.lab.carry_out import Stopped

    try:
        yield
    except Stopped:
        raise typer.Exit(130) from None


@contextmanager
def _unmixed(json: bool) -> Iterator[None]:
    """Within it what somebody's code prints goes to stderr, where stdout is to hold one object."""
    with redirect_stdout(sys.stderr) if json else nullcontext():
        yield


def _end(found: Mapping[str, Any] | None, failures: Mapping[str, Any], quiet: bool) -> None:
    """Print the object that a script asked for; what failed is exit status 1, and said if nothing else was."""
    if found is not None:
        print(dumps(found, allow_nan=False))  # in ASCII: a path's bytes and a label's signs survive any encoding
    if quiet:
        for run_id, failure in failures.items():
            print(f"grokkit: {run_id} failed: {one_line(failure.error)}", file=sys.stderr)
    if failures:
        raise typer.Exit(1)


@_asking(_QUESTION, _SEARCH, _EXECUTION, leave=NOT_OF_A_SEARCH)
def tune(json: bool, quiet: bool, **options: Any) -> None:
    """Search the settings of every method, with the same number of trials for all, and say what it took.

    The same command again continues where it stopped; more trials and other methods extend the search. Then:
    grokkit compare TASK --tuned DIR
    """
    from grokkit.lab.export import search_object
    from grokkit.lab.tune import folder_of, search
    from grokkit.study.question import Question, asked
    from grokkit.study.tune import SearchOptions

    with _unmixed(json), _interruptible():
        question, how, execution = asked(options, Question, SearchOptions, Execution)
        record, failures = search(
            [question], how, execution, command=_as_typed_in(), console=terminal(stderr=json, quiet=quiet)
        )
    _end(search_object(record, failures, folder_of(question, execution)) if json else None, failures, quiet)


# The suite's own fields stand first, and count where a search has one of the same name.
@_asking(_SUITE, _SEARCH, _SUITE, _EXECUTION, leave=NOT_OF_A_SUITE)
def suite(json: bool, quiet: bool, **options: Any) -> None:
    """Tune every method on a suite's tuning tasks, and compare them on its held-out ones: one number a method.

    The same command again continues where it stopped; other methods and more seeds extend the suite in its folder.
    """
    from grokkit.lab.export import suite_object
    from grokkit.lab.suite import carry_out_suite, folder_of
    from grokkit.study.question import asked
    from grokkit.study.suite import SuiteQuestion
    from grokkit.study.tune import SearchOptions

    with _unmixed(json), _interruptible():
        question, how, execution = asked(options, SuiteQuestion, SearchOptions, Execution)
        record, failures = carry_out_suite(
            question, how, execution, command=_as_typed_in(), console=terminal(stderr=json, quiet=quiet)
        )
    _end(suite_object(record, failures, folder_of(question, execution)) if json else None, failures, quiet)


@app.command(cls=Command)
def report(
    folder: Annotated[str, typer.Argument(help="a folder that `grokkit compare --out` wrote")],
    only: Annotated[str | None, typer.Option(help="methods to show [default: all that the folder holds]")] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Make table, page and pictures again from the finished runs in FOLDER."""
    from grokkit.lab.export import study_object
    from grokkit.lab.report import report as make
    from grokkit.lab.study import chosen

    shown = Execution(only=only).shown()
    store = _store(folder)
    with store.lock():
        if shown is not None:
            with about("--only"):
                chosen(shown, store.read_study())
        study = make(store, terminal(stderr=json, quiet=quiet), shown)
    _end(study_object(study, {}) if json else None, {}, quiet)


@app.command(cls=Command)
def export(
    folder: Annotated[str, typer.Argument(help="a folder that `grokkit compare --out` wrote")],
    format: Annotated[str, typer.Option(help="csv, json or parquet; tensorboard for event files")] = "csv",
    out: Annotated[str | None, typer.Option(help="folder for the tables [default: export in FOLDER]")] = None,
) -> None:
    """Write runs, curves, leaderboard and claims of FOLDER as tables for a spreadsheet or another program.

    It prints the path of each, and counts as a look at the results, as a report does.
    """
    from grokkit.lab.export import Format
    from grokkit.lab.export import export as write
    from grokkit.lab.study import Study

    kind, place = option("--format", format, Format, "csv"), option("--out", out, Place)
    store = _store(folder)
    with store.lock():
        study = Study(store.folder)
        if study.runs.is_empty():
            raise InputError(f"no run in {store.folder} is finished; give its command again, and export then")
        study.look()
        for path in write(study, store.folder / "export" if place is None else Path(place), kind).values():
            print(one_line(path))


def _store(folder: str) -> Store:
    """The store of a study that is there."""
    from grokkit.study.collected import open_store

    store = open_store(Path(option("folder", folder, Place, remedy="give one that `grokkit compare --out` wrote")))
    store.read_study()
    return store


@app.command(cls=Command)
def reproduce(
    item: Annotated[str | None, typer.Argument(help="e.g. grokfast:fig-4 [default: list all with their state]")] = None,
    every: Annotated[bool, typer.Option("--all", help="all items, one after the other")] = False,
    quick: Annotated[bool, typer.Option("--quick", help="a smoke test: one seed, few steps, no verdict")] = False,
    seeds: Annotated[str | None, typer.Option(help="seeds of each arm [default: what the item says]")] = None,
    out: Annotated[str, typer.Option(help="folder for runs and results")] = "out/reproduce",
    jobs: Annotated[str | None, typer.Option(help="runs at once, one thread each [default: one a core]")] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, or auto: a GPU if there is one")] = "auto",
    data_dir: Annotated[str | None, typer.Option(help="folder with data that an item needs, e.g. CIFAR-10's")] = None,
) -> None:
    """Measure a published figure or table again, ours beside theirs; without an item, list them all."""
    from grokkit.reproduce.recipe import all_recipes, find_recipe
    from grokkit.reproduce.show import print_item, print_list

    console = terminal()
    how = Execution(out=out, jobs=jobs, device=device)  # pyright: ignore[reportArgumentType]
    folder, numbers = Path(str(how.out)), option("--seeds", seeds, SeedCount)
    if item is None and not every:
        own_device = None if device == "auto" else device
        ignored = {
            "--quick": quick or None,
            "--seeds": seeds,
            "--jobs": jobs,
            "--device": own_device,
            "--data-dir": data_dir,
        }
        if given := [name for name, value in ignored.items() if value is not None]:
            raise InputError(f"{given[0]} is for an item, and none is named; name one, or give --all")
        print_list(list(all_recipes().values()), folder, console)
        return
    if item is not None and every:
        raise InputError(f"--all together with {item} is not possible; leave one of them out")

    # PyTorch is imported with these, and a list needs none.
    from grokkit.reproduce.carry_out import folder_of, reads_data
    from grokkit.reproduce.carry_out import reproduce as measure

    runnable = [
        recipe for recipe in all_recipes().values() if not (recipe.beyond or (recipe.needs and data_dir is None))
    ]
    chosen = runnable if item is None else [find_recipe(item)]
    refused = []
    for recipe in chosen:
        given = data_dir if item is not None or reads_data(recipe) else None
        try:
            with _interruptible():
                found = measure(
                    recipe, folder, console, quick=quick, seeds=numbers, jobs=how.jobs, device=device, data_dir=given
                )
                print_item(recipe, found, folder_of(recipe, folder, quick=quick), console)
        except InputError as error:
            if item is not None:
                raise
            refused.append(recipe.name)  # a long list goes on
            console.print(f"{recipe.name}: {error}", markup=False)
    if refused:
        raise InputError(f"{len(refused)} of {len(chosen)} items could not be measured: {', '.join(refused)}")


@app.command(cls=Command)
def check(
    part: Annotated[
        str,
        typer.Argument(
            help="your own problem, method, network, task or optimizer: my_problem.py:problem, "
            "'mypkg.data:problem(width=64)' or ideas.py:CARD"
        ),
    ],
) -> None:
    """Check a part of your own before comparing with it: one line a finding, exit status 1 if something is wrong."""
    from grokkit.testing.part import check_part

    with about("part"):
        findings = check_part(part)
    _list([("ok" if finding.ok else "wrong", finding.line) for finding in findings])
    if not all(finding.ok for finding in findings):
        raise typer.Exit(1)


@app.command(cls=Command)
def bench(
    rows: Annotated[str | None, typer.Option(help="rows to measure, separated by commas [default: all]")] = None,
    rounds: Annotated[
        str | None, typer.Option(help="rounds of each row, in time-to-95 seeds [default: a number for each]")
    ] = None,
    threads: Annotated[str | None, typer.Option(help="PyTorch's threads [default: one a core]")] = None,
    json: Annotated[str | None, typer.Option(help="file to write the results to, after every row")] = None,
) -> None:
    """Time our implementation against plain PyTorch, in turns, in one process.

    A ratio below 1 means that ours is faster; absolute times hold for this machine only.
    """
    from grokkit.bench.row import all_rows, choose
    from grokkit.bench.show import run, writable
    from grokkit.call_syntax import split_list
    from grokkit.study.pool import cores

    with about("--rows"):
        chosen = choose(all_rows(), None if rows is None else split_list(rows))
    times, at_once = (option(name, value, Jobs) for name, value in (("--rounds", rounds), ("--threads", threads)))
    file = None if json is None else writable(Path(option("--json", json, Place)))
    each = {row.id: times or row.rounds for row in chosen}
    if not run(chosen, each, threads=at_once or cores(), json=file, console=terminal()):
        raise typer.Exit(130)


@app.command(cls=Command)
def methods() -> None:
    """List the methods."""
    _list_parts("methods")
    print("\nSettings go in parentheses: grokfast-ema(alpha=0.9,lamb=1,wd=0.01). All of one: grokkit card NAME")


@app.command(cls=Command)
def models() -> None:
    """List the models."""
    _list_parts("models")
    print("\nSettings go in parentheses: --model 'fnn(width=256,init_scale=0.1)'. Your own: --model nets.py:build")


@app.command(cls=Command)
def optimizers() -> None:
    """List what the setting optimizer= of a method accepts."""
    from grokkit.registry import parts

    _list_parts("optimizers")
    own = [name for name, part in parts("methods").items() if "optimizer" in getattr(part.value, "hooks", ())]
    print(
        "\nWrite it with any method: 'grokfast-ema(optimizer=sgd,lr=0.1,beta1=0)'. "
        "Your own: 'adamw(optimizer=ideas.py:NAME(lr=0.1))'\n"
        f"Methods that have an optimizer of their own: {', '.join(own)}. See docs/extending.md"
    )


@app.command(cls=Command)
def tasks() -> None:
    """List the tasks."""
    from grokkit.registry import parts
    from grokkit.tasks.table import card_of

    cards = [(part, card_of(part)) for part in parts("tasks").values()]
    _list([line for part, card in cards for line in (card.usage or {card.example or part.name: part.origin}).items()])
    _say_broken("tasks")
    print(
        "\nOr any modular expression: 'a*a - b mod 97', 'a*c + b*d - e mod 7', '(a+b)*c mod 23', 'a/b mod 97'\n"
        "Settings go in parentheses: 'mul:97(layout=operands-first,b=1)', 'add:97(split=unordered)'"
    )


@app.command(cls=Command)
def suites() -> None:
    """List the suites."""
    _list_parts("suites")
    print("\nYour own: grokkit suite my_suite.py:SUITE, or my_suite.toml; see docs/suite.md")


@app.command(cls=Command)
def card(name: Annotated[str, typer.Argument(help="a method; see `grokkit methods`")]) -> None:
    """Show what is known of a method: equations, cost, settings, where its defaults come from."""
    from grokkit.train.own_part import default_settings
    from grokkit.train.resolve import find_card

    found = find_card(name)
    rows = [
        ("hooks into", ", ".join(found.hooks) or "nothing: a bare optimizer"),
        ("equations", found.equations),
        ("cost", found.cost),
        ("FLOPs", "none but the model's: entry by entry" if found.flops is None else "products of its own are counted"),
        ("settings", _shown(default_settings(found)) or "none of its own"),
        ("optimizer", _shown(found.base)),
        ("rows apart", f"held_out={found.held_out}, a share of the training rows; any method takes it"),
        ("source", found.base_source),
        *((f"on {task}", f"{_shown(recipe.settings)}; {recipe.source}") for task, recipe in found.recipes.items()),
        ("tuned", found.tuned),
        ("searched", _space(name)),
        ("departures", found.departures),
        ("also called", ", ".join(found.aliases)),
    ]
    print(f"{found.name}: {found.summary}\n")
    _list([(label, text) for label, text in rows if text])


def _space(name: str) -> str:
    """Where ``grokkit tune`` looks for its settings."""
    from grokkit.study.search_space import show_space
    from grokkit.study.spaces import searched

    return show_space(searched(name, "", {}, {}).space)


@app.command(cls=Command)
def cite(name: Annotated[str, typer.Argument(help="a method, or several joined by +; see `grokkit methods`")]) -> None:
    """Print the BibTeX entry of a method's paper; of methods that are joined, each one's."""
    from grokkit.call_syntax import parse_call, split_list
    from grokkit.train.resolve import find_card

    with about("method"):
        parts = [find_card(parse_call(part)[0]) for part in split_list(name, "+")]
    entries = list(dict.fromkeys(part.citation for part in parts if part.citation))
    if not entries:
        found = parts[0]
        why = "names no paper" if found.hooks else "is a baseline without a paper of its own; cite its optimizer"
        raise InputError(f"{found.name} {why}")
    print("\n\n".join(entries))


def _list_parts(kind: str) -> None:
    """What the registry has of a kind, the strangers' origin behind their summary, and a line for each broken one."""
    from grokkit.registry import parts

    rows = []
    for part in parts(kind).values():
        summary = getattr(part.value, "summary", "") or "a function of settings"
        rows.append((part.name, summary if part.origin == "grokkit" else f"{summary} ({part.origin})"))
    _list(rows)
    _say_broken(kind)


def _say_broken(kind: str) -> None:
    """A line for each entry point that is of no use."""
    from grokkit.registry import broken

    for line in broken(kind).values():
        print(f"grokkit: {line}", file=sys.stderr)


def _shown(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={value}" for key, value in settings.items())


def _list(rows: list[tuple[str, str]]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, style="bold")
    table.add_column(overflow="fold")
    for name, text in rows:
        table.add_row(Text(name), Text(text))
    terminal().print(table)
