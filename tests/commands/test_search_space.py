import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from kurve.commands.search_space import Dimension, Space, space_of
from kurve.errors import ConfigError


def space(*words: str) -> Space:
    return space_of(OverridesParser.create().parse_overrides(list(words)))


@pytest.mark.parametrize(
    ("word", "dimension"),
    [
        ("a=x,y", Dimension("a", choices=("x", "y"))),
        ("a=choice(1,2.5)", Dimension("a", choices=("1", "2.5"))),
        ("++a={b: 1},{b: 2}", Dimension("++a", choices=("{b:1}", "{b:2}"))),
        ("a=interval(0.5,2)", Dimension("a", low=0.5, high=2)),
        ("a=tag(log, interval(1e-6,1e-4))", Dimension("a", low=1e-6, high=1e-4, log=True)),
        ("a=int(interval(1,9))", Dimension("a", low=1, high=9, whole=True)),
        ("a=range(8,33,8)", Dimension("a", low=8, high=32, step=8, whole=True)),
        ("a=range(8,32,8)", Dimension("a", low=8, high=24, step=8, whole=True)),
        ("a=tag(log, range(1,65))", Dimension("a", low=1, high=64, whole=True, log=True)),
    ],
)
def test_a_dimension_is_what_hydra_s_grammar_says(word: str, dimension: Dimension) -> None:
    assert space("model=m", word) == Space(("model=m",), (dimension,))


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("a=1", "needs settings to vary"),
        ("a=glob(*)", "a search takes"),
        ("a=interval(2,1)", "the smaller number first"),
        ("a=tag(log, interval(0,1))", "above 0"),
        ("a=tag(log, range(8,65,8))", "in steps of 1"),
    ],
)
def test_what_has_no_place_in_a_search_is_refused(word: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        space(word)


def test_the_command_line_wins_over_what_a_file_searches() -> None:
    assert space("a=1,2", "b=interval(0.0,1.0)", "a=3") == Space(("a=3",), (Dimension("b", low=0.0, high=1.0),))


def test_every_end_of_every_dimension_is_probed_once() -> None:
    found = space("m=x", "a=1,2,3", "b=interval(0.0,1.0)")
    assert found.probes() == [
        ["m=x", "a=1", "b=0.0"],
        ["m=x", "a=2", "b=0.0"],
        ["m=x", "a=3", "b=0.0"],
        ["m=x", "a=1", "b=1.0"],
    ]
    assert found.words({"a": "2", "b": 0.25}) == ["m=x", "a=2", "b=0.25"]
