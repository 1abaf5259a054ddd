"""MedQuAD's question-answer pairs as answers, read from the zip as it is published."""

import re
import xml.etree.ElementTree as ElementTree
import zipfile
from collections.abc import Iterator
from pathlib import Path

from chatbot.knowledge import Answer, Review, Source

_BLANK = re.compile(r"[ \t]*\n\s*\n[ \t\n]*")


def read_medquad(path: Path) -> dict[str, Answer]:
    """Return every pair that has an answer, by id, in a fixed order."""
    return {answer.id: answer for answer in _answers(path)}


def _answers(path: Path) -> Iterator[Answer]:
    with zipfile.ZipFile(path) as archive:
        for name in sorted(archive.namelist()):
            if not name.endswith(".xml"):
                continue
            document = ElementTree.fromstring(archive.read(name))
            for number, pair in enumerate(document.iter("QAPair")):
                question, text = _one_line(pair.findtext("Question")), _paragraphs(pair.findtext("Answer"))
                if not question or not text:
                    continue
                source = Source(title=question[:80], publisher=document.get("source") or "?", url=document.get("url"))
                folder, file = Path(name).parent.name, Path(name).stem
                id_ = f"{folder}/{file}-{number}".lower().replace("_", "-")
                yield Answer.model_construct(
                    id=id_, title=question, questions=(question,), text=text, audience="everyone", sources=(source,),
                    review=Review(), see_also=(),
                )  # fmt: skip


def _one_line(text: str | None) -> str:
    return " ".join((text or "").split()).replace(" ?", "?")


def _paragraphs(text: str | None) -> str:
    return "\n\n".join(" ".join(part.split()) for part in _BLANK.split(text or "") if part.strip())
