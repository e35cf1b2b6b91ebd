r"""Read the answer out of a response, in time linear in its length.

The order is math-verify's: a final box or 'final answer is', whichever ends later; then `answer:`, then `answer`, then
the last formula or number. What is handed on is the box's content, or the few lines in which math-verify's own patterns
then find the value. Differences on purpose: a closed box counts even where a later one is open or empty; what stands
in `<answer>` tags (the R1 template; its stop string takes the closing tag away) comes before other words, then GSM8K's
`#### x`, then a mere 'answer'; of a loop of more than 16 neighbouring boxes only the last counts.
"""

import re
from dataclasses import dataclass

from kurve.verifiers.notation import escape_percent, rewrite_e_notation

_TOKEN = re.compile(r"\\boxed\s{0,20}\{|\\fbox\s{0,20}\{|[{}]")
_SEPARATOR = re.compile(r"\b(?:and|or)\b|,|;")
_PERCENT_AFTER = re.compile(r"\s{0,9}(?:\$\$?|\\\)|\\\])\s{0,9}(?:\\?%|[Pp]ercent|[Pp]ct)")
_ANSWER = re.compile(r"answer", re.IGNORECASE)
_VALUE = r"(?=\*{0,2}[$€£¥₹]?[-+]?\(?[-+]?\.?\d|\*{0,2}\$|\*{0,2}\\[(\[]|-?\\frac|\[)"
_FINAL = re.compile(rf"final answer.{{0,100}}?\s{{1,9}}is:?\s{{0,9}}{_VALUE}", re.IGNORECASE | re.DOTALL)
_COLON = re.compile(
    rf"answer:(?:.{{0,50}}?(?<=[\s=:]){_VALUE}|.{{0,100}}=\s{{0,9}}{_VALUE})", re.IGNORECASE | re.DOTALL
)
_LOOSE = re.compile(rf"answer(?:.{{0,50}}?(?<=[\s=:]){_VALUE}|.{{0,100}}=\s{{0,9}}{_VALUE})", re.IGNORECASE | re.DOTALL)
_IS = re.compile(r"\s{1,9}is\b", re.IGNORECASE)
_HASHES = re.compile(r"####\s{0,9}(\$[^$\n]{1,300}\$|[-+$€£\d.,/%\\ ]{1,300})")
_CANDIDATE = re.compile(r"(?:^|[\s=])(?:\*\*)?[$€£¥₹]?-?\(?-?\.?\d|\$[^$]|\\\)|\\\]|\$\$|\\frac|\]\s")
_TAG = "<answer>"
_WORDS = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{3,}")  # of a sentence; LaTeX commands are none

_MAX_BOXES = 16
_WINDOW = 700
_TAIL = 3000


@dataclass(frozen=True, slots=True)
class Extraction:
    """The part of a response that holds its answer."""

    text: str
    boxed: bool  # text is the answer itself; otherwise the answer is the last value in it
    explicit: bool  # the response announces it as its answer and did so before the end of a cut text


def extract(text: str) -> Extraction | None:
    """The passage that holds the answer, None when the response has nothing that could be one."""
    box = _last_boxes(text)
    after = box[1] if box else 0
    final = _announced(text, _FINAL, start=after, back=len("final "))
    if final is None and box is not None:
        return Extraction(escape_percent(rewrite_e_notation(box[0])).strip(), boxed=True, explicit=True)
    for found in (final, *_weaker(text)):
        if found is not None and found.boxed:
            return Extraction(escape_percent(rewrite_e_notation(found.text)), boxed=True, explicit=found.explicit)
        if found is not None:
            return Extraction(_with_powers_of_ten(found.text).strip(), boxed=False, explicit=found.explicit)
    return None


def _weaker(text: str) -> list[Extraction | None]:
    tagged = _in_tags(text)
    if tagged is not None:
        return [tagged]
    hashes = _after_hashes(text)
    if hashes is not None:
        return [hashes]
    colon = _announced(text, _COLON)
    if colon is not None:
        return [colon]
    return [_announced(text, _LOOSE), _last_value(text)]


def _with_powers_of_ten(passage: str) -> str:
    """E-notation as LaTeX; outside a formula it becomes one, as math-verify would else stop at the first digits."""
    lines = []
    for line in passage.split("\n"):
        pieces = line.split("$")  # every second piece lies between two dollar signs
        outside = "\\(" not in line and "\\[" not in line
        for i, piece in enumerate(pieces):
            between = outside and (i % 2 == 0 or i == len(pieces) - 1)
            pieces[i] = rewrite_e_notation(piece, wrap=between)
        lines.append("$".join(pieces))
    return "\n".join(lines)


def _last_boxes(text: str) -> tuple[str, int] | None:
    """Content of the last closed box, joined with its close neighbours as math-verify does, and where it ends."""
    if "\\boxed" not in text and "\\fbox" not in text:
        return None
    boxes = _closed_boxes(text)
    if not boxes:
        return None
    contents: list[str] = []
    next_start = end_of_last = boxes[-1][2]
    for start, opening, end in reversed(boxes):
        content = text[opening:end].strip()
        if not contents:
            contents, next_start = [content], start
        elif end < next_start and _belongs(text[end + 1 : next_start], content, contents[-1]):
            if contents[-1] != content:
                contents.append(content)
            next_start = start
        else:
            break
        if len(contents) > _MAX_BOXES:
            del contents[1:]
            break
    answer = ",".join(reversed(contents))
    return answer + (r"\%" if _PERCENT_AFTER.match(text, end_of_last + 1) else ""), end_of_last


def _closed_boxes(text: str) -> list[tuple[int, int, int]]:
    """(start of the command, start of the content, closing brace) of all closed, non-empty boxes, in order of start."""
    stack: list[tuple[int, int, bool]] = []
    boxes = []
    first = min(found for name in ("\\boxed", "\\fbox") if (found := text.find(name)) >= 0)
    for match in _TOKEN.finditer(text, first):
        if match[0] == "}":
            if stack:
                start, opening, is_box = stack.pop()
                if is_box and not text[opening : match.start()].isspace() and opening < match.start():
                    boxes.append((start, opening, match.start()))
        else:
            stack.append((match.start(), match.end(), match[0] != "{"))
    return sorted(boxes)


def _belongs(between: str, content: str, following: str) -> bool:
    if len(between) < 10:
        return True
    return content != following and len(between) < 70 and bool(_SEPARATOR.search(between))


def _announced(text: str, pattern: re.Pattern[str], *, start: int = 0, back: int = 0) -> Extraction | None:
    """The passage at the last 'answer' that announces a value."""
    for anchor in reversed([match.start() for match in _ANSWER.finditer(text, start)]):
        match = pattern.match(text, max(anchor - back, 0))
        if match is None:
            continue
        stop = text.find("\n\n", match.end() + 1, match.start() + _WINDOW)
        passage = text[match.start() : stop if stop > 0 else match.start() + _WINDOW]
        told = pattern is not _LOOSE or _IS.match(text, anchor + len("answer")) is not None
        return Extraction(passage, boxed=False, explicit=told and _ended(text[match.end() : match.end() + _WINDOW]))
    return None


def _ended(rest: str) -> bool:
    """Whether the value that `rest` begins with was finished before the text ended."""
    rest = rest.lstrip("* ")
    for opening, closing in (("$$", "$$"), ("$", "$"), ("\\(", "\\)"), ("\\[", "\\]")):
        if rest.startswith(opening) and not rest[1:2].isdigit():
            return closing in rest[len(opening) :]
    return re.match(r"\S+\s|\$[^$]*\$", rest) is not None


def _in_tags(text: str) -> Extraction | None:
    """What the last `<answer>` tag holds: a bare value as it is, a sentence as a passage to search."""
    at = text.rfind(_TAG)
    if at < 0:
        return None
    opening = at + len(_TAG)
    closing = text.find("</answer>", opening)
    content = text[opening : closing if closing >= 0 else len(text)].strip()
    if not any(character.isalnum() for character in content):
        return None
    bare = content.strip("$ *").removeprefix("\\(").removesuffix("\\)").strip()
    if len(bare) <= _WINDOW and "\n" not in bare and "$" not in bare and not _WORDS.search(bare):
        return Extraction(bare, boxed=True, explicit=closing >= 0)
    return Extraction(content[-_TAIL:], boxed=False, explicit=closing >= 0)


def _after_hashes(text: str) -> Extraction | None:
    at = text.rfind("####")
    if at < 0:
        return None
    newline = text.find("\n", at)
    line = text[at : newline if newline >= 0 else len(text)].rstrip()
    match = _HASHES.fullmatch(line)
    if match is None or not any(character.isdigit() for character in match[1]):
        return None
    return Extraction(match[1].strip(" $€£").rstrip("."), boxed=True, explicit=newline >= 0)


def _last_value(text: str) -> Extraction | None:
    """The last line with a number or a formula, from where its formula begins."""
    end = len(text)
    while end >= 0:
        start = text.rfind("\n", 0, end) + 1
        line_start = start if end - start < _TAIL else max(start, text.rfind(" ", start, end - _TAIL) + 1)
        match = _CANDIDATE.search(text, max(line_start - 1, 0), end + 1)  # from the newline: it may precede a number
        if match is not None:
            return Extraction(text[_formula_start(text, line_start, end) : end + 1], boxed=False, explicit=False)
        end = start - 1
    return None


def _formula_start(text: str, line_start: int, end: int) -> int:
    line = text[line_start:end]
    for opening, closing in (("\\[", "\\]"), ("$$", "$$")):
        if closing in line and line.count(opening) < (2 if opening == closing else 1):
            found = text.rfind(opening, max(line_start - _TAIL, 0), line_start)
            if found >= 0:
                return found
    return line_start
