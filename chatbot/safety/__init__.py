"""The gate in front of everything; begin with ``gate.py``."""
