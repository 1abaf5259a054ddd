"""Live reload with the real embedder: the index that grew by changes equals the one that is made anew."""

from pathlib import Path

import numpy as np
import pytest
from staff_folder import COUGH_FILE, FEVER_FILE, make_folder, write_answer

from chatbot.bootstrap import open_service, reload
from chatbot.embedder import MiniLM
from chatbot.retrieval.index import open_index
from chatbot.settings import Settings

pytestmark = pytest.mark.component


def test_an_index_that_followed_the_files_equals_one_made_anew(tmp_path: Path):
    root = make_folder(tmp_path / "knowledge", safety=True)
    settings = Settings(knowledge=root, state=tmp_path / "state", mode="verbatim")
    service = open_service(settings, with_model=False)
    write_answer(root, "fever/adults", FEVER_FILE.replace("Rest and drink", "Sleep and drink"))
    write_answer(root, "skin/rash", COUGH_FILE.replace("Cough", "Rash").replace("a cough", "a rash"))
    (root / "answers" / "colds" / "cough.md").unlink()
    for step in ("now", "soon", "whole"):
        service = reload(service, step)
    grown = service.retriever.index
    anew = open_index(None, service.knowledge.answers, service.parts.synonyms, MiniLM())
    assert [entry.embedded for entry in grown.entries] == [entry.embedded for entry in anew.entries]
    assert np.allclose(grown.vectors, anew.vectors, atol=1e-4)
    reply = service.pipeline.reply("How do I get rid of a rash?", mode="verbatim")
    assert "skin/rash" in [citation.id for citation in reply.citations]
    again = open_service(settings, with_model=False)
    assert again.retriever.index.answers == grown.answers
