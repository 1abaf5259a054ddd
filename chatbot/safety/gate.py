"""The gate in front of everything: emergencies, crises and requests that must be declined."""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from chatbot.embedder import Embedder
from chatbot.errors import KnowledgeError, Problem
from chatbot.knowledge import GreetingText
from chatbot.reply import Outcome, Turn
from chatbot.safety.match import Hit, Reading
from chatbot.safety.meaning import LIKENESS_FILE, Likeness, Meaning, Side, Weighed, read_weights
from chatbot.safety.rules import ReadyRule, RuleBook
from chatbot.safety.text import Word

WHOLE_CHARS = 24_000  # longer messages are read at their head, their tail and in windows between
WINDOW_CHARS = 2_000
WINDOWS = 6
EARLIER_MESSAGES = 8
EARLIER_CHARS = 4_000
UNLESS_REACH = 12  # words
MAX_NEAR = 60  # hits of one part looked at around one place


@dataclass(frozen=True, slots=True)
class Verdict:
    """Which rule fired, on which words, and the fixed text the patient reads."""

    outcome: Outcome  # EMERGENCY, CRISIS or DECLINED
    rule_id: str
    text: str  # Markdown, the clinic's numbers filled in
    matched: tuple[str, ...] = ()
    error: str | None = None

    @classmethod
    def of_failure(cls, text: str, error: BaseException) -> "Verdict":
        """Return the verdict for a gate that could not decide: the clinic's emergency text."""
        return cls(Outcome.EMERGENCY, "safety-gate-failed", text, error=f"{type(error).__name__}: {error}")


@dataclass(frozen=True, slots=True)
class Fired:
    """A rule that fired, and the words it fired on."""

    rule: ReadyRule
    matched: tuple[str, ...]
    hits: tuple[Hit, ...] = ()  # where, when all of it stands in this message

    @property
    def side(self) -> Side:
        """Which scale the words are weighed on."""
        return "declined" if self.rule.kind == "declined" else "urgent"


class SafetyGate:
    """Reads every message before anything else does (a Gate, see ``pipeline``). Safe to share between threads."""

    def __init__(self, rules: RuleBook, embedder: Embedder | None) -> None:
        if not rules.usable or rules.reader is None:
            raise KnowledgeError(
                [Problem("safety", "", "the safety rules cannot be used; mend the problems listed first")]
            )
        self.rules = rules
        self.meaning = _open_meaning(rules, embedder) if embedder is not None else None
        self._read = lru_cache(maxsize=256)(rules.reader.read)

    def check(self, message: str, history: Sequence[Turn] = ()) -> Verdict | None:
        """Return the verdict of the most urgent rule that fires, or None."""
        reading = self._read(bounded(message))
        weighed = self.meaning.weigh(reading) if self.meaning is not None else None
        fired = self._first_fired(reading, history, weighed)
        if fired is not None and fired.side == "urgent":
            return self._verdict(fired.rule.group, fired.rule.id, fired.matched)
        if weighed is not None and (alike := weighed.likest("urgent")) is not None:
            return self._verdict_of_likeness(alike)
        if fired is not None:
            return self._verdict(fired.rule.group, fired.rule.id, fired.matched)
        if weighed is not None and (alike := weighed.likest("declined")) is not None:
            return self._verdict_of_likeness(alike)
        return None

    @property
    def weights_made_of(self) -> str | None:
        """The fingerprint of the examples that the weights were made of, or None without weights."""
        return self.meaning.weights.made_of if self.meaning is not None else None

    def prepare(self, messages: Sequence[str]) -> None:
        """Do what takes longest for many messages at once, before they are checked one by one."""
        if self.meaning is not None:
            self.meaning.prepare(self._read(bounded(message)) for message in messages)

    def _verdict(self, group: str, rule_id: str, matched: tuple[str, ...]) -> Verdict:
        return Verdict(self.rules.outcome(group), rule_id, self.rules.groups[group].card, matched)

    def _verdict_of_likeness(self, alike: Likeness) -> Verdict:
        return self._verdict(alike.group, f"{alike.group}/like-examples", (alike.window, *alike.signs))

    def _first_fired(self, reading: Reading, history: Sequence[Turn], weighed: Weighed | None) -> Fired | None:
        said = [turn.text[:EARLIER_CHARS] for turn in history if turn.role == "user"][-EARLIER_MESSAGES:]
        earlier = [self._read(text) for text in said]
        for rule in self.rules.rules:
            fired = fire(rule, reading)
            if fired is not None and (weighed is None or weighed.believes(fired.side, fired.hits)):
                return fired
            if rule.rule.earlier and earlier and (matched := fire_with_earlier(rule, reading, earlier)):
                return Fired(rule, matched)
        return None


def _open_meaning(rules: RuleBook, embedder: Embedder) -> Meaning:
    """Return the weighing half, fitted anew when there are no weights for this embedder (which takes a minute)."""
    weights = read_weights(rules.folder / LIKENESS_FILE) if rules.folder is not None else None
    if weights is None or weights.embedder != embedder.name:
        from chatbot.safety.fitting import fit  # noqa: PLC0415 - scikit-learn is slow to import and hardly ever needed

        weights = fit(rules, embedder)
    return Meaning(rules, weights, embedder)


def bounded(message: str) -> str:
    """Return the message, or of a flood its head, its tail and windows between: the work stays bounded."""
    if len(message) <= WHOLE_CHARS:
        return message
    edge = WHOLE_CHARS // 2
    step = max((len(message) - 2 * edge) // WINDOWS, 1)
    middle = [message[start : start + WINDOW_CHARS] for start in range(edge, len(message) - edge, step)][:WINDOWS]
    return "\n".join([message[:edge], *middle, message[-edge:]])


def fire(rule: ReadyRule, reading: Reading) -> Fired | None:
    """Return the rule with the message's words that make it fire, or None."""
    if not all(any(name in reading.hits for name in part) for part in (*rule.parts, *rule.who)):
        return None
    parts = [meant(reading, part, rule.rule.even_if) for part in rule.parts]
    who = [here(reading, part) for part in rule.who]
    if not all(parts) or not all(who):
        return None
    against = [hit for part in rule.unless for hit in here(reading, part)]
    cluster = close_together(parts, reading, rule.rule.within, against, in_order=rule.rule.in_order)
    if cluster is None:
        return None
    hits = (*cluster, *(found[0] for found in who))
    return Fired(rule, tuple(reading.quote(hit) for hit in hits), cluster)


def fire_with_earlier(rule: ReadyRule, reading: Reading, earlier: Sequence[Reading]) -> tuple[str, ...] | None:
    """Return the words that complete a combination which the patient began in earlier messages, or None.

    What the earlier messages completed by themselves has been answered with its card; it fires again only on a
    sign in the new message, never on an unrelated one.
    """
    now = [meant(reading, part, rule.rule.even_if) for part in rule.parts]
    about_now = [here(reading, part) for part in rule.who]
    before = [[(r, h) for r in earlier for h in meant(r, part, rule.rule.even_if)] for part in rule.parts]
    about_before = [[(r, h) for r in earlier for h in here(r, part)] for part in rule.who]
    if not all(a or b for a, b in zip([*now, *about_now], [*before, *about_before], strict=True)):
        return None
    complete_before = all(before) and all(about_before)
    is_new = any(now) or (any(about_now) and not complete_before)
    if not is_new or any(here(reading, part) for part in rule.unless):
        return None
    words = [reading.quote(hits[0]) for hits in (*now, *about_now) if hits]
    old = [
        r.quote(h)
        for a, b in zip([*now, *about_now], [*before, *about_before], strict=True)
        if not a
        for r, h in b[-1:]
    ]
    return (*words, *(f"earlier: {text}" for text in old))


def meant(reading: Reading, part: Iterable[str], even_if: Sequence[str] = ()) -> list[Hit]:
    """Return the hits of a part that are meant as they stand."""
    return [
        hit
        for name in part
        for hit in reading.hits.get(name, ())
        if (doubt := reading.doubt(hit)) is None or doubt in even_if
    ]


def here(reading: Reading, part: Iterable[str]) -> list[Hit]:
    """Return the hits of a part, meant or not: enough for who somebody is."""
    return [hit for name in part for hit in reading.hits.get(name, ()) if reading.doubt(hit) != "idiom"]


def close_together(
    parts: Sequence[Sequence[Hit]], reading: Reading, within: int, against: Sequence[Hit], *, in_order: bool = False
) -> tuple[Hit, ...] | None:
    """Return one hit of every part, none overlapping and all within so many words of the rarest, or None."""
    words = reading.words
    order = sorted(range(len(parts)), key=lambda number: len(parts[number]))
    others = [(number, sorted(parts[number], key=lambda hit: hit.start)) for number in order[1:]]
    against = sorted(against, key=lambda hit: hit.start)
    for anchor in parts[order[0]]:
        chosen = [anchor]
        for number, hits in others:
            free = (
                hit
                for hit in _near(hits, anchor, words, within)
                if not any(_overlap(hit, one) for one in chosen)
                and (not in_order or (hit.start < anchor.start) == (number < order[0]))
            )
            nearest = min(free, key=lambda hit: (_distance(hit, anchor, words), hit.weak), default=None)
            if nearest is None:
                break
            chosen.append(nearest)
        else:
            too_doubtful = sum(hit.weak for hit in chosen) > (len(chosen) > 1)
            if not too_doubtful and not any(True for _ in _near(against, anchor, words, UNLESS_REACH)):
                return tuple(chosen)
    return None


def _near(hits: Sequence[Hit], anchor: Hit, words: Sequence[Word], reach: int) -> Iterator[Hit]:
    """Yield the hits, given in order, within so many words of the anchor; never more than ``MAX_NEAR``."""
    first = bisect_left(hits, words[anchor.start].place - reach, key=lambda hit: words[hit.end - 1].place)
    for hit in hits[first : first + MAX_NEAR]:
        if _distance(hit, anchor, words) > reach:
            if hit.start > anchor.start:
                return
            continue
        yield hit


def _distance(one: Hit, other: Hit, words: Sequence[Word]) -> int:
    """Return the words between two hits, fillers not counted; neighbours are one apart."""
    first, second = (one, other) if one.start <= other.start else (other, one)
    return max(words[second.start].place - words[first.end - 1].place, 0)


def _overlap(one: Hit, other: Hit) -> bool:
    return one.start < other.end and other.start < one.end


def check_rules(rules: RuleBook, gate: "SafetyGate") -> list[Problem]:
    """Return every example that the gate judges otherwise than its file says, as problems for staff."""
    problems = []
    for group in rules.groups.values():
        path = f"safety/{group.id}.yaml"
        for text in group.must_fire:
            if not right_outcome(gate.check(text), rules.outcome(group.id)):
                problems.append(Problem(path, "must_fire", f"{text[:80]!r} does not fire; widen a rule", "warning"))
        for text in group.must_not_fire:
            if verdict := gate.check(text):
                told = f"{text[:80]!r} fires {verdict.rule_id} on {', '.join(verdict.matched)[:80]}; narrow that rule"
                problems.append(Problem(path, "must_not_fire", told, "warning"))
    return problems


def right_outcome(verdict: Verdict | None, expected: Outcome) -> bool:
    """Say whether a verdict is what an example asks for; an emergency card will do for a crisis, not the reverse."""
    if verdict is None:
        return False
    return verdict.outcome is expected or (expected is Outcome.CRISIS and verdict.outcome is Outcome.EMERGENCY)


def greeting_for(message: str, greetings: Sequence[GreetingText]) -> str | None:
    """Return the greeting's text when the message holds nothing but its phrases, else None."""
    words = "".join(c if c.isalnum() or c in "' " else " " for c in message.casefold()).split()
    for greeting in greetings:
        rest = f" {' '.join(words)} "
        for phrase in sorted(greeting.phrases, key=len, reverse=True):
            rest = rest.replace(f" {phrase.casefold()} ", "  ")
        if words and not rest.strip():
            return greeting.text
    return None
