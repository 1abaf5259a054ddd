"""What one open browser tab has asked so far; in memory only, and forgotten on request."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from chatbot.reply import Reply, Turn

MAX_TURNS_REMEMBERED = 50
LEFT_S = 120.0  # a phone that changes networks, or a server's router that restarts, is back by then
TWICE_S = 2.0  # the same words again so soon are a key pressed twice


@dataclass(frozen=True, slots=True)
class Begun:
    """A turn that has just begun: its stop flag, all that was said before it, and its number from 0."""

    stop: threading.Event
    before: tuple[Reply, ...]
    number: int


class Conversation:
    """The turns of one tab. A turn that a newer one overtakes is stopped, and what it had shown is kept."""

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self.language = ""  # the code that was chosen on the page; empty: not yet
        self.last_used_s = 0.0
        self._replies: list[Reply] = []
        self._unfinished: Reply | None = None
        self._asking, self._asked_s = "", 0.0  # what the turn under way was asked, and when
        self._number = -1
        self._stop = threading.Event()
        self._lock = threading.Lock()

    @property
    def number(self) -> int:
        """The newest turn's number, from 0; -1 before the first."""
        return self._number

    @property
    def replies(self) -> tuple[Reply, ...]:
        """Everything shown so far, oldest first, what is still being written included."""
        with self._lock:
            return (*self._replies, *((self._unfinished,) if self._unfinished is not None else ()))

    def begin_turn(self, question: str = "") -> Begun | None:
        """Stop the turn that is still being written, if any, and begin a new one.

        None when the very same words have just been asked: somebody pressed Enter twice.
        """
        now_s = self._now_s()
        with self._lock:
            if question and question == self._asking and now_s - self._asked_s < TWICE_S:
                return None
            self._stop.set()
            self._stop = threading.Event()
            self._keep(self._unfinished)
            self._unfinished = None
            self._asking, self._asked_s = question, now_s
            self._number += 1
            return Begun(self._stop, tuple(self._replies), self._number)

    def show(self, turn: threading.Event, reply: Reply, *, finished: bool = False) -> bool:
        """Note what the turn has shown so far; False when a newer turn has taken its place."""
        with self._lock:
            if turn is not self._stop:
                return False
            self._unfinished = None if finished else reply
            if finished:
                self._keep(reply)
            return True

    def stop(self) -> None:
        """End the turn that is being written; what it has shown stays."""
        self._asking = ""  # whoever stops may ask the same again at once
        self._stop.set()

    def forget(self) -> None:
        """Stop what is being written and drop every word."""
        with self._lock:
            self._stop.set()
            self._stop = threading.Event()
            self._unfinished = None
            self._asking = ""
            self._replies.clear()

    def _keep(self, reply: Reply | None) -> None:
        if reply is not None:
            self._replies.append(reply)
            del self._replies[:-MAX_TURNS_REMEMBERED]  # a long day must not fill the memory


def history_of(replies: Sequence[Reply]) -> tuple[Turn, ...]:
    """Return question and reply of each turn, oldest first."""
    turns: list[Turn] = []
    for reply in replies:
        turns += [Turn("user", reply.question), Turn("assistant", reply.text)]
    return tuple(turns)


class Sessions:
    """Every open tab's conversation, by the page's session id. Safe to use from several threads."""

    def __init__(self, *, most: int = 2000, idle_s: float = 3600, now_s: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._idle_s = idle_s
        self._now_s = now_s
        self._lock = threading.Lock()
        self._conversations: OrderedDict[str, Conversation] = OrderedDict()

    def get(self, session_id: str) -> Conversation:
        """Return the tab's conversation, a new one at first; forgets tabs that were idle for too long."""
        with self._lock:
            conversation = self._conversations.pop(session_id, None) or Conversation(self._now_s)
            conversation.last_used_s = self._now_s()
            self._conversations[session_id] = conversation
            self._forget_idle()
            return conversation

    def forget(self, session_id: str) -> None:
        """Stop what is being written for this tab and drop every word of it."""
        with self._lock:
            conversation = self._conversations.pop(session_id, None)
        if conversation is not None:
            conversation.forget()

    def leave(self, session_id: str, *, grace_s: float = LEFT_S) -> None:
        """Stop what is being written for a tab that is gone, and forget it unless it asks again before long."""
        with self._lock:
            conversation = self._conversations.get(session_id)
        if conversation is None:
            return
        conversation.stop()
        timer = threading.Timer(grace_s, self._forget_left, (session_id, conversation.last_used_s))
        timer.daemon = True
        timer.start()

    def _forget_left(self, session_id: str, last_used_s: float) -> None:
        with self._lock:
            conversation = self._conversations.get(session_id)
            if conversation is None or conversation.last_used_s != last_used_s:
                return  # it came back: only its connection had been away
        self.forget(session_id)

    def __len__(self) -> int:
        return len(self._conversations)

    def _forget_idle(self) -> None:
        oldest_allowed_s = self._now_s() - self._idle_s
        while self._conversations:
            oldest = next(iter(self._conversations.values()))
            if len(self._conversations) <= self._most and oldest.last_used_s >= oldest_allowed_s:
                return
            self._conversations.popitem(last=False)[1].forget()
