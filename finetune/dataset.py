"""Grounded examples from the vetted answers: the right passage among wrong ones, and rows where none answers.

Every group of rows shares its passages. Each passage in it is the right one for some question, so the model can
only tell them apart by reading; questions that no passage answers must be met with the abstention.

Source: RAFT (Zhang et al. 2024, arXiv 2403.10131) for right passages among distractors, with its rows without the
right passage turned into abstentions (Divide-Then-Align, arXiv 2505.20871, names why).
"""

import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from chatbot.knowledge import Answer
from chatbot.prompting import ABSTENTION, Passage, fit_passages
from finetune.choosing import Chooser, Unit, chosen_units, units_of, worded
from finetune.labels import Label
from finetune.noise import as_typed
from finetune.recipe import DatasetRecipe
from finetune.rows import Kind, Row
from finetune.scoring import Checker
from finetune.split import Split, split_of

CountTokens = Callable[[str], int]
Search = Callable[[str, int], list[str]]  # (question, how many) → answer ids, best first
Neighbours = Callable[[str, Sequence[str]], list[str]]  # (answer id, ids to choose from) → nearest first
DEPTH = 40


@dataclass(frozen=True, slots=True)
class Asked:
    """One question somebody may ask, and the answer it was written for."""

    question: str
    answer_id: str
    origin: str = "answers"


class Maker:
    """Makes the rows of one split."""

    def __init__(
        self, answers: Mapping[str, Answer], chooser: Chooser, neighbours: Neighbours, count_tokens: CountTokens,
        recipe: DatasetRecipe, *, checker: Checker, more_questions: Mapping[str, Sequence[str]] | None = None,
        labels: Sequence[Label] = (),
    ) -> None:  # fmt: skip
        self._answers = answers
        self._chooser = chooser
        self._neighbours = neighbours
        self._count = count_tokens
        self._recipe = recipe
        self._more = more_questions or {}
        self._labels = {(label.answer, label.question): label.sentences for label in labels}
        self._showable = {id_: _showable(_passage(answer), checker) for id_, answer in answers.items()}
        self.skipped: Counter[str] = Counter()

    def rows(self, split: Split, *, seed: int, progress: Callable[[str], None] = lambda _: None) -> list[Row]:
        """Return the rows of one split: ``rounds`` groups around each of its answers.

        Args:
            split: Right and wrong passages, and all questions, are of this split's answers alone.
            seed: The same seed and answers give the same rows.
            progress: Told each answer's id as it is done.
        """
        ids = sorted(id_ for id_ in self._answers if split_of(id_) == split)
        rng = random.Random(f"{seed}-{split}")
        made: list[Row] = []
        for round_ in range(self._recipe.rounds):
            for anchor in rng.sample(ids, k=len(ids)):
                made += self._group(f"{split}-{round_}-{anchor}", anchor, ids, split, rng)
                progress(anchor)
        return made

    def _group(self, group: str, anchor: str, ids: Sequence[str], split: Split, rng: random.Random) -> list[Row]:
        near = self._neighbours(anchor, [id_ for id_ in ids if id_ != anchor])
        k = rng.choices((1, 2, 3), weights=self._recipe.passages_weights)[0]
        chosen = [anchor, *rng.sample(near[:6], k=min(k - 1, len(near[:6])))]
        rng.shuffle(chosen)
        offered = [_passage(self._answers[id_]) for id_ in chosen]
        budget = rng.choice(self._recipe.budgets_tokens)
        passages = tuple(fit_passages(offered, budget_tokens=budget, count_tokens=self._count))
        shown = [passage.answer_id for passage in passages]
        outside = [id_ for id_ in near[:8] if id_ not in shown]
        blank = Row("", "answerable", split, group, passages, "", "", (), "")
        rows: list[Row | None] = []
        for asked in self._questions(anchor, rng)[: self._recipe.questions_of_anchor]:
            rows.append(self._answerable(blank, asked))
        for other in shown:
            if other != anchor:
                rows += [
                    self._answerable(blank, asked)
                    for asked in self._questions(other, rng)[: self._recipe.questions_of_others]
                ]
        if len(shown) > 1 and rng.random() < self._recipe.two_needed_share:
            first, second = rng.sample(shown, k=2)
            rows.append(self._two_needed(blank, self._questions(first, rng)[0], self._questions(second, rng)[0]))
        if outside and rng.random() < self._recipe.partly_share:
            rows.append(self._partly(blank, self._questions(anchor, rng)[0], self._questions(outside[0], rng)[0], rng))
        if rng.random() < self._recipe.follow_up_share and anchor in shown:
            rows.append(self._follow_up(blank, anchor, rng))
        rows += self._abstaining(blank, outside, ids, rng)
        return [
            replace(row, id=f"{group}-{n}", question=as_typed(row.question, rng))
            for n, row in enumerate(row for row in rows if row is not None)
        ]

    def _questions(self, answer_id: str, rng: random.Random) -> list[Asked]:
        own = [Asked(question, answer_id) for question in self._answers[answer_id].questions]
        own += [Asked(question, answer_id, "teacher") for question in self._more.get(answer_id, ())]
        return rng.sample(own, k=len(own))

    def _reply(self, blank: Row, asked: Asked, *, most: int) -> str:
        """Return the sentences that answer best, from what is left of the passage; empty when it lost them."""
        for number, passage in enumerate(blank.passages, 1):
            if passage.answer_id != asked.answer_id:
                continue
            left = {unit.spoken for unit in units_of(passage.text)} & self._showable[asked.answer_id]
            best, needed = self._best_units(asked, most)
            units = [unit for unit in best if unit.spoken in left]
            if needed not in units:
                self.skipped["right sentence was cut from the passage"] += 1
                return ""
            return worded(units, number)
        return ""

    def _best_units(self, asked: Asked, most: int) -> tuple[list[Unit], Unit | None]:
        """Return what answers a question, and the sentence of it that a reply cannot do without.

        That is what the question's label says, best first; without one, the sentences nearest in meaning, in reading
        order. A label that names a sentence which is no longer there counts for nothing.
        """
        answer = self._answers[asked.answer_id]
        if wanted := self._labels.get((asked.answer_id, asked.question)):
            by_text = {unit.spoken: unit for unit in units_of(answer.text)}
            if all(text in by_text for text in wanted):
                units = [by_text[text] for text in wanted][:most]
                return units, units[0]
            self.skipped["label names a sentence that is gone"] += 1
        others = [question for question in answer.questions if question != asked.question]
        scored = self._chooser.scored(asked.question, answer.text, others=others).only(self._showable[asked.answer_id])
        units = chosen_units(scored, most=most, within=self._recipe.within)
        return units, scored.best_unit if scored.units else None

    def _answerable(self, blank: Row, asked: Asked) -> Row | None:
        if asked.answer_id not in {passage.answer_id for passage in blank.passages}:
            self.skipped["right passage did not fit the budget"] += 1
            return None
        kind: Kind = "alone" if len(blank.passages) == 1 else "answerable"
        reply = self._reply(blank, asked, most=self._recipe.most_sentences)
        return _row(blank, kind, asked.question, reply, (asked.answer_id,), asked) if reply else None

    def _two_needed(self, blank: Row, first: Asked, second: Asked) -> Row | None:
        replies = [self._reply(blank, asked, most=1) for asked in (first, second)]
        if not all(replies):
            return None
        right = (first.answer_id, second.answer_id)
        return _row(blank, "two needed", _both(first, second), " ".join(replies), right, first)

    def _partly(self, blank: Row, known: Asked, unknown: Asked, rng: random.Random) -> Row | None:
        reply = self._reply(blank, known, most=1)
        if not reply or not self._unanswered(blank, unknown):
            return None
        first, second = rng.sample([known, unknown], k=2)
        return _row(blank, "partly", _both(first, second), reply, (known.answer_id,), known)

    def _follow_up(self, blank: Row, anchor: str, rng: random.Random) -> Row | None:
        questions = self._questions(anchor, rng)
        if len(questions) < 2:
            return None
        reply = self._reply(blank, questions[0], most=self._recipe.most_sentences)
        row = _row(blank, "follow-up", questions[0].question, reply, (anchor,), questions[0])
        return replace(row, earlier_question=questions[1].question) if reply else None

    def _abstaining(self, blank: Row, outside: Sequence[str], ids: Sequence[str], rng: random.Random) -> list[Row]:
        wanted = rng.choices((1, 2, 3), weights=self._recipe.abstain_weights)[0]
        rows: list[Row] = []
        for id_ in rng.sample(outside, k=len(outside)):
            asked = self._questions(id_, rng)[0]
            if len(rows) < wanted and self._unanswered(blank, asked):
                rows.append(_row(blank, "near miss", asked.question, ABSTENTION, (), asked))
        if rng.random() < self._recipe.off_topic_share:
            question = rng.choice(self._recipe.off_topic_questions)
            rows.append(_row(blank, "off topic", question, ABSTENTION, (), Asked(question, "")))
        return rows

    def _unanswered(self, blank: Row, asked: Asked) -> bool:
        """Say whether no passage holds a sentence nearly as near to the question as its own answer's best.

        A question that another passage answers by chance, labelled as unanswerable, is the worst kind of noise.
        """
        own = self._chooser.scored(asked.question, self._answers[asked.answer_id].text).best
        there = max(self._chooser.scored(asked.question, passage.text).best for passage in blank.passages)
        if there > min(own - self._recipe.near_miss_margin, self._recipe.near_miss_ceiling):
            self.skipped["near miss may be answered by a passage"] += 1
            return False
        return True


def _passage(answer: Answer) -> Passage:
    return Passage(answer.id, answer.title, answer.text)


def _showable(passage: Passage, checker: Checker) -> frozenset[str]:
    """Return the sentences that serving would show: fragments of lists, for one, are refused there."""
    spoken = {unit.spoken for unit in units_of(passage.text)}
    return frozenset(text for text in spoken if checker.check(f"{text} [1]", (passage,)).grounded)


def _row(blank: Row, kind: Kind, question: str, reply: str, right: tuple[str, ...], asked: Asked) -> Row:
    return replace(
        blank,
        kind=kind,
        question=question,
        reply=reply,
        right=right,
        asked_of=asked.answer_id,
        notes={"question_by": asked.origin},
    )


def _both(first: Asked, second: Asked) -> str:
    return f"{first.question} {second.question}"


def neighbours_by_search(answers: Mapping[str, Answer], search: Search) -> Neighbours:
    """Return a function that ranks other answers as the project's own retriever does for an answer's questions.

    Args:
        answers: Every answer, by id.
        search: A question and how many; returns answer ids, best first.
    """
    ranks = {id_: _ranked(answer.questions, search) for id_, answer in answers.items()}

    def neighbours(anchor: str, among: Sequence[str]) -> list[str]:
        own = ranks[anchor]
        return sorted((id_ for id_ in among if id_ in own), key=lambda id_: (own[id_], id_))

    return neighbours


def _ranked(questions: Sequence[str], search: Search) -> dict[str, float]:
    """Return each found answer's mean rank over the questions; not found counts as last."""
    found = [search(question, DEPTH) for question in questions]
    ids = {id_ for ranking in found for id_ in ranking}
    return {id_: sum(r.index(id_) if id_ in r else DEPTH for r in found) / len(found) for id_ in ids}
