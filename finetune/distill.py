"""A teacher writes further questions and plainer replies; what passes the filters joins the training rows.

Sequence-level distillation (Kim & Rush 2016): it works with any teacher, whatever its vocabulary. Every text is kept
with its teacher, the hash of its prompt and the verdict on it, and none is asked for twice.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from chatbot.embedder import Embedder
from chatbot.errors import SettingsError
from chatbot.knowledge import Answer
from chatbot.prompting import MAX_REPLY_TOKENS, Message, render_passage
from finetune.filters import Verdict, leak, needless, question_form, reply_verdict, tally
from finetune.recipe import DistillRecipe
from finetune.rows import Row, json_lines
from finetune.scoring import Checker
from finetune.stage import hash_text
from finetune.teacher import Teacher, TeacherError, UnfinishedText

FAILURES_IN_A_ROW = 3
Search = Callable[[str, int], list[str]]  # (question, how many) → answer ids, best first


class Asking:
    """Asks the teacher, remembering every text in one file."""

    def __init__(self, teacher: Teacher, path: Path) -> None:
        self._teacher = teacher
        self._path = path
        self._known = _read(path)
        self._failures = 0
        self.failed = 0

    def text(self, key: str, messages: list[Message], *, most_tokens: int) -> str:
        """Return the teacher's text for these messages; empty when it gave none.

        Raises:
            SettingsError: It failed several times in a row; what it wrote before is kept.
        """
        prompt = hash_text(self._teacher.name, json.dumps(messages))
        if (key, prompt) in self._known:
            return self._known[key, prompt]
        try:
            text = self._teacher.write(messages, most_tokens=most_tokens)
        except UnfinishedText:
            self.failed += 1
            text = ""  # greedy as it is, it would be as long the next time
        except TeacherError as error:
            self.failed += 1
            self._failures += 1
            if self._failures >= FAILURES_IN_A_ROW:
                raise SettingsError(
                    f"the teacher failed {self._failures} times in a row ({error}); run again to go on"
                ) from error
            return ""
        self._failures = 0
        self._known[key, prompt] = text
        with self._path.open("a", encoding="utf-8") as file:
            line = {"key": key, "prompt": prompt, "teacher": self._teacher.name, "text": text}
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
        return text


def _read(path: Path) -> dict[tuple[str, str], str]:
    known = {}
    if path.is_file() and (content := path.read_bytes()) and not content.endswith(b"\n"):
        path.write_bytes(content + b"\n")  # it was interrupted; what comes next begins a line of its own
    for line in json_lines(path) if path.is_file() else ():
        try:
            content = json.loads(line)
            known[content["key"], content["prompt"]] = content["text"]
        except (ValueError, KeyError):
            continue  # the line that was being written when it was interrupted
    return known


def ask_for_questions(answer: Answer, count: int) -> list[Message]:
    """Return the messages that ask for questions as patients would type them."""
    wanted = (
        f"Write {count} short questions that patients of a clinic might type and that this text answers. Use everyday "
        "words, not those of the text. Make each about another part of it. One question a line, nothing else."
    )
    return [{"role": "user", "content": f"{answer.title}\n{render_passage(answer.text)}\n\n{wanted}"}]


def kept_questions(
    answer: Answer, texts: Sequence[str], *, taken: Sequence[str], embedder: Embedder, near_duplicate: float,
    search: Search, held_back: frozenset[tuple[str, ...]],
) -> tuple[list[str], list[Verdict]]:  # fmt: skip
    """Return the questions that pass, and a verdict on each: form, leak, near-duplicate, answered elsewhere.

    Args:
        answer: What they were written for.
        texts: What the teacher wrote.
        taken: Questions of all splits; a near-duplicate of one is refused.
        embedder: For the near-duplicates.
        near_duplicate: The cosine from which two questions are one.
        search: The project's own retriever; another answer on top means that this one does not answer it best.
        held_back: Runs of words of the held-back answers.
    """
    kept: list[str] = []
    verdicts = []
    known = embedder.encode(list(taken)) if taken else None
    for question in texts:
        verdict = question_form(question)
        if verdict.kept:
            verdict = leak(question, held_back)
        if verdict.kept and known is not None:
            vector = embedder.encode([question])[0]
            own = embedder.encode(kept) if len(kept) > 1 else None
            nearest = max(float((known @ vector).max()), float((own @ vector).max()) if own is not None else -1.0)
            verdict = Verdict("near-duplicate", f"{nearest:.2f}") if nearest >= near_duplicate else verdict
        if verdict.kept and search(question, 1) != [answer.id]:
            verdict = Verdict("answered elsewhere", "another answer is found first")
        verdicts.append(verdict)
        if verdict.kept:
            kept.append(question)
    return kept, verdicts


def distilled_rows(
    rows: Sequence[Row], asking: Asking, teacher_name: str, recipe: DistillRecipe, *, checker: Checker,
    held_back: frozenset[tuple[str, ...]], done: Callable[[], None] = lambda: None,
) -> tuple[list[Row], dict[str, int]]:  # fmt: skip
    """Return the rows with the teacher's reply where it passes the filters, and the count each filter removed.

    Args:
        rows: Training rows; up to ``replies_per_answer`` of each answer are asked of the teacher.
        asking: The teacher.
        teacher_name: Noted on every row it worded.
        recipe: How many, how long.
        checker: The grounding check that guards patients.
        held_back: Runs of words of the held-back answers.
        done: Told after each row that was asked.
    """
    asked: dict[str, int] = {}
    verdicts: list[Verdict] = []
    written: list[Row] = []
    for row in rows:
        if row.kind not in ("answerable", "alone") or asked.get(row.asked_of, 0) >= recipe.replies_per_answer:
            written.append(row)
            continue
        asked[row.asked_of] = asked.get(row.asked_of, 0) + 1
        text = asking.text(f"reply {row.id}", row.messages, most_tokens=MAX_REPLY_TOKENS)
        verdict = (
            reply_verdict(row, text, checker=checker, max_words=recipe.max_words, held_back=held_back)
            if text
            else Verdict("no text", "")
        )
        if verdict.kept and recipe.ask_without_passages:
            alone = asking.text(
                f"alone {row.id}", [{"role": "user", "content": row.question}], most_tokens=MAX_REPLY_TOKENS
            )
            verdict = needless(text, alone) if alone else verdict
        verdicts.append(verdict)
        note = {**row.notes, "teacher": teacher_name, "licence": recipe.teacher.licence, "refused": verdict.refused}
        written.append(
            replace(
                row,
                reply=text if verdict.kept else row.reply,
                notes=note,
                origin="teacher" if verdict.kept else row.origin,
            )
        )
        done()
    return written, tally(verdicts)


def taken_questions(answers: Mapping[str, Answer]) -> list[str]:
    """Return every question that stands in an answer file."""
    return [question for answer in answers.values() for question in answer.questions]


def report_of(rows: Sequence[Row], counts: Mapping[str, Mapping[str, int]], *, each: int = 20) -> str:
    """Return a page to read: what each filter removed, and ``each`` rows of every kind."""
    lines = ["# Training rows\n"]
    for name, tallied in counts.items():
        lines += [f"**{name}**: " + (", ".join(f"{key} {value}" for key, value in tallied.items()) or "none") + "\n"]
    for kind in dict.fromkeys(row.kind for row in rows):
        lines.append(f"## {kind}\n")
        for row in [row for row in rows if row.kind == kind][:each]:
            passages = ", ".join(f"[{n}] {passage.answer_id}" for n, passage in enumerate(row.passages, 1))
            earlier = f"{row.earlier_question} → " if row.earlier_question else ""
            lines.append(f"- **{earlier}{row.question}** ({passages}; {row.origin})\n  {row.reply}")
        lines.append("")
    return "\n".join(lines)
