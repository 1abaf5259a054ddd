"""Checking generated sentences against the vetted text; begin with ``checker.py``."""
