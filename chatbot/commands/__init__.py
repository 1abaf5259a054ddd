"""The commands of ``healthfaq`` beside those of ``cli.py``."""
