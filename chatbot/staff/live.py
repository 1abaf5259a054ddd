"""Keeps what is being served up to date with the knowledge files, while patients ask.

One thread notices changes, another makes the next state of the service and puts it in place with a single assignment:
a turn that has begun ends with the state it began with, and the next one gets the new state.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from datetime import date
from functools import partial
from typing import Generic, Literal, Protocol, TypeVar

from chatbot.errors import KnowledgeError, Problem
from chatbot.knowledge import Knowledge
from chatbot.pipeline import Pipeline
from chatbot.retrieval.remembering import Interrupted
from chatbot.settings import Settings
from chatbot.shelf import folder_stamps
from chatbot.staff.watching import LOOK_EVERY_S, watch

Step = Literal["now", "soon", "whole"]
Say = Callable[[str], None]
SOON = 48  # changed answers; with more of them a first part is made to be found before the rest
MAX_TOLD = 20
log = logging.getLogger(__name__)


class State(Protocol):
    """One state of a service; see ``bootstrap.Service``."""

    @property
    def settings(self) -> Settings:
        """The operator's choices."""

    @property
    def pipeline(self) -> Pipeline:
        """What answers patients."""

    @property
    def knowledge(self) -> Knowledge:
        """What is being served."""

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What staff should mend."""

    @property
    def n_waiting(self) -> int:
        """How many answers cannot be found yet, or by their former wording only."""

    @property
    def is_settled(self) -> bool:
        """Say whether the index is over the very answers that are served."""


StateT = TypeVar("StateT", bound=State)


class Maker(Protocol[StateT]):
    """Makes the next state; see ``bootstrap.reload``."""

    def __call__(self, service: StateT, step: Step, *, interrupted: Callable[[], bool]) -> StateT:
        """Return a state over the knowledge files as they are now."""


class Calibrator(Protocol[StateT]):
    """Sets thresholds anew; see ``bootstrap.recalibrate``."""

    def __call__(self, service: StateT, *, interrupted: Callable[[], bool]) -> StateT:
        """Return the state with thresholds that fit its answers."""


class LiveService(Generic[StateT]):
    """A service whose ``pipeline`` is always over the newest knowledge that is in order."""

    def __init__(self, state: StateT, reload: Maker[StateT], recalibrate: Calibrator[StateT], *, say: Say) -> None:
        self._state = state
        self._reload = reload
        self._recalibrate = recalibrate
        self._say = say
        self._told = state.knowledge
        self._trouble: tuple[Problem, ...] = ()
        self._lock = threading.Lock()  # guards replacing the state, not reading it
        self._changed = threading.Event()
        self._dirty = threading.Event()
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []

    @property
    def state(self) -> StateT:
        """The state that is being served now."""
        return self._state

    @property
    def settings(self) -> Settings:
        """The operator's choices."""
        return self._state.settings

    @property
    def pipeline(self) -> Pipeline:
        """The pipeline over the newest knowledge; asked once a turn."""
        return self._state.pipeline

    @property
    def knowledge(self) -> Knowledge:
        """The knowledge that is being served."""
        return self._state.knowledge

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Everything staff should mend."""
        return (*self._trouble, *self._state.problems)

    def start(self) -> None:
        """Begin to watch the knowledge folder."""
        root = self.settings.knowledge
        seen = folder_stamps(root)  # before anything else: a file that changes from here on is noticed
        works: dict[str, Callable[[], None]] = {
            "watch": partial(watch, root, seen, self._stop, self._dirty.set),
            "reload": self._keep_up,
            "thresholds": self._keep_calibrated,
        }
        for name, work in works.items():
            thread = threading.Thread(target=work, name=f"knowledge-{name}", daemon=True)
            thread.start()
            self._threads.append(thread)
        self._dirty.set()  # what changed between reading the files and now

    def stop(self) -> None:
        """End the watching; returns once its threads have ended, or after some seconds."""
        self._stop.set()
        self._dirty.set()
        self._changed.set()
        for thread in self._threads:
            thread.join(timeout=10)

    def _keep_up(self) -> None:
        today = date.today()
        while not self._stop.is_set():
            is_dirty = self._dirty.wait(timeout=LOOK_EVERY_S)
            if self._stop.is_set():
                return
            if not is_dirty and date.today() == today:
                continue
            today = date.today()  # a review that ends today ends without a change to any file
            self._dirty.clear()
            try:
                self.refresh(interrupted=self._is_overtaken)
            except Interrupted:
                continue
            except Exception as error:
                log.exception("reloading the knowledge failed")
                self._say(f"The answers could not be reloaded ({type(error).__name__}); the last good ones stay.")

    def _is_overtaken(self) -> bool:
        return self._dirty.is_set()

    def refresh(self, *, interrupted: Callable[[], bool] = lambda: False) -> None:
        """Bring the service up to date with the files, in steps that each can be seen by the next turn.

        Raises:
            Interrupted: Newer files wait; what is in place is consistent.
        """
        began, before = time.monotonic(), self._state
        try:
            self._put(self._reload(self._state, "now", interrupted=interrupted))
        except KnowledgeError as error:
            self._tell_trouble(error.problems)
            return
        self._tell_trouble(())
        self._tell_problems(before.problems)
        if not self._state.is_settled:
            if self._state.n_waiting > SOON:
                self._put(self._reload(self._state, "soon", interrupted=interrupted))
                self._say(f"{self._state.n_waiting} more answers are being made ready to be found …")
            self._put(self._reload(self._state, "whole", interrupted=interrupted))
        self._tell_changes(time.monotonic() - began)
        self._changed.set()

    def _put(self, state: StateT) -> None:
        with self._lock:
            self._state = state  # one assignment: a turn sees the old state or the new one

    def _keep_calibrated(self) -> None:
        """Set the thresholds anew after changes. It takes a while, so it never holds up the next change."""
        while not self._stop.is_set():
            self._changed.wait()
            self._changed.clear()
            state = self._state
            if self._stop.is_set() or not state.is_settled:
                continue
            try:
                new = self._recalibrate(state, interrupted=partial(self._is_outdated, state))
            except Interrupted:
                continue  # the change that came between sets it off again
            except Exception:
                log.exception("setting the thresholds failed; the former ones stay")
                continue
            with self._lock:
                if self._state is state:
                    self._state = new

    def _is_outdated(self, state: StateT) -> bool:
        return self._stop.is_set() or self._state is not state

    def _tell_changes(self, seconds: float) -> None:
        old, new = self._told.answers, self.knowledge.answers
        self._told = self.knowledge
        added, removed = len(new.keys() - old.keys()), len(old.keys() - new.keys())
        edited = sum(old[id_] != answer for id_, answer in new.items() if id_ in old)
        if added or removed or edited:
            counts = f"{edited} edited, {added} new, {removed} gone; {len(new)} in service"
            self._say(f"Answers updated: {counts} ({seconds:.1f} s).")

    def _tell_problems(self, before: Sequence[Problem]) -> None:
        new = [problem for problem in self._state.problems if problem not in before]
        if new:
            self._say(f"{len(new)} new problem(s) in the knowledge files:")
        for problem in new[:MAX_TOLD]:
            self._say(f"  {problem}")
        if len(new) > MAX_TOLD:
            self._say(f"  … and {len(new) - MAX_TOLD} more; `healthfaq check` lists them.")
        if before and not self._state.problems:
            self._say("The knowledge files are in order again.")

    def _tell_trouble(self, problems: Sequence[Problem]) -> None:
        for problem in problems:
            if problem not in self._trouble:
                self._say(f"{problem}. Patients see the last good answers.")
        self._trouble = tuple(problems)
