"""Examples: which sentences, which rows, which split."""

import hashlib
import random
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatbot.errors import SettingsError
from chatbot.grounding.checker import SentenceVerdict
from chatbot.knowledge import Answer
from chatbot.prompting import ABSTENTION, Passage
from finetune.choosing import Chooser, Scored, Unit, chosen_units, joined_item, units_of, worded
from finetune.dataset import Maker, neighbours_by_search
from finetune.labels import Label, read_labels
from finetune.noise import as_typed
from finetune.recipe import DatasetRecipe, load_recipe
from finetune.rows import Row, grouped, read_rows, write_rows
from finetune.split import Split, split_of

pytestmark = pytest.mark.unit

FEVER = """A fever is 38 °C or more. It often goes away alone.

## At home

- Rest and drink.
- Take the label's dose. Do not take more.

Call the clinic if:

- You have a rash. It may be serious.
- Your fever lasts 3 days.

You can go back when all of these are true:

- You have no fever.
"""


class BagOfWords:
    """Embeds a text as its hashed words: the same words, the same meaning."""

    name = "bag of words"

    def encode(self, texts: Sequence[str], *, progress: Callable[[int], None] | None = None) -> np.ndarray:
        vectors = np.zeros((len(texts), 256), dtype=np.float32)
        for row, text in zip(vectors, texts, strict=True):
            for word in re.findall(r"[a-z0-9]{3,}", text.casefold()):
                row[int(hashlib.sha256(word.encode()).hexdigest(), 16) % 256] += 1
            row /= max(float(np.linalg.norm(row)), 1e-6)
        return vectors


class Believing:
    """A checker that lets everything pass."""

    def check(self, sentence: str, passages: Sequence[Passage]) -> SentenceVerdict:
        return SentenceVerdict(True, sentence.rpartition(" [")[0], passages[0].answer_id)


def answer(id_: str, *questions: str, text: str) -> Answer:
    source = {"title": "T", "publisher": "P", "url": "https://example.org/"}
    return Answer(id=id_, title=id_.title(), questions=questions, sources=[source], text=text)


def clinic(count: int = 40) -> dict[str, Answer]:
    """Answers about made-up plants, each with words of its own."""
    made = {}
    for n in range(count):
        text = f"Plant{n} grows tall{n}. Water plant{n} daily{n}.\n\nPick plant{n} in month{n}."
        made[f"plants/p{n}"] = answer(
            f"plants/p{n}", f"How tall{n} does plant{n} grow?", f"When is plant{n} picked, month{n}?", text=text
        )
    return made


def rows_of(split: Split, seed: int = 1, *, labels: Sequence[Label] = (), **changes: object) -> list[Row]:
    answers = clinic()
    recipe = DatasetRecipe.model_validate(load_recipe("tiny").dataset.model_dump() | {"rounds": 2} | changes)
    ids = sorted(answers)
    nearest = neighbours_by_search(answers, lambda _, k: ids[:k])
    maker = Maker(
        answers, Chooser(BagOfWords()), nearest, lambda text: len(text.split()), recipe,
        checker=Believing(), labels=labels,
    )  # fmt: skip
    return maker.rows(split, seed=seed)


def replies_to(rows: Sequence[Row], question: str) -> set[str]:
    """What single questions of this kind, however typed, are answered with, without the passage's number."""
    asked = [row for row in rows if row.kind in ("answerable", "alone") and row.asked_of == question]
    return {re.sub(r" \[\d\]", "", row.reply) for row in asked}


@given(st.text(min_size=1))
def test_an_answers_split_depends_on_its_id_alone(id_: str):
    assert split_of(id_) == split_of(id_)


def test_about_one_answer_in_ten_is_held_back_for_each_purpose():
    splits = [split_of(f"topic/answer-{n}") for n in range(5000)]
    assert 0.08 < splits.count(Split.TEST) / 5000 < 0.12
    assert 0.08 < splits.count(Split.VALIDATION) / 5000 < 0.12


def test_list_items_are_spoken_with_the_words_before_their_colon():
    spoken = [unit.spoken for unit in units_of(FEVER)]
    assert "Call the clinic if your fever lasts 3 days." in spoken
    assert "Rest and drink." in spoken


def test_what_hangs_on_another_sentence_is_not_said_alone():
    spoken = [unit.spoken for unit in units_of(FEVER)]
    assert "It may be serious." not in spoken
    assert not any("no fever" in text for text in spoken)  # one of "all of these" is not enough


def test_a_sentence_that_points_back_brings_the_one_before_it():
    units = units_of(FEVER)
    scores = tuple(1.0 if unit.text.startswith("It often") else 0.0 for unit in units)
    assert [unit.text for unit in chosen_units(Scored(tuple(units), scores))] == [
        "A fever is 38 °C or more.",
        "It often goes away alone.",
    ]


@pytest.mark.parametrize(
    ("intro", "items", "sentence"),
    [
        ("Call 911 now if:", ["You have chest pain."], "Call 911 now if you have chest pain."),
        ("Signs are:", ["Fever.", "A rash.", "COPD."], "Signs are fever, a rash and COPD."),
        ("Call us if:", ["A rash grows.", "I am told so."], "Call us if a rash grows or I am told so."),
    ],
)
def test_items_join_their_opening_words(intro: str, items: list[str], sentence: str):
    assert joined_item(intro, items) == sentence


def test_every_sentence_of_a_reply_carries_its_passages_number():
    units = [
        Unit("One."),
        Unit("Two.", place=1),
        Unit("Red.", intro="Signs are:", place=2),
        Unit("Sore.", intro="Signs are:", place=3),
    ]
    assert worded(units, 3) == "One. [3] Two. [3] Signs are red and sore. [3]"


@given(st.text(max_size=60), st.integers())
def test_typed_questions_never_grow_much_and_are_reproducible(question: str, seed: int):
    typed = as_typed(question, random.Random(seed))
    assert typed == as_typed(question, random.Random(seed))
    assert len(typed) <= len(question) + 24


def test_a_split_is_made_of_its_own_answers_alone():
    for split in Split:
        used = {passage.answer_id for row in rows_of(split) for passage in row.passages}
        used |= {row.asked_of for row in rows_of(split) if row.asked_of}
        assert used
        assert {split_of(id_) for id_ in used} == {split}


def test_each_citation_points_to_a_right_passage():
    answerable = [row for row in rows_of(Split.TRAIN) if not row.abstains]
    assert answerable
    for row in answerable:
        cited = {int(number) for number in re.findall(r"\[(\d+)\]", row.reply)}
        assert {row.passages[number - 1].answer_id for number in cited} == set(row.right)


def test_an_abstaining_row_has_no_passage_of_the_answer_that_was_asked_for():
    abstaining = [row for row in rows_of(Split.TRAIN) if row.abstains]
    assert abstaining
    for row in abstaining:
        assert row.reply == ABSTENTION
        assert row.asked_of not in {passage.answer_id for passage in row.passages}


def test_the_right_passage_stands_at_every_place():
    rows = rows_of(Split.TRAIN, rounds=6, passages_weights=(0.0, 0.0, 1.0))
    places = {[passage.answer_id for passage in row.passages].index(row.right[0]) for row in rows if row.right}
    assert places == {0, 1, 2}


def test_a_question_that_a_passage_may_answer_is_not_labelled_unanswerable():
    assert not [
        row
        for row in rows_of(Split.TRAIN, near_miss_ceiling=0.0, near_miss_margin=1.0, off_topic_share=0.0)
        if row.abstains
    ]


def test_the_same_seed_makes_the_same_rows():
    assert rows_of(Split.TRAIN, seed=3) == rows_of(Split.TRAIN, seed=3)
    assert rows_of(Split.TRAIN, seed=3) != rows_of(Split.TRAIN, seed=4)


def test_rows_survive_the_disk(tmp_path: Path):
    rows = rows_of(Split.TEST)
    write_rows(tmp_path / "rows.jsonl", rows)
    assert read_rows(tmp_path / "rows.jsonl") == rows
    assert sum(len(group) for group in grouped(rows)) == len(rows)


def test_a_damaged_file_of_rows_is_named_with_its_line(tmp_path: Path):
    (tmp_path / "rows.jsonl").write_text('{"id": 1}\n', encoding="utf-8")
    with pytest.raises(SettingsError, match=r"rows\.jsonl: line 1 is not an example"):
        read_rows(tmp_path / "rows.jsonl")
    with pytest.raises(SettingsError, match="there are no examples yet"):
        read_rows(tmp_path / "missing.jsonl")


def test_chosen_vectors_are_kept_between_runs(tmp_path: Path):
    class Counting(BagOfWords):
        calls = 0

        def encode(self, texts: Sequence[str], *, progress: Callable[[int], None] | None = None) -> np.ndarray:
            self.calls += 1
            return super().encode(texts)

    first, second = Counting(), Counting()
    Chooser(first, tmp_path / "v.npz").learn(["a word", "another word"])
    Chooser(second, tmp_path / "v.npz").learn(["a word", "another word"])
    assert (first.calls, second.calls) == (1, 0)


def labelled(id_: str, sentence: str) -> list[Label]:
    """Both questions of a plant, answered by one sentence."""
    return [Label(answer=id_, question=question, sentences=(sentence,)) for question in clinic()[id_].questions]


def test_a_label_decides_which_sentence_answers_a_question():
    id_ = next(id_ for id_ in clinic() if split_of(id_) == Split.TRAIN)
    number = id_.removeprefix("plants/p")
    watered = f"Water plant{number} daily{number}."
    assert replies_to(rows_of(Split.TRAIN), id_) != {watered}
    assert replies_to(rows_of(Split.TRAIN, labels=labelled(id_, watered)), id_) == {watered}


def test_a_label_that_names_a_sentence_which_is_gone_counts_for_nothing():
    id_ = next(id_ for id_ in clinic() if split_of(id_) == Split.TRAIN)
    gone = labelled(id_, "This sentence was edited away.")
    assert rows_of(Split.TRAIN, labels=gone) == rows_of(Split.TRAIN)


def test_a_file_of_labels_that_cannot_be_used_is_one_clear_line(tmp_path: Path):
    path = tmp_path / "labels.yaml"
    path.write_text("- {answer: a/b, question: Why, sentence: [One.]}", encoding="utf-8")
    with pytest.raises(SettingsError, match=r"labels.yaml: cannot be used: .*sentences"):
        read_labels(path)


def test_shipped_labels_hold_nothing_of_the_held_back_answers():
    labels = read_labels(Path(__file__).resolve().parents[2] / "finetune" / "labels" / "embedded.yaml")
    assert len(labels) > 400
    assert Split.TEST not in {split_of(label.answer) for label in labels}
