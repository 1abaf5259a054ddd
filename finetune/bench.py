"""What the stages of one run share: the recipe, the folders, the knowledge, and parts that are slow to open."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from chatbot.embedder import Embedder, MiniLM
from chatbot.errors import KnowledgeError, SettingsError
from chatbot.grounding.checker import GroundingChecker
from chatbot.knowledge import Answer, Knowledge, load_knowledge
from chatbot.retrieval.index import open_index
from chatbot.retrieval.retriever import Retriever, read_synonyms
from finetune.base_model import gguf_of, load_tokenizer
from finetune.choosing import Chooser, units_of
from finetune.recipe import Recipe
from finetune.split import Split, split_of
from finetune.stage import Say, hash_text


@dataclass(frozen=True)
class Bench:
    """One run: where it lies and what it is made from."""

    recipe: Recipe
    knowledge_folder: Path
    folder: Path
    say: Say
    embedder: Embedder

    @cached_property
    def knowledge(self) -> Knowledge:
        """The clinic's files.

        Raises:
            KnowledgeError: They cannot be read, or hold no answer.
            SettingsError: The folder is empty.
        """
        if not self.knowledge_folder.is_dir() or not any(self.knowledge_folder.rglob("*.md")):
            raise SettingsError(
                f"{self.knowledge_folder}: holds no answers to learn from; name the folder with --knowledge"
            )
        knowledge = load_knowledge(self.knowledge_folder)
        if not knowledge.answers:
            raise KnowledgeError(knowledge.problems)
        return knowledge

    @cached_property
    def answers(self) -> dict[str, Answer]:
        """The answers that examples are made from; fewer when the recipe asks for a quick run."""
        most = self.recipe.dataset.most_answers
        every = dict(sorted(self.knowledge.answers.items()))
        if not most or most >= len(every):
            return every
        chosen: dict[str, Answer] = {}
        for split, share in ((Split.TRAIN, 0.6), (Split.VALIDATION, 0.2), (Split.TEST, 0.2)):
            of_split = [id_ for id_ in every if split_of(id_) == split]
            chosen |= {id_: every[id_] for id_ in of_split[: max(3, round(most * share))]}
        return chosen

    @property
    def answers_hash(self) -> str:
        """A hash of every answer's content."""
        return hash_text(*(answer.fingerprint for answer in self.answers.values()))

    def within(self, stage: str) -> Path:
        """Return a stage's folder."""
        return self.folder / stage

    @property
    def base(self) -> Path:
        """The unquantised base, once it is unpacked."""
        return self.within("base") / "model"

    @cached_property
    def base_gguf(self) -> Path | None:
        """The base's own GGUF file, when it is one."""
        return gguf_of(self.recipe.base.path)

    @cached_property
    def tokenizer(self) -> Any:
        """The base's tokenizer."""
        return load_tokenizer(self.base)

    def count_tokens(self, text: str) -> int:
        """Return the text's length in the base's tokens."""
        return len(self.tokenizer(text, add_special_tokens=False).input_ids)

    @cached_property
    def checker(self) -> GroundingChecker:
        """The check that guards patients."""
        return GroundingChecker(self.embedder)

    @cached_property
    def retriever(self) -> Retriever:
        """The project's own retriever over these answers."""
        synonyms = read_synonyms(self.knowledge_folder / "synonyms.yaml", self.knowledge_folder, [])
        return Retriever(open_index(self.within("index"), self.answers, synonyms, self.embedder))

    def search(self, question: str, k: int) -> list[str]:
        """Return answer ids, best first."""
        return [hit.answer_id for hit in self.retriever.search(question, k)]

    def chooser(self, cache: Path) -> Chooser:
        """Return a chooser that has embedded every sentence and question already."""
        chooser = Chooser(self.embedder, cache)
        units = [unit for answer in self.answers.values() for unit in units_of(answer.text)]
        questions = [question for answer in self.answers.values() for question in answer.questions]
        chooser.learn([*questions, *(unit.spoken for unit in units), *(unit.in_context for unit in units)])
        return chooser


def open_bench(
    recipe: Recipe, knowledge: Path, runs: Path, say: Say, *, embedder: Callable[[], Embedder] = MiniLM
) -> Bench:
    """Return the bench of one recipe's run."""
    return Bench(recipe, knowledge, runs / recipe.name, say, embedder())
