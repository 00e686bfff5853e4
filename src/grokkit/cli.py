"""The ``grokkit`` command. Thin: it reads what was typed, calls the lab, prints."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from grokkit.errors import InputError

try:
    import typer
    from rich.console import Console
except ModuleNotFoundError as error:  # pragma: no cover - needs an environment without the extra
    raise SystemExit(f"grokkit: {error.name} is missing; install the lab with: pip install 'grokkit[lab]'") from None

if TYPE_CHECKING:
    from grokkit.study.plan import Plan
    from grokkit.study.store import Store

app = typer.Typer(
    help="Which accelerator makes delayed generalization arrive earlier, and by how much?",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


# Options that became settings of the task, and how they are written there.
_MOVED = {
    "--layout": "'mul:97(layout=operands-first)'",
    "--operands-from": "'mul:97(b=1)'",
    "--unordered-split": "'mul:97(split=unordered)'",
}


def main() -> None:
    """Run the command; a user's mistake is one line on stderr and exit status 2."""
    try:
        for option, now in _MOVED.items():
            if any(argument.partition("=")[0] == option for argument in sys.argv[1:]):
                raise InputError(f"{option} is a setting of the task now; write e.g. {now}")
        app()
    except InputError as error:
        print(f"grokkit: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except BrokenPipeError:  # `grokkit methods | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None


@app.command()
def compare(
    task: Annotated[str, typer.Argument(help="e.g. mul:97, 'a*a - b mod 97', parity:40,3, mnist; see `grokkit tasks`")],
    methods: Annotated[
        str, typer.Option(help="separated by commas, settings in parentheses; see `grokkit methods`")
    ] = "adamw,grokfast-ema,grokfast-ma,grad-norm",
    seeds: Annotated[int, typer.Option(help="runs of each method, on seeds 0, 1, ...")] = 5,
    budget: Annotated[int, typer.Option(help="optimizer steps a run may take")] = 3000,
    out: Annotated[Path | None, typer.Option(help="folder for runs and report [default: out/TASK]")] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="decoder, fnn, mlp, lstm, … or MODULE:CARD, settings in parentheses [default: the task's own]"
        ),
    ] = None,
    train_fraction: Annotated[
        float | None, typer.Option(help="share of all rows to train on [default: 0.5, or the task's own train size]")
    ] = None,
    train_size: Annotated[int | None, typer.Option(help="rows to train on, in place of a share")] = None,
    validation_fraction: Annotated[float, typer.Option(help="share of all rows kept for tuning")] = 0.1,
    data_dir: Annotated[
        str | None, typer.Option(help="folder with the data of mnist, imdb or qm9 [default: an installed package]")
    ] = None,
    batch_size: Annotated[
        str | None,
        typer.Option(help="rows a step, or full [default: the task's own, else 512 for a decoder, else full]"),
    ] = None,
    remainder: Annotated[
        str, typer.Option(help="rows that fill no batch: spread over all, or own-batch as published")
    ] = "spread",
    baseline: Annotated[
        str | None, typer.Option(help="method the ratios refer to [default: adamw, else the first]")
    ] = None,
    claim: Annotated[
        str | None, typer.Option(help="the cost that claims are made in: flops, steps or seconds [default: flops]")
    ] = None,
    primary: Annotated[
        str | None, typer.Option(help="the method to test first and alone, named before the first run")
    ] = None,
    target: Annotated[
        float | None, typer.Option(help="test accuracy that counts as generalized [default: 0.95]")
    ] = None,
    target_loss: Annotated[
        float | None, typer.Option(help="a test loss instead [default: 0.05 for qm9, which has no accuracy]")
    ] = None,
    sustain: Annotated[int, typer.Option(help="following evaluations that must stay there")] = 5,
    after: Annotated[int, typer.Option(help="steps it may not dip below the target to be called stable")] = 0,
    every: Annotated[int, typer.Option(help="steps between evaluations, early in a run")] = 10,
    precision: Annotated[str, typer.Option(help="of the matrix products: float32 or bf16")] = "float32",
    device: Annotated[str, typer.Option(help="cpu, cuda, or auto: a GPU if there is one")] = "auto",
    jobs: Annotated[int | None, typer.Option(help="runs at once, one thread each [default: one a core]")] = None,
) -> None:
    """Train every method on the same seeds, and say which helps, by how much, and how surely.

    The same command again continues where it stopped.
    """
    from grokkit.analyse.survival import COSTS
    from grokkit.call_syntax import split_list
    from grokkit.study.plan import make_plan
    from grokkit.study.pool import cores
    from grokkit.study.store import Store
    from grokkit.tasks.named import card_of, read_task
    from grokkit.train.config import EvaluationConfig, checked
    from grokkit.train.plan import choose_device
    from grokkit.train.resolve import model_config, task_config

    if claim not in (None, *COSTS):
        raise InputError(f"--claim {claim} is not possible: flops, steps or seconds; the default is flops")
    where = choose_device(device)
    if claim == "seconds" and where != "cpu":
        raise InputError(f"--claim seconds is measured on a processor, and --device is {where}; claim flops or steps")
    usual = card_of(read_task(task)[0])  # for the defaults that it has
    if target is not None and usual.target_loss is not None:
        raise InputError(
            f"{task} has no accuracy; leave --target out, and give --target-loss, e.g. {usual.target_loss}"
        )
    if train_size is None and train_fraction is None:
        train_size = usual.train_size
    model_settings = model_config(model or usual.model)
    shared = {
        "task": task_config(
            task,
            model_settings,
            train_fraction=0.5 if train_fraction is None else train_fraction,
            validation_fraction=validation_fraction,
            train_size=train_size,
            data_dir=data_dir,
        ),
        "model": model_settings,
        "budget": budget,
        "batch_size": _batch_size(batch_size or str(usual.batch_size or model_settings.card.batch_size or "full")),
        "remainder": remainder,
        "target": 0.95 if target is None else target,
        "target_loss": usual.target_loss if target_loss is None else target_loss,
        "sustain": sustain,
        "after": after,
        "precision": precision,
        "evaluation": checked(EvaluationConfig, "evaluation", every=every),
    }
    plan = make_plan(
        methods=split_list(methods),
        seeds=seeds,
        baseline=baseline,
        claim=claim,
        primary=primary,
        command=shlex.join(["grokkit", *sys.argv[1:]]),
        **shared,
    )
    workers = jobs if jobs is not None else cores()
    if workers < 1:
        raise InputError(f"--jobs {workers} is not possible: at least 1; the default is one a core, {cores()} here")
    folder = out if out is not None else Path("out") / _slug(plan.study["title"])
    _compare(plan, Store(folder), workers, where)


def _compare(plan: Plan, store: Store, workers: int, device: str) -> None:
    from grokkit.live import Progress
    from grokkit.study.execute import execute
    from grokkit.study.looks import continued
    from grokkit.study.pace import study_pace
    from grokkit.train.plan import plan_groups

    console = Console(highlight=False)
    methods, seeds = plan.study["methods"], plan.study["seeds"]
    with store.lock():
        plan = replace(plan, study=continued(_study_before(store, plan), plan.study, has_runs=bool(store.finished())))
        done = store.finished(plan.study["run_ids"])
        kept = f", {len(done)} of them done before" if done else ""
        at_once = workers if device == "cpu" else max(map(len, plan_groups(plan.runs, device)))
        console.print(
            f"{plan.study['title']}: {len(methods)} methods × {len(seeds)} seeds = {len(plan.runs)} runs{kept}, "
            f"up to {plan.study['budget']:,} steps each, {at_once} at once{'' if device == 'cpu' else f' on {device}'}"
        )
        try:
            with Progress(console, plan.runs, done, at_once) as progress:
                failures = execute(plan, store, done, workers=workers, on_event=progress.on_event, device=device)
        except KeyboardInterrupt:
            done = store.finished(plan.study["run_ids"])
            console.print(
                f"stopped; {len(done)} of {len(plan.runs)} runs are done and kept in {store.folder}, "
                "the same command goes on from there"
            )
            raise typer.Exit(130) from None
        if plan.study["claim"] == "seconds":
            with console.status("measuring the seconds of a step, all methods in turns"):
                study_pace(store.folder, plan.runs)
        _report(store, console)
    if failures:
        raise typer.Exit(1)


@app.command()
def report(folder: Annotated[Path, typer.Argument(help="a folder that `grokkit compare --out` wrote")]) -> None:
    """Make table, page and pictures again from the finished runs in FOLDER."""
    from grokkit.study.store import Store

    store = Store(folder)
    store.read_study()
    with store.lock():
        _report(store, Console(highlight=False))


def _report(store: Store, console: Console) -> None:
    from grokkit.analyse import leaderboard, verdict
    from grokkit.report import all_figures, leaderboard_table, table_names, write_report
    from grokkit.study.looks import DEFAULT_CLAIM, looked
    from grokkit.study.pace import at_pace, read_pace

    study = store.read_study()
    done = store.finished(study["run_ids"])
    run_ids = [run_id for run_id in study["run_ids"] if run_id in done]
    runs, curves = store.load(run_ids)
    tables = {name: store.load_table(name, run_ids) for name in table_names(all_figures())}
    if len(done) < len(study["run_ids"]):
        console.print(f"only {len(done)} of {len(study['run_ids'])} runs are finished; the report is of those")
    if not done:
        return
    study = looked(study, runs)
    store.write_study(study)
    claim = study.get("claim") or DEFAULT_CLAIM
    pace = read_pace(store.folder) if claim == "seconds" else None
    counted = runs if pace is None else at_pace(runs, pace)
    rows = leaderboard(counted, study["methods"], study["baseline"], claim)
    verdict_text = verdict(rows, study)
    with console.status("drawing the report"):
        paths, failures = write_report(store.folder, study, runs, curves, tables, rows, verdict_text)
    console.print()
    console.print(leaderboard_table(rows, study, console.width))
    console.print()
    console.print(verdict_text, style="bold")
    console.print()
    for name, failure in failures.items():
        console.print(f"the figure {name} could not be drawn: {failure}", soft_wrap=True, markup=False)
    console.print(f"report: {paths['report.html']}", soft_wrap=True)


@app.command()
def bench(
    rows: Annotated[str | None, typer.Option(help="rows to measure, separated by commas [default: all]")] = None,
    rounds: Annotated[
        int | None, typer.Option(help="rounds of each row, in time-to-95 seeds [default: a number for each]")
    ] = None,
    threads: Annotated[int | None, typer.Option(help="PyTorch's threads [default: one a core]")] = None,
    json: Annotated[Path | None, typer.Option(help="file to write the results to, after every row")] = None,
) -> None:
    """Time our implementation against plain PyTorch, in turns, in one process.

    A ratio below 1 means that ours is faster; absolute times hold for this machine only.
    """
    from grokkit.bench.row import all_rows, choose
    from grokkit.bench.show import run, writable
    from grokkit.call_syntax import split_list
    from grokkit.study.pool import cores

    chosen = choose(all_rows(), None if rows is None else split_list(rows))
    for option, value in (("--rounds", rounds), ("--threads", threads)):
        if value is not None and value < 1:
            raise InputError(f"{option} {value} is not possible: at least 1; leave it out for the default")
    if json is not None and not writable(json):
        raise InputError(f"--json {json} cannot be written; give a file in a folder of yours, e.g. out/bench.json")
    each = {row.id: rounds or row.rounds for row in chosen}
    if not run(chosen, each, threads=threads or cores(), json=json, console=Console(highlight=False)):
        raise typer.Exit(130)


@app.command()
def methods() -> None:
    """List the methods."""
    _list_parts("methods")
    print("\nSettings go in parentheses: grokfast-ema(alpha=0.9,lamb=1,wd=0.01). All of one: grokkit card NAME")


@app.command()
def tasks() -> None:
    """List the tasks."""
    from grokkit.registry import parts
    from grokkit.tasks.named import card_of

    _list([line for part in parts("tasks").values() for line in card_of(part).usage.items()])
    print(
        "\nOr any modular expression: 'a*a - b mod 97', 'a*c + b*d - e mod 7', '(a+b)*c mod 23', 'a/b mod 97'\n"
        "Settings go in parentheses: 'mul:97(layout=operands-first,b=1)', 'add:97(split=unordered)'"
    )


@app.command()
def card(name: Annotated[str, typer.Argument(help="a method; see `grokkit methods`")]) -> None:
    """Show what is known of a method: equations, cost, settings, where its defaults come from."""
    from grokkit.train.cards import find_card
    from grokkit.train.resolve import default_settings

    found = find_card(name)
    rows = [
        ("hooks into", ", ".join(found.hooks) or "nothing: a bare optimizer"),
        ("equations", found.equations),
        ("cost", found.cost),
        ("FLOPs", "none but the model's: entry by entry" if found.flops is None else "products of its own are counted"),
        ("settings", _shown(default_settings(found)) or "none of its own"),
        ("optimizer", _shown(found.optimizer)),
        ("rows apart", f"held_out={found.held_out}, a share of the training rows; any method takes it"),
        ("source", found.optimizer_source),
        *((f"on {task}", f"{_shown(recipe.settings)}; {recipe.source}") for task, recipe in found.recipes.items()),
        ("tuned", found.tuned),
        ("departures", found.departures),
        ("also called", ", ".join(found.aliases)),
    ]
    print(f"{found.name}: {found.summary}\n")
    _list([(label, text) for label, text in rows if text])


@app.command()
def cite(name: Annotated[str, typer.Argument(help="a method; see `grokkit methods`")]) -> None:
    """Print the BibTeX entry of a method's paper."""
    from grokkit.train.cards import find_card

    found = find_card(name)
    if not found.citation:
        raise InputError(f"{found.name} is a baseline without a paper of its own; cite its optimizer")
    print(found.citation)


def _list_parts(kind: str) -> None:
    """What the registry has of a kind, the strangers' origin behind their summary, and a line for each broken one."""
    from grokkit.registry import broken, parts

    rows = []
    for part in parts(kind).values():
        summary = getattr(part.value, "summary", "") or "a function of settings"
        rows.append((part.name, summary if part.origin == "grokkit" else f"{summary} ({part.origin})"))
    _list(rows)
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
    Console(highlight=False).print(table)


def _study_before(store: Store, plan: Plan) -> dict[str, Any] | None:
    """What the folder's study.json says, if there is one; of another task it is refused."""
    if not (store.folder / "study.json").exists():
        return None
    before = store.read_study()
    if before["title"] != plan.study["title"]:
        raise InputError(
            f"{store.folder} holds a study of {before['title']!r}, not of {plan.study['title']!r}; choose another --out"
        )
    return before


def _batch_size(text: str) -> int | None:
    if text == "full":
        return None
    if not text.isdecimal() or int(text) < 1:
        raise InputError(f"--batch-size {text!r} is not possible: a whole number >= 1, or full; the papers use 512")
    return int(text)


def _slug(title: str) -> str:
    words = {"*": "x", "+": "plus", "-": "minus", "/": "over", "^": "pow"}
    spelled = "".join(f" {words[c]} " if c in words else c for c in title)
    return "-".join("".join(c if c.isalnum() else " " for c in spelled).split())
