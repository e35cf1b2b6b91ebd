"""CoT-pass@k beside pass@k over log2 k, with its band and its bounds."""

from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from kurve.figures.style import COLOURS, GREY, empty_figure, log2_axis, shade_high_variance
from kurve.types import Curve


def cot_figure(
    plain: Curve, estimate: Curve, bounds: tuple[Curve, Curve] | None, *, title: str, subtitle: str
) -> Figure:
    """Draw pass@k and CoT-pass@k, each with its simultaneous band; `bounds` as a hatched area between them.

    Args:
        plain: pass@k.
        estimate: CoT-pass@k, at least up to the same k.
        bounds: CoT-pass@k if every sample without a ruling were unsound, and if it were sound.
        title: of the figure.
        subtitle: one line below it.
    """
    figure, axes = empty_figure()
    if bounds is not None:
        least, most = bounds
        axes.fill_between(
            least.k, least.value, most.value, facecolor="none", edgecolor=GREY, hatch="....", linewidth=0.6, alpha=0.6,
            label="CoT-pass@k, whatever the samples without a ruling are",
        )  # fmt: skip
    for curve, colour, dash, name in (
        (plain, COLOURS[0], "solid", "pass@k (answer correct)"),
        (estimate, COLOURS[1], "dashed", "CoT-pass@k (and reasoning sound)"),
    ):
        axes.fill_between(curve.k, curve.low, curve.high, color=colour, alpha=0.16, linewidth=0)
        marker = "o" if curve.k.size <= 16 else ""
        axes.plot(
            curve.k, curve.value, color=colour, linestyle=dash, linewidth=1.8, marker=marker, markersize=4, label=name
        )
    largest = int(estimate.k[-1])
    log2_axis(axes, largest)
    top = min(1.0, max(0.05, float(plain.high.max())))
    axes.set_ylim(-0.02 * top, 1.02 * top)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=None if top > 0.1 else 1))
    shade_high_variance(axes, largest, named=False)
    axes.set_xlabel("k (samples per problem);  shaded: k > n/2, high variance")
    axes.set_ylabel("share of problems")
    axes.set_title(title, loc="left", fontsize=11, fontweight="bold", pad=20, parse_math=False)
    axes.text(
        0, 1.02, subtitle, transform=axes.transAxes, fontsize=8.5, color=GREY, va="bottom", parse_math=False
    )  # fmt: skip
    axes.legend(loc="upper left", fontsize=8.5, frameon=True, framealpha=0.9, edgecolor="none")
    return figure
