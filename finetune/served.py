"""Questions as they would really be served: the passages that the retriever offers, the sentences a reader chose."""

from collections.abc import Callable, Mapping
from pathlib import Path

from chatbot.knowledge import Answer
from chatbot.prompting import Passage, fit_passages
from chatbot.retrieval.retriever import Decision
from finetune.labels import read_labels
from finetune.rows import Row
from finetune.split import Split, split_of

SERVED_TOKENS = 700  # the default of settings.engine.passage_tokens


def labelled_rows(
    path: Path, answers: Mapping[str, Answer], decide: Callable[[str], Decision], count_tokens: Callable[[str], int]
) -> list[Row]:
    """Return a row for each labelled question of a held-back answer that the retriever answers with it.

    Questions that the retriever would not send to the model (no answer, or a choice between answers) give no row.

    Raises:
        SettingsError: The file cannot be read.
    """
    rows = []
    for number, label in enumerate(read_labels(path)):
        if label.answer not in answers or split_of(label.answer) == Split.TRAIN:
            continue
        decision = decide(label.question)
        offered = [Passage(answers[id_].id, answers[id_].title, answers[id_].text) for id_ in decision.passages]
        passages = tuple(fit_passages(offered, budget_tokens=SERVED_TOKENS, count_tokens=count_tokens))
        if label.answer not in {passage.answer_id for passage in passages}:
            continue
        rows.append(
            Row(
                id=f"served-{number}", kind="served", split=split_of(label.answer), group=f"served-{number}",
                passages=passages, question=label.question, reply=" ".join(label.sentences), right=(label.answer,),
                asked_of=label.answer, notes={"reference": list(label.sentences), "source": label.source},
            )
        )  # fmt: skip
    return rows
