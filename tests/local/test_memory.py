"""The memory of agents on the local server: its fields, its bounds, its pages, its search."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import httpx
import pytest

import flowmaestro
from flowmaestro import FlowMaestroClient
from flowmaestro_local import LocalServer, MemoryRecord
from flowmaestro_local.memory import SearchOptions, search_messages
from flowmaestro_local.records import MessageRecord

pytestmark = pytest.mark.once

OURS, THEIRS = "fm_live_ours", "fm_live_theirs"
UNKNOWN_ID = "8d635123-5d33-4a06-989b-7fd45d593d25"


class World:
    """A server with two agents, and a client of each of its two tenants."""

    def __init__(self, dialect: str) -> None:
        self.server = LocalServer(dialect=dialect)
        self.server.add_key(OURS)
        self.server.add_key(THEIRS, tenant="others")
        self.server.agent("agent")(lambda message: f"You said: {message}")
        self.server.agent("another")(lambda message: message)
        self.running = self.server.start()
        self.http = httpx.Client(base_url=self.running.url + "/api/v1", timeout=60)

    @property
    def is_documented(self) -> bool:
        return self.server.dialect == "documented"

    def send(self, method: str, path: str, body: Any = None, key: str = OURS) -> httpx.Response:
        return self.http.request(method, path, json=body, headers={"x-api-key": key})

    def data(self, method: str, path: str, body: Any = None, key: str = OURS) -> Any:
        response = self.send(method, path, body, key)
        assert response.status_code in (200, 201), response.text
        return response.json()["data"]

    def remember(self, user: str, text: str = "text", key: str = OURS, **more: Any) -> Any:
        body = {"working_memory": text, **more}
        return self.data("PUT", f"/agents/agent/memory/{user}", body, key)

    def users(self, query: str = "", key: str = OURS) -> list[str]:
        return [one["user_id"] for one in self.data("GET", f"/agents/agent/memory{query}", key=key)]

    def talk(self, *messages: str, agent: str = "agent", key: str = OURS, **metadata: Any) -> str:
        body = {"metadata": metadata}
        thread: str = self.data("POST", f"/agents/{agent}/threads", body, key)["id"]
        for content in messages:
            self.data("POST", f"/threads/{thread}/messages", {"content": content}, key)
        return thread

    def search(self, query: str, key: str = OURS, **options: Any) -> Any:
        return self.data("POST", "/agents/agent/memory/search", {"query": query, **options}, key)

    def found(self, query: str, key: str = OURS, **options: Any) -> list[str]:
        return [result["content"] for result in self.search(query, key, **options)["results"]]

    def close(self) -> None:
        self.http.close()
        self.running.stop()


@pytest.fixture(params=["wire", "documented"])
def world(request):
    world = World(request.param)
    yield world
    world.close()


def error_of(response: httpx.Response, status: int) -> dict[str, Any]:
    assert response.status_code == status
    error: dict[str, Any] = response.json()["error"]
    return error


# ---- Memories of users


def test_a_memory_is_set_replaced_and_deleted(world):
    memory = world.remember("ada", " Likes tea. \n", metadata={"source": "chat"})
    assert memory == {
        "agent_id": "agent",
        "user_id": "ada",
        "working_memory": "Likes tea.",
        "metadata": {"source": "chat"},
        "created_at": memory["created_at"],
        "updated_at": memory["created_at"],
    }
    assert world.data("GET", "/agents/agent/memory/ada") == memory
    listed = dict(memory)
    del listed["agent_id"]
    assert world.data("GET", "/agents/agent/memory") == [listed]
    # What is left out is removed, and what it was is not there twice.
    changed = world.remember("ada", "Likes coffee.")
    assert changed["metadata"] == {}
    assert changed["created_at"] == memory["created_at"] <= changed["updated_at"]
    assert world.users() == ["ada"]
    deleted = {"agent_id": "agent", "user_id": "ada", "deleted": True}
    assert world.data("DELETE", "/agents/agent/memory/ada") == deleted
    assert world.users() == []
    assert world.send("DELETE", "/agents/agent/memory/ada").status_code in (404, 500)


def test_the_last_changed_memory_comes_first(world):
    for user in ("a", "b", "c", "a"):
        world.remember(user)
    assert world.users() == ["a", "c", "b"]
    assert [one.user_id for one in world.server.memories("agent")] == ["b", "c", "a"]


def test_the_memories_of_an_agent_are_its_own(world):
    world.remember("ada")
    assert world.data("GET", "/agents/another/memory") == []
    assert world.send("GET", f"/agents/another/memory/{UNKNOWN_ID}").status_code == 404
    assert world.server.memories("another") == world.server.memories("nobody") == []


def test_a_test_sees_memories_as_they_are(world):
    world.remember("ada", metadata={"k": 1})
    (memory,) = world.server.memories("agent")
    assert isinstance(memory, MemoryRecord)
    assert (memory.user_id, memory.working_memory, memory.metadata) == ("ada", "text", {"k": 1})
    memory.working_memory = "changed by the test"
    assert world.data("GET", "/agents/agent/memory/ada")["working_memory"] == "text"


@pytest.mark.parametrize("user", ["a%2Fb", "%20", "search", "%C3%A9", "stats%2Fx"])
def test_any_text_can_be_the_id_of_a_user(world, user):
    path = f"/agents/agent/memory/{user}"
    assert world.data("PUT", path, {"working_memory": "text"})["working_memory"] == "text"
    assert world.data("GET", path)["user_id"] == httpx.URL(f"http://x/{user}").path[1:]
    assert world.data("DELETE", path)["deleted"] is True


@pytest.mark.parametrize(
    "body", [{}, {"working_memory": ""}, {"working_memory": " \n"}, {"working_memory": 5}, None]
)
def test_a_memory_needs_a_text(world, body):
    for agent in ("agent", UNKNOWN_ID, "nope"):
        error = error_of(world.send("PUT", f"/agents/{agent}/memory/ada", body), 400)
        assert error == {
            "code": "validation_error",
            "message": "working_memory is required and must be a non-empty string",
        }
    assert world.users() == []


@pytest.mark.parametrize("metadata", [None, [1], "text", 5])
def test_metadata_that_are_no_object_are_left_out(world, metadata):
    assert world.remember("ada", metadata=metadata)["metadata"] == {}


ROUTES = [
    ("GET", "/agents/{}/memory", None),
    ("GET", f"/agents/{{}}/memory/{UNKNOWN_ID}", None),
    ("PUT", f"/agents/{{}}/memory/{UNKNOWN_ID}", {"working_memory": "text"}),
    ("DELETE", f"/agents/{{}}/memory/{UNKNOWN_ID}", None),
    ("POST", "/agents/{}/memory/search", {"query": "q"}),
    ("GET", "/agents/{}/memory/stats", None),
]


@pytest.mark.parametrize(("method", "path", "body"), ROUTES)
def test_an_unknown_agent_is_not_found(world, method, path, body):
    error = error_of(world.send(method, path.format(UNKNOWN_ID), body), 404)
    assert error == {
        "code": "resource_not_found",
        "message": f"Agent with id '{UNKNOWN_ID}' not found",
        "details": {"resource": "Agent", "id": UNKNOWN_ID},
    }
    response = world.send(method, path.format("nope"), body)
    assert response.status_code == (404 if world.is_documented else 500)


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_a_user_without_a_memory_is_not_found(world, method):
    error = error_of(world.send(method, f"/agents/agent/memory/{UNKNOWN_ID}"), 404)
    assert error == {
        "code": "resource_not_found",
        "message": f"Working memory with id 'agent/{UNKNOWN_ID}' not found",
        "details": {"resource": "Working memory", "id": f"agent/{UNKNOWN_ID}"},
    }
    response = world.send(method, "/agents/agent/memory/nope")
    if world.is_documented:
        assert error_of(response, 404)["code"] == "resource_not_found"
    else:
        assert (response.status_code, response.json()["code"]) == (500, "22P02")


@pytest.mark.parametrize(
    ("query", "page", "per_page", "start", "end"),
    [
        ("", 1, 20, 0, 20),
        ("?page=2", 2, 20, 20, 26),
        ("?page=9", 9, 20, 26, 26),
        ("?page=2&per_page=13", 2, 13, 13, 26),
        ("?per_page=500", 1, 100, 0, 26),
        ("?page=-3&per_page=-3", 1, 1, 0, 1),
        ("?page=x&per_page=0", 1, 20, 0, 20),
    ],
)
def test_pages_of_memories_are_clamped(world, query, page, per_page, start, end):
    for number in range(26):
        world.remember(f"u{number}")
    content = world.send("GET", f"/agents/agent/memory{query}").json()
    expected = [f"u{number}" for number in range(25, -1, -1)][start:end]
    assert [one["user_id"] for one in content["data"]] == expected
    counts = {"page": page, "per_page": per_page, "total_count": 26}
    assert counts.items() <= content["pagination"].items()
    more = "has_more" if world.is_documented else "has_next"
    assert content["pagination"][more] is (end < 26)


def test_memories_are_hidden_from_other_tenants(world):
    world.remember("ada", "ours")
    path = "/agents/agent/memory/ada"
    for method in ("GET", "DELETE"):
        assert world.send(method, path, key=THEIRS).status_code in (404, 500)
    assert world.users(key=THEIRS) == []
    assert world.remember("ada", "theirs", THEIRS)["working_memory"] == "theirs"
    assert world.data("GET", path)["working_memory"] == "ours"
    world.talk("red apples", key=THEIRS)
    world.talk("green pears")
    assert world.found("apples") == []
    assert world.data("GET", "/agents/agent/memory/stats")["embedding_count"] == 2
    assert "tenant" not in world.send("GET", path).text
    assert {one.tenant for one in world.server.memories("agent")} == {"", "others"}


def test_a_key_needs_to_read_agents_and_nothing_more(world):
    """As on the API, for what changes a memory too."""
    world.server.add_key("fm_live_reader", scopes=["agents:read"])
    world.remember("ada", key="fm_live_reader")
    assert world.found("text", "fm_live_reader") == []
    deleted = world.data("DELETE", "/agents/agent/memory/ada", key="fm_live_reader")
    assert deleted["deleted"] is True


# ---- Kept state


@pytest.mark.parametrize("dialect", ["documented", "wire"])
def test_memories_are_kept_over_restarts(tmp_path: Path, dialect):
    def start() -> LocalServer:
        server = LocalServer(path=tmp_path / "dev.sqlite", dialect=dialect)
        server.agent("agent")(lambda message: message)
        return server

    user, other, gone = (str(uuid.uuid4()) for _ in range(3))
    with start().start() as url, FlowMaestroClient(OURS, url) as client:
        memory = client.agents.memory
        kept = memory.set("agent", user, "text", metadata={"k": [1]})["data"]
        memory.set("agent", gone, "text")
        memory.set("agent", other, "text")
        kept = memory.set("agent", user, "new text", metadata={"k": [2]})["data"]
        memory.delete("agent", gone)
    server = start()
    assert [one.user_id for one in server.memories("agent")] == [other, user]
    with server.start() as url, FlowMaestroClient(OURS, url) as client:
        memory = client.agents.memory
        assert memory.get("agent", user)["data"] == kept
        assert [one["user_id"] for one in memory.iter("agent")] == [user, other]
        with pytest.raises(flowmaestro.NotFoundError):
            memory.get("agent", gone)
        # It is still the same one.
        assert memory.set("agent", user, "last")["data"]["created_at"] == kept["created_at"]
        assert memory.stats("agent")["data"]["working_memory_count"] == 2
    # A server that is started again goes on with what it has.
    with server.start() as url, FlowMaestroClient(OURS, url) as client:
        assert client.agents.memory.get("agent", user)["data"]["working_memory"] == "last"


# ---- The search


def test_a_search_finds_what_was_said_with_what_was_said_around_it(world):
    world.talk("one", "two", "red apples are ripe", "three")
    found = world.search(" ripe apples \n", top_k=1)
    (result,) = found.pop("results")
    assert found == {"agent_id": "agent", "query": "ripe apples", "result_count": 1}
    before, after = result.pop("context_before"), result.pop("context_after")
    assert result == {
        "content": "red apples are ripe",
        "role": "user",
        "similarity": 1.0,
        "execution_id": None,
    }
    expected = [("user", "two"), ("assistant", "You said: two")]
    expected += [("assistant", "You said: red apples are ripe"), ("user", "three")]
    role = "role" if world.is_documented else "message_role"
    assert [(one[role], one["content"]) for one in before + after] == expected
    if not world.is_documented:
        assert [one["message_index"] for one in before + after] == [2, 3, 5, 6]
        assert set(before[0]) == {
            "message_id",
            "message_role",
            "message_index",
            "content",
            "created_at",
        }


def test_context_ends_where_the_thread_does(world):
    world.talk("plums")
    world.talk("apples")
    (first, second) = world.search("apples", similarity_threshold=0.1)["results"]
    assert (first["context_before"], len(first["context_after"])) == ([], 1)
    assert (len(second["context_before"]), second["context_after"]) == (1, [])


def test_results_are_cut_by_their_number_and_their_similarity(world):
    world.talk(*(f"apples {number}" for number in range(30)))
    assert len(world.found("apples")) == 10
    assert len(world.found("apples", top_k=None, similarity_threshold=None)) == 10
    assert len(world.found("apples", top_k=3)) == 3
    assert len(world.found("apples", top_k=50, similarity_threshold=0.01)) == 50
    assert len(world.found("apples", top_k=50, similarity_threshold=1)) == 30
    assert world.found("nothing of it") == []


def test_similarity_is_that_of_the_best_result_or_less(world):
    world.talk("green pears and red apples, of which there are many in this year")
    world.talk("red apples")
    results = world.search("red apples", similarity_threshold=0.01)["results"]
    similarities = [one["similarity"] for one in results]
    assert similarities == sorted(similarities, reverse=True)
    assert similarities[0] == 1 > similarities[-1] > 0
    least = similarities[-2]
    found = world.search("red apples", similarity_threshold=least)["results"]
    assert [one["similarity"] for one in found] == similarities[:-1]


def test_a_threshold_of_nothing_is_read_as_the_api_does(world):
    world.talk("green pears and red apples, of which there are many in this year")
    world.talk("red apples")
    count = len(world.found("red apples", similarity_threshold=0))
    assert count == len(
        world.found("red apples", similarity_threshold=1e-9 if world.is_documented else 0.7)
    )
    with FlowMaestroClient(OURS, world.running.url) as client:
        found = client.agents.memory.search("agent", "red apples", similarity_threshold=0)["data"]
    assert found["result_count"] == 4


def test_a_search_of_one_user_reads_the_threads_with_the_users_id(world):
    world.talk("apples of Ada", user_id="ada")
    world.talk("apples of Bob", user_id="bob")
    world.talk("apples of nobody")
    assert world.found("apples", user_id="bob")[0] == "apples of Bob"
    assert len(world.found("apples", user_id="bob", similarity_threshold=0.1)) == 2
    assert len(world.found("apples", user_id=None, similarity_threshold=0.1)) == 6
    assert world.found("apples", user_id="eve") == []


def test_a_search_reads_neither_other_agents_nor_deleted_threads_nor_working_memory(world):
    world.talk("apples", agent="another")
    world.remember("ada", "apples")
    thread = world.talk("apples")
    assert world.found("apples")[0] == "apples"
    world.data("DELETE", f"/threads/{thread}")
    assert world.found("apples") == []


@pytest.mark.parametrize(
    ("body", "message"),
    [
        *(
            (body, "query is required and must be a non-empty string")
            for body in ({}, {"query": ""}, {"query": " "}, {"query": 5}, None)
        ),
        *(
            ({"query": "q", "top_k": top_k}, "top_k must be a whole number from 1 to 50")
            for top_k in (0, 51, -1, 1.5, "3", True, [])
        ),
        *(
            (
                {"query": "q", "similarity_threshold": threshold},
                "similarity_threshold must be a number from 0 to 1",
            )
            for threshold in (-0.1, 1.1, "0.5", True, {})
        ),
        ({"query": "q", "user_id": 5}, "user_id must be a string"),
    ],
)
def test_a_search_that_makes_no_sense_is_refused(world, body, message):
    for agent in ("agent", UNKNOWN_ID, "nope"):
        error = error_of(world.send("POST", f"/agents/{agent}/memory/search", body), 400)
        assert error == {"code": "validation_error", "message": message}


def test_bounds_of_a_search_are_taken(world):
    for options in ({"top_k": 1}, {"top_k": 50}, {"top_k": 3.0}, {"similarity_threshold": 1}):
        assert world.search("q", **options)["results"] == []


def test_a_word_that_every_message_has_is_found():
    """Its score rounds to 0 where there are very many messages."""
    messages = [MessageRecord(str(n), "t", "user", "word", "then") for n in range(20_000)]
    options = SearchOptions("word", 2, 0.7, None)
    results = search_messages([messages], options, documented=True)
    assert [result["similarity"] for result in results] == [1.0, 1.0]


# ---- Figures


def test_stats_count_users_and_messages(world):
    stats = {"agent_id": "agent", "working_memory_count": 0, "embedding_count": 0}
    empty = world.data("GET", "/agents/agent/memory/stats")
    config = empty.pop("memory_config")
    assert empty == stats
    assert type(config["max_messages"]) is int
    world.remember("ada")
    world.remember("bob")
    world.remember("ada")
    world.talk("one", "two")
    world.talk("three")
    world.talk("four", agent="another")
    stats = {**stats, "working_memory_count": 2, "embedding_count": 6, "memory_config": config}
    assert world.data("GET", "/agents/agent/memory/stats") == stats
