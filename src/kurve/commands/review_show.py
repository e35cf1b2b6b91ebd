"""What `kurve review` prints at its end: what the verdicts come to, what they rest on, and where to look."""

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.text import Text

from kurve.commands.review_publish import Published, Reviewed, Sheet
from kurve.metrics.agreement import Agreement
from kurve.review.result import ReviewSettings, scalars
from kurve.review.rows import Choice

_MANY = 300  # rows; a person needs days for more
_MOST_SHOWN = 6  # pairs of judges


def show(
    sheet: Sheet,
    reviewed: Sequence[Reviewed],
    made: Published,
    settings: ReviewSettings,
    *,
    hint: str,
    added: int | None,
) -> None:
    """Print what was found and where everything is; `added` verdicts were read from sheets."""
    console = Console(highlight=False)
    if added is not None:
        console.print(Text(f"{added} new verdicts stored beside the samples"))
    for one in reviewed:
        if one.judged.places:
            for line in _words(one, settings, sheet.choice):
                console.print(Text(line), soft_wrap=True)
        if one.source.num_unjudged:
            note = f"  {one.source.num_unjudged} problems without a judged answer are left out"
            console.print(Text(note, style="yellow"), soft_wrap=True)
    problems = len({row.problem_id for row in sheet.rows})
    console.print(
        Text(f"sheet    {len(sheet.rows)} correct samples of {problems} problems ({_chosen(sheet)})"), soft_wrap=True
    )
    console.print(Text(f"page     {made.page}"), soft_wrap=True)
    console.print(Text(f"files    {made.folder}"), soft_wrap=True)
    for url in made.urls:
        console.print(Text(f"run      {url}"), soft_wrap=True)
    if hint:
        console.print(Text(hint), soft_wrap=True)
    if len(sheet.rows) > _MANY and sheet.choice.per_problem is None:
        console.print(
            Text("next:    per_problem=4 takes a random part of each problem's samples; more is a lot to read")
        )
    stores = ",".join(str(source.store.folder) for source in sheet.sources)
    if not any(one.judged.places for one in reviewed):
        console.print(
            Text(f"next:    open the page, then: kurve review samples={stores} sheet=<its download>"), soft_wrap=True
        )


def _chosen(sheet: Sheet) -> str:
    part = f", at most {sheet.choice.per_problem} of each, chosen at random" if sheet.choice.per_problem else ""
    return f"{sheet.choice.accuracy_words}{part}"


def _words(one: Reviewed, settings: ReviewSettings, choice: Choice) -> list[str]:
    """What the verdicts come to, and what they rest on."""
    result = one.results[settings.rule]
    counts = result.counts
    numbers = scalars(result, one.judged)
    correct, open_ones = int(numbers["num_correct_reviewed"]), int(numbers["num_open_reviewed"])
    lines = [f"\n{one.source.correct.model} on {one.source.benchmark}", *_table(numbers, settings)]
    if result.sound_share is not None:
        share = result.sound_share
        lines.append(f"  of a problem's judged samples {share.value:.1%} are sound [{share.low:.1%}, {share.high:.1%}]")
    lines.append(
        f"  reviewed: {int(counts.reviewed.sum())} problems ({choice.accuracy_words}) with {correct} correct samples: "
        f"{counts.num_sound.sum()} sound, {counts.num_unsound.sum()} unsound by {settings.rule} of "
        f"{len(one.judged.judges)} judges, {open_ones} without a ruling"
    )
    others = int(numbers["num_correct"]) - correct
    lines.append(
        "  CoT-pass@k: samples without a ruling are as often sound as those judged of their problem"
        + (f"; the {others} correct samples of other problems count as sound." if others else ".")
        + " Bounds: all without a ruling unsound, or all sound."
    )
    if len(one.judged.judges) > 1:
        others_by = [rule for rule in one.results if rule != settings.rule]
        lines += [f"  by {rule}: {_headline(scalars(one.results[rule], one.judged))}" for rule in others_by]
    lines += _agreement_words(one.agreement)
    if one.judged.num_failed:
        lines.append(f"  {one.judged.num_failed} verdicts failed and count as none; the same command asks again")
    if one.num_ignored:
        lines.append(f"  {one.num_ignored} verdicts are on samples whose answer is not correct here; they do not count")
    return lines


def _table(numbers: Mapping[str, float], settings: ReviewSettings) -> list[str]:
    lines = []
    for k in _ks(numbers):
        for key, name in ((f"pass_at_{k}", f"pass@{k}"), (f"cot_pass_at_{k}", f"CoT-pass@{k}")):
            line = f"  {name:<14} {numbers[key]:>7.1%}  {100 * settings.confidence:g} % "
            line += f"[{numbers[f'{key}_low']:.1%}, {numbers[f'{key}_high']:.1%}]"
            if f"{key}_least" in numbers:
                line += f"  bounds {numbers[f'{key}_least']:.1%} to {numbers[f'{key}_most']:.1%}"
            lines.append(line)
    return lines


def _headline(numbers: Mapping[str, float]) -> str:
    return ", ".join(f"CoT-pass@{k} {numbers[f'cot_pass_at_{k}']:.1%}" for k in _ks(numbers))


def _ks(numbers: Mapping[str, float]) -> list[int]:
    return sorted(
        int(key.removeprefix("cot_pass_at_").removesuffix("_least")) for key in numbers if key.endswith("_least")
    )


def _agreement_words(known: Mapping[str, Agreement]) -> list[str]:
    """The first pairs, and all judges together, which come last."""
    names = list(known)
    lines = []
    for name in dict.fromkeys((*names[:_MOST_SHOWN], *names[-1:])):
        one = known[name]
        kappa = "no kappa: all verdicts are the same"
        if one.kappa is not None:
            kappa = f"kappa {one.kappa.value:.2f} [{one.kappa.low:.2f}, {one.kappa.high:.2f}]"
        lines.append(f"  agreement of {name}: {one.observed:.0%} on {one.num_samples} samples, {kappa}")
    return lines
