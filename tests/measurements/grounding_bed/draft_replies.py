"""Ask the whole product the acceptance questions, and keep what its model wrote and what became of it.

    python tests/measurements/grounding_bed/draft_replies.py MODEL OUT.jsonl --state FOLDER --count 160

MODEL is a GGUF file, a name of the registry or "embedded" (with its adapter). The questions are those of
knowledge/checks.yaml that one answer is named for, in an order that depends on their text alone. Where the
product asks "did you mean" or finds nothing, the patient is taken to pick the named answer. Goes on where OUT ends.
"""

import argparse
import hashlib
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import on_path  # noqa: F401 - first
import yaml

from chatbot.bootstrap import open_service
from chatbot.pipeline import Dropped, Finished, Pipeline, Writer
from chatbot.prompting import Message
from chatbot.reply import Outcome, Waiting
from chatbot.settings import PROJECT, EngineSettings, Settings


class Recording:
    """A Writer that notes what another one writes."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self.written = ""

    @property
    def name(self) -> str | None:
        return self._writer.name

    def count_tokens(self, text: str) -> int:
        return self._writer.count_tokens(text)

    def draft(self, messages: list[Message], stopped: Callable[[], bool]) -> Iterator[str | Waiting]:
        self.written = ""
        for piece in self._writer.draft(messages, stopped):
            self.written += piece if isinstance(piece, str) else ""
            yield piece

    def close(self) -> None:
        self._writer.close()


def questions() -> list[tuple[str, str]]:
    """Return (question, answer id) of every acceptance question that one answer is named for."""
    rows = yaml.safe_load((PROJECT / "knowledge" / "checks.yaml").read_text(encoding="utf-8"))
    named = [(row["question"], row["expect"]) for row in rows if "/" in str(row["expect"]) and row["expect"][0] != "["]
    return sorted(
        ((question, id_) for question, id_ in named if isinstance(id_, str)),
        key=lambda row: hashlib.sha256(row[0].encode()).hexdigest(),
    )


def asked(pipeline: Pipeline, recording: Recording, question: str, answer_id: str) -> dict[str, object] | None:
    """Return one turn as a row, or None when it never comes to the model."""
    recording.written = ""
    chosen, start, dropped = None, time.perf_counter(), []
    reply = pipeline.reply(question, mode="verbatim")
    if reply.outcome in (Outcome.DID_YOU_MEAN, Outcome.NO_ANSWER):
        chosen = answer_id
    elif reply.outcome is not Outcome.ANSWERED:
        return None
    for event in pipeline.ask(question, chosen=chosen):
        if isinstance(event, Dropped):
            dropped.append({"text": event.sentence, "reasons": list(event.reasons)})
        elif isinstance(event, Finished):
            reply = event.reply
            passages = list(event.decision.passages[:3]) if event.decision else []
    shown = [{"text": s.text, "citation": s.citation} for s in reply.sentences if s.origin == "generated"]
    return {
        "question": question, "expect": answer_id, "chosen": chosen is not None, "passages": passages,
        "draft": recording.written, "shown": shown, "dropped": dropped, "seconds": round(time.perf_counter() - start, 1),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("out", type=Path)
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--count", type=int, default=160)
    args = parser.parse_args()
    before = args.out.read_text(encoding="utf-8").splitlines() if args.out.exists() else []
    done = {json.loads(line)["question"] for line in before}
    settings = Settings(
        state=args.state, engine=EngineSettings(model=args.model, reply_timeout_s=600, start_timeout_s=300)
    )
    service = open_service(settings, with_model=True)
    assert service.pipeline.writer is not None
    recording = Recording(service.pipeline.writer)
    service.pipeline.writer = recording
    n_rows = len(done)
    with args.out.open("a", encoding="utf-8") as file:
        for question, answer_id in questions():
            if n_rows >= args.count:
                break
            if question not in done and (row := asked(service.pipeline, recording, question, answer_id)) is not None:
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
                file.flush()
                n_rows += 1
    service.close()


if __name__ == "__main__":
    main()
