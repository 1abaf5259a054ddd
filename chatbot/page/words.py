"""Every word of the page itself, one file a language; what the clinic says comes from ``knowledge/``."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Literal, assert_never

import yaml

from chatbot.errors import Problem
from chatbot.knowledge import PLACEHOLDER, Strict, read_model
from chatbot.knowledge_files import shown_path
from chatbot.reply import Outcome

SHIPPED = Path(__file__).parent / "languages"
OWN = "languages"  # a clinic's own translations: this folder of its knowledge
FIRST = "en"


class Words(Strict):
    """The page's words in one language; ``languages/en.yaml`` shows where each of them stands."""

    name: str
    direction: Literal["ltr", "rtl"]
    skip_to_question: str
    ask_label: str
    ask_hint: str
    ask: str
    stop: str
    clear: str
    print_or_save: str
    emergency_call: str
    talk_to_a_person: str
    language_choice: str
    examples: str
    topics: str
    nearest_topics: str
    suggestions: str
    suggestions_found: str
    you_asked: str
    earlier: str
    newest: str
    searching: str
    writing: str
    waiting_one: str
    waiting_many: str
    heading_answered: str
    heading_did_you_mean: str
    heading_no_answer: str
    heading_emergency: str
    heading_crisis: str
    heading_declined: str
    heading_greeting: str
    care_heading: str
    worded: str
    worded_mark: str
    worded_source: str
    source: str
    reviewed: str
    not_reviewed: str
    withdrawn: str
    in_short: str
    in_full: str
    read_aloud: str
    stop_reading: str
    related: str
    helpful: str
    helpful_yes: str
    helpful_no: str
    helpful_word: str
    helpful_send: str
    helpful_thanks: str
    helpful_sorry: str
    idle_title: str
    idle_text: str
    idle_stay: str
    idle_clear: str
    cleared: str
    connection_lost: str
    too_busy: str
    try_again: str
    sheet_title: str
    sheet_intro: str
    sheet_empty: str
    sheet_summary: str
    sheet_questions: str
    sheet_unanswered: str
    sheet_visit: str
    sheet_notes: str
    sheet_print: str
    sheet_pdf: str
    sheet_back: str
    sheet_emergency: str
    other_language: str
    little_words: str

    def heading(self, outcome: Outcome) -> str:
        """Return what stands above a reply."""
        match outcome:
            case Outcome.ANSWERED:
                return self.heading_answered
            case Outcome.DID_YOU_MEAN:
                return self.heading_did_you_mean
            case Outcome.NO_ANSWER:
                return self.heading_no_answer
            case Outcome.EMERGENCY:
                return self.heading_emergency
            case Outcome.CRISIS:
                return self.heading_crisis
            case Outcome.DECLINED:
                return self.heading_declined
            case Outcome.GREETING:
                return self.heading_greeting
            case _:
                assert_never(outcome)

    def waiting(self, before: int) -> str:
        """Return what is read while so many replies come first (0: this one is being written)."""
        if before == 0:
            return self.writing
        return self.waiting_one if before == 1 else fill(self.waiting_many, n=before)


def fill(phrase: str, **values: object) -> str:
    """Return the phrase with these values in place of its ``{placeholders}``."""
    return PLACEHOLDER.sub(lambda match: str(values.get(match.group(1), match.group())), phrase)


@lru_cache(maxsize=1)
def shipped_words() -> Mapping[str, Words]:
    """Return the languages that come with the program, by code, English first."""
    codes = sorted((path.stem for path in SHIPPED.glob("*.yaml")), key=lambda code: (code != FIRST, code))
    return {
        code: Words.model_validate(yaml.safe_load((SHIPPED / f"{code}.yaml").read_text(encoding="utf-8")))
        for code in codes
    }


def words_for(codes: Sequence[str], root: Path, problems: list[Problem]) -> dict[str, Words]:
    """Return the words of these languages, in their order; English when none of them is there.

    Args:
        codes: As in ``clinic.yaml``.
        root: The knowledge folder; ``languages/<code>.yaml`` in it goes before a shipped file.
        problems: What is wrong with the clinic's own files is added here.
    """
    found: dict[str, Words] = {}
    for code in codes:
        path = root / OWN / f"{code}.yaml"
        own = read_model(path, Words, root, problems) if path.exists() else None
        if own is not None and (wrong := _placeholder_problems(own, shown_path(path, root))):
            problems += wrong
            own = None
        if (words := own or shipped_words().get(code)) is not None:
            found[code] = words
        elif not path.exists():
            problems.append(Problem(
                "clinic.yaml", "languages",
                f"names {code!r}, which has no words; write one of {', '.join(shipped_words())} or add {OWN}/{code}.yaml",
                "warning",
            ))  # fmt: skip
    return found or {FIRST: shipped_words()[FIRST]}


def _placeholder_problems(words: Words, path: str) -> list[Problem]:
    """Return a problem for each phrase that has other ``{placeholders}`` than the English one."""
    english = shipped_words()[FIRST]
    wrong = []
    for name in Words.model_fields:
        wanted, has = (set(PLACEHOLDER.findall(str(getattr(one, name)))) for one in (english, words))
        if wanted != has:
            names = ", ".join(f"{{{one}}}" for one in sorted(wanted)) or "no {placeholder}"
            wrong.append(Problem(path, name, f"must hold {names}, as in English"))
    return wrong
