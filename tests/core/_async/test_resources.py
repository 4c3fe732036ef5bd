"""Ordinary methods: lists that are walked, responses of the wrong shape, what is sent."""

from __future__ import annotations

import contextlib
import gc
import json
import logging

import httpx
import pytest

import flowmaestro_executions._async as executions_module
import flowmaestro_threads._async as threads_module
from flowmaestro import AsyncFlowMaestroClient
from flowmaestro.types import ExecutionStatus
from flowmaestro_core import errors
from flowmaestro_core._async import transport as transport_module
from tests.conftest import KEY
from tests.core.mock import Script, data, error, events, frame

pytestmark = [
    pytest.mark.anyio,  # async only
    pytest.mark.once,
]

URL = "http://127.0.0.1:1"


@pytest.fixture
def pauses(monkeypatch):
    """Replace all sleeping by a list of the pauses; the clock moves along."""
    slept = []

    async def sleep(seconds):
        slept.append(seconds)

    def monotonic():
        return sum(slept)

    for module in (transport_module, executions_module, threads_module):
        monkeypatch.setattr(module, "sleep", sleep)
    for module in (executions_module, threads_module):
        monkeypatch.setattr(module, "monotonic", monotonic)
    return slept


@contextlib.asynccontextmanager
async def scripted(*steps, **options):
    script = Script(*steps)
    async with httpx.AsyncClient(transport=script) as http_client:
        async with AsyncFlowMaestroClient(KEY, URL, http_client=http_client, **options) as client:
            client.script = script
            yield client


def asked(client):
    """Give the paths that were asked for, without the prefix and with their queries."""
    return [str(request.url).partition("/api/v1")[2] for request in client.script.requests]


async def refused(call, *arguments, **named):
    with pytest.raises(errors.FlowMaestroError) as caught:
        await call(*arguments, **named)
    return caught.value


# Lists of executions. The API reads the newest rows of every account, filters them
# afterwards, and counts what is left; the list of one workflow is exact.


class SharedApi:
    """Executions of several accounts, the newest first, as today's API lists them."""

    def __init__(self, rows, *, scopes=("workflows:read",)):
        # Each row: (whose it is, its workflow, its status).
        self.rows = [
            {"id": f"e{number}", "owner": owner, "workflow_id": workflow, "status": status}
            for number, (owner, workflow, status) in enumerate(rows)
        ]
        self.scopes = scopes

    def __call__(self, request):
        query = dict(request.url.params)
        page, per_page = int(query["page"]), int(query["per_page"])
        if request.url.path.endswith("/workflows"):
            if "workflows:read" not in self.scopes:
                return error(403, "insufficient_scope")
            mine = sorted({row["workflow_id"] for row in self.rows if row["owner"] == "me"})
            return self.page([{"id": workflow} for workflow in mine], page, per_page)
        if "workflow_id" in query:
            assert "status" not in query
            of = [row for row in self.rows if row["workflow_id"] == query["workflow_id"]]
            return self.page(of, page, per_page)
        read = self.rows[: page * per_page]
        mine = [row for row in read if row["owner"] == "me"]
        if "status" in query:
            mine = [row for row in mine if row["status"] == query["status"]]
        return self.page(mine, page, per_page)

    @staticmethod
    def page(rows, page, per_page):
        start = (page - 1) * per_page
        pagination = {"page": page, "per_page": per_page, "total_count": len(rows)}
        pagination["has_next"] = page * per_page < len(rows)
        shown = rows[start : start + per_page]
        return httpx.Response(200, json={"data": shown, "pagination": pagination})


async def test_a_full_page_of_executions_may_have_a_next_one():
    api = SharedApi([("me", "w", "completed")] * 3)
    async with scripted(api) as client:
        for number, more in ((1, True), (2, False)):
            page = await client.executions.list(page=number, per_page=2)
            assert page["pagination"]["has_more"] is more
        exact = await client.executions.list(page=1, per_page=3, workflow_id="w")
        assert exact["pagination"]["has_more"] is False


async def test_has_more_of_the_api_itself_is_believed():
    full = {"page": 1, "per_page": 1, "total_count": 1, "has_more": False}
    body = {"data": [{"id": "e", "status": "failed"}], "pagination": full}
    async with scripted(httpx.Response(200, json=body)) as client:
        page = await client.executions.list(page=1, per_page=1, status="failed")
        assert page["pagination"]["has_more"] is False
        found = [one["id"] async for one in client.executions.iter(per_page=1)]
        assert found == ["e"]
        assert len(client.script.requests) == 2, "there is nothing to look for elsewhere"


async def test_iter_gives_all_executions_though_no_page_says_that_there_are_more():
    api = SharedApi([("me", f"w{number % 3}", "completed") for number in range(260)])
    async with scripted(api) as client:
        found = [one["id"] async for one in client.executions.iter()]
    assert found == [f"e{number}" for number in range(260)]


@pytest.mark.parametrize("per_page", [20, 100])
async def test_iter_gives_all_executions_of_a_database_that_others_fill(per_page):
    others = [("they", "theirs", "failed")] * 300
    mine = [("me", f"w{number % 2}", "failed") for number in range(75)]
    done = [("me", "w0", "completed")] * 10
    async with scripted(SharedApi(others + done + mine)) as client:
        walk = client.executions.iter(status="failed", per_page=per_page)
        found = [one["id"] async for one in walk]
    assert sorted(found) == sorted(f"e{number}" for number in range(310, 385))


async def test_iter_needs_no_workflows_as_long_as_its_pages_are_full():
    api = SharedApi([("me", "w", "completed")] * 30)
    async with scripted(api) as client:
        walk = client.executions.iter(per_page=10)
        assert [(await walk.__anext__())["id"] for _ in range(25)][-1] == "e24"
        await walk.aclose()
        assert asked(client) == [f"/executions?page={page}&per_page=10" for page in (1, 2, 3)]


async def test_iter_from_a_later_page_is_that_list_alone():
    api = SharedApi([("me", "w", "completed")] * 30)
    async with scripted(api) as client:
        assert len([one async for one in client.executions.iter(page=2, per_page=20)]) == 10
        assert not [path for path in asked(client) if "workflow" in path]


@pytest.mark.parametrize("count", [1, 2, 3])
async def test_a_walk_that_is_left_leaves_nothing_open(count):
    """In no phase of it: trio warns of each generator that is left to the garbage collector."""
    rows = [("me", "w", "completed"), *[("other", "o", "completed")] * 9]
    api = SharedApi([*rows, ("me", "w", "completed"), ("me", "v", "completed")])
    async with scripted(api) as client:
        walks = [client.executions.iter(per_page=2), client.executions.iter(workflow_id="w")]
        for walk in walks:
            for _ in range(min(count, 2) if walk is walks[1] else count):
                await walk.__anext__()
            await walk.aclose()
    gc.collect()


async def test_iter_knows_when_it_has_all_workflows_though_the_api_sends_no_more_than_their_number():
    def api(request):
        page = int(request.url.params["page"])
        if not request.url.path.endswith("/workflows"):
            return data([])
        rows = [{"id": f"w{number}"} for number in range(150)][(page - 1) * 100 : page * 100]
        return httpx.Response(200, json={"data": rows, "pagination": {"total_count": 150}})

    async with scripted(api) as client:
        assert [one async for one in client.executions.iter()] == []
        assert len([path for path in asked(client) if path.startswith("/workflows?")]) == 2
        assert len([path for path in asked(client) if "workflow_id=" in path]) == 150


async def test_iter_gives_each_execution_once_though_a_workflow_is_listed_twice():
    def api(request):
        if request.url.path.endswith("/workflows"):
            return data([{"id": "w"}, {"id": "w"}])
        return data([{"id": "e"}] if "workflow_id" in request.url.params else [])

    async with scripted(api) as client:
        assert [one["id"] async for one in client.executions.iter()] == ["e"]
        assert len([path for path in asked(client) if "workflow_id=w" in path]) == 1


async def test_iter_warns_where_the_key_may_not_list_workflows(caplog):
    api = SharedApi([("they", "t", "failed")] * 5 + [("me", "w", "failed")] * 3, scopes=())
    async with scripted(api) as client:
        with caplog.at_level(logging.WARNING, "flowmaestro"):
            assert [one async for one in client.executions.iter(per_page=2)] == []
    assert "workflows:read" in caplog.text


async def test_iter_of_a_workflow_compares_the_status_itself():
    api = SharedApi([("me", "w", "failed"), ("me", "w", "completed"), ("me", "v", "failed")])
    async with scripted(api) as client:
        walk = client.executions.iter(workflow_id="w", status=ExecutionStatus.FAILED)
        assert [one["id"] async for one in walk] == ["e0"]


async def test_an_execution_without_a_status_has_none_and_passes_no_filter():
    async with scripted(data([{"id": "e1"}, {"id": "e2", "status": "failed"}])) as client:
        walk = client.executions.iter(workflow_id="wf", status="failed")
        assert [execution["id"] async for execution in walk] == ["e2"]
        listed = (await client.executions.list(workflow_id="wf"))["data"]
        assert [execution["status"] for execution in listed] == [None, "failed"]


async def test_bad_filters_are_refused_before_anything_is_read():
    async with scripted(data([])) as client:
        for named in ({"status": " "}, {"workflow_id": " "}, {"page": 0}, {"per_page": 0}):
            with pytest.raises(ValueError, match="must"):
                client.executions.iter(**named)
        assert client.script.requests == []


# Pages that bring nothing new


def paged(items_of):
    """Answer each page with the items that a function gives, and say that there are more."""

    def answer(request):
        page = int(request.url.params["page"])
        assert page < 1_000, "the walk has no end"
        pagination = {"page": page, "per_page": 2, "total_count": 2, "has_more": True}
        return httpx.Response(200, json={"data": items_of(page), "pagination": pagination})

    return answer


@pytest.mark.parametrize(
    ("items_of", "given", "requests", "what"),
    [
        (lambda page: [{"id": "a"}, {"id": "b"}], 2, 4, "the last 4 pages have the same items"),
        (lambda page: [{"name": "no id"}], 1, 4, "the last 4 pages have the same items"),
        (lambda page: [{"id": ["unhashable"]}], None, 1, ""),
        (
            lambda page: [{"id": str(page % 3)}],
            3,
            14,
            "the last 11 pages brought only items of the",
        ),
        (lambda page: [], 0, 100, "the last 100 pages are empty"),
    ],
    ids=["same page", "no ids", "ids that are none", "in a circle", "empty for ever"],
)
async def test_pages_that_bring_nothing_new_end_with_an_error(items_of, given, requests, what):
    async with scripted(paged(items_of)) as client:
        found = []
        with pytest.raises(errors.ServerError) as caught:
            async for workflow in client.workflows.iter():
                found.append(workflow)
        assert len(client.script.requests) == requests
    if given is None:
        assert caught.value.code == "invalid_response"
    else:
        assert caught.value.code == "pagination_stuck"
        assert f"stuck at page {requests}: {what}" in str(caught.value)
        assert len(found) == given


async def test_empty_pages_that_say_there_are_more_are_passed_over():
    def items_of(page):
        return [{"id": "late"}] if page == 5 else []

    async with scripted(paged(items_of)) as client:
        walk = client.workflows.iter()
        assert await walk.__anext__() == {"id": "late"}
        await walk.aclose()
        assert len(client.script.requests) == 5


@pytest.mark.parametrize("count", [1, 3, 10])
async def test_items_pushed_onto_later_pages_are_given_once(count):
    # New items come while the first page is read: the next ones bring what is known.
    rows = [str(number) for number in range(20)]

    def answer(request):
        page = int(request.url.params["page"])
        if page == 2:
            rows[:0] = [f"new{number}" for number in range(count)]
        here = [{"id": one} for one in rows[(page - 1) * 2 : page * 2]]
        pagination = {"page": page, "per_page": 2, "has_more": page * 2 < len(rows)}
        return httpx.Response(200, json={"data": here, "pagination": pagination})

    async with scripted(answer) as client:
        found = [one["id"] async for one in client.workflows.iter(per_page=2)]
    assert [one for one in found if not one.startswith("new")] == [str(n) for n in range(20)]
    assert len(found) == len(set(found))


# Responses of the wrong shape


@pytest.mark.parametrize("content", [None, [], "text", 5, True, {}, {"execution_id": 5}])
async def test_a_start_that_tells_no_execution_id_leaves_the_outcome_unknown(content):
    async with scripted(data(content)) as client:
        for call in (client.run, client.workflows.execute, client.triggers.execute):
            problem = await refused(call, "id")
            assert type(problem) is errors.ServerError
            assert problem.code == "invalid_response"
            assert problem.outcome_unknown is True
            assert "expected" in problem.message
        assert len(client.script.requests) == 3


@pytest.mark.parametrize("execution_id", ["", " ", ".", "..", "\ud800"])
async def test_an_execution_id_that_no_path_can_carry_is_an_error_of_ours(execution_id):
    body = json.dumps({"data": {"execution_id": execution_id}})
    async with scripted(httpx.Response(200, content=body)) as client:
        problem = await refused(client.run, "wf")
        assert problem.code == "invalid_response"
        assert problem.outcome_unknown is True


@pytest.mark.parametrize("content", [None, [], {}, {"status": None}, {"status": {}}])
async def test_a_wait_gives_up_on_executions_that_cannot_be_read(content, pauses):
    async with scripted(data(content)) as client:
        problem = await refused(client.executions.wait_for_completion, "e", timeout=None)
        assert problem.code == "invalid_response"
        assert len(client.script.requests) == 3
        assert (await refused(client.executions.get, "e")).outcome_unknown is False


async def test_a_wait_survives_two_responses_that_cannot_be_read(pauses):
    bad = httpx.Response(200, text="<html>")
    done = data({"id": "e", "status": "completed"})
    running = data({"id": "e", "status": "running"})
    async with scripted(bad, bad, running, bad, bad, done) as client:
        result = await client.executions.wait_for_completion("e")
        assert result["status"] is ExecutionStatus.COMPLETED
        assert result["outputs"] is None


async def test_an_error_after_the_start_of_a_run_tells_the_execution(pauses):
    started = data({"execution_id": "e1", "status": "pending"})
    for step in (error(404), data(None), data({"status": "running"})):
        async with scripted(started, step) as client:
            problem = await refused(client.run, "wf", timeout=5)
            assert problem.outcome_unknown is True
            assert problem.details["execution_id"] == "e1"
    async with scripted(started, data({"status": "failed", "error": "no"})) as client:
        problem = await refused(client.run, "wf", raise_on_failure=True)
        assert isinstance(problem, errors.ExecutionFailedError)
        assert problem.outcome_unknown is False, "it is known to have failed"


@pytest.mark.parametrize(
    "pagination",
    [
        None,
        [],
        "text",
        {"page": "1", "per_page": None, "total_count": True, "has_more": "false"},
        {"page": -1, "per_page": 0, "total_count": -5, "has_more": None},
        {"page": 1.5, "per_page": [], "total_count": {}, "has_next": 1},
    ],
)
async def test_page_numbers_that_are_none_count_as_not_sent(pagination):
    body = {"data": [{"id": "a"}], "pagination": pagination}
    async with scripted(httpx.Response(200, json=body)) as client:
        for call in (client.workflows.list, client.executions.list):
            found = (await call(page=3, per_page=7))["pagination"]
            numbers = [found[key] for key in ("page", "per_page", "total_count", "has_more")]
            assert numbers == [3, 7, 15, False]


async def test_whole_numbers_that_were_written_as_floats_are_read():
    sent = {"page": 2.0, "per_page": 10.0, "total_count": 30.0, "has_more": True}
    body = {"data": [{"id": "a"}], "pagination": sent}
    async with scripted(httpx.Response(200, json=body)) as client:
        found = (await client.workflows.list())["pagination"]
        assert [type(found[key]) for key in sent] == [int, int, int, bool]
        assert found == sent


@pytest.mark.parametrize("content", [{}, 0, "", False, "text", ["text"], [None], [[]]])
async def test_lists_that_are_none_are_errors_of_ours(content):
    async with scripted(data(content)) as client:
        for resource in ("workflows", "executions", "agents", "triggers", "webhooks"):
            problem = await refused(getattr(client, resource).list)
            assert problem.code == "invalid_response", resource
        for call in (client.knowledge_bases.list,):
            assert (await refused(call)).code == "invalid_response"
        assert (await refused(client.webhooks.deliveries, "w")).code == "invalid_response"


async def test_null_is_an_empty_list():
    async with scripted(data(None)) as client:
        assert (await client.workflows.list())["data"] == []
        assert (await client.threads.list_messages("t"))["data"] == []
    async with scripted(data({"results": None, "messages": None})) as client:
        assert (await client.knowledge_bases.query("k", "q"))["data"]["results"] == []
        assert (await client.threads.list_messages("t"))["data"] == []


@pytest.mark.parametrize("content", [5, "text", [5], {"a": 1}])
async def test_what_a_search_or_a_thread_holds_has_to_be_objects(content):
    async with scripted(data({"results": content, "messages": content})) as client:
        assert (await refused(client.knowledge_bases.query, "k", "q")).code == "invalid_response"
        problem = await refused(client.threads.list_messages, "t")
        assert problem.code == "invalid_response"
        assert "data.messages" in problem.message


@pytest.mark.parametrize("content", [5, "text", [5], [[]], [{"id": 5}]])
async def test_what_stands_for_the_messages_of_a_thread_has_to_be_a_list_of_them(content):
    async with scripted(data(content)) as client:
        problem = await refused(client.threads.list_messages, "t")
    assert problem.code == "invalid_response"
    assert "data" in problem.message


async def test_a_result_that_is_not_as_documented_is_an_error_of_ours():
    async with scripted(data({"id": 5, "message": "text", "success": "yes"})) as client:
        calls = [
            (client.agents.create_thread, ("a",), True),
            (client.threads.send_message, ("t", "Hello"), True),
            (client.webhooks.test, ("w",), True),
            (client.threads.get, ("t",), False),
            (client.agents.get, ("a",), False),
        ]
        for call, arguments, is_unknown in calls:
            problem = await refused(call, *arguments)
            assert problem.code == "invalid_response"
            assert problem.outcome_unknown is is_unknown
        named = {"name": "n", "url": "https://x.example", "events": ["execution.failed"]}
        assert (await refused(client.webhooks.create, **named)).outcome_unknown is True


async def test_event_types_of_webhooks_that_are_no_texts_pass_through():
    async with scripted(data({"id": "w", "events": [["odd"], {}, None]})) as client:
        assert (await client.webhooks.get("w"))["data"]["events"] == [["odd"], {}, None]
    async with scripted(data([{"event_type": []}])) as client:
        assert (await client.webhooks.deliveries("w"))["data"][0]["event_type"] == []


async def test_what_is_asked_for_by_its_id_has_one():
    async with scripted(data({"status": "active"})) as client:
        for call in (client.workflows.get, client.agents.get, client.threads.get):
            assert (await call("x1"))["data"]["id"] == "x1"
        for call in (client.knowledge_bases.get, client.webhooks.get, client.executions.get):
            assert (await call("x1"))["data"]["id"] == "x1"


# A success without a body


EMPTY = [
    httpx.Response(204),
    httpx.Response(200, content=b" \n"),
    httpx.Response(200, json={}),
    httpx.Response(200, content=b"null"),
    httpx.Response(200, json={"success": True}),
    httpx.Response(200, json={"data": None, "meta": {}}),
]


@pytest.mark.parametrize("step", EMPTY)
async def test_nothing_has_to_come_back_where_nothing_is_returned(step):
    async with scripted(step) as client:
        for delete in (client.threads.delete, client.webhooks.delete):
            assert (await delete("x1"))["data"] == {"id": "x1", "deleted": True}
        forgotten = (await client.agents.memory.delete("a1", "u1"))["data"]
        assert forgotten == {"agent_id": "a1", "user_id": "u1", "deleted": True}
        cancelled = (await client.executions.cancel("e1"))["data"]
        assert cancelled == {"id": "e1", "status": ExecutionStatus.CANCELLED}
        # Where something is to be returned, nothing is an error.
        assert (await refused(client.threads.get, "t")).code == "invalid_response"
        problem = await refused(client.agents.memory.set, "a", "u", "text")
        assert (problem.code, problem.outcome_unknown) == ("invalid_response", False)
        problem = await refused(client.workflows.execute, "w")
        assert problem.outcome_unknown is True


@pytest.mark.parametrize(
    "body", [b"<html>", b"[]", b'{"success": false}', b'{"error": "no"}', b'{"data": 5}', b"5"]
)
async def test_a_success_that_says_something_else_is_none(body):
    async with scripted(httpx.Response(200, content=body)) as client:
        for call in (client.threads.delete, client.webhooks.delete, client.executions.cancel):
            assert isinstance(await refused(call, "x1"), errors.FlowMaestroError)
        assert await refused(client.agents.memory.delete, "a1", "u1")


# The memory of agents


def memories(*numbers, **changes):
    """Give memories as a list has them: without an id and without their agent."""
    return [
        {"user_id": f"u{n}", "working_memory": f"text {n}", "created_at": f"t{n}", **changes}
        for n in numbers
    ]


async def test_memories_of_a_list_have_their_agent_and_metadata():
    async with scripted(data(memories(1, metadata=None))) as client:
        page = await client.agents.memory.list("a/1")
        (memory,) = memories(1)
        assert page["data"] == [{**memory, "agent_id": "a/1", "metadata": {}}]
        assert page["meta"] == {"request_id": "r"}


async def test_a_memory_that_a_new_one_pushes_onto_the_next_page_is_given_once():
    def api(request):
        page = int(request.url.params["page"])
        shown = {1: memories(3, 2), 2: memories(2, 1)}[page]
        pagination = {"page": page, "per_page": 2, "total_count": 4, "has_next": page < 2}
        return httpx.Response(200, json={"data": shown, "pagination": pagination})

    async with scripted(api) as client:
        found = [one["user_id"] async for one in client.agents.memory.iter("a", per_page=2)]
    assert found == ["u3", "u2", "u1"]


async def test_several_memories_of_one_user_are_all_given():
    both = memories(1) + memories(1, created_at="t2")
    pages = [both[:1], both[1:]]

    def api(request):
        page = int(request.url.params["page"])
        pagination = {"page": page, "per_page": 1, "total_count": 2, "has_next": page < 2}
        return httpx.Response(200, json={"data": pages[page - 1], "pagination": pagination})

    async with scripted(api) as client:
        found = [one["created_at"] async for one in client.agents.memory.iter("a", per_page=1)]
    assert found == ["t1", "t2"]


async def test_one_user_and_time_of_another_user_are_told_apart():
    twins = [{"user_id": "u", "created_at": "1"}, {"user_id": "u1", "created_at": ""}]
    async with scripted(data(twins)) as client:
        assert len([one async for one in client.agents.memory.iter("a")]) == 2


async def test_messages_around_a_result_have_their_role():
    result = {
        "content": "Oslo",
        "role": "user",
        "similarity": 0.9,
        "execution_id": "e",
        "context_before": [
            {"message_role": "assistant", "content": "Where?", "message_index": 0},
            {"message_role": "tool", "role": "user", "content": "x"},
            "odd",
            {},
        ],
        "context_after": None,
    }
    async with scripted(data({"results": [result, {"content": "bare"}]})) as client:
        found = (await client.agents.memory.search("a", "q"))["data"]
    assert found["result_count"] == 2
    assert found["results"][0] == {
        **result,
        "context_before": [
            {
                "message_role": "assistant",
                "role": "assistant",
                "content": "Where?",
                "message_index": 0,
            },
            {"message_role": "tool", "role": "user", "content": "x"},
            "odd",
            {},
        ],
        "context_after": [],
    }
    bare = {"content": "bare", "execution_id": None, "context_before": [], "context_after": []}
    assert found["results"][1] == bare


async def test_the_memory_of_a_view_has_the_options_of_the_view():
    async with scripted(data({})) as client:
        view = client.with_options(headers={"X-Team": "a"})
        assert client.agents.memory is client.agents.memory is not view.agents.memory
        await client.agents.memory.stats("a")
        await view.agents.memory.stats("a")
    assert [one.headers.get("x-team") for one in client.script.requests] == [None, "a"]


# What is sent, and how long it may take


async def test_defaults_are_the_documented_ones():
    page = httpx.Response(200, json={"data": [], "pagination": {"has_more": False}})
    async with scripted(page) as client:
        for resource in ("workflows", "agents", "triggers", "knowledge_bases", "webhooks"):
            assert [one async for one in getattr(client, resource).iter()] == []
            await getattr(client, resource).list()
        assert [one async for one in client.executions.iter()] == []
        assert [one async for one in client.webhooks.iter_deliveries("w")] == []
        assert [one async for one in client.threads.iter_messages("t")] == []
        assert [one async for one in client.agents.memory.iter("a")] == []
        await client.threads.list_messages("t")
        pages, rest = asked(client)[:10], asked(client)[10:]
        assert {path.partition("?")[2] for path in pages[::2]} == {"page=1&per_page=100"}
        assert {path.partition("?")[2] for path in pages[1::2]} == {""}
        assert rest == [
            "/executions?page=1&per_page=100",
            "/webhooks/w/deliveries?page=1&per_page=100",
            "/threads/t/messages?page=1",
            "/agents/a/memory?page=1&per_page=100",
            "/threads/t/messages",
        ]
    async with scripted(data([])) as client:
        await client.knowledge_bases.query("k", "q")
        assert json.loads(client.script.requests[0].content) == {"query": "q", "top_k": 5}


async def test_deliveries_are_asked_for_by_page():
    async with scripted(data([])) as client:
        await client.webhooks.deliveries("w/1", page=2, per_page=5)
        assert asked(client) == ["/webhooks/w%2F1/deliveries?page=2&per_page=5"]


UPDATES = {
    "name": ("New", "New"),
    "url": ("https://x.example", "https://x.example"),
    "events": (("execution.failed",), ["execution.failed"]),
    "headers": ({"X-A": "b"}, {"X-A": "b"}),
    "is_active": (False, False),
}


@pytest.mark.parametrize("name", UPDATES)
async def test_an_update_sends_what_is_named_and_nothing_else(name):
    value, sent = UPDATES[name]
    async with scripted(data({"id": "w"})) as client:
        await client.webhooks.update("w", **{name: value})
        (request,) = client.script.requests
        assert request.method == "PATCH"
        assert json.loads(request.content) == {name: sent}


async def test_an_update_can_take_headers_away_but_not_name_nothing():
    async with scripted(data({"id": "w"})) as client:
        await client.webhooks.update("w", headers=None)
        assert json.loads(client.script.requests[0].content) == {"headers": None}
        with pytest.raises(ValueError, match="at least one"):
            await client.webhooks.update("w")
        for named in ({"name": ""}, {"url": " "}, {"events": []}):
            with pytest.raises(ValueError, match="must"):
                await client.webhooks.update("w", **named)
        for named in ({"headers": "x"}, {"events": "execution.failed"}):
            with pytest.raises(TypeError, match="must"):
                await client.webhooks.update("w", **named)
        assert len(client.script.requests) == 1


async def test_calls_that_are_slow_by_nature_have_their_time():
    def read_timeout(client):
        return client.script.requests[-1].extensions["timeout"]["read"]

    tested = {"success": True, "status_code": 200}
    async with scripted(data({"message": None, **tested})) as client:
        await client.threads.send_message("t", "Hello")
        assert read_timeout(client) == 130
        exact = client.with_options(timeout=7)
        await exact.threads.send_message("t", "Hello")
        assert read_timeout(client) == 7
    async with scripted(data(tested), timeout=3) as client:
        await client.webhooks.test("w")
        assert read_timeout(client) == 20


# A repeat after a response that was lost


@pytest.mark.parametrize("step", [httpx.ReadError("reset"), error(502), error(408)])
async def test_a_repeat_settles_what_was_lost(step, pauses):
    for call in ("threads", "webhooks"):
        async with scripted(step, error(404, "resource_not_found")) as client:
            result = await getattr(client, call).delete("x1")
            assert result["data"] == {"id": "x1", "deleted": True}
    ended = {"message": "Execution cannot be cancelled. Current status: cancelled", "code": "c"}
    over = httpx.Response(400, json={"error": ended})
    async with scripted(step, over) as client:
        assert (await client.executions.cancel("e1"))["data"]["status"] == "cancelled"
    # The loss is remembered over a failure in which nothing was lost.
    async with scripted(step, error(429), error(404)) as client:
        assert (await client.threads.delete("x1"))["data"]["deleted"] is True


async def test_a_refusal_without_a_loss_before_it_is_an_error(pauses):
    for first in ((), (error(429),), (httpx.ConnectError("refused"),)):
        async with scripted(*first, error(404)) as client:
            for delete in (client.threads.delete, client.webhooks.delete):
                client.script.steps = [*first, error(404)]
                with pytest.raises(errors.NotFoundError):
                    await delete("x1")


# Waiting


async def test_a_wait_without_a_timeout_has_no_bound(pauses):
    looks = [data({"id": "e", "status": "running"})] * 1_000
    async with scripted(*looks, data({"id": "e", "status": "completed"})) as client:
        result = await client.executions.wait_for_completion("e", timeout=None)
        assert result["status"] == "completed"
        assert sum(pauses) == 1_000


async def test_a_message_whose_reply_never_comes_names_its_thread(pauses):
    posted = data({"message_id": "m1", "thread_id": "other", "status": "pending"})
    said = data([{"id": "m1", "role": "user", "content": "Hello"}])
    async with scripted(posted, said) as client:
        problem = await refused(client.threads.send_message, "t", "Hello")
        assert isinstance(problem, errors.TimeoutError)
        assert problem.code == "answer_timeout"
        assert problem.outcome_unknown is True
        assert problem.details == {"thread_id": "t"}
        assert 120 < sum(pauses) <= 130
        assert set(asked(client)) == {"/threads/t/messages"}
    async with scripted(posted, error(404)) as client:
        problem = await refused(client.threads.send_message, "t", "Hello")
        assert isinstance(problem, errors.NotFoundError)
        assert problem.outcome_unknown is True
        assert problem.details["thread_id"] == "t"


# Streams


async def test_streams_are_asked_for_at_their_own_routes(pauses):
    ended = frame("execution:completed", status="completed")
    async with scripted(events(ended)) as client:
        assert [event["type"] async for event in client.executions.stream("e/1")]
        assert asked(client) == ["/executions/e%2F1/events"]
    async with scripted(events(frame("message:completed", content="Hi"))) as client:
        assert [event["content"] async for event in client.threads.stream("t/1")] == ["Hi"]
        assert asked(client) == ["/threads/t%2F1/events"], "and not by polling the messages"
        assert client.script.requests[0].headers["accept"] == "text/event-stream"


@pytest.mark.parametrize(
    ("sent", "progress"),
    [
        ({"completed": 1, "total": 4}, 25),
        ({"completed": 4, "total": 4}, 100),
        ({"percentage": 12.5, "completed": 1, "total": 4}, 12.5),
        ({"progress": 7, "percentage": 12.5}, 7),
        ({"progress": None, "percentage": 12.5}, 12.5),
        ({}, 0),
        ({"completed": 3}, 0),
        ({"completed": 0, "total": 0}, 0),
        ({"completed": 3, "total": 0}, 0),
        ({"completed": 3, "total": -1}, 0),
        ({"completed": True, "total": True}, 0),
        ({"completed": "3", "total": "4"}, 0),
        ({"completed": 10**400, "total": 1}, 0),
        ({"percentage": float("nan")}, 0),
        ({"progress": float("inf")}, 0),
        ({"progress": [], "percentage": {}}, 0),
    ],
)
async def test_progress_is_a_number_whatever_is_sent(sent, progress):
    frames = (frame("execution:progress", **sent), frame("execution:completed"))
    async with scripted(events(*frames)) as client:
        told, _ = [event async for event in client.executions.stream("e")]
    assert told["progress"] == progress
    assert f"{told['progress']:.0f} %"
    assert "percentage" not in told or "progress" in sent


async def test_an_event_whose_type_is_no_text_is_left_out(caplog):
    odd = frame("x", type=["execution:completed"])
    async with scripted(events(odd, frame("execution:completed"))) as client:
        types = [event["type"] async for event in client.executions.stream("e")]
    assert types == ["execution:completed"]
    assert "not a string" in caplog.text
