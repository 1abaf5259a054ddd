"""True sentences said another way by rule: what must not be dropped, one habit of rewording a function.

Honest by construction, so there are thousands of them; a model's own rewordings are freer (``teacher_paraphrases.jsonl``).
"""

import random
import re
from collections.abc import Callable, Iterator, Mapping

import on_path  # noqa: F401 - first
from corrupt import SPELLED, WORDS, Row, true_sentences

from chatbot.grounding.statements import plain_form, vetted
from chatbot.knowledge import Answer

Rewording = Callable[[str, random.Random], Iterator[str]]
_LINKS = "if|when|until|before|after|unless|because"
_LIST = re.compile(r"\b([a-z]+), ([a-z]+)(,?) (and|or) ([a-z]+)(?=[.,]|$)")


def _lower(text: str) -> str:
    return text if text[:1] == "I" or text[1:2].isupper() else text[:1].lower() + text[1:]


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]


def condition_first(sentence: str, chance: random.Random) -> Iterator[str]:
    """Say "Call us if it hurts" as "If it hurts, call us"."""
    main, link, rest, *_ = [*re.split(rf" ({_LINKS}) ", sentence.rstrip("."), maxsplit=1), "", ""]
    if rest and "," not in main and len(main.split()) > 1 and not re.match(rf"({_LINKS})\b", main, re.IGNORECASE):
        yield f"{_upper(link)} {rest.rstrip(',')}, {_lower(main)}."


def condition_last(sentence: str, chance: random.Random) -> Iterator[str]:
    if match := re.fullmatch(rf"({_LINKS}) ([^,]+), ([^,]+)\.", sentence, re.IGNORECASE):
        yield f"{_upper(match.group(3))} {match.group(1).lower()} {match.group(2)}."


def as_advice(sentence: str, chance: random.Random) -> Iterator[str]:
    first = sentence.split()[0]
    if sentence.startswith("Do not "):
        yield f"You should not {sentence[7:]}"
    elif first in WORDS["instructions"]:
        yield chance.choice(["You should ", "Please ", "It is important to ", "Make sure to "]) + _lower(sentence)


def contracted(sentence: str, chance: random.Random) -> Iterator[str]:
    short = sentence
    for long, other in ((r"\b([Dd]o|is|are|should|does|will) not\b", r"\1n't"), (r"\b([Cc])annot\b", r"\1an't")):
        short = re.sub(long, other, short)
    short = short.replace("win't", "won't").replace("willn't", "won't")
    if short != sentence:
        yield short


def other_comma(sentence: str, chance: random.Random) -> Iterator[str]:
    for match in _LIST.finditer(sentence):
        one, two, comma, join, last = match.groups()
        other = "" if comma else ","
        yield f"{sentence[: match.start()]}{one}, {two}{other} {join} {last}{sentence[match.end() :]}"


def other_list_order(sentence: str, chance: random.Random) -> Iterator[str]:
    if "then" in sentence.split():
        return
    for match in _LIST.finditer(sentence):
        one, two, comma, join, last = match.groups()
        yield f"{sentence[: match.start()]}{one}, {last}{comma} {join} {two}{sentence[match.end() :]}"


def number_in_words(sentence: str, chance: random.Random) -> Iterator[str]:
    for match in re.finditer(r"(?<![\d.,/-])(\d{1,2})(?= (?:day|week|hour|minute|month|year|time)s?\b)", sentence):
        if int(match.group(1)) < len(SPELLED) and not re.search(r"\d (to|or) $", sentence[: match.start()]):
            word = SPELLED[int(match.group(1))]
            yield sentence[: match.start()] + (_upper(word) if match.start() == 0 else word) + sentence[match.end() :]


def other_words(sentence: str, chance: random.Random) -> Iterator[str]:
    for word, others in WORDS["same_meaning"].items():
        for match in re.finditer(rf"(?<!\w){word}(?!\w)", sentence, re.IGNORECASE):
            new = chance.choice(others)
            new = _upper(new) if match.group()[0].isupper() else new
            yield sentence[: match.start()] + new + sentence[match.end() :]


REWORDINGS: tuple[Rewording, ...] = (
    condition_first, condition_last, as_advice, contracted, other_comma, other_list_order, number_in_words, other_words,
)  # fmt: skip


def reworded(answers: Mapping[str, Answer]) -> Iterator[Row]:
    """Yield every rewording of every true sentence; the same every time."""
    for answer in answers.values():
        verbatim = vetted(answer.title, answer.text).verbatim
        for sentence in true_sentences(answer):
            for rewording in REWORDINGS:
                chance = random.Random(f"{answer.id}|{sentence}|{rewording.__name__}")
                for text in rewording(sentence, chance):
                    if plain_form(text) not in verbatim:
                        yield Row(answer.id, "honest (by rule)", rewording.__name__, text, sentence)
