"""What staff write, as frozen values: an answer and its head, the clinic's facts, fixed texts, acceptance questions."""

import hashlib
from datetime import date
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, HttpUrl, field_validator, model_validator

from chatbot.look import Look
from chatbot.text import lead_paragraph, markdown_sentences, plain_text

Audience = Literal["everyone", "adults", "children", "pregnancy", "older adults"]
ReviewStatus = Literal["draft", "reviewed", "retired"]


class Strict(BaseModel):
    """A frozen model that refuses keys it does not know: a misspelt key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)


class Source(Strict):
    """The public page an answer rests on, and the day somebody compared the two."""

    title: str = Field(min_length=1)
    publisher: str = Field(min_length=1)
    url: HttpUrl
    checked: date | None = None


class Review(Strict):
    """Who vouches for the text. Dates are days in the clinic's own time."""

    status: ReviewStatus = "draft"
    reviewer: str | None = None
    reviewed: date | None = None
    due: date | None = None

    @model_validator(mode="after")
    def _a_review_is_signed(self) -> "Review":
        missing = [name for name in ("reviewer", "reviewed", "due") if not getattr(self, name)]
        if self.status == "reviewed" and missing:
            names = ", ".join(missing)
            raise ValueError(f"{names} is empty; write who checked this text, when, and when it is due again")
        return self

    def is_current(self, today: date) -> bool:
        """Say whether a clinician's review is in force on that day."""
        return self.status == "reviewed" and self.due is not None and today <= self.due

    def is_overdue(self, today: date) -> bool:
        """Say whether a review was in force once and is not any more on that day."""
        return self.status == "reviewed" and not self.is_current(today)


class AnswerHead(Strict):
    """The YAML head of an answer file."""

    title: str = Field(min_length=1, max_length=120)
    questions: tuple[str, ...] = Field(min_length=1)
    audience: Audience = "everyone"
    sources: tuple[Source, ...] = Field(min_length=1)
    review: Review = Review()
    see_also: tuple[str, ...] = ()

    @field_validator("questions")
    @classmethod
    def _questions_are_questions(cls, questions: tuple[str, ...]) -> tuple[str, ...]:
        if any(not question.strip() for question in questions):
            raise ValueError("has an empty question; write it or take the line out")
        return questions


class Answer(AnswerHead):
    """One vetted answer. ``text`` is Markdown with the clinic's numbers filled in."""

    id: str
    text: str

    @property
    def topic(self) -> str:
        """The folder the answer lives in."""
        return self.id.rpartition("/")[0]

    @property
    def lead(self) -> str:
        """The first paragraph: the short answer, as plain text."""
        return lead_paragraph(self.text)

    @property
    def plain(self) -> str:
        """The whole text as plain text, one block a line."""
        return plain_text(self.text)

    @property
    def sentences(self) -> list[str]:
        """Every vetted sentence and list item, in order."""
        return markdown_sentences(self.text)

    @property
    def fingerprint(self) -> str:
        """A hash of everything a patient or the index could see; changes when the answer does."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()


class ClinicWords(Strict):
    """What is said otherwise in another language; the numbers are the same in each."""

    hours: str = Field(min_length=1)
    reach_a_person: str = Field(min_length=1)
    welcome: str = ""


class Clinic(Strict):
    """The clinic's own facts. No phone number shown to a patient comes from anywhere else."""

    PLACEHOLDERS: ClassVar[frozenset[str]] = frozenset((
        "clinic_name", "clinic_phone", "clinic_hours", "emergency_number", "crisis_number", "poison_number",
        "reach_a_person",
    ))  # fmt: skip

    name: str = Field(min_length=1)
    region: str = Field(min_length=2, description="ISO 3166 country code, small letters")
    phone: str = Field(min_length=3)
    hours: str = Field(min_length=1)
    emergency_number: str = Field(min_length=2)
    crisis_number: str = Field(min_length=2)
    poison_number: str = Field(min_length=2)
    languages: tuple[str, ...] = Field(min_length=1)
    reach_a_person: str = Field(min_length=1)
    welcome: str = ""
    examples: tuple[str, ...] = Field(default=(), description="answers whose first questions the page begins with")
    look: Look = Look()
    translations: dict[str, ClinicWords] = Field(default={}, description="by language code; not the first language")

    @model_validator(mode="after")
    def _every_language_has_words(self) -> "Clinic":
        missing = [code for code in self.languages[1:] if code not in self.translations]
        if missing:
            raise ValueError(f"translations has no {missing[0]}; write its hours, reach_a_person and welcome")
        return self

    def in_language(self, code: str) -> "Clinic":
        """Return the clinic's facts with their words in that language, where there are any."""
        words = self.translations.get(code)
        return self.model_copy(update=words.model_dump()) if words is not None else self

    def placeholders(self) -> dict[str, str]:
        """Return what ``{name}`` stands for in answers, cards and fixed texts."""
        return {
            "clinic_name": self.name,
            "clinic_phone": self.phone,
            "clinic_hours": self.hours,
            "emergency_number": self.emergency_number,
            "crisis_number": self.crisis_number,
            "poison_number": self.poison_number,
            "reach_a_person": self.reach_a_person,
        }


class GreetingText(Strict):
    """A small courtesy: what is said back when a message holds nothing but these phrases."""

    phrases: tuple[str, ...] = Field(min_length=1)
    text: str = Field(min_length=1)


class Texts(Strict):
    """The fixed texts of ``texts.yaml``; nothing here is ever generated."""

    software_notice: str = Field(min_length=1)
    demonstration_notice: str = Field(min_length=1)
    no_answer: str = Field(min_length=1)
    did_you_mean: str = Field(min_length=1)
    empty_question: str = Field(min_length=1)
    safety_failure: str = Field(min_length=1)
    model_unavailable: str = Field(min_length=1)
    being_reviewed: str = Field(min_length=1)
    after_crisis: str = Field(default="", description="stands first in every later reply of such a conversation")
    greetings: tuple[GreetingText, ...] = ()
    topics: dict[str, str] = Field(default={}, description="a topic's folder → its name; else the folder's own name")
    other_languages: dict[str, str] = Field(
        default={}, description="by code: what is said in a language without answers"
    )
    visit_questions: tuple[str, ...] = Field(default=(), description="printed on the take-away sheet")


class AcceptanceQuestion(Strict):
    """One line of ``checks.yaml``: a question and what it must lead to (an answer id or an outcome)."""

    question: str = Field(min_length=1)
    expect: str | tuple[str, ...]

    @property
    def accepted(self) -> tuple[str, ...]:
        """Every outcome or answer id that is right."""
        return (self.expect,) if isinstance(self.expect, str) else self.expect
