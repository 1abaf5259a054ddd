"""One patient's turn, top to bottom.

question → safety → retrieval → (answer | did you mean | no answer) → vetted text shown
                                     └→ prompting → engine → grounding → checked sentences shown

The parts are Protocols here and are plugged together in ``bootstrap.py``.
"""

import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Literal, Protocol

from chatbot.errors import GenerationError
from chatbot.grounding.checker import SentenceVerdict, split_stream
from chatbot.knowledge import Answer, Knowledge
from chatbot.prompting import Message, Passage, build_messages, fit_passages
from chatbot.reply import Citation, HitRecord, Outcome, Reply, Sentence, Turn, Waiting, join_text
from chatbot.retrieval.retriever import Decision, Hit
from chatbot.safety.gate import Verdict, greeting_for
from chatbot.text import clean_message, mark_item, markdown_blocks, split_sentences

Mode = Literal["verbatim", "guided"]
MAX_MESSAGE_CHARS = 2000
MAX_PASSAGES = 3
REMEMBERED_TURNS = 12  # earlier messages that are looked at again for a crisis


class Gate(Protocol):
    """Decides before anything else whether a message is an emergency, a crisis or must be declined."""

    def check(self, message: str, history: Sequence[Turn]) -> Verdict | None:
        """Return the verdict of the first rule that fires, or None."""


class Retriever(Protocol):
    """Finds vetted answers and says whether they answer."""

    def decide(self, question: str, history: Sequence[Turn]) -> Decision:
        """Return the decision for this question, with the ranked hits behind it."""


class Writer(Protocol):
    """Words a reply with a language model; see ``engine/writer.py``."""

    @property
    def name(self) -> str | None:
        """The model's name and sha256 prefix, or None when there is no model now."""

    def count_tokens(self, text: str) -> int:
        """Return how many tokens the text has for this model."""

    def draft(self, messages: list[Message], stopped: Callable[[], bool]) -> Iterator[str | Waiting]:
        """Yield this reply's place in the queue as long as it waits, then pieces of the model's text.

        Raises:
            GenerationError: The model cannot answer now, died, or took too long.
        """

    def close(self) -> None:
        """End whatever was started for this writer."""


class Checker(Protocol):
    """Decides whether a generated sentence may be shown."""

    def check(self, sentence: str, passages: Sequence[Passage]) -> SentenceVerdict:
        """Return whether the sentence says nothing that its cited passage does not."""


class Gaps(Protocol):
    """Remembers questions that were asked in vain, for staff; see ``staff/gaps.py``. Never raises, never waits."""

    def note(
        self, question: str, kind: Literal["no_answer", "did_you_mean", "not_helpful"], nearest: Sequence[str]
    ) -> None:
        """Take a question that found nothing, only suggestions, or no help, and the ids of the answers nearest to it."""

    def chosen(self, question: str) -> None:
        """Take back one "did you mean" of this question: the patient chose a suggestion."""


@dataclass(frozen=True, slots=True)
class Working:
    """Nothing new to read yet; ``stage`` says what is being done, ``before`` how many replies come first."""

    stage: Literal["searching", "waiting", "writing"]
    before: int = 0


@dataclass(frozen=True, slots=True)
class Shown:
    """What the patient may read now. Later events only ever add sentences to it."""

    reply: Reply


@dataclass(frozen=True, slots=True)
class Dropped:
    """A generated sentence that grounding refused; for staff and measurements, never for the page."""

    sentence: str
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Finished:
    """The turn is over and this is its whole reply."""

    reply: Reply
    decision: Decision | None = None
    verdict: Verdict | None = None


Event = Working | Shown | Dropped | Finished


def _never() -> bool:
    return False


def _not_told(_message: str) -> str | None:
    return None


class Pipeline:
    """Answers questions from one clinic's knowledge. Safe to use from several threads at once."""

    def __init__(
        self,
        knowledge: Knowledge,
        gate: Gate,
        retriever: Retriever,
        checker: Checker,
        writer: Writer | None,
        *,
        passage_tokens: int = 700,
        gaps: Gaps | None = None,
        translated: Mapping[str, "Pipeline"] | None = None,
        language_of: Callable[[str], str | None] = _not_told,
    ) -> None:
        self.knowledge = knowledge
        self.gate = gate
        self.retriever = retriever
        self.checker = checker
        self.writer = writer
        self.passage_tokens = passage_tokens
        self.gaps = gaps
        self.translated = dict(translated or {})  # by language code
        self.language_of = language_of

    def ask(
        self,
        question: str,
        history: Sequence[Turn] = (),
        *,
        mode: Mode = "guided",
        chosen: str | None = None,
        stopped: Callable[[], bool] = _never,
        id_: str = "",
        language: str | None = None,
    ) -> Iterator[Event]:
        """Yield what may be shown as it comes, and exactly one ``Finished`` at the end.

        Args:
            question: The patient's words, as typed.
            history: The conversation so far, oldest first.
            mode: ``verbatim`` shows vetted text alone; ``guided`` adds checked sentences of the model.
            chosen: The id of an answer the patient picked from a list; it is shown without searching.
            stopped: Asked between tokens; once it says True the reply ends with what is shown.
            id_: Handed through to the reply.
            language: The code of the language the page is in; a message that is clearly in another one is answered
                in its own, or told in it that there are no answers.
        """
        page = self.translated.get(language or "", self)
        gentle = page.knowledge.texts.after_crisis if self._was_crisis(history) else ""
        for event in self._turn(question, history, page, mode, chosen, stopped, id_):
            yield _beginning_with(gentle, event) if gentle else event

    def _turn(
        self, question: str, history: Sequence[Turn], page: "Pipeline", mode: Mode, chosen: str | None,
        stopped: Callable[[], bool], id_: str,
    ) -> Iterator[Event]:  # fmt: skip
        clock = _Clock()
        message = clean_message(question, limit=MAX_MESSAGE_CHARS)
        draft = Reply(question=question[:MAX_MESSAGE_CHARS], outcome=Outcome.NO_ANSWER, text="", id=id_)
        # The gate reads the raw text: cutting a message must never cut an emergency out of it.
        verdict = self._checked(question, history)
        draft = clock.mark(draft, "safety")
        if verdict is not None:
            yield from self._finish(
                clock, _fixed(draft, verdict.outcome, verdict.text, red_flag=verdict.rule_id), verdict=verdict
            )
            return
        if not message:
            yield from self._finish(clock, _fixed(draft, Outcome.NO_ANSWER, page.knowledge.texts.empty_question))
            return
        spoken = None if chosen else self.language_of(message)
        speaker = page if spoken is None else self._speaker(spoken)
        if speaker is None:
            others = self.knowledge.texts.other_languages
            text = others.get(str(spoken), page.knowledge.texts.no_answer)
            draft = replace(draft, language=str(spoken) if spoken in others else page.knowledge.language)
            yield from self._finish(clock, _fixed(draft, Outcome.NO_ANSWER, text))
            return
        draft = replace(draft, language=speaker.knowledge.language)
        yield from speaker._search(clock, draft, message, history, mode, chosen, stopped)

    def _speaker(self, language: str) -> "Pipeline | None":
        """Return the pipeline over the answers in that language, None when there are none."""
        return self if language == self.knowledge.language else self.translated.get(language)

    def _search(
        self, clock: "_Clock", draft: Reply, message: str, history: Sequence[Turn], mode: Mode, chosen: str | None,
        stopped: Callable[[], bool],
    ) -> Iterator[Event]:  # fmt: skip
        """Yield a reply in this pipeline's own language to a message that is no emergency."""
        if greeting := greeting_for(message, self.knowledge.texts.greetings):
            yield from self._finish(clock, _fixed(draft, Outcome.GREETING, greeting))
            return
        yield Working("searching")
        decision = _picked(chosen) if chosen in self.knowledge.answers else self.retriever.decide(message, history)
        draft = clock.mark(replace(draft, hits=_records(decision.hits)), "retrieval")
        self._note(message, decision, history, chosen)
        match decision.kind:
            case "no_answer":
                yield from self._finish(
                    clock, _fixed(draft, Outcome.NO_ANSWER, self.knowledge.texts.no_answer), decision
                )
            case "did_you_mean":
                yield from self._finish(clock, self._did_you_mean(draft, decision), decision)
            case "answered":
                yield from self._answered(clock, draft, decision, message, mode, stopped)

    def reply(self, question: str, history: Sequence[Turn] = (), *, mode: Mode = "guided", id_: str = "") -> Reply:
        """Return the finished reply alone."""
        for event in self.ask(question, history, mode=mode, id_=id_):
            if isinstance(event, Finished):
                return event.reply
        raise AssertionError("a turn always ends with Finished")

    def _was_crisis(self, history: Sequence[Turn]) -> bool:
        """Say whether a crisis card was due earlier in this conversation."""
        said = [turn.text for turn in history if turn.role == "user"][-REMEMBERED_TURNS:]
        verdicts = (self._checked(text, ()) for text in said)
        return any(verdict is not None and verdict.outcome is Outcome.CRISIS for verdict in verdicts)

    def _checked(self, question: str, history: Sequence[Turn]) -> Verdict | None:
        try:
            return self.gate.check(question, history)
        except Exception as error:
            return Verdict.of_failure(self.knowledge.texts.safety_failure, error)

    def _note(self, message: str, decision: Decision, history: Sequence[Turn], chosen: str | None) -> None:
        if self.gaps is None:
            return
        if decision.kind != "answered":
            self.gaps.note(message, decision.kind, [hit.answer_id for hit in decision.hits[:3]])
        elif chosen is not None and (asked := [turn.text for turn in history if turn.role == "user"]):
            self.gaps.chosen(clean_message(asked[-1], limit=MAX_MESSAGE_CHARS))

    def _answered(
        self, clock: "_Clock", draft: Reply, decision: Decision, message: str, mode: Mode, stopped: Callable[[], bool]
    ) -> Iterator[Event]:
        answer = self.knowledge.answers[decision.candidates[0]]
        sentences = vetted_sentences(answer)
        shown = replace(
            draft, outcome=Outcome.ANSWERED, text=answer.plain, sentences=sentences, citations=(citation_of(answer),)
        )
        shown = clock.mark(shown, "first_text")
        yield Shown(shown)
        dropped = 0
        if mode == "guided" and self.writer is not None and not stopped():
            for event in self._worded(shown, decision, message, self.writer, stopped):
                if isinstance(event, Shown):
                    shown = event.reply
                elif isinstance(event, Dropped):
                    dropped += 1
                yield event
        yield from self._finish(clock, replace(shown, dropped=dropped), decision)

    def _worded(
        self, shown: Reply, decision: Decision, message: str, writer: Writer, stopped: Callable[[], bool]
    ) -> Iterator[Event]:
        """Yield the reply again, longer by one checked sentence each time; refused sentences as Dropped."""
        yield Working("writing")
        candidates = [self.knowledge.answers[id_] for id_ in decision.passages[:MAX_PASSAGES]]
        offered = [Passage(answer.id, answer.title, answer.text) for answer in candidates]
        try:
            passages = fit_passages(offered, budget_tokens=self.passage_tokens, count_tokens=writer.count_tokens)
            messages = build_messages(message, passages, earlier_question=decision.earlier_question)
            pieces = writer.draft(messages, stopped)
            begun = yield from _until_begun(pieces)
            for sentence in split_stream(chain(begun, (piece for piece in pieces if isinstance(piece, str)))):
                verdict = self.checker.check(sentence, passages)
                if not verdict.grounded:
                    yield Dropped(sentence, verdict.reasons)
                    continue
                shown = self._with_sentence(shown, verdict, writer)
                yield Shown(shown)
        except GenerationError:
            return  # the vetted text is on the page already and is a complete reply

    def _with_sentence(self, shown: Reply, verdict: SentenceVerdict, writer: Writer) -> Reply:
        sentence = Sentence(verdict.text, "generated", verdict.citation, verdict.support)
        if any(sentence.text == other.text and other.origin == "generated" for other in shown.sentences):
            return shown
        citations = shown.citations
        if verdict.citation not in [citation.id for citation in citations]:
            citations += (citation_of(self.knowledge.answers[str(verdict.citation)]),)
        return replace(
            shown,
            text=f"{shown.text}\n{sentence.text}",
            sentences=(*shown.sentences, sentence),
            citations=citations,
            model=writer.name,
        )

    def _did_you_mean(self, draft: Reply, decision: Decision) -> Reply:
        answers = [self.knowledge.answers[id_] for id_ in decision.candidates]
        sentences = (
            *_fixed_sentences(self.knowledge.texts.did_you_mean),
            *(Sentence(answer.title, "vetted", answer.id) for answer in answers),
        )
        return replace(
            draft,
            outcome=Outcome.DID_YOU_MEAN,
            text=join_text(sentences),
            sentences=sentences,
            citations=tuple(citation_of(answer) for answer in answers),
        )

    def _finish(
        self, clock: "_Clock", reply: Reply, decision: Decision | None = None, verdict: Verdict | None = None
    ) -> Iterator[Event]:
        if not reply.timings_ms.first_text:
            reply = clock.mark(reply, "first_text")
            yield Shown(reply)
        yield Finished(clock.mark(reply, "total"), decision, verdict)


def _beginning_with(line: str, event: Event) -> Event:
    """Return the event with a line before its reply; a card for an emergency or a crisis stands alone."""
    if not isinstance(event, Shown | Finished) or event.reply.outcome in (Outcome.EMERGENCY, Outcome.CRISIS):
        return event
    reply = event.reply
    first = Sentence(line, "fixed")
    return replace(event, reply=replace(reply, text=f"{line}\n{reply.text}", sentences=(first, *reply.sentences)))


def _until_begun(pieces: Iterator[str | Waiting]) -> Generator[Event, None, list[str]]:
    """Yield the reply's place in the queue until the model writes; return what it wrote first."""
    for piece in pieces:
        if isinstance(piece, str):
            return [piece]
        yield Working("waiting", piece.before) if piece.before else Working("writing")
    return []


class _Clock:
    """Milliseconds since the question arrived."""

    def __init__(self) -> None:
        self._start = time.perf_counter()

    def mark(self, reply: Reply, stage: str) -> Reply:
        """Return the reply with the stage's time filled in."""
        elapsed_ms = (time.perf_counter() - self._start) * 1000
        return replace(reply, timings_ms=replace(reply.timings_ms, **{stage: elapsed_ms}))


def _picked(answer_id: str | None) -> Decision:
    return Decision("answered", candidates=(str(answer_id),), passages=(str(answer_id),))


def vetted_sentences(answer: Answer) -> tuple[Sentence, ...]:
    """Return the answer's text as sentences, in the order and wording in which it is shown."""
    return tuple(
        Sentence(sentence, "vetted", answer.id)
        for block in markdown_blocks(answer.text)
        for sentence in split_sentences(mark_item(block))
    )


def citation_of(answer: Answer) -> Citation:
    """Return what a patient is told about where an answer comes from."""
    source = answer.sources[0]
    return Citation(
        id=answer.id,
        title=answer.title,
        url=str(source.url),
        publisher=source.publisher,
        review_status=answer.review.status,
        reviewed=answer.review.reviewed.isoformat() if answer.review.reviewed else None,
        due=answer.review.due.isoformat() if answer.review.due else None,
    )


def _fixed(draft: Reply, outcome: Outcome, text: str, *, red_flag: str | None = None) -> Reply:
    sentences = _fixed_sentences(text)
    return replace(draft, outcome=outcome, text=join_text(sentences), sentences=sentences, red_flag=red_flag)


def _fixed_sentences(markdown: str) -> tuple[Sentence, ...]:
    return tuple(Sentence(mark_item(block), "fixed") for block in markdown_blocks(markdown))


def _records(hits: Sequence[Hit]) -> tuple[HitRecord, ...]:
    return tuple(HitRecord(hit.answer_id, round(hit.score, 4), hit.rank) for hit in hits)
