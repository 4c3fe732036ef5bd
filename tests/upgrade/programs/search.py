"""Searches a knowledge base, as a program for 0.1.0 did: it reads what the API itself sends."""

from __future__ import annotations

import os
from typing import Any

from flowmaestro import FlowMaestroClient
from flowmaestro.types import KnowledgeBaseResult, QueryKnowledgeBaseResponse


def bar(score: float, width: int = 10) -> str:
    filled = int(score * width)
    return "#" * filled + "-" * (width - filled)


def show(rank: int, result: Any) -> None:
    print(f"{rank}. {bar(result['score'])} {result.get('document_name', result['document_id'])}")
    print(f"   {result['content']}")
    assert result["id"] == result["chunk_id"]


def best(found: QueryKnowledgeBaseResponse) -> KnowledgeBaseResult:
    return max(found["results"], key=lambda result: result["similarity"])


def main() -> None:
    base_url = os.getenv("FLOWMAESTRO_BASE_URL")
    client = FlowMaestroClient(
        api_key=os.getenv("FLOWMAESTRO_API_KEY"), base_url=base_url if base_url else None
    )
    try:
        knowledge_bases = client.knowledge_bases.list()["data"]
        for base in knowledge_bases:
            print(base["name"], base["document_count"], base["chunk_count"])
        base_id = knowledge_bases[0]["id"]
        details = client.knowledge_bases.get(base_id)["data"]
        print("chunks of", details["chunk_size"], "by", details["embedding_model"])

        found = client.knowledge_bases.query(base_id, query="reset password", top_k=2)["data"]
        print("query:", found["query"])
        for rank, result in enumerate(found["results"], start=1):
            show(rank, result)
        print("best:", best(found)["content"])
        print("few:", len(client.knowledge_bases.query(base_id, "password", 1)["data"]["results"]))
    finally:
        client.close()


if __name__ == "__main__":
    main()
