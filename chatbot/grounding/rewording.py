"""Other forms of one sentence that say the same: active for passive, two sentences for two joined by "and"."""

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise

from chatbot.grounding.clauses import read
from chatbot.grounding.statements import is_sentence
from chatbot.grounding.wording import wording

_PASSIVE = re.compile(
    r"(?P<opener>(?:[^,]+, )?)(?P<subject>[^,]+?) (?:(?P<modal>should|must|can|may|might|could|need to|needs to) )?"
    r"(?:(?P<no>not) )?(?:be|is|are|was|were) (?:(?P<no_more>not) )?"
    r"(?:(?P<hedge>often|usually|sometimes|always|never) )?"
    r"(?P<verb>[a-z]+(?:ed|en|wn|ut|ept|eld|ung|old|eft|ost|ken))\b(?P<rest>.*)",
    re.IGNORECASE,
)
_PASSIVE_OF_LIST = re.compile(_PASSIVE.pattern.replace("(?:[^,]+, )?", "").replace("[^,]+?", ".+?"), re.IGNORECASE)
_BY = re.compile(r"^ by (?P<agent>[^,.;]+?)(?P<tail>(?:,| if | when | because | before | after | until |[.;!]).*)$")
_ONLY_IF = re.compile(r"(?P<main>[^,]+) only if (?P<condition>.+)")
_NOT_UNLESS = re.compile(r"Do not (?P<main>[^,]+) unless (?P<condition>.+)")
_BEFORE = re.compile(r"(?P<first>[^,]+) before (?P<second>[a-z]+ing)\b(?P<rest>[^,]*)")
_JOINTS = re.compile(r"; |, while |, and |, but | but | and |, so |, ")
_LEADING_JOINT = re.compile(rf"^(?:{_JOINTS.pattern})")
MAX_CUTS = 6


def other_forms(text: str) -> Iterator[str]:
    """Yield the same said another way: a passive as an active, "only if" as "not unless", "before" as "then"."""
    if match := _ONLY_IF.fullmatch(text):
        yield f"Do not {_lower(match['main'])} unless {match['condition']}"
    if match := _NOT_UNLESS.fullmatch(text):
        yield f"{match['main']} only if {match['condition']}"
    if (match := _BEFORE.fullmatch(text)) and (second := _base(match["second"])) in wording().imperatives:
        yield f"{match['first']}, then {second}{match['rest']}"
    yield from _active_forms(text)


def _active_forms(text: str) -> Iterator[str]:
    """Yield a passive sentence as an active one: "Blisters should not be broken" as "Do not break blisters"."""
    for pattern in (_PASSIVE, _PASSIVE_OF_LIST):
        if match := pattern.fullmatch(text):
            yield from _active(match.groupdict(""))


def _active(found: dict[str, str]) -> Iterator[str]:
    subject = _lower(found["subject"])
    negation = "not " if found["no"] or found["no_more"] else ""
    if by := _BY.match(found["rest"]):
        modal = f"{found['modal']} " if found["modal"] else "do " if negation else ""
        yield f"{found['opener']}{by['agent']} {found['hedge']} {modal}{negation}{found['verb']} {subject}{by['tail']}"
    elif found["modal"].casefold() == "can" and not negation:
        yield f"{found['opener']}You can {_base(found['verb'])} {subject}{found['rest']}"
    elif found["modal"].casefold() == "should":
        yield f"{found['opener']}{'Do not ' if negation else ''}{_base(found['verb'])} {subject}{found['rest']}"


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]


def _base(participle: str) -> str:
    """Return the instruction's form of a participle: "heated" gives heat, "given" gives give, "checking" check."""
    word = participle.casefold()
    guesses = (wording().data["irregular"].get(word, word), word[:-2], word[:-1], word[:-3], f"{word[:-3]}e")
    return next((guess for guess in guesses if guess in wording().imperatives), word)


def joined_parts(text: str) -> list[str]:
    """Return the pieces a sentence may be cut into, in order; neighbours put together again are whole sentences too.

    A piece is only cut off where nothing before it governs it: not after a bare "and" behind a negation or
    "can". Where it says "it" or "them", the checker looks at what was named before.
    """
    if read(text).in_sequence:  # "first", "then": the order is part of what is said
        return [text]
    cuts = [joint for joint in _JOINTS.finditer(text) if _may_cut(text, joint)][:MAX_CUTS]
    edges = [0, *[joint.start() for joint in cuts], len(text)]
    return [text[start:end] for start, end in pairwise(edges)]


def put_together(parts: Sequence[str]) -> str:
    """Return neighbouring pieces as one sentence."""
    return _whole(_LEADING_JOINT.sub("", "".join(parts)))


def _whole(part: str) -> str:
    return part if part.endswith((".", "!")) else f"{part.rstrip(' ,;')}."


def _may_cut(text: str, joint: re.Match[str]) -> bool:
    left, right = _whole(text[: joint.start()]), text[joint.end() :]
    return is_sentence(left) and _stands_alone(right) and not _governs(left, right, joint.group())


def _stands_alone(part: str) -> bool:
    words = re.findall(r"[a-z']+", part.casefold())
    if len(words) < 2 or not is_sentence(part) or {"they", "one", "ones"} & set(words):
        return False
    return words[0] in wording().imperatives or words[0] in ("avoid", "don't", "do", "never") or _has_own_verb(words)


def _has_own_verb(words: list[str]) -> bool:
    known = wording()
    plain = any(word in known.modalities or word in ("is", "are", "do", "does", "has", "have") for word in words[1:6])
    return plain or any(word in known.actions - known.ambiguous for word in words[1:3])


def _governs(left: str, right: str, joint: str) -> bool:
    first = right.split()[0].casefold()
    reading = read(left)
    last = reading.terms[-1]
    bare = joint.strip() in ("and", ",")
    if last.group >= 0 and last.condition != "because":  # "if you cough and have a fever"
        return joint.strip() in ("and", "but") or first not in wording().imperatives
    if first in wording().imperatives:
        return (last.negated and bare) or last.modality not in ("", "should")
    return bare and last.negated
