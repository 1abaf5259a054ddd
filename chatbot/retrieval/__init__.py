"""Finding vetted answers and deciding whether one answers; begin with ``retriever.py``."""
