"""Ranks texts by BM25, such as the chunks of a knowledge base: small, deterministic.

The backend ranks by the meaning of embeddings; this ranks by the words in common, with
scores between 0 and 1. Tests that search for words of a document find it; synonyms are
not known here.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence

__all__ = ["chunks_of", "rank"]

# The usual constants: how fast repeated words count less, and how much length counts.
_K1 = 1.5
_B = 0.75

_WORD = re.compile(r"\w+")


def chunks_of(text: str, size: int, overlap: int) -> list[str]:
    """Cut a text into pieces of at most ``size`` characters that share ``overlap``."""
    starts = range(0, max(len(text) - overlap, 1), size - overlap)
    return [text[start : start + size] for start in starts]


def rank(query: str, texts: Sequence[str]) -> list[tuple[int, float]]:
    """Score texts against a query.

    Returns:
        Index and score (0 to 1) of each text that shares a word with the query, best first.
    """
    documents = [Counter(_words(text)) for text in texts]
    wanted = set(_words(query))
    if not documents or not wanted:
        return []
    rarities: dict[str, float] = {}
    for word in wanted:
        having = sum(1 for document in documents if word in document)
        rarities[word] = math.log(1 + (len(documents) - having + 0.5) / (having + 0.5))
    average = sum(map(sum, (document.values() for document in documents))) / len(documents)
    scores: list[tuple[int, float]] = []
    for index, document in enumerate(documents):
        length = sum(document.values()) / (average or 1.0)
        score = 0.0
        for word in wanted:
            count = document[word]
            if count:
                score += rarities[word] * count * (_K1 + 1) / (count + _K1 * (1 - _B + _B * length))
        if score > 0:
            scores.append((index, round(score / (1 + score), 4)))
    return sorted(scores, key=lambda scored: (-scored[1], scored[0]))


def _words(text: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(text)]
