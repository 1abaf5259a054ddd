import errno
import hashlib
import shutil
from collections import namedtuple
from pathlib import Path

import pytest
from models_samples import Hub, gguf, write

from chatbot.engine import download
from chatbot.engine.download import Pulled, pull
from chatbot.engine.models import ModelEntry
from chatbot.errors import ModelLoadError, SettingsError

pytestmark = pytest.mark.unit

CONTENT = gguf(tensors={"token_embd.weight": (64, 64), "blk.0.attn_q.weight": (64, 64)})
SHA256 = hashlib.sha256(CONTENT).hexdigest()
ENTRY = ModelEntry(
    repository="someone/Some-GGUF",
    revision="abc",
    file="some.gguf",
    size=len(CONTENT),
    sha256=SHA256,
    licence="Apache-2.0",
    notes="n",
)


def fetch(server: Hub, state: Path, entry: ModelEntry = ENTRY, **options) -> Pulled:
    return pull("some", entry, state, hub=server.url, pause_s=0.001, **options)


def files(state: Path) -> list[str]:
    return sorted(path.name for path in (state / "models").iterdir())


def test_a_file_is_fetched_checked_and_named(tmp_path):
    told: list[tuple[int, int]] = []
    with Hub(CONTENT) as server:
        pulled = fetch(server, tmp_path, progress=lambda done, total: told.append((done, total)))
    assert pulled == Pulled(tmp_path / "models" / "some.gguf", SHA256, verified=True, fetched=True)
    assert pulled.path.read_bytes() == CONTENT
    assert files(tmp_path) == ["some.gguf"]
    assert server.asked == [("/someone/Some-GGUF/resolve/abc/some.gguf", None)]
    assert told[0] == (0, len(CONTENT))
    assert told[-1] == (len(CONTENT), len(CONTENT))


def test_what_is_here_is_checked_but_not_fetched_again(tmp_path):
    with Hub(CONTENT) as server:
        fetch(server, tmp_path)
        assert not fetch(server, tmp_path).fetched
        assert len(server.asked) == 1


def test_an_interruption_is_bridged(tmp_path):
    with Hub(CONTENT) as server:
        server.break_off_after = [5000, 7000]
        assert fetch(server, tmp_path).path.read_bytes() == CONTENT
    assert [asked for _, asked in server.asked] == [None, "bytes=5000-", "bytes=12000-"]


def test_a_pull_given_up_is_gone_on_with_the_next_time(tmp_path):
    with Hub(CONTENT) as server:
        server.break_off_after = [5000, *[0] * 20]
        with pytest.raises(SettingsError, match=r"broke off after 5000 bytes.*pull again"):
            fetch(server, tmp_path)
        assert files(tmp_path) == ["some.gguf.part"]
        server.break_off_after = []
        server.asked.clear()
        assert fetch(server, tmp_path).path.read_bytes() == CONTENT
        assert server.asked[0][1] == "bytes=5000-"


def test_a_hub_without_ranges_sends_all_of_it_again(tmp_path):
    with Hub(CONTENT) as server:
        server.ranges = False
        server.break_off_after = [5000]
        assert fetch(server, tmp_path).path.read_bytes() == CONTENT


def test_a_passing_trouble_of_the_hub_is_waited_out(tmp_path):
    with Hub(CONTENT) as server:
        server.statuses = [503, 502]
        assert fetch(server, tmp_path).fetched


def test_no_hub_at_all_is_one_clear_line(tmp_path):
    with Hub(CONTENT) as server:
        pass
    with pytest.raises(SettingsError, match="pull again") as error:
        fetch(server, tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("status", "advice"), [(404, "healthfaq model list"), (403, "needs an account"), (418, "later")]
)
def test_a_refusal_says_what_to_do(tmp_path, status: int, advice: str):
    with Hub(CONTENT) as server:
        server.statuses = [status]
        with pytest.raises(SettingsError, match=advice):
            fetch(server, tmp_path)
    assert files(tmp_path) == []


def test_a_corrupted_file_is_removed(tmp_path):
    wrong = bytearray(CONTENT)
    wrong[-5] ^= 1
    with Hub(bytes(wrong)) as server:
        with pytest.raises(ModelLoadError, match="it was removed"):
            fetch(server, tmp_path)
        assert files(tmp_path) == []
        server.content = CONTENT
        assert fetch(server, tmp_path).verified


def test_a_corrupted_earlier_piece_is_noticed(tmp_path):
    (tmp_path / "models").mkdir()
    write(tmp_path / "models" / "some.gguf.part", b"x" * 5000)
    with Hub(CONTENT) as server:
        with pytest.raises(ModelLoadError, match="it was removed"):
            fetch(server, tmp_path)
        assert fetch(server, tmp_path).path.read_bytes() == CONTENT


def test_an_earlier_piece_longer_than_the_file_is_begun_anew(tmp_path):
    (tmp_path / "models").mkdir()
    write(tmp_path / "models" / "some.gguf.part", b"x" * (len(CONTENT) + 1))
    with Hub(CONTENT) as server:
        assert fetch(server, tmp_path).path.read_bytes() == CONTENT


def test_a_file_of_another_size_is_not_fetched(tmp_path):
    with Hub(CONTENT + b"more") as server, pytest.raises(SettingsError, match="the registry says"):
        fetch(server, tmp_path)
    assert files(tmp_path) == []


def test_a_full_disk_is_seen_before_anything_is_fetched(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 10**9 - 1000, 1000))
    with Hub(CONTENT) as server, pytest.raises(SettingsError, match="1000 are free; make room"):
        fetch(server, tmp_path)
    assert files(tmp_path) == []


def test_a_disk_that_fills_up_meanwhile_keeps_what_came(tmp_path, monkeypatch):
    def full(answer, part, here, total, progress):
        part.write_bytes(CONTENT[:4096])
        raise OSError(errno.ENOSPC, "No space left on device")

    with Hub(CONTENT) as server:
        with monkeypatch.context() as patch:
            patch.setattr(download, "_write", full)
            with pytest.raises(SettingsError, match=r"disk is full.*kept"):
                fetch(server, tmp_path)
        assert files(tmp_path) == ["some.gguf.part"]
        assert fetch(server, tmp_path).path.read_bytes() == CONTENT
        assert server.asked[-1][1] == "bytes=4096-"


def test_a_folder_that_cannot_be_written_is_one_clear_line(tmp_path):
    write(tmp_path / "models", b"a file where the folder should be")
    with Hub(CONTENT) as server, pytest.raises(SettingsError, match="cannot be written"):
        fetch(server, tmp_path)


def test_something_else_than_a_model_is_removed(tmp_path):
    page = b"<html>Log in</html>"
    entry = ENTRY.model_copy(update={"size": None, "sha256": None})
    with Hub(page) as server, pytest.raises(ModelLoadError, match="is not a GGUF file"):
        fetch(server, tmp_path, entry, unverified=True)
    assert files(tmp_path) == []


def test_without_a_known_hash_it_takes_an_explicit_word(tmp_path):
    entry = ENTRY.model_copy(update={"size": None, "sha256": None})
    with Hub(CONTENT) as server:
        with pytest.raises(SettingsError, match="--unverified"):
            fetch(server, tmp_path, entry)
        assert server.asked == []
        pulled = fetch(server, tmp_path, entry, unverified=True)
    assert (pulled.sha256, pulled.verified) == (SHA256, False)


def test_terms_are_shown_and_must_be_accepted(tmp_path):
    entry = ENTRY.model_copy(update={"terms": "Be good: https://example.org/terms"})
    with Hub(CONTENT) as server:
        with pytest.raises(SettingsError, match=r"Be good.*--accept-terms"):
            fetch(server, tmp_path, entry)
        assert server.asked == []
        assert fetch(server, tmp_path, entry, accept_terms=True).verified


def test_the_hub_can_be_named_in_the_environment(tmp_path, monkeypatch):
    with Hub(CONTENT) as server:
        monkeypatch.setenv("HEALTHFAQ_HUB", f"{server.url}/")
        assert pull("some", ENTRY, tmp_path).fetched
