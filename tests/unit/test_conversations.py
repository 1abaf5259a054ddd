"""Files of questions: read whole or not at all, written whole or not at all."""

import pytest

from chatbot.conversations import read_conversations, write_lines
from chatbot.errors import SettingsError
from chatbot.reply import Turn

pytestmark = pytest.mark.unit


def test_lines_are_read_in_order_with_their_history(tmp_path):
    path = tmp_path / "in.jsonl"
    path.write_text(
        '{"id": 1, "text": "a"}\n\n{"id": "b", "text": "c", "history": [{"role": "user", "text": "d"}]}\n',
        encoding="utf-8",
    )
    assert read_conversations(path) == [("1", "a", ()), ("b", "c", (Turn("user", "d"),))]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("not json", "line 2"),
        ('{"id": "1"}', "text"),
        ('{"id": "1", "text": [5]}', "text"),
        ('{"id": "1", "text": "a", "history": [{"role": "system", "text": "x"}]}', "role is 'system'"),
        ("[]", "line 2"),
    ],
)
def test_a_bad_line_is_named(tmp_path, line, said):
    path = tmp_path / "in.jsonl"
    path.write_text('{"id": "0", "text": "fine"}\n' + line, encoding="utf-8")
    with pytest.raises(SettingsError, match=said):
        read_conversations(path)


def test_a_missing_file_is_one_clear_line(tmp_path):
    with pytest.raises(SettingsError, match="there is no such file"):
        read_conversations(tmp_path / "none.jsonl")


def test_an_unfinished_file_never_appears(tmp_path):
    path = tmp_path / "out.jsonl"

    def rows():
        yield {"id": "1"}
        raise RuntimeError("power cut")

    with pytest.raises(RuntimeError):
        write_lines(path, rows())
    assert list(tmp_path.iterdir()) == []
