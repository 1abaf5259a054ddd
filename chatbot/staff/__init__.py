"""What staff work with: checking, importing and live reload of the answers."""
