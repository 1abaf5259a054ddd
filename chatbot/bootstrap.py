"""Plugs the parts together; the only file that knows which parts are in use."""

import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from chatbot.embedder import Embedder, MiniLM
from chatbot.engine.writer import start_writer
from chatbot.errors import KnowledgeError, Problem
from chatbot.grounding.checker import GroundingChecker
from chatbot.knowledge import Answer, Filler, Knowledge, filler, load_knowledge
from chatbot.pipeline import Gaps, Pipeline, Writer
from chatbot.retrieval.index import Progress, open_index, recalibrated
from chatbot.retrieval.language import language_of
from chatbot.retrieval.remembering import Interrupted, RememberingEmbedder, stepwise
from chatbot.retrieval.retriever import Retriever, read_synonyms
from chatbot.retrieval.served import ServedOnly
from chatbot.retrieval.translated import WordRetriever
from chatbot.retrieval.words import Synonyms
from chatbot.safety.gate import SafetyGate
from chatbot.safety.languages import GateOfLanguages
from chatbot.safety.rules import load_rules
from chatbot.settings import Settings
from chatbot.shelf import AnswerShelf, Stamp, folder_stamps

Step = Literal["now", "soon", "whole"]
GateState = tuple[Mapping[str, Stamp], tuple[tuple[str, Filler], ...]]
SOON = 48  # changed answers that are embedded before the others are served; more follow in the background
PAUSE_S = 0.005  # between two steps of setting thresholds


@dataclass(frozen=True, slots=True)
class Parts:
    """What the next state of the knowledge can go on using."""

    embedder: Embedder
    stepwise: RememberingEmbedder  # the same embedder, for work beside patients
    shelf: AnswerShelf
    gate: GateOfLanguages
    gate_state: GateState  # the rule files and clinic facts that the gate was made from
    gate_problems: tuple[Problem, ...]
    synonyms: Synonyms
    checker: GroundingChecker
    gaps: Gaps | None


@dataclass(frozen=True, slots=True)
class Service:
    """A pipeline over one state of the knowledge, with what it was built from."""

    settings: Settings
    pipeline: Pipeline
    retriever: Retriever
    problems: tuple[Problem, ...]
    parts: Parts
    read: Knowledge  # the files as they were read last; what of them can be found is in the pipeline
    n_waiting: int = 0  # answers that cannot be found yet, or by their former wording only
    is_settled: bool = True  # the index is over the very answers that are served

    @property
    def knowledge(self) -> Knowledge:
        """The knowledge that is being served."""
        return self.pipeline.knowledge

    def warm_up(self) -> None:
        """Load the embedder now, so that the first patient does not wait for it."""
        self.retriever.decide("a first question", ())
        language_of("a first question")

    def close(self) -> None:
        """End the model's process, if there is one."""
        if self.pipeline.writer is not None:
            self.pipeline.writer.close()


def open_service(
    settings: Settings, *, with_model: bool, embedder: Embedder | None = None, progress: Progress | None = None,
    gaps: Gaps | None = None,
) -> Service:  # fmt: skip
    """Return a service ready for questions.

    Args:
        settings: The operator's choices.
        with_model: Start the language model as well; without it replies are vetted text alone.
        embedder: Another embedder than the shipped one, for tests.
        progress: Told ``(done, total)`` texts while the index is being built.
        gaps: Where questions that find no answer go; whoever opened it closes it.

    Raises:
        KnowledgeError: The clinic's facts, fixed texts or safety rules cannot be used.
        ModelLoadError: The embedder is missing or damaged.
    """
    writer = start_writer(settings.engine, state=settings.state) if with_model and settings.mode == "guided" else None
    try:
        return _assemble(settings, embedder or MiniLM(), writer, progress, gaps)
    except BaseException:
        if writer is not None:
            writer.close()
        raise


def _assemble(
    settings: Settings, embedder: Embedder, writer: Writer | None, progress: Progress | None, gaps: Gaps | None
) -> Service:
    shelf = AnswerShelf()
    knowledge = load_knowledge(settings.knowledge, reviewed_only=settings.reviewed_only, read=shelf)
    problems = list(knowledge.problems)
    gate_state = _gate_state(settings, knowledge)
    gate, gate_problems = _open_gate(settings, knowledge, embedder)
    if gate is None:
        raise KnowledgeError(gate_problems)  # no reply is safe without every safety rule
    synonyms = read_synonyms(settings.knowledge / "synonyms.yaml", settings.knowledge, problems)
    index = open_index(index_folder(settings), knowledge.answers, synonyms, embedder, progress)
    checker = GroundingChecker(embedder, find_citation=True)
    parts = Parts(embedder, stepwise(embedder), shelf, gate, gate_state, gate_problems, synonyms, checker, gaps)
    retriever = Retriever(index)
    pipeline = _pipeline(settings, knowledge, retriever, writer, parts)
    return Service(settings, pipeline, retriever, (*problems, *gate_problems), parts, knowledge)


def _pipeline(
    settings: Settings, knowledge: Knowledge, retriever: Retriever, writer: Writer | None, parts: Parts
) -> Pipeline:
    # The model and its checks know the first language alone; the others show vetted text word for word.
    translated = {
        code: Pipeline(own, parts.gate, WordRetriever(own.answers, code), parts.checker, None, gaps=parts.gaps)
        for code, own in knowledge.translations.items()
    }
    return Pipeline(
        knowledge, parts.gate, ServedOnly(retriever, knowledge.answers), parts.checker, writer,
        passage_tokens=settings.engine.passage_tokens, gaps=parts.gaps, translated=translated, language_of=language_of,
    )  # fmt: skip


def _open_gate(
    settings: Settings, knowledge: Knowledge, embedder: Embedder
) -> tuple[GateOfLanguages | None, tuple[Problem, ...]]:
    """Return the safety gate of every language and what is wrong with its files; no gate after an error."""
    problems: list[Problem] = []
    rules = load_rules(settings.knowledge, knowledge.clinic, problems)
    further = {
        # Red flags come first: they are read for each language of clinic.yaml, even while its texts cannot be.
        code: load_rules(settings.knowledge, knowledge.clinic.in_language(code), problems, language=code)
        for code in knowledge.clinic.languages[1:]
    }
    if any(problem.severity == "error" for problem in problems):
        return None, tuple(problems)
    # The embedder knows the first language alone.
    others = {code: SafetyGate(book, None) for code, book in further.items()}
    gate = GateOfLanguages(SafetyGate(rules, embedder), knowledge.language, others, language_of)
    return gate, tuple(problems)


def _gate_state(settings: Settings, knowledge: Knowledge) -> GateState:
    """Return what a gate is made from: two are alike when the gates are."""
    clinic = knowledge.clinic
    fillers = tuple((code, filler(clinic.in_language(code))) for code in clinic.languages)
    return folder_stamps(settings.knowledge / "safety"), fillers


def reload(service: Service, step: Step = "whole", *, interrupted: Callable[[], bool] = lambda: False) -> Service:
    """Return a service over the knowledge files as they are now; the given one goes on working.

    What is broken stays as it was when it was last in order, and its problems are told. What was deleted or retired
    is gone. The thresholds stay, and nothing is kept on disk; see ``recalibrate``.

    Args:
        service: The service that this one follows; its model goes on.
        step: "now" reads the files and shows every known answer in its present wording and nothing that is gone, found
            as before, within a fraction of a second. The others make found what was read: "soon" the first few of the
            changed answers, "whole" all of them. They read the files themselves when nothing read is waiting for them.
        interrupted: Asked between steps of embedding.

    Raises:
        KnowledgeError: The knowledge folder is gone.
        Interrupted: ``interrupted`` said so; what was embedded is not lost.
    """
    if step == "now" or service.is_settled:
        service = _read_again(service)
    if step == "now" or service.is_settled:
        return service
    answers, parts, old = service.read.answers, service.parts, service.retriever.index
    found = answers if step == "whole" else _findable_soon(answers, old.answers)
    parts.stepwise.interrupted = interrupted
    index = open_index(None, found, parts.synonyms, parts.stepwise, previous=old, recalibrate=False)
    index.embedder = parts.embedder  # patients' questions are never interrupted
    if step == "whole":
        parts.stepwise.forget()
    return _over(service, Retriever(index))


def _read_again(service: Service) -> Service:
    """Return the service over what the files hold now, found as before; the very same one if they hold the same."""
    settings = service.settings
    knowledge = load_knowledge(
        settings.knowledge, reviewed_only=settings.reviewed_only, previous=service.knowledge, read=service.parts.shelf
    )
    problems = list(knowledge.problems)
    parts = _with_gate(settings, knowledge, _with_synonyms(settings, service.parts, problems))
    told = (*problems, *parts.gate_problems)
    if (knowledge, parts, told) == (service.read, service.parts, service.problems):
        return service
    return _over(replace(service, read=knowledge, parts=parts, problems=told), service.retriever)


def _over(service: Service, retriever: Retriever) -> Service:
    """Return the service with another index, showing the answers that it finds as the files have them now."""
    answers, found = service.read.answers, retriever.index.answers
    n_waiting = sum(found.get(id_) is not answer and found.get(id_) != answer for id_, answer in answers.items())
    is_settled = not n_waiting and len(found) == len(answers) and retriever.index.synonyms == service.parts.synonyms
    shown = replace(service.read, answers={id_: answer for id_, answer in answers.items() if id_ in found})
    pipeline = _pipeline(service.settings, shown, retriever, service.pipeline.writer, service.parts)
    return replace(service, pipeline=pipeline, retriever=retriever, n_waiting=n_waiting, is_settled=is_settled)


def recalibrate(service: Service, *, interrupted: Callable[[], bool] = lambda: False) -> Service:
    """Return the service with thresholds that fit its present answers, and keep its index for the next start.

    It returns the same service when they fit already. Patients' turns go first.

    Raises:
        Interrupted: ``interrupted`` said so; the former thresholds stay.
    """

    def pause() -> None:
        if interrupted():
            raise Interrupted
        time.sleep(PAUSE_S)

    index = recalibrated(index_folder(service.settings), service.retriever.index, pause)
    return service if index is service.retriever.index else _over(service, Retriever(index))


def _findable_soon(answers: Mapping[str, Answer], found: Mapping[str, Answer]) -> dict[str, Answer]:
    """Return the answers to index at once: known ones as they were, and the first few that are changed or new."""
    changed = [id_ for id_, answer in answers.items() if found.get(id_) != answer]
    changed.sort(key=lambda id_: id_ not in found)  # an edited answer is more urgent than a new one
    now = set(changed[:SOON])
    later = set(changed[SOON:])
    return {
        id_: found[id_] if id_ in later else answer for id_, answer in answers.items() if id_ in now or id_ in found
    }


def _with_synonyms(settings: Settings, parts: Parts, problems: list[Problem]) -> Parts:
    found: list[Problem] = []
    synonyms = read_synonyms(settings.knowledge / "synonyms.yaml", settings.knowledge, found)
    problems += found
    return parts if found or synonyms == parts.synonyms else replace(parts, synonyms=synonyms)


def _with_gate(settings: Settings, knowledge: Knowledge, parts: Parts) -> Parts:
    """Return the parts with a gate over the rules as they are now; broken rules leave the last good gate in force."""
    state = _gate_state(settings, knowledge)
    if state == parts.gate_state:
        return parts
    gate, problems = _open_gate(settings, knowledge, parts.embedder)
    if gate is None:
        told = tuple(
            replace(one, message=f"{one.message}. The last good safety rules stay in force") for one in problems
        )
        return replace(parts, gate_state=state, gate_problems=told)
    return replace(parts, gate=gate, gate_state=state, gate_problems=problems)


def index_folder(settings: Settings) -> Path:
    """Return where the index of these settings' knowledge lies: one folder for each knowledge folder."""
    return settings.state / "index" / folder_key(settings.knowledge)


def folder_key(folder: Path) -> str:
    """Return a short name that is the same for the same folder, however it was written."""
    resolved = folder.resolve()
    return f"{resolved.name}-{hashlib.sha256(str(resolved).encode()).hexdigest()[:10]}"
