"""True sentences with one thing changed, by kind; several generators a kind, so that no check fits one habit."""

import hashlib
import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import on_path  # noqa: F401 - first
import yaml

from chatbot.grounding.statements import plain_form, vetted
from chatbot.knowledge import Answer
from chatbot.text import markdown_blocks, split_sentences

WORDS: Mapping[str, Any] = yaml.safe_load(Path(__file__).with_name("bed.yaml").read_text(encoding="utf-8"))
NUMBER = re.compile(r"(?<![\d.,-])\d+(?:\.\d+)?(?![\d,-]|\.\d)")
SPELLED = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")


@dataclass(frozen=True, slots=True)
class Row:
    """One sentence to check against one answer."""

    answer_id: str
    kind: str
    generator: str
    text: str
    origin: str  # the true sentence it was made from


Generator = Callable[[str, Answer, random.Random], Iterator[str]]


def true_sentences(answer: Answer) -> list[str]:
    """Return the answer's sentences that may be quoted, lead-ins in front of their items."""
    known = vetted(answer.title, answer.text)
    return [
        statement.text
        for statement in known.statements
        if plain_form(statement.text) in known.verbatim
        and statement.text.rstrip().endswith((".", "!"))
        and len(split_sentences(statement.text)) == 1
    ]


def corrupted(answers: Mapping[str, Answer]) -> Iterator[Row]:
    """Yield every corruption of every true sentence; the same every time."""
    for answer in answers.values():
        verbatim = vetted(answer.title, answer.text).verbatim
        seen: set[str] = set()
        for sentence in true_sentences(answer):
            for kind, generators in GENERATORS.items():
                for generator in generators:
                    chance = random.Random(f"{answer.id}|{sentence}|{generator.__name__}")
                    for text in generator(sentence, answer, chance):
                        if plain_form(text) not in verbatim | seen and text != sentence:
                            seen.add(plain_form(text))
                            yield Row(answer.id, kind, generator.__name__, text, sentence)
        yield from _of_other_answers(answer, answers, verbatim)


def _numbers(sentence: str) -> list[re.Match[str]]:
    fixed = ("911", "988")
    return [match for match in NUMBER.finditer(sentence) if match.group() not in fixed and match.group() != "19"]


def _replaced(sentence: str, match: re.Match[str], new: str) -> str:
    return sentence[: match.start()] + new + sentence[match.end() :]


def near_number(sentence: str, answer: Answer, chance: random.Random) -> Iterator[str]:
    for match in _numbers(sentence):
        value = float(match.group())
        other = chance.choice([value + 1, value * 2, value + 10, max(value - 1, 0), value * 10])
        yield _replaced(sentence, match, f"{other:g}")


def misread_number(sentence: str, answer: Answer, chance: random.Random) -> Iterator[str]:
    for match in _numbers(sentence):
        digits = match.group()
        other = digits[::-1] if len(digits) == 2 else digits[:-1] if len(digits) > 2 else f"{digits}0"
        if other != digits and not other.endswith("."):
            yield _replaced(sentence, match, other)


def number_of_passage(sentence: str, answer: Answer, chance: random.Random) -> Iterator[str]:
    others = sorted(set(NUMBER.findall(answer.plain)) - {"911", "988"})
    for match in _numbers(sentence):
        if choices := [other for other in others if other != match.group()]:
            yield _replaced(sentence, match, chance.choice(choices))


def spelled_number(sentence: str, answer: Answer, chance: random.Random) -> Iterator[str]:
    for match in _numbers(sentence):
        if match.group().isdigit() and int(match.group()) < 12:
            yield _replaced(sentence, match, SPELLED[int(match.group()) + 1])


def swapped_numbers(sentence: str, answer: Answer, chance: random.Random) -> Iterator[str]:
    for one, other in zip(_numbers(sentence), _numbers(sentence)[1:], strict=False):
        if one.group() != other.group():
            swapped = sentence[: one.start()] + other.group() + sentence[one.end() : other.start()] + one.group()
            yield swapped + sentence[other.end() :]


def other_unit(sentence: str, answer: Answer, chance: random.Random) -> Iterator[str]:
    for unit, others in WORDS["units"].items():
        edge = r"\b" if unit[0].isalpha() else ""
        for match in re.finditer(rf"(\d ?)({edge}{re.escape(unit)})(?![\w])", sentence):
            yield sentence[: match.start(2)] + chance.choice(others) + sentence[match.end(2) :]


def other_rate(sentence: str, answer: Answer, chance: random.Random) -> Iterator[str]:
    for match in re.finditer(r"\b(a|every|each|per) (day|week|month|year|hour|night)\b", sentence):
        other = chance.choice([unit for unit in ("day", "week", "month", "year", "hour") if unit != match.group(2)])
        yield sentence[: match.start(2)] + other + sentence[match.end(2) :]


def spoilt_range(sentence: str, answer: Answer, chance: random.Random) -> Iterator[str]:
    for match in re.finditer(r"(\d+(?:\.\d+)?) (to|or) (\d+(?:\.\d+)?)", sentence):
        low, high = match.group(1), match.group(3)
        spoilt = [
            f"{low}{high}",
            low,
            high,
            f"{low} to {float(high) + 1:g}",
            f"up to {high}",
            f"{high} to {low}",
            f"at least {low}",
        ]
        for other in chance.sample(spoilt, 3):
            yield sentence[: match.start()] + other + sentence[match.end() :]


def other_comparison(sentence: str, answer: Answer, chance: random.Random) -> Iterator[str]:
    for phrase, others in WORDS["comparisons"].items():
        for match in re.finditer(rf"\b{phrase}\b", sentence):
            around = sentence[max(0, match.start() - 14) : match.end() + 8]
            if NUMBER.search(around):
                yield _replaced(sentence, match, chance.choice(others))


def lost_comparison(sentence: str, answer: Answer, chance: random.Random) -> Iterator[str]:
    for phrase in WORDS["comparisons"]:
        for match in re.finditer(rf"\b{phrase} (?=\d)|(?<=[\dCFs)]) {phrase}\b", sentence):
            if match.group().strip() != "about":
                yield _replaced(sentence, match, "")


def _word_swaps(sentence: str, words: Sequence[str], others: Sequence[str], chance: random.Random) -> Iterator[str]:
    for word in words:
        for match in re.finditer(rf"\b{word}\b", sentence, re.IGNORECASE):
            if choices := [other for other in others if word[:5].lower() not in other.lower()]:
                new = chance.choice(choices)
                yield _replaced(sentence, match, new.capitalize() if match.start() == 0 else new)


def other_medicine(sentence: str, answer: Answer, chance: random.Random) -> Iterator[str]:
    yield from _word_swaps(sentence, WORDS["medicine_words"], WORDS["medicines"], chance)


def medicine_of_passage(sentence: str, answer: Answer, chance: random.Random) -> Iterator[str]:
    plain = answer.plain.casefold()
    here = [
        word for word in WORDS["medicine_words"] if re.search(rf"\b{word}\b", plain) and word not in sentence.casefold()
    ]
    yield from _word_swaps(sentence, WORDS["medicine_words"], here, chance)


def other_body_part(sentence: str, answer: Answer, chance: random.Random) -> Iterator[str]:
    yield from _word_swaps(sentence, WORDS["body_words"], WORDS["body_words"], chance)


def lost_negation(sentence: str, answer: Answer, chance: random.Random) -> Iterator[str]:
    for pattern, new in (
        (r"\bDo not (\w)", lambda m: m.group(1).upper()), (r"\bdo not (\w)", lambda m: m.group(1)), (r"\bcannot\b", lambda m: "can"),
        (r"\b(is|are|can|should|does|will|may|must|did) not\b", lambda m: m.group(1)), (r"\bNever (\w)", lambda m: m.group(1).upper()),
        (r"\bnever \b", lambda m: ""), (r"\bno (?!one|longer)", lambda m: "a "), (r"\bwithout\b", lambda m: "with"), (r"\bnot \b", lambda m: ""),
    ):  # fmt: skip
        for match in re.finditer(pattern, sentence):
            yield _replaced(sentence, match, new(match))


def gained_negation(sentence: str, answer: Answer, chance: random.Random) -> Iterator[str]:
    if match := re.search(r"\b(is|are|can|should|will|may|must)\b(?! not)", sentence):
        yield _replaced(sentence, match, f"{match.group(1)} not")
    if sentence.split()[0] in WORDS["instructions"]:
        yield f"{chance.choice(['Do not', 'Never', 'Avoid'])} {sentence[0].lower()}{sentence[1:]}"
    if match := re.search(
        r"\b(help|helps|cause|causes|spread|need|lower|lowers|protect|protects|work|works|last|lasts)\b", sentence
    ):
        if " not " not in sentence and not re.search(r"\b(can|may|should|will|to)\b", sentence[: match.start()]):
            yield _replaced(
                sentence, match, f"{'does' if match.group().endswith('s') else 'do'} not {match.group().rstrip('s')}"
            )


def opposite(sentence: str, answer: Answer, chance: random.Random) -> Iterator[str]:
    pairs = {"avoid": "use", "Avoid": "Choose", "safe": "unsafe", "unless": "if", "with": "without", "more": "less", "better": "worse", "worse": "better",
             "before": "after", "high": "low", "low": "high", "raise": "lower", "hot": "cold", "stop": "start", "Stop": "Keep", "warm": "cold"}  # fmt: skip
    for word, other in pairs.items():
        for match in re.finditer(rf"\b{word}\b", sentence):
            yield _replaced(sentence, match, other)


def other_modality(sentence: str, answer: Answer, chance: random.Random) -> Iterator[str]:
    for word, others in WORDS["modality"].items():
        for match in re.finditer(rf"\b{word}\b", sentence, re.IGNORECASE):
            new = chance.choice(others)
            yield _replaced(sentence, match, new.capitalize() if match.group()[0].isupper() else new)


def lost_hedge(sentence: str, answer: Answer, chance: random.Random) -> Iterator[str]:
    for word in WORDS["hedges"]:
        for match in re.finditer(rf"\b{word} ", sentence):
            yield _replaced(sentence, match, "")
        if sentence.startswith(f"{word.capitalize()} "):
            rest = sentence[len(word) + 1 :]
            yield rest[0].upper() + rest[1:]


def softened(sentence: str, answer: Answer, chance: random.Random) -> Iterator[str]:
    low = sentence[0].lower() + sentence[1:]
    if sentence.split()[0] in WORDS["instructions"]:
        yield f"You {chance.choice(['may', 'can', 'must', 'could'])} {low}"
        yield f"{chance.choice(['Always', 'Only'])} {low}"
    if sentence.startswith("Do not "):
        yield f"{chance.choice(['You may not need to', 'You do not have to', 'Try not to', 'It is usually best not to'])} {sentence[7:]}"
    if sentence.startswith("Never "):
        yield f"{chance.choice(['Usually do not', 'You should rarely', 'You do not need to'])} {sentence[6:]}"


def other_audience(sentence: str, answer: Answer, chance: random.Random) -> Iterator[str]:
    for word, others in WORDS["audience"].items():
        for match in re.finditer(rf"\b{word}\b", sentence, re.IGNORECASE):
            new = chance.choice(others)
            yield _replaced(sentence, match, new.capitalize() if match.start() == 0 else new)


def gained_audience(sentence: str, answer: Answer, chance: random.Random) -> Iterator[str]:
    prefix = chance.choice(
        [p for p in WORDS["audience_prefixes"] if p.split()[-1].strip(", ")[:5] not in sentence.casefold()]
        or ["For men, "]
    )
    yield prefix + sentence[0].lower() + sentence[1:]


def lost_audience(sentence: str, answer: Answer, chance: random.Random) -> Iterator[str]:
    for pattern in (
        r"^(In|For) (adults|children|babies|a child|a baby|pregnancy|women|older adults), ",
        r" (to|in|for) (children|babies|adults|teens|a child|a baby)( or teens)?(?=[.,])",
    ):
        if match := re.search(pattern, sentence):
            rest = _replaced(sentence, match, "")
            yield rest[0].upper() + rest[1:]


def swapped_steps(sentence: str, answer: Answer, chance: random.Random) -> Iterator[str]:
    for link in (", then ", ", and then ", " before ", " after ", " until ", " and then "):
        one, found, other = sentence.rstrip(".").partition(link)
        if found and one and other and "," not in one:
            yield f"{other[0].upper()}{other[1:]}{link}{one[0].lower()}{one[1:]}."
    for link, other_link in (
        (" before ", " after "),
        (" after ", " before "),
        ("Before ", "After "),
        ("After ", "Before "),
        (" until ", " after "),
    ):
        if link in sentence:
            yield sentence.replace(link, other_link, 1)


def swapped_cause(sentence: str, answer: Answer, chance: random.Random) -> Iterator[str]:
    for link in (
        " causes ",
        " can cause ",
        " cause ",
        " come from ",
        " comes from ",
        " can lead to ",
        " may cause ",
        " raises ",
        " can raise ",
        " lowers ",
    ):
        one, found, other = sentence.rstrip(".").partition(link)
        if found and one and other:
            yield f"{other[0].upper()}{other[1:]}{link}{one[0].lower()}{one[1:]}."


def swapped_list_steps(sentence: str, answer: Answer, chance: random.Random) -> Iterator[str]:
    steps = [
        split_sentences(block.text)[0].rstrip(".") for block in markdown_blocks(answer.text) if block.number is not None
    ]
    for one, other in zip(steps, steps[1:], strict=False):
        if sentence.rstrip(".") == one and "?" not in one + other:
            yield f"{other}, then {one[0].lower()}{one[1:]}."
            yield f"First {other[0].lower()}{other[1:]}, and after that {one[0].lower()}{one[1:]}."


def swapped_join(sentence: str, answer: Answer, chance: random.Random) -> Iterator[str]:
    for word, other in ((" and ", " or "), (" or ", " and ")):
        for match in re.finditer(word, sentence):
            around = sentence[match.end() :].split()[:1]
            if around and around[0] not in (
                "more",
                "less",
                "higher",
                "lower",
                "older",
                "younger",
                "above",
                "over",
                "not",
            ):
                yield _replaced(sentence, match, other)


def crossed_lists(sentence: str, answer: Answer, chance: random.Random) -> Iterator[str]:
    """The lead-in of one list with an item of another: "Call 911 now if" and a sign that can wait."""
    leads = [
        block.text.rstrip(":")
        for block in markdown_blocks(answer.text)
        if block.kind == "paragraph" and block.text.endswith(":")
    ]
    for lead in leads:
        if sentence.startswith(lead + " ") and len(leads) > 1:
            other = chance.choice([another for another in leads if another != lead] or [lead])
            yield other + sentence[len(lead) :]


def lost_condition(sentence: str, answer: Answer, chance: random.Random) -> Iterator[str]:
    for link in (" if ", " unless ", " until ", " when ", " before ", " after "):
        one, found, _ = sentence.rstrip(".").partition(link)
        if found and len(one.split()) > 2 and not one.lower().startswith(("if ", "when ")):
            yield one.rstrip(",") + "."
    if match := re.match(r"(If|When|Before|After|Unless) [^,]+, (\w)", sentence):
        yield match.group(2).upper() + sentence[match.end() :]


def added_tail(sentence: str, answer: Answer, chance: random.Random) -> Iterator[str]:
    for tail in chance.sample(WORDS["added"], 2):
        yield sentence.rstrip(".") + tail + "."


def added_lead(sentence: str, answer: Answer, chance: random.Random) -> Iterator[str]:
    yield chance.choice(WORDS["added_leads"]) + sentence[0].lower() + sentence[1:]


def _of_other_answers(answer: Answer, answers: Mapping[str, Answer], verbatim: frozenset[str]) -> Iterator[Row]:
    chance = random.Random(answer.id)
    near = [other for other in answers.values() if other.topic == answer.topic and other.id != answer.id]
    far = [other for other in answers.values() if other.topic != answer.topic]
    own = true_sentences(answer)
    for name, pool, count in (("near_answer", near or far, 12), ("far_answer", far, 8)):
        texts = [text for other in pool for text in true_sentences(other) if plain_form(text) not in verbatim]
        for text in chance.sample(texts, min(count, len(texts))):
            yield Row(answer.id, "foreign", name, text, "")
        for text in chance.sample(texts, min(count // 2, len(texts))):
            base = chance.choice(own)
            joined = f"{base.rstrip('.')}, and {text[0].lower()}{text[1:]}"
            yield Row(answer.id, "added", f"joined_{name}", joined, base)


GENERATORS: dict[str, tuple[Generator, ...]] = {
    "number": (near_number, misread_number, number_of_passage, spelled_number, swapped_numbers),
    "unit": (other_unit, other_rate),
    "range": (spoilt_range, other_comparison, lost_comparison),
    "medicine": (other_medicine, medicine_of_passage),
    "body part": (other_body_part,),
    "negation": (lost_negation, gained_negation, opposite),
    "modality": (other_modality, lost_hedge, softened),
    "audience": (other_audience, gained_audience, lost_audience),
    "order": (swapped_steps, swapped_cause, swapped_list_steps),
    "and/or": (swapped_join,),
    "condition": (crossed_lists, lost_condition),
    "added": (added_tail, added_lead),
}


def is_development(answer_id: str) -> bool:
    """Say whether an answer belongs to the development part (about half); the rest is reported on."""
    return hashlib.sha256(f"grounding {answer_id}".encode()).digest()[0] % 2 == 0
