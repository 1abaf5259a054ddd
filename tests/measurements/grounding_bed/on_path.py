"""Imported first: puts the project's root on the path, so that these scripts run from a fresh clone."""

import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(PROJECT))
