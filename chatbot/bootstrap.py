"""Plugs the parts together; the only file that knows which parts are in use."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from chatbot.embedder import Embedder, MiniLM
from chatbot.engine import start_writer
from chatbot.errors import KnowledgeError, Problem
from chatbot.grounding import GroundingChecker
from chatbot.index import Progress, open_index
from chatbot.knowledge import Knowledge, load_knowledge
from chatbot.pipeline import Pipeline, Writer
from chatbot.retrieval import Retriever, read_synonyms
from chatbot.safety import SafetyGate
from chatbot.safety_rules import load_rules
from chatbot.settings import Settings


@dataclass(frozen=True, slots=True)
class Service:
    """A pipeline over one state of the knowledge, with what it was built from."""

    settings: Settings
    pipeline: Pipeline
    retriever: Retriever
    problems: tuple[Problem, ...]

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
    knowledge = load_knowledge(settings.knowledge, reviewed_only=settings.reviewed_only)
    problems = list(knowledge.problems)
    rule_problems: list[Problem] = []
    rules = load_rules(settings.knowledge, knowledge.clinic, rule_problems)
    if errors := [problem for problem in rule_problems if problem.severity == "error"]:
        raise KnowledgeError(errors)  # no reply is safe without every safety rule
    synonyms = read_synonyms(settings.knowledge / "synonyms.yaml", settings.knowledge, problems)
    index = open_index(index_folder(settings), knowledge.answers, synonyms, embedder, progress)
    retriever = Retriever(index)
    pipeline = Pipeline(
        knowledge,
        SafetyGate(rules, embedder),
        retriever,
        GroundingChecker(embedder),
        writer,
        passage_tokens=settings.engine.passage_tokens,
    )
    return Service(settings, pipeline, retriever, tuple(problems + rule_problems))


def index_folder(settings: Settings) -> Path:
    """Return where the index of these settings' knowledge lies: one folder for each knowledge folder."""
    return settings.state / "index" / folder_key(settings.knowledge)


def folder_key(folder: Path) -> str:
    """Return a short name that is the same for the same folder, however it was written."""
    resolved = folder.resolve()
    return f"{resolved.name}-{hashlib.sha256(str(resolved).encode()).hexdigest()[:10]}"
