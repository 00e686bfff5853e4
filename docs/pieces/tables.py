"""The blocks: functions of a page that give a table, a command or a paragraph each."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import get_args

from grokkit.analyse.format import NOT_REACHED, number, whole
from grokkit.analyse.survival import Cost
from grokkit.analyse.target import target_of
from pieces.bench import bench_list, bench_table
from pieces.cards import methods
from pieces.crossing import at_text, sustained_at
from pieces.growth import growth_table
from pieces.inline import COLUMNS, each_text, values_of
from pieces.markers import PageError
from pieces.options import options_table
from pieces.profile import profile_table
from pieces.recipe import (
    probes_table,
    recipe_claim,
    recipe_claim_there,
    recipe_in_short,
    recipe_limits,
    recipe_look,
    recipe_parts,
    recipe_tasks,
)
from pieces.reliability import reliability_table
from pieces.reproduced import reproduced_items, reproduced_sums
from pieces.scale import cluster_table, store_table
from pieces.spelling import respelt
from pieces.studies import Results, Study
from pieces.tuned import tuned_table
from pieces.waits import waits_table
from pieces.words import MISSING, UNITS, giga_text, median_text, ratio_text, reached_text, shown, time_text

WIDTH = 118  # of a command's line

Cell = Callable[[Study, str], str]


def _each(what: str) -> Cell:
    return lambda study, arm: each_text(study, arm, what)


def _ratio(cost: Cost) -> Cell:
    return lambda study, arm: ratio_text(study, arm, cost)


def _dips(study: Study, arm: str) -> str:
    """The most of a run, and the deepest of all in points of accuracy or in the loss's unit."""
    row = study.row(arm)
    if not row["dips"]:
        return whole(row["dips"], MISSING)
    if row["deepest_dip"] is None:
        return f"{row['dips']}, to no finite loss"
    is_accuracy = target_of(study.about).measure == "accuracy"
    depth = f"{100 * row['deepest_dip']:.0f} points" if is_accuracy else number(row["deepest_dip"])
    return f"{row['dips']}, to {depth} below"


def _slowest(study: Study, arm: str) -> str:
    times = values_of(study, arm, "steps")
    return NOT_REACHED if None in times or not times else number(max(time for time in times if time is not None))


def _evaluation_share(study: Study, arm: str) -> str:
    """Seconds of evaluation over seconds of training, the least and the greatest of the runs."""
    runs = study.of(arm).drop_nulls(["eval_seconds", "train_seconds"])
    shares = [100 * run["eval_seconds"] / run["train_seconds"] for run in runs.iter_rows(named=True)]
    return f"{min(shares):.0f}–{max(shares):.0f} %" if shares else MISSING


def _memory(study: Study, arm: str) -> str:
    """Peak resident memory, the greatest of the runs."""
    peaks: list[int] = study.of(arm)["peak_memory_bytes"].drop_nulls().to_list()
    return f"{number(max(peaks) / 2**20)} MiB" if peaks else MISSING


def _weak_flops(study: Study, arm: str) -> str:
    """What was spent before the first step."""
    costs: list[float] = study.of(arm)["start_flops"].drop_nulls().to_list()
    return giga_text(median(costs) if costs else None)


def _flops(study: Study, arm: str) -> str:
    row = study.row(arm)
    costs_known = study.runs["flops"].is_not_null().all()
    return giga_text(row["median_flops"], NOT_REACHED if costs_known else MISSING)


CELLS: dict[str, tuple[str, Cell]] = {
    "reached": ("reached {target}", lambda study, arm: reached_text(study.row(arm))),
    "first": ("first {target}, median", lambda study, arm: time_text(study.row(arm)["median_first_steps"])),
    "steps": ("steps, median", lambda study, arm: median_text(study.row(arm))),
    "steps, interval": ("steps, median [95 %]", lambda study, arm: median_text(study.row(arm), interval=True)),
    "stable": ("stable, median", lambda study, arm: time_text(study.row(arm)["median_stable_steps"])),
    "dips": ("dips, most of a run", _dips),
    "slowest": ("steps, slowest run", _slowest),
    "seconds": ("seconds, median", lambda study, arm: median_text(study.row(arm), "train_seconds")),
    "delay": ("delay, median steps", lambda study, arm: median_text(study.row(arm), "delay_steps")),
    "weak FLOPs": ("GFLOP of weak models, median", _weak_flops),
    "FLOPs": ("GFLOP to {target}, median", _flops),
    **{f"{cost} ratio": (f"{UNITS[cost]} vs {{baseline}}", _ratio(cost)) for cost in get_args(Cost)},
    **{what: (f"{what}, each seed", _each(what)) for what in COLUMNS if "accuracy" in what or "loss" in what},
    "evaluation share": ("evaluation over training, seconds", _evaluation_share),
    "memory": ("peak memory of the process", _memory),
    "each": ("steps, each seed", _each("steps")),
}
"""Column → its heading and what stands in it."""

DEFAULT = ["reached", "steps", "steps ratio", "flops ratio", "seconds ratio"]


def table_text(rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; the first row is its head."""
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])


class Blocks:
    """The blocks, each under its name in :meth:`table`."""

    def __init__(self, results: Results) -> None:
        self.results = results

    def table(self) -> dict[str, Callable[..., str]]:
        return {
            "leaderboard": self.leaderboard,
            "across": self.across,
            "command": self.command,
            "validation": self.validation,
            "tuned_table": lambda study: tuned_table(self.results.study(study), table_text),
            "published_table": self.published_table,
            "bench_table": lambda name="bench": bench_table(self.results.bench(name)),
            "bench_list": lambda name="bench": bench_list(self.results.bench(name)),
            "growth_table": lambda: growth_table(self.results.growth),
            "store_table": lambda: store_table(self.results.store, table_text),
            "cluster_table": lambda: cluster_table(self.results.cluster, table_text),
            "profile_table": lambda: profile_table(self.results.step_profile),
            "waits_table": lambda: waits_table(self.results.waits),
            "reproduced_items": lambda paper: reproduced_items(paper, table_text),
            "reproduced_sums": lambda: reproduced_sums(table_text),
            "reliability_table": lambda: reliability_table(self.results.reliability),
            "recipe_parts": lambda: recipe_parts(self.results.recipe_parts, table_text),
            "recipe_limits": lambda: recipe_limits(self.results.recipe_limits, table_text),
            "recipe_claim": lambda name: recipe_claim(self.results.recipe_claim(name), table_text),
            "recipe_in_short": lambda name, plan: recipe_in_short(
                self.results.recipe_claim(name), self.results.recipe_plan(plan), table_text
            ),
            "recipe_claim_there": lambda name: recipe_claim_there(self.results.recipe_claim(name), table_text),
            "recipe_look": lambda name: recipe_look(self.results.recipe_look(name), table_text),
            "recipe_tasks": lambda plan: recipe_tasks(self.results.recipe_plan(plan), table_text),
            "probes_table": lambda: probes_table(self.results.recipe_parts["probes"], table_text),
            "methods": methods,
            "options": options_table,
        }

    def leaderboard(self, study: str, columns: Sequence[str] = DEFAULT, *, order: str = "given") -> str:
        """A table with a row for each arm and ``columns``, without those that nothing is known of.

        No arm of the study is left out. ``order="steps"``: by the median of the steps, those without one last.
        """
        found = self.results.study(study)
        if unknown := [name for name in columns if name not in CELLS]:
            raise PageError(f"unknown column {unknown[0]!r}; there are {', '.join(CELLS)}")
        names = found.shown()
        labels = list(names)
        if order == "steps":
            board = found.board()
            labels.sort(key=lambda label: board[label]["median_steps"] or float("inf"))
        words = {
            "target": target_of(found.about).short,
            "baseline": shown(found, found.short(found.baseline)),
        }
        kept = []
        for name in columns:
            head, cell = CELLS[name]
            cells = [cell(found, label) for label in labels]
            if not set(cells) <= {MISSING, "1"}:
                kept.append((head.format(**words), cells))
        rows = [["method", *(head for head, _ in kept)]]
        rows += [[names[label], *(cells[i] for _, cells in kept)] for i, label in enumerate(labels)]
        return table_text(rows)

    def across(
        self,
        studies: Mapping[str, str],
        arms: Sequence[str] | None = None,
        *,
        ratio_of: str | None = None,
        beside: str | None = None,
        cost: Cost | None = None,
        heads: Mapping[str, str] | None = None,
    ) -> str:
        """A row for each of ``arms`` and a column for each of ``studies`` (heading → study): median steps, or, with
        ``beside``, the row's cost over that arm's, in bold where a difference is claimed, with how many runs got
        there where not all did; or, with ``ratio_of``, that arm's cost over the row's.

        Without ``arms``: all of the studies. An arm that none of them has is left out.
        """
        rows = [["", *studies]]
        found = [self.results.study(name) for name in studies.values()]
        for arm in arms or _arms_of(found):
            if not any(study.has(arm) for study in found):
                continue
            row = [(heads or {}).get(arm, f"`{arm}`")]
            for study in found:
                if not study.has(arm):
                    row.append(MISSING)
                elif ratio_of is not None:
                    row.append(ratio_text(study, ratio_of, cost, vs=arm))
                else:
                    times = study.row(arm)
                    few = "" if times["successes"] == times["runs"] else f" ({reached_text(times)})"
                    row.append((median_text(times) if beside is None else _beside(study, arm, beside, cost)) + few)
            rows.append(row)
        return table_text(rows)

    def command(self, *studies: str) -> str:
        """The commands that made the studies, in today's spelling."""
        commands = [_wrapped(respelt(self.results.study(name).about["command"])) for name in studies]
        return "\n".join(["```", *commands, "```"])

    def validation(self, study: str) -> str:
        """Steps to a sustained target on the *validation* part, one value a seed, by learning rate and decay; the
        baseline in bold."""
        found = self.results.study(study)
        target = target_of(found.about)
        rows = [["lr", "decay", "steps, each seed"]]
        for label in found.methods:
            settings = found.about["methods_detail"][label]["optimizer"]
            times = [at_text(at) for at in sustained_at(found, label, f"validation_{target.measure}")]
            row = [f"{settings['lr']:g}", f"{settings['wd']:g}", " · ".join(times)]
            rows.append([f"**{cell}**" for cell in row] if label == found.baseline else row)
        return table_text(rows)

    def published_table(self, prefix: str, rows: Mapping[str, str], columns: Mapping[str, str]) -> str:
        """Published values: those of ``prefix/row/column``, under the headings given."""
        lines = [["", *columns]]
        for head, row in rows.items():
            values = [self.results.published.get(f"{prefix}/{row}/{column}") for column in columns.values()]
            lines.append([head, *(MISSING if value is None else whole(value["value"]) for value in values)])
        return table_text(lines)


def _beside(study: Study, arm: str, baseline: str, cost: Cost | None) -> str:
    """A ratio, in bold where the study claims, in this cost, that the arm needs more or less."""
    text = ratio_text(study, arm, cost, vs=baseline)
    if study.label(arm) == study.label(baseline):
        return text
    is_claimed = cost in (None, study.cost) and study.standing(arm, baseline) in ("less", "more")
    return f"**{text}**" if is_claimed else text


def _arms_of(studies: Sequence[Study]) -> list[str]:
    """All labels of the studies, in the order in which they first stand."""
    return list(dict.fromkeys(label for study in studies for label in study.methods))


def _wrapped(command: str) -> str:
    """The command on lines of at most WIDTH columns: broken between words, and within long ones after commas."""
    lines = [""]
    for word in shlex.split(command):
        quoted = shlex.quote(word)
        if len(lines[-1]) + 1 + len(quoted) <= WIDTH - 2:
            lines[-1] += f" {quoted}" if lines[-1] else quoted
        elif len(quoted) <= WIDTH - 4:
            lines[-1] += " \\"
            lines.append(f"  {quoted}")
        else:
            lines += _broken(lines.pop(), word)
    return "\n".join(lines)


def _broken(line: str, word: str) -> list[str]:
    """``line`` and a long word after it, in double quotes, in which a shell leaves out a backslash and a line's end."""
    if set(word) & set('"$`\\!'):
        raise PageError(f"{word!r} cannot be broken into lines; write the command shorter")
    lines = [f'{line} "']
    for part in _parts(word):
        if len(lines[-1]) + len(part) > WIDTH - 2:
            lines[-1] += "\\"
            lines.append("")
        lines[-1] += part
    lines[-1] += '"'
    return lines


def _parts(word: str) -> list[str]:
    """``word`` cut after its commas, those inside parentheses left out.

    >>> _parts("a(b=(1,2)),c,d")
    ['a(b=(1,2)),', 'c,', 'd']
    """
    parts, depth = [""], 0
    for letter in word:
        depth += {"(": 1, ")": -1}.get(letter, 0)
        parts[-1] += letter
        if letter == "," and depth == 0:
            parts.append("")
    return parts
