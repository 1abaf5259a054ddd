"""The index on disk: whole or absent, never embedded twice, never trusted when damaged."""

import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
from retrieval_fakes import FEVER, HOURS, PRESSURE, SMALL, SYNONYMS, CountingEmbedder, PieceCountingEmbedder, answers

from chatbot.retrieval.index import open_index
from chatbot.retrieval.retriever import Retriever
from chatbot.retrieval.store import FILE, Store, read_store
from chatbot.retrieval.words import Synonyms

pytestmark = pytest.mark.unit


def test_reopening_embeds_nothing(tmp_path: Path):
    open_index(tmp_path, SMALL, SYNONYMS, CountingEmbedder())
    second = CountingEmbedder()
    index = open_index(tmp_path, SMALL, SYNONYMS, second)
    entry_texts = {entry.embedded for entry in index.entries}
    assert not entry_texts & set(second.seen)


def test_an_edit_embeds_only_what_changed(tmp_path: Path):
    first = open_index(tmp_path, SMALL, SYNONYMS, PieceCountingEmbedder())
    edited = FEVER.model_copy(update={"questions": (*FEVER.questions, "Is 101 a fever?")})
    embedder = PieceCountingEmbedder()
    index = open_index(tmp_path, {**SMALL, FEVER.id: edited}, SYNONYMS, embedder, previous=first)
    assert [text for text in embedder.seen if text in {e.embedded for e in index.entries}] == ["Is 101 a fever?"]
    assert Retriever(index).search("Is 101 a fever?")[0].answer_id == FEVER.id


def test_a_removed_answer_is_found_no_more(tmp_path: Path):
    first = open_index(tmp_path, SMALL, SYNONYMS, CountingEmbedder())
    left = {id_: a for id_, a in SMALL.items() if id_ != HOURS.id}
    index = open_index(tmp_path, left, SYNONYMS, CountingEmbedder(), previous=first)
    assert HOURS.id not in [hit.answer_id for hit in Retriever(index).search("When is the clinic open?")]


def test_a_refreshed_index_is_the_one_that_a_fresh_build_makes(tmp_path: Path):
    first = open_index(tmp_path / "a", answers(FEVER, PRESSURE), SYNONYMS, PieceCountingEmbedder())
    grown = open_index(tmp_path / "a", SMALL, SYNONYMS, PieceCountingEmbedder(), previous=first)
    fresh = open_index(tmp_path / "b", SMALL, SYNONYMS, PieceCountingEmbedder())
    assert np.allclose(grown.vectors, fresh.vectors)
    for query in ("what is a fever", "bp too high", "open on saturday"):
        assert [h.answer_id for h in Retriever(grown).search(query)] == [
            h.answer_id for h in Retriever(fresh).search(query)
        ]


def test_another_embedder_starts_anew(tmp_path: Path):
    open_index(tmp_path, SMALL, SYNONYMS, CountingEmbedder())
    assert not len(read_store(tmp_path, "another:2").keys)


def test_progress_counts_up_to_all_entries(tmp_path: Path):
    told: list[tuple[int, int]] = []
    index = open_index(tmp_path, SMALL, SYNONYMS, CountingEmbedder(), lambda done, total: told.append((done, total)))
    assert told[-1] == (len(index.entries), len(index.entries))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with an index that is never changed."""
    folder = tmp_path_factory.mktemp("whole")
    open_index(folder, answers(FEVER, PRESSURE), SYNONYMS, PieceCountingEmbedder())
    return folder


@pytest.mark.parametrize("seed", range(60))
def test_a_damaged_file_is_not_read_or_read_whole(whole: Path, tmp_path: Path, seed: int):
    content = bytearray((whole / FILE).read_bytes())
    chance = random.Random(seed)
    if seed % 3 == 0:
        content = content[: chance.randrange(len(content))]
    else:
        for _ in range(chance.choice((1, 50))):
            content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    (tmp_path / FILE).write_bytes(content)
    intact, found = (read_store(folder, PieceCountingEmbedder.name) for folder in (whole, tmp_path))
    assert len(intact.keys) > 0
    assert not len(found.keys) or (
        np.array_equal(found.keys, intact.keys)
        and np.array_equal(found.vectors, intact.vectors)
        and np.array_equal(found.words.flat, intact.words.flat)
        and np.array_equal(found.pieces.flat, intact.pieces.flat)
        and found.vocabulary == intact.vocabulary
    )


def test_a_damaged_index_is_made_anew(tmp_path: Path):
    index = open_index(tmp_path, answers(FEVER), SYNONYMS, CountingEmbedder())
    (tmp_path / FILE).write_bytes((tmp_path / FILE).read_bytes()[:300])
    again = open_index(tmp_path, answers(FEVER), SYNONYMS, CountingEmbedder())
    assert np.allclose(again.vectors, index.vectors)
    assert len(read_store(tmp_path, CountingEmbedder.name).keys) == len(index.entries)


def test_a_folder_that_cannot_be_written_costs_nothing_but_time(tmp_path: Path):
    (tmp_path / "file").write_text("in the way")
    index = open_index(tmp_path / "file" / "index", SMALL, SYNONYMS, CountingEmbedder())
    assert Retriever(index).search("fever")[0].answer_id == FEVER.id


def test_what_killed_writers_leave_behind_is_swept_away(tmp_path: Path):
    left = tmp_path / f"{FILE}.999999999.tmp"
    left.write_bytes(b"half")
    open_index(tmp_path, SMALL, SYNONYMS, CountingEmbedder())
    assert not left.exists()
    assert (tmp_path / FILE).exists()


def test_no_answers_and_one_answer_work(tmp_path: Path):
    assert Retriever(open_index(tmp_path, {}, Synonyms(), CountingEmbedder())).decide("fever").kind == "no_answer"
    index = open_index(tmp_path, answers(FEVER), Synonyms(), CountingEmbedder())
    assert Retriever(index).search("What temperature is a fever?")[0].answer_id == FEVER.id


def test_a_kill_at_any_moment_leaves_the_old_or_the_new_index(tmp_path: Path):
    """The child writes two states in turn without end; whatever is there after a kill is one of them, whole."""
    script = textwrap.dedent(f"""
        import sys; sys.path[:0] = [{str(Path(__file__).parent)!r}, {str(Path(__file__).parents[2])!r}]
        from pathlib import Path
        import numpy as np
        from chatbot.retrieval.store import Ragged, Store, write_store
        def state(n):
            words = Ragged.of([np.zeros(3, np.int32)] * n, np.zeros(0, np.int32))
            pieces = Ragged.of([np.full((2, 8), n % 100, np.int8)] * n, np.zeros((0, 8), np.int8))
            return Store(np.zeros((n, 16), np.uint8), np.full((n, 8), n, np.float32), words, pieces, ("word",))
        states = [state(2000), state(3000)]
        print("ready", flush=True)
        while True:
            for one in states:
                write_store(Path({str(tmp_path)!r}), one, "counting:1")
                print("written", flush=True)
    """)
    child = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    child.stdout.readline()
    chance = random.Random(7)
    child.stdout.readline()  # one state is there
    for _ in range(30):
        time.sleep(chance.uniform(0.0, 0.03))
        os.kill(child.pid, signal.SIGSTOP)  # a still picture of the folder is what a kill would leave
        store = read_store(tmp_path, "counting:1")
        assert len(store.keys) in (2000, 3000)
        assert (store.vectors == len(store.keys)).all()
        os.kill(child.pid, signal.SIGCONT)
    child.kill()
    child.wait()
    assert len(read_store(tmp_path, "counting:1").keys) in (2000, 3000)


def test_an_empty_store_has_no_rows():
    assert Store.empty().rows() == {}
