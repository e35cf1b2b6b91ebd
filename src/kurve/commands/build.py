"""Turn a config node with a `_target_` into its object: the one place where Hydra instantiates."""

import difflib
import inspect
import re
from collections.abc import Mapping
from typing import Any, get_type_hints

from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.errors import PydanticSchemaGenerationError

from kurve.errors import ConfigError

# Hydra 1.4 asks which targets a config may name; 1.3 has no such parameter.
ALLOWED_TARGETS = ["kurve.*", "mlflow_plugins.kurve.*", "trl.*"]
_OPEN = ("training.", "algorithm.args.", "lora.")


def build(node: DictConfig, name: str, /, **given: object) -> Any:
    """The object that `node` describes, constructed with its settings and `given`.

    Objects in `given` are passed as they are (Hydra would turn dataclasses into configs), those that the target takes.

    Args:
        node: a config with `_target_`.
        name: what the node is called on the command line, for messages.

    Raises:
        ConfigError: the target cannot be imported, or a setting is missing, unknown or of the wrong type.
    """
    deferred = _deferred(node, name)
    parameters = inspect.signature(deferred.func).parameters
    takes_all = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    settings = deferred.keywords | {key: value for key, value in given.items() if takes_all or key in parameters}
    _check_keywords(deferred.func, settings, name)
    _check_types(deferred.func, deferred.keywords, name)
    return deferred.func(*deferred.args, **settings)


def target(node: DictConfig, name: str) -> Any:
    """The class or function that `node` would build, without building it.

    Raises:
        ConfigError: it cannot be imported.
    """
    return _deferred(node, name).func


def opened(override: str) -> str:
    """The same override of `kurve train`, allowed to add a key where TRL and peft define which keys there are."""
    return f"++{override}" if override.startswith(_OPEN) and "=" in override else override


def plain(node: Any) -> Any:
    """The node as plain dicts and lists, resolved.

    Raises:
        ConfigError: an interpolation cannot be resolved or a mandatory value is missing.
    """
    try:
        return OmegaConf.to_container(node, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise ConfigError(str(error)) from error


def _deferred(node: DictConfig, name: str) -> Any:
    if "_target_" not in node:
        raise ConfigError(f"{name} has no _target_, the class or function to build; see docs/adding.md")
    extra: dict[str, Any] = {}
    if "_execution_whitelist_" in inspect.signature(instantiate).parameters:
        extra["_execution_whitelist_"] = ALLOWED_TARGETS
    try:
        return instantiate(node, _convert_="all", _partial_=True, **extra)
    except (InstantiationException, OmegaConfBaseException) as error:
        raise ConfigError(f"{name}: {_without_import(error) or error}") from error


def _without_import(error: BaseException) -> str:
    """What to do about a target that cannot be imported, the usual one of which is a user's own; empty otherwise."""
    target = re.search(r"locating target '([^']+)'", str(error))
    while error.__cause__ is not None:
        error = error.__cause__
    if target is None or not isinstance(error, ImportError | AttributeError):
        return ""
    told = "install its package, or name its folder in PYTHONPATH (PYTHONPATH=. kurve ...)"
    return f"{target[1]} cannot be imported: {error}; {told}"


def _check_keywords(target: Any, settings: Mapping[str, object], name: str) -> None:
    parameters = inspect.signature(target).parameters
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return
    for key in settings:
        if key not in parameters:
            near = difflib.get_close_matches(key, parameters, n=1)
            hint = f"did you mean {name}.{near[0]}?" if near else f"it takes: {', '.join(parameters)}"
            raise ConfigError(f"{name}.{key} is not a setting of {target.__module__}.{target.__qualname__}; {hint}")
    missing = [
        key
        for key, parameter in parameters.items()
        if parameter.default is parameter.empty
        and key not in settings
        and parameter.kind in (parameter.KEYWORD_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    ]
    if missing:
        raise ConfigError(f"{name} needs {', '.join(missing)}; give it as {name}.{missing[0]}=...")


def _check_types(target: Any, settings: Mapping[str, object], name: str) -> None:
    """Refuse values that the target's annotations exclude: constructors check ranges, not types."""
    constructor = target.__init__ if inspect.isclass(target) else target
    try:
        hints = get_type_hints(constructor)
    except (NameError, TypeError):  # a name known to type checkers only, or a callable without annotations
        return
    for key, value in settings.items():
        if key in hints and not _fits(value, hints[key]):
            expected = _in_words(inspect.formatannotation(hints[key]))
            shown = "null" if value is None else repr(value)
            raise ConfigError(f"{name}.{key} is {shown}; expected {expected}")


def _in_words(annotation: str) -> str:
    lists = re.sub(r"(?:tuple|collections\.abc\.Sequence)\[(\w+)(?:, \.\.\.)?\]", r"list of \1", annotation)
    return lists.replace("None", "null").replace("pathlib.", "").replace(" | ", " or ")


def _fits(value: object, annotation: Any) -> bool:
    try:
        adapter = TypeAdapter(annotation, config=ConfigDict(arbitrary_types_allowed=True, strict=True))
    except (PydanticSchemaGenerationError, TypeError):  # the annotation describes no value, as a Protocol
        return True
    for form in (value, tuple(value)) if isinstance(value, list) else (value,):  # YAML has lists only
        try:
            adapter.validate_python(form)
        except ValidationError:
            continue
        return True
    return False
