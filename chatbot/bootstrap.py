"""Plugs the parts together; the only file that knows which parts are in use."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from chatbot.embedder import Embedder, MiniLM
from chatbot.engine.writer import start_writer
from chatbot.errors import KnowledgeError, Problem
from chatbot.grounding.checker import GroundingChecker
from chatbot.knowledge import Answer, Filler, Knowledge, filler, load_knowledge
from chatbot.pipeline import Pipeline, Writer
from chatbot.retrieval.index import Progress, open_index, recalibrated
from chatbot.retrieval.remembering import RememberingEmbedder, stepwise
from chatbot.retrieval.retriever import Retriever, read_synonyms
from chatbot.retrieval.served import ServedOnly
from chatbot.retrieval.words import Synonyms
from chatbot.safety.gate import SafetyGate
from chatbot.safety.rules import load_rules
from chatbot.settings import Settings
from chatbot.shelf import AnswerShelf, Stamp, folder_stamps

Step = Literal["now", "soon", "whole"]
SOON = 48  # changed answers that are embedded before the others are served; more follow in the background


@dataclass(frozen=True, slots=True)
class Parts:
    """What the next state of the knowledge can go on using."""

    embedder: Embedder
    stepwise: RememberingEmbedder  # the same embedder, for work beside patients
    shelf: AnswerShelf
    gate: SafetyGate
    gate_state: tuple[Mapping[str, Stamp], Filler]  # the rule files and clinic facts that the gate was made from
    gate_problems: tuple[Problem, ...]
    synonyms: Synonyms
    checker: GroundingChecker


@dataclass(frozen=True, slots=True)
class Service:
    """A pipeline over one state of the knowledge, with what it was built from."""

    settings: Settings
    pipeline: Pipeline
    retriever: Retriever
    problems: tuple[Problem, ...]
    parts: Parts
    n_waiting: int = 0  # answers that cannot be found yet, or by their former wording only
    is_settled: bool = True  # the index is over the very answers that are served

    @property
    def knowledge(self) -> Knowledge:
        """The knowledge that is being served."""
        return self.pipeline.knowledge

    def warm_up(self) -> None:
        """Load the embedder now, so that the first patient does not wait for it."""
        self.retriever.decide("a first question", ())

    def close(self) -> None:
        """End the model's process, if there is one."""
        if self.pipeline.writer is not None:
            self.pipeline.writer.close()


def open_service(
    settings: Settings, *, with_model: bool, embedder: Embedder | None = None, progress: Progress | None = None
) -> Service:
    """Return a service ready for questions.

    Args:
        settings: The operator's choices.
        with_model: Start the language model as well; without it replies are vetted text alone.
        embedder: Another embedder than the shipped one, for tests.
        progress: Told ``(done, total)`` texts while the index is being built.

    Raises:
        KnowledgeError: The clinic's facts, fixed texts or safety rules cannot be used.
        ModelLoadError: The embedder is missing or damaged.
    """
    writer = start_writer(settings.engine, state=settings.state) if with_model and settings.mode == "guided" else None
    try:
        return _assemble(settings, embedder or MiniLM(), writer, progress)
    except BaseException:
        if writer is not None:
            writer.close()
        raise


def _assemble(settings: Settings, embedder: Embedder, writer: Writer | None, progress: Progress | None) -> Service:
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
    parts = Parts(embedder, stepwise(embedder), shelf, gate, gate_state, gate_problems, synonyms, checker)
    return _service(settings, knowledge, Retriever(index), writer, parts, problems)


def _service(
    settings: Settings, knowledge: Knowledge, retriever: Retriever, writer: Writer | None, parts: Parts,
    problems: list[Problem],
) -> Service:  # fmt: skip
    served = ServedOnly(retriever, knowledge.answers)
    pipeline = Pipeline(
        knowledge, parts.gate, served, parts.checker, writer, passage_tokens=settings.engine.passage_tokens
    )
    return Service(settings, pipeline, retriever, (*problems, *parts.gate_problems), parts)


def _open_gate(
    settings: Settings, knowledge: Knowledge, embedder: Embedder
) -> tuple[SafetyGate | None, tuple[Problem, ...]]:
    """Return the safety gate and what is wrong with its files; no gate after an error."""
    problems: list[Problem] = []
    rules = load_rules(settings.knowledge, knowledge.clinic, problems)
    broken = any(problem.severity == "error" for problem in problems)
    return (None if broken else SafetyGate(rules, embedder)), tuple(problems)


def _gate_state(settings: Settings, knowledge: Knowledge) -> tuple[Mapping[str, Stamp], Filler]:
    return folder_stamps(settings.knowledge / "safety"), filler(knowledge.clinic)


def reload(service: Service, step: Step = "whole", *, interrupted: Callable[[], bool] = lambda: False) -> Service:
    """Return a service over the knowledge files as they are now; the given one goes on working.

    What is broken stays as it was when it was last in order, and its problems are told. What was deleted or retired
    is gone. The thresholds stay; see ``recalibrate``.

    Args:
        service: The service that this one follows; its model goes on.
        step: "now" shows every known answer in its present wording and nothing that is gone, found as before, within a
            fraction of a second. "soon" embeds a few of the changed answers as well. "whole" makes everything found.
        interrupted: Asked between steps of embedding.

    Raises:
        KnowledgeError: The knowledge folder is gone.
        Interrupted: ``interrupted`` said so; what was embedded is not lost.
    """
    settings, parts, old = service.settings, service.parts, service.retriever.index
    knowledge = load_knowledge(
        settings.knowledge, reviewed_only=settings.reviewed_only, previous=service.knowledge, read=parts.shelf
    )
    problems = list(knowledge.problems)
    parts = _with_gate(settings, knowledge, _with_synonyms(settings, parts, problems))
    found: Mapping[str, Answer] = old.answers
    if step != "now":
        found = knowledge.answers if step == "whole" else _findable_soon(knowledge.answers, old.answers)
        parts.stepwise.interrupted = interrupted
        folder = index_folder(settings) if step == "whole" else None
        old = open_index(folder, found, parts.synonyms, parts.stepwise, previous=old, recalibrate=False)
        old.embedder = parts.embedder  # patients' questions are never interrupted
    if step == "whole":
        parts.stepwise.forget()
    n_waiting = sum(found.get(id_) != answer for id_, answer in knowledge.answers.items())
    is_settled = n_waiting == 0 and len(found) == len(knowledge.answers) and old.synonyms == parts.synonyms
    shown = {id_: answer for id_, answer in knowledge.answers.items() if id_ in found}
    retriever = service.retriever if step == "now" else Retriever(old)
    new = _service(settings, replace(knowledge, answers=shown), retriever, service.pipeline.writer, parts, problems)
    return replace(new, n_waiting=n_waiting, is_settled=is_settled)


def recalibrate(service: Service) -> Service:
    """Return the service with thresholds that fit its present answers; the same service when they do already."""
    index = recalibrated(index_folder(service.settings), service.retriever.index)
    if index is service.retriever.index:
        return service
    new = _service(service.settings, service.knowledge, Retriever(index), service.pipeline.writer, service.parts, [])
    return replace(new, problems=service.problems, n_waiting=service.n_waiting, is_settled=service.is_settled)


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
