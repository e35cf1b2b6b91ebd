"""`kurve <command>`: pick the primary config, hand over to Hydra, turn errors into one message and an exit code."""

import difflib
import os
import re
import sys
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path

from kurve import __version__
from kurve.errors import ConfigError, KurveError

COMMANDS = {
    "study": "train, evaluate, compare and promote models as one study; what is finished is not done again",
    "plan": "what an evaluation will cost in samples, tokens, GPU-hours and storage, before it is paid for",
    "evaluate": "sample a model, verify every sample, report pass@k for every k (the daily command)",
    "sample": "draw and store samples only",
    "verify": "judge stored samples, with this or another verifier; no model is needed",
    "train": "train a model by RLVR, SFT or distillation; every checkpoint can be evaluated",
    "report": "measure and track stored samples; also sends what could not be tracked earlier",
    "review": "judge the reasoning of correct samples on a sheet or by a model, and measure CoT-pass@k",
    "compare": "what changed between a base and tuned models, problem by problem, with its uncertainty",
    "score": "how likely a model finds stored samples: perplexity, and its place among the base's own",
    "figure": "draw a figure of the study from stored runs (kurve figure curves runs=...), with the numbers in it",
    "import": "bring samples or verdicts of other tools (lm-eval, lighteval, Inspect, ...) into a store and a run",
    "promote": "give a registered model's version an alias such as champion, if it passes a gate",
    "sync": "send what could not be sent while the tracking server was away",
    "sweep": "how the jobs of a sweep (-m) fare, what they measured over seeds; closes those whose process is gone",
    "merge": "make one sample store of several shards or seeds",
    "list": "show what can be chosen (kurve list benchmark) and what is stored (kurve list samples)",
}
_FINGERPRINTS = (
    "samples",
    "match_entropy",
    "from_run",
    "guess_filter",
    "verdicts",
    "speed_from",
    "lengths_from",
)  # settings that take them
_LIKE_A_NUMBER = re.compile(r"(?<![^,\[ ])(?:\d+e\d+|\d{6,})(?![^,\] ])")  # a whole item of a list
USER_ERROR = 2
INTERRUPTED = 130
CLOSED_PIPE = 141

_SAMPLED = {"model": "smollm2_135m_instruct", "benchmark": "arithmetic"}
_EXAMPLES = {
    "plan": _SAMPLED,
    "evaluate": _SAMPLED,
    "sample": _SAMPLED,
    "score": {"model": "smollm2_135m_instruct", "samples": "0123456789ab"},
    "train": {**_SAMPLED, "algorithm": "grpo"},
    "study": {"experiment": "countdown"},
}
_REFERENCES = {  # settings of each command whose values are one text for Hydra, whatever characters they have
    "compare": ("base=", "tuned="),
    "figure": ("runs=", "base=", "title=", "output="),
    "import": ("path=",),
    "promote": ("registered_model=", "version=", "base=", "tuned="),
    "review": ("samples=", "sheet=", "judges="),
    "score": ("samples=", "base=", "reference="),
}
_PROMOTE_WORDS = {"--dry-run": "dry_run=true"}
_ESCAPE_HATCH = "set HYDRA_FULL_ERROR=1 for the stack trace"


def main() -> None:
    """Entry point of the console script; the process exits 0, 2 (a user's mistake), 1 or 3 (a gate), 130, or 1."""
    if parent := os.environ.pop("KURVE_LEAVE_WITH", ""):
        from kurve.commands.leaving import leave_with

        leave_with(int(parent))
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code."""
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        _say(_overview())
        return 0 if arguments else USER_ERROR
    if arguments[0] in ("-V", "--version"):
        _say(f"kurve {__version__}")
        return 0
    wants_trace = os.environ.get("HYDRA_FULL_ERROR") == "1"
    try:
        if arguments[0] in ("-sc", "--shell-completion"):
            from kurve.commands.completion import main as complete

            _say(complete(arguments[1:], COMMANDS, lambda command: _EXAMPLES.get(command, {})))
            return 0
        return _dispatch(arguments[0], arguments[1:])
    except KurveError as error:
        if wants_trace:
            raise
        return _refuse(error)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # the reader of a pipe has gone, as in `kurve ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return CLOSED_PIPE


def _dispatch(command: str, arguments: Sequence[str]) -> int:
    if command not in COMMANDS:
        near = difflib.get_close_matches(command, COMMANDS, n=1)
        hint = f"did you mean 'kurve {near[0]}'?" if near else f"choose one of: {', '.join(COMMANDS)}"
        raise ConfigError(f"unknown command '{command}'; {hint}")
    if command == "list" or (command == "figure" and not arguments):
        from kurve.commands.list import main as list_main

        return list_main(arguments if command == "list" else [command])
    return _run_hydra(command, _named(command, arguments))


def _named(command: str, arguments: Sequence[str]) -> list[str]:
    """Words that a person copies, as the overrides that they mean: a path may hold `=`, a list of models commas."""
    whole = _REFERENCES.get(command, ())
    arguments = [word if whole and word.startswith(whole) else _with_fingerprints(word) for word in arguments]
    if command == "figure" and arguments and "=" not in arguments[0] and not arguments[0].startswith("-"):
        arguments = [f"figure={arguments[0]}", *arguments[1:]]
    if command == "sweep":
        return _sweep_words(arguments)
    if command == "promote":
        arguments = [_PROMOTE_WORDS.get(word) or re.sub("^model=", "registered_model=", word) for word in arguments]
    if command in _REFERENCES:
        quoted = ("figure=", *_REFERENCES[command])
        return [_quoted(word) if word.startswith(quoted) else word for word in arguments]
    if command != "sync" or not arguments or arguments[0].startswith("-"):
        return list(arguments)
    first, *rest = arguments
    if "=" in first and not Path(first).is_dir():
        return list(arguments)
    return [_quoted(f"folder={first}"), *rest]


def _sweep_words(arguments: Sequence[str]) -> list[str]:
    """`status <name>` as the overrides that it means, and `base=` as one text."""
    words = list(takewhile(lambda word: "=" not in word and not word.startswith("-"), arguments))
    if len(words) > 2:
        raise ConfigError(f"kurve sweep takes an action and the name of a sweep, got {' '.join(words)}")
    named = [_quoted(f"{key}={word}") for key, word in zip(("action", "sweep_name"), words, strict=False)]
    rest = [_quoted(word) if word.startswith("base=") else word for word in arguments[len(words) :]]
    return [*named, *rest]


def _with_fingerprints(word: str) -> str:
    """The override with fingerprints as texts: Hydra would read 13e456789012 as infinity, 012345678901 as a number."""
    key, sign, value = word.partition("=")
    if not sign or key.rpartition(".")[2] not in _FINGERPRINTS:
        return word
    return key + sign + _LIKE_A_NUMBER.sub(r"'\g<0>'", value)


def _quoted(override: str) -> str:
    """The override with its value as one text for Hydra, whatever characters it has; a list stays a list."""
    key, _, value = override.partition("=")
    if value[:1] in ("'", '"', "["):
        return override
    escaped = value.replace("'", "\\'")
    return f"{key}='{escaped}'"


def _run_hydra(command: str, arguments: Sequence[str]) -> int:
    """Compose the command's config and run it; in a single run its own errors pass through unchanged.

    Hydra swallows exceptions and exits with 1 unless HYDRA_FULL_ERROR is set, so it is set here.
    """
    import hydra
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    from kurve.commands.build import opened
    from kurve.commands.job import Job

    job = Job(command)
    _register_sweepers()
    asked_for_trace = os.environ.get("HYDRA_FULL_ERROR") == "1"
    os.environ["HYDRA_FULL_ERROR"] = "1"
    given = _with_choices_for_help(command, arguments)
    argv, sys.argv = (
        sys.argv,
        ["kurve", *_flags_first([opened(word) if command == "train" else word for word in given])],
    )
    try:
        hydra.main(version_base="1.3", config_path="pkg://kurve.conf", config_name=command)(job)()
    except (HydraException, OmegaConfBaseException, YAMLError) as error:
        if asked_for_trace:
            raise
        raise ConfigError(_explain(error, command)) from error
    except ValueError as error:  # Hydra's own complaints about flags and groups
        if asked_for_trace or not str(error).startswith(("Only one of --", "The --resolve", "Config group override")):
            raise
        raise ConfigError(f"{error}; a group takes the name of an option, see kurve {command} --help") from error
    except OSError as error:
        if asked_for_trace or isinstance(error, BrokenPipeError) or error.filename is None:
            raise
        raise ConfigError(
            f"cannot use {error.filename}: {error.strerror}; results go to outputs/ in this folder unless KURVE_OUT "
            "or paths.out names another"
        ) from error
    finally:
        sys.argv = argv
        if not asked_for_trace:
            os.environ.pop("HYDRA_FULL_ERROR", None)
    if job.failures:
        raise job.failures[0]
    return 0


def _register_sweepers() -> None:
    """Make our sweepers known to Hydra, which does not find the plugins of every editable installation."""
    from hydra.core.plugins import Plugins

    plugins = Plugins.instance()  # which runs the modules of plugins anew, so it comes before the import
    from hydra_plugins.kurve.optuna_sweeper import OptunaSweeper
    from hydra_plugins.kurve.sweeper import ResumableSweeper

    for sweeper in (ResumableSweeper, OptunaSweeper):
        plugins.register(sweeper)


def _flags_first(arguments: Sequence[str]) -> list[str]:
    """The same arguments with all overrides at the end: Hydra's parser stops at overrides that follow a flag."""

    def is_override(argument: str) -> bool:
        return argument.startswith(("~", "+")) or ("=" in argument and not argument.startswith("-"))

    return [a for a in arguments if not is_override(a)] + [a for a in arguments if is_override(a)]


def _with_choices_for_help(command: str, arguments: Sequence[str]) -> list[str]:
    """Hydra composes the config before it shows help, so help needs a model and a benchmark to show it with."""
    if command not in _EXAMPLES or not {"-h", "--help"} & set(arguments):
        return list(arguments)
    examples = _EXAMPLES[command]
    missing = [
        f"{key}={value}" for key, value in examples.items() if not any(a.startswith(f"{key}=") for a in arguments)
    ]
    return [*arguments, *missing]


def _explain(error: Exception, command: str) -> str:
    """Hydra's message with the nearest valid name, without its internals."""
    cause = error.__cause__
    text = str(error)
    if cause is not None and type(cause).__module__.startswith("omegaconf") and str(cause) not in text:
        text = f"{text}\n{cause}"
    text = re.sub(r"\n\s*object_type=.*", "", text)
    if launcher := re.search(r"(?:find|load) 'hydra/launcher/(\w+)'", text):
        extra = "ray" if launcher[1] == "ray" else "sweep"
        return f"{launcher[1]}, which starts the jobs of this cluster, is not installed: pip install 'kurve[{extra}]'"
    wanted = re.search(r"Could not (?:find|load) '[\w./ ]*?([\w.-]+)'", text)
    options = re.search(r"Available options in '[^']*':\s*(.*)", text, re.DOTALL)
    if wanted and options:
        near = difflib.get_close_matches(wanted[1], options[1].split(), n=1)
        text += f"\ndid you mean '{near[0]}'?" if near else ""
    unknown = re.search(r"Could not override '([^']+)'", text)
    if unknown:
        near = difflib.get_close_matches(unknown[1], _known_keys(command), n=1)
        hint = f"did you mean {near[0]}?" if near else f"kurve {command} --help lists all settings"
        text = f"there is no setting '{unknown[1]}'; {hint}"
    return f"{text.strip()}\n({_ESCAPE_HATCH})"


def _known_keys(command: str) -> list[str]:
    """Dotted keys of the command's config as it is without overrides."""
    from hydra import compose, initialize_config_module
    from omegaconf import DictConfig, OmegaConf

    def walk(value: object, prefix: str) -> list[str]:
        if not isinstance(value, dict):
            return [prefix]
        return [key for name, inner in value.items() for key in walk(inner, f"{prefix}.{name}" if prefix else name)]

    with initialize_config_module("kurve.conf", version_base="1.3"):
        cfg = compose(command, overrides=_with_choices_for_help(command, ["--help"])[1:])
    assert isinstance(cfg, DictConfig)
    return walk(OmegaConf.to_container(cfg), "")


def _overview() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {what}" for name, what in COMMANDS.items()]
    return "\n".join(
        [
            "kurve: did a post-training run teach a model anything its base could not already do?",
            "",
            "usage: kurve <command> [group=option ...] [key=value ...] [-m]",
            "",
            *lines,
            "",
            "kurve <command> --help shows the settings of a command; -m sweeps over comma-separated values.",
            "Start with: kurve evaluate model=smollm2_135m_instruct benchmark=gsm8k benchmark.limit=8 num_samples=8",
        ]
    )


def _refuse(error: KurveError) -> int:
    sys.stderr.write(f"kurve: {error}\n")
    return error.exit_status


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")


if __name__ == "__main__":
    main()
