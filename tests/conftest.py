"""Fixtures that tests of several kinds share."""

import json
from pathlib import Path

import pytest
from fakes import CHILD_FEVER, CLINIC, FEVER, PROJECT, TEXTS

from chatbot.knowledge import Knowledge


@pytest.fixture
def small_knowledge() -> Knowledge:
    """Return two answers and the fixed texts."""
    return Knowledge(Path("knowledge"), CLINIC, TEXTS, {a.id: a for a in (FEVER, CHILD_FEVER)})


@pytest.fixture(scope="session")
def reply_schema() -> dict[str, object]:
    """Return the JSON schema of the reply contract."""
    schema: dict[str, object] = json.loads((PROJECT / "tests" / "reply.schema.json").read_text(encoding="utf-8"))
    return schema
