"""Searches a knowledge base.

uv run examples/search.py [words], with a key: KNOWLEDGE_BASE_ID [words]
"""

from __future__ import annotations

import sys

from _local import flowmaestro, ids

from flowmaestro import FlowMaestroClient


def main(knowledge_base_id: str, query: str) -> None:
    with flowmaestro(), FlowMaestroClient() as client:
        found = client.knowledge_bases.query(knowledge_base_id, query, top_k=3)["data"]
        for result in found["results"]:
            print(f"{result['similarity']:.2f}  {result['document_name']}: {result['content']}")
        if not found["results"]:
            print(f"nothing about {query!r}")


if __name__ == "__main__":
    (knowledge_base,) = ids("KNOWLEDGE_BASE_ID")
    main(knowledge_base, " ".join(sys.argv[1:]) or "reset password")
