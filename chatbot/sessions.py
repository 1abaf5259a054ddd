"""What one open browser tab has asked so far; in memory only, and forgotten on request."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from chatbot.reply import Reply, Turn

MAX_TURNS_REMEMBERED = 50


@dataclass(slots=True)
class Conversation:
    """The turns of one tab, and the flag that stops the turn being written now."""

    replies: list[Reply] = field(default_factory=list)
    choices: tuple[str, ...] = ()  # answer ids behind the buttons on show
    stop: threading.Event = field(default_factory=threading.Event)
    last_used_s: float = 0.0

    def begin_turn(self) -> threading.Event:
        """Stop the turn that is still being written, if any, and return the new turn's stop flag."""
        self.stop.set()
        self.stop = threading.Event()
        return self.stop

    def remember(self, reply: Reply) -> None:
        """Add a finished turn; the oldest are let go so that a long day cannot fill the memory."""
        self.replies.append(reply)
        del self.replies[:-MAX_TURNS_REMEMBERED]

    def history(self) -> tuple[Turn, ...]:
        """Return the conversation as the pipeline takes it, oldest first."""
        return history_of(self.replies)


def history_of(replies: Sequence[Reply]) -> tuple[Turn, ...]:
    """Return question and reply of each turn, oldest first."""
    turns: list[Turn] = []
    for reply in replies:
        turns += [Turn("user", reply.question), Turn("assistant", reply.text)]
    return tuple(turns)


class Sessions:
    """Every open tab's conversation, by the page's session id. Safe to use from several threads."""

    def __init__(
        self, *, most: int = 2000, idle_s: float = 3600, now_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._most = most
        self._idle_s = idle_s
        self._now_s = now_s
        self._lock = threading.Lock()
        self._conversations: OrderedDict[str, Conversation] = OrderedDict()

    def get(self, session_id: str) -> Conversation:
        """Return the tab's conversation, a new one at first; forgets tabs that were idle for too long."""
        with self._lock:
            conversation = self._conversations.pop(session_id, None) or Conversation()
            conversation.last_used_s = self._now_s()
            self._conversations[session_id] = conversation
            self._forget_idle()
            return conversation

    def forget(self, session_id: str) -> None:
        """Stop what is being written for this tab and drop every word of it."""
        with self._lock:
            if conversation := self._conversations.pop(session_id, None):
                conversation.stop.set()

    def __len__(self) -> int:
        return len(self._conversations)

    def _forget_idle(self) -> None:
        oldest_allowed_s = self._now_s() - self._idle_s
        while self._conversations:
            oldest = next(iter(self._conversations.values()))
            if len(self._conversations) <= self._most and oldest.last_used_s >= oldest_allowed_s:
                return
            self._conversations.popitem(last=False)[1].stop.set()
