"""Watt-hours: from the processor's own counter where it can be read, else processor time times a stated power.

The counter (RAPL) sees the whole package, other programs and idle time included. Processor time sees this program and
its child processes alone, and nothing of idle time, screen or power supply.
"""

import os
from dataclasses import dataclass
from pathlib import Path

import psutil

RAPL = Path("/sys/class/powercap")
CORE_WATTS = 10.0  # one busy core with its share of memory: 6 W in a large server, 15 W in a small desktop
WEB_SEARCH_WH = 0.3  # Google, "Powering a Google search", 2009; repeated by EPRI 2024
CHATBOT_ANSWER_WH = 2.9  # de Vries, "The growing energy footprint of artificial intelligence", Joule 7 (10), 2023
JOULES_A_WH = 3600.0


@dataclass(frozen=True, slots=True)
class Energy:
    """What was used, and how that is known."""

    watt_hours: float
    method: str
    cpu_s: float  # seconds of processor time of this program and its children

    def per(self, count: int) -> float:
        """Return watt-hours for each of so many answers."""
        return self.watt_hours / count if count else 0.0


class EnergyMeter:
    """Counts from the moment it was made. Safe to read from any thread."""

    def __init__(self, core_watts: float = CORE_WATTS, rapl: Path = RAPL) -> None:
        """Take the power of one busy core in watts; it is used only where there is no counter."""
        self._core_watts = core_watts
        self._counters = {path: _read(path) for path in rapl_counters(rapl)}
        self._cpu_s = cpu_seconds()

    def spent(self) -> Energy:
        """Return what was used since this meter was made."""
        cpu_s = max(0.0, cpu_seconds() - self._cpu_s)
        if self._counters:
            joules = sum(_since(path, start) for path, start in self._counters.items())
            return Energy(joules / JOULES_A_WH, "RAPL counter of the whole processor", cpu_s)
        method = f"estimate: processor time × {self._core_watts:g} W a core"
        return Energy(cpu_s * self._core_watts / JOULES_A_WH, method, cpu_s)


def rapl_counters(folder: Path = RAPL) -> list[Path]:
    """Return the readable energy counters, one for each processor package."""
    packages = [path for path in folder.glob("intel-rapl:*") if path.name.count(":") == 1]
    return [path / "energy_uj" for path in sorted(packages) if os.access(path / "energy_uj", os.R_OK)]


def cpu_seconds() -> float:
    """Return the processor time of this process, its living children and those that have ended."""
    own = psutil.Process()
    total = 0.0
    for process in (own, *own.children(recursive=True)):
        try:
            times = process.cpu_times()
        except psutil.Error:  # it ended meanwhile; its time is in its parent's figures from now on
            continue
        total += times.user + times.system
        total += getattr(times, "children_user", 0.0) + getattr(times, "children_system", 0.0)
    return total


def _read(path: Path) -> int:
    return int(path.read_text(encoding="ascii"))


def _since(path: Path, start: int) -> float:
    """Return joules since ``start``; a counter that came to its end begins again at 0."""
    now = _read(path)
    whole = _read(path.with_name("max_energy_range_uj")) if now < start else 0
    return (now - start + whole) / 1e6
