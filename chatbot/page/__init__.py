"""The page that patients meet; begin with ``page/ui.py``."""
