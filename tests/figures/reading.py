"""What a reader of a figure can see: every text, where it stands, and whether anything covers it."""

from collections.abc import Iterator

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure, SubFigure
from matplotlib.legend import Legend
from matplotlib.text import Text
from matplotlib.transforms import Bbox

_TOUCHING = 1.0  # pixels that boxes may share


def check_layout(figure: Figure) -> None:
    """Every text is inside the figure, and none lies on another text, on a foreign panel or under a panel."""
    figure.canvas.draw()
    boxes = [(text.get_text(), text.get_window_extent(), axes) for text, axes in _texts(figure)]
    panels = [(axes, axes.get_window_extent()) for axes in _axes(figure)]
    for text, box, own in boxes:
        assert box.x0 >= figure.bbox.x0 - 1, f"{text!r} is cut on the left"
        assert box.x1 <= figure.bbox.x1 + 1, f"{text!r} is cut on the right"
        assert box.y0 >= figure.bbox.y0 - 1, f"{text!r} is cut below"
        assert box.y1 <= figure.bbox.y1 + 1, f"{text!r} is cut above"
        for axes, panel in panels:
            assert axes is own or not _overlap(box, panel), f"{text!r} lies on a panel"
    for place, (text, box, _) in enumerate(boxes):
        for other, its, _ in boxes[place + 1 :]:
            assert not _overlap(box, its), f"{text!r} and {other!r} overlap"


def texts(figure: Figure) -> list[str]:
    """All that is written."""
    figure.canvas.draw()
    return [text.get_text() for text, _ in _texts(figure)]


def legend_names(figure: Figure) -> list[str]:
    """The names of all legends, in order."""
    return [text.get_text() for legend in _legends(figure) for text in legend.get_texts()]


def _overlap(one: Bbox, other: Bbox) -> bool:
    wide = min(one.x1, other.x1) - max(one.x0, other.x0)
    high = min(one.y1, other.y1) - max(one.y0, other.y0)
    return bool(wide > _TOUCHING and high > _TOUCHING)


def _axes(figure: Figure) -> list[Axes]:
    return [axes for axes in figure.get_axes() if axes.axison]


def _strips(figure: Figure | SubFigure) -> Iterator[Figure | SubFigure]:
    yield figure
    for strip in figure.subfigs:
        yield from _strips(strip)


def _legends(figure: Figure) -> list[Legend]:
    return [legend for strip in _strips(figure) for legend in strip.legends]


def _texts(figure: Figure) -> Iterator[tuple[Text, Axes | None]]:
    for strip in _strips(figure):
        yield from ((text, None) for text in strip.texts)  # a heading is one of them
    for legend in _legends(figure):
        for text in legend.get_texts():
            yield text, None
    for axes in _axes(figure):
        own = [axes.title, axes._left_title, axes._right_title, axes.xaxis.label, axes.yaxis.label, *axes.texts]  # type: ignore[attr-defined]  # titles at the sides have no public name
        for text in own:
            if text.get_visible() and text.get_text():
                yield text, axes
        for axis in (axes.xaxis, axes.yaxis):
            for text in _tick_labels(axis):
                yield text, axes


def _tick_labels(axis: Axis) -> list[Text]:
    low, high = sorted(axis.get_view_interval())
    return [
        tick.label1
        for tick, place in zip(axis.get_major_ticks(), axis.get_majorticklocs(), strict=False)
        if tick.label1.get_visible() and tick.label1.get_text() and low <= place <= high
    ]
