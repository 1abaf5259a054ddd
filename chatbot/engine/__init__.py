"""Drafting replies with a language model, here or elsewhere; begin with ``writer.py``."""
