"""Ask a larger model for other wordings of vetted sentences; the result is then read and labelled by hand.

    python tests/measurements/grounding_bed/paraphrase_with_teacher.py MODEL.gguf OUT.jsonl --count 300

Goes on where OUT ends. Wordings that only repeat the sentence are left out.
"""

import argparse
import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import on_path  # noqa: F401 - first

from chatbot.engine.writer import start_writer
from chatbot.errors import GenerationError
from chatbot.grounding.statements import is_sentence, plain_form, vetted
from chatbot.knowledge import Answer, load_knowledge
from chatbot.prompting import Message
from chatbot.settings import EngineSettings

PROJECT = Path(__file__).resolve().parents[3]
OF_ONE_ANSWER = 4
STYLES = (
    "Say the sentence in other words.",
    "Say the sentence in plain, friendly words to a patient.",
    "Say the sentence with its parts in another order.",
)
KEEP = " Keep every fact, number, 'not', 'may', 'most' and 'if'. Add nothing. Write one sentence and nothing else."
SHOWN = (
    ("Do not sleep with your contact lenses in.", "Take your contact lenses out before you go to sleep."),
    (
        "Most earaches get better in 2 to 3 days.",
        "An earache is usually better after 2 to 3 days.",
    ),
    (
        "Call the clinic if the pain comes back or you have a new rash.",
        "If you get a new rash or the pain returns, call the clinic.",
    ),
)


def _place(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8])


def chosen(answers: Mapping[str, Answer], count: int) -> Iterator[tuple[str, str]]:
    """Yield (answer id, sentence) in an order that depends on the texts alone, at most a few of one answer."""
    rows = sorted(
        (_place(answer.id + statement.text), answer.id, statement.text)
        for answer in answers.values()
        for statement in vetted(answer.title, answer.text).statements
        if 6 <= len(statement.text.split()) <= 30
        and ". " not in statement.text
        and not {":", "|"} & set(statement.text)
        and is_sentence(statement.text)
    )
    taken: Counter[str] = Counter()
    for _, answer_id, text in rows:
        taken[answer_id] += 1
        if taken[answer_id] <= OF_ONE_ANSWER and (count := count - 1) >= 0:
            yield answer_id, text


def messages_for(text: str, style: str) -> list[Message]:
    """Return the request for one other wording, with three examples."""
    messages = [{"role": "system", "content": style + KEEP}]
    for before, after in SHOWN:
        messages += [{"role": "user", "content": before}, {"role": "assistant", "content": after}]
    return [*messages, {"role": "user", "content": text}]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("out", type=Path)
    parser.add_argument("--count", type=int, default=300)
    args = parser.parse_args()
    answers = load_knowledge(PROJECT / "knowledge").answers
    done = len(args.out.read_text(encoding="utf-8").splitlines()) if args.out.exists() else 0
    writer = start_writer(EngineSettings(model=args.model, threads=1, reply_timeout_s=600), state=args.out.parent)
    with args.out.open("a", encoding="utf-8") as file:
        for number, (answer_id, text) in enumerate(chosen(answers, args.count)):
            if number < done:
                continue
            try:
                pieces = writer.draft(messages_for(text, STYLES[number % len(STYLES)]), lambda: False)
                said = " ".join("".join(piece for piece in pieces if isinstance(piece, str)).split())
            except GenerationError as error:
                said = f"({error})"
            row = {"answer": answer_id, "from": text, "text": said, "repeats": plain_form(said) == plain_form(text)}
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
            file.flush()
    writer.close()


if __name__ == "__main__":
    main()
