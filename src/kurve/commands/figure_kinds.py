"""The figures that `kurve figure` draws, by name: what each shows, what it needs, and what draws it."""

import dataclasses
import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kurve.arrangement import BY_BENCHMARK, BY_PAIR, against_the_first_tuned, arrange, with_curves
from kurve.commands.figure_perplexity import load_perplexities
from kurve.commands.figure_sources import Asked, Origin, load_sources
from kurve.errors import ConfigError, DataError, MetricError
from kurve.figures.drawn import Drawn
from kurve.figures.panels import Panel, Style

Draw = Callable[[Sequence[Panel], Style], Drawn]


@dataclass(frozen=True, slots=True)
class Made:
    """A figure and where its numbers come from."""

    drawn: Drawn
    sources: tuple[Origin, ...]
    panels: tuple[str, ...] = ()  # in words: what is compared with what
    left_out: tuple[str, ...] = ()  # ids of problems that not all models of a panel have


@dataclass(frozen=True, slots=True)
class Kind:
    """One figure."""

    name: str
    aliases: tuple[str, ...]  # of figures and tables in Yue et al. 2025, arXiv:2504.13837v2
    shows: str
    needs: str
    make: Callable[[Asked], Made]


def kind_of(name: object) -> Kind:
    """The figure of that name or alias.

    Raises:
        ConfigError: there is none, with the nearest name.
    """
    by_name = {key: kind for kind in KINDS for key in (kind.name, *kind.aliases)}
    if isinstance(name, str) and name.lower() in by_name:
        return by_name[name.lower()]
    names = ", ".join(kind.name for kind in KINDS)
    if name is None:
        raise ConfigError(f"kurve figure needs the name of a figure: {names}; kurve list figure explains them")
    near = difflib.get_close_matches(str(name).lower(), [kind.name for kind in KINDS], n=1)
    near = near or difflib.get_close_matches(str(name).lower(), list(by_name), n=1)
    hint = f"did you mean '{near[0]}'?" if near else f"there are {names}"
    raise ConfigError(f"there is no figure '{name}'; {hint} (kurve list figure explains them)")


def _counted(
    draw: Draw, *, by: str = BY_BENCHMARK, curves: bool = False, pairs: bool = False
) -> Callable[[Asked], Made]:
    """What makes a figure of per-problem counts.

    Args:
        draw: from panels.
        by: how models are put into panels if the caller does not say.
        curves: the panels need pass@k curves and differences.
        pairs: each panel must be a base and one other model.
    """

    def make(asked: Asked) -> Made:
        sources = load_sources(asked)
        arranged = arrange(
            [one.evaluated for one in sources],
            by=by if pairs else asked.group_by or by,
            drop_unpaired=asked.drop_unpaired,
        )
        panels = arranged.panels
        if pairs and any(len(panel.members) < 2 for panel in panels):
            alone = ", ".join(panel.members[0].name for panel in panels if len(panel.members) < 2)
            raise ConfigError(
                f"this figure needs {asked.needs}; nothing is compared with {alone}. Name both: runs=<base>,<tuned>"
            )
        if curves:
            panels = tuple(with_curves(panel, asked.style) for panel in asked.tracked(panels, "measuring"))
        try:
            drawn = draw(panels, asked.style)
        except MetricError as error:
            raise DataError(f"{error}. The figure needs {asked.needs}") from error
        return Made(drawn, tuple(one.origin for one in sources), _in_words(panels), arranged.left_out)

    return make


def _in_words(panels: Sequence[Panel]) -> tuple[str, ...]:
    found = []
    for panel in panels:
        where = f"{panel.benchmark}: " if panel.benchmark else ""
        pairs = [
            f"{one.name} against {panel.members[one.against].name}" for one in panel.members if one.against is not None
        ]
        found.append(where + ("; ".join(pairs) or ", ".join(one.name for one in panel.members)))
    return tuple(found)


def _curves(panels: Sequence[Panel], style: Style) -> Drawn:
    from kurve.figures.curve_grid import Words, curve_grid

    return curve_grid(panels, style, words=Words(f"pass@k{_where(panels)}"))


def _where(panels: Sequence[Panel]) -> str:
    names = list(dict.fromkeys(panel.benchmark for panel in panels if panel.benchmark))
    return f" on {names[0]}" if len(names) == 1 else f" on {len(names)} benchmarks" if names else ""


def _temperature(panels: Sequence[Panel], style: Style) -> Drawn:
    from kurve.figures.curve_grid import Words, curve_grid

    unknown = [one.name for panel in panels for one in panel.members if one.temperature is None]
    if unknown:
        raise MetricError(f"the temperature of {', '.join(unknown)} is not known; give temperatures=[...], one a run")
    named = [
        dataclasses.replace(
            panel,
            members=tuple(
                dataclasses.replace(one, name=_with_temperature(one.name, one.temperature)) for one in panel.members
            ),
        )
        for panel in panels
    ]
    return curve_grid(named, style, words=Words(f"pass@k at several temperatures{_where(panels)}"))


def _with_temperature(name: str, temperature: float | None) -> str:
    said = f", T = {temperature:.4g}"
    return name if said in f"{name}," else f"{name}{said}"


def _settings(panels: Sequence[Panel], style: Style) -> Drawn:
    from kurve.figures.curve_grid import Words, curve_grid

    turned = [with_curves(against_the_first_tuned(panel), style) for panel in panels]
    others = {panel.members[one.against].name for panel in turned for one in panel.members if one.against is not None}
    if not others:
        raise MetricError("nothing is compared: there is one setting only")
    to = others.pop() if len(others) == 1 else "the first setting"
    return curve_grid(turned, style, words=Words(f"Settings of the training{_where(panels)}", to))


def _accuracy(panels: Sequence[Panel], style: Style) -> Drawn:
    from kurve.figures.accuracy_grid import accuracy_grid

    return accuracy_grid(panels, style)


def _algorithms(panels: Sequence[Panel], style: Style) -> Drawn:
    from kurve.figures.bars import algorithm_bars

    return algorithm_bars(panels, style)


def _steps(panels: Sequence[Panel], style: Style) -> Drawn:
    from kurve.figures.steps import steps_figure

    return steps_figure(panels, style)


def _scatter(panels: Sequence[Panel], style: Style) -> Drawn:
    from kurve.figures.scatter import scatter_grid

    return scatter_grid(panels, style)


def _coverage(panels: Sequence[Panel], style: Style) -> Drawn:
    from kurve.figures.coverage import coverage_grid

    return coverage_grid(panels, style)


def _perplexity(asked: Asked) -> Made:
    from kurve.figures.perplexity import perplexity_data, perplexity_figure

    found = load_perplexities(asked)
    try:
        figure = perplexity_figure(found.shown, title=asked.style.title or found.title, unit=found.unit)
    except MetricError as error:
        raise DataError(f"{error}. The figure needs {asked.needs}") from error
    return Made(Drawn(figure, perplexity_data(found.shown)), found.origins)


KINDS = (
    Kind(
        "curves", ("fig2", "fig3", "fig4", "fig7", "fig9", "fig10", "fig11"),
        "pass@k of base and tuned models over k, a panel a benchmark and base, with paired differences below",
        "evaluations of one or more models", _counted(_curves, curves=True),
    ),
    Kind(
        "accuracy", ("fig5", "fig13"), "histogram of problems by their share of correct samples, base beside tuned",
        "evaluations of one or more models", _counted(_accuracy, by=BY_PAIR),
    ),
    Kind(
        "perplexity", ("fig6",), "how likely a model finds the samples of several: histograms and quartiles",
        "runs or folders of kurve score", _perplexity,
    ),
    Kind(
        "algorithms", ("fig8", "table2"), "curves of algorithms, and pass@1, pass@256 and delta SE as bars",
        "a base and the models trained from it", _counted(_algorithms, curves=True),
    ),
    Kind(
        "steps", ("fig1", "table3"), "pass@1 and pass@256 over a training's checkpoints, and the change since the base",
        "checkpoints of a training, and their base as step 0", _counted(_steps),
    ),
    Kind(
        "kl_and_rollouts", ("fig15",), "pass@k of trainings that differ in a setting, and differences to the first",
        "two trainings that differ in a setting, the plain one first (a base before them if there is one)",
        _counted(_settings),
    ),
    Kind(
        "temperature", ("fig16", "fig17"), "pass@k of base and tuned model at several temperatures",
        "evaluations whose sampling temperature is known", _counted(_temperature, curves=True),
    ),
    Kind(
        "scatter", (), "accuracy of each problem, tuned against base, with what sampling alone explains",
        "a base and at least one model compared with it", _counted(_scatter, by=BY_PAIR, pairs=True),
    ),
    Kind(
        "coverage", ("table4", "table5"), "problems solved by both, base only, tuned only or neither, over k and at n",
        "a base and at least one model compared with it", _counted(_coverage, by=BY_PAIR, pairs=True),
    ),
)  # fmt: skip
