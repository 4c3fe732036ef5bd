"""Searches a knowledge base.

uv run examples/search.py [words]
"""

from __future__ import annotations

import sys

from _local import KNOWLEDGE_BASE, flowmaestro

from flowmaestro import FlowMaestroClient


def main(query: str) -> None:
    with flowmaestro(), FlowMaestroClient() as client:
        found = client.knowledge_bases.query(KNOWLEDGE_BASE, query, top_k=3)["data"]
        for result in found["results"]:
            print(f"{result['similarity']:.2f}  {result['document_name']}: {result['content']}")
        if not found["results"]:
            print(f"nothing about {query!r}")


if __name__ == "__main__":
    main(" ".join(sys.argv[1:]) or "reset password")
