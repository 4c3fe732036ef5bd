"""Methods are tools of LangChain as they are."""

from __future__ import annotations

import asyncio

from langchain_core.tools import StructuredTool

from flowmaestro import AsyncFlowMaestroClient, FlowMaestroClient
from tests.conftest import KEY


def test_a_method_is_a_tool(server):
    with FlowMaestroClient(KEY, server.url) as client:
        get = StructuredTool.from_function(client.workflows.get, name="get_workflow")
        assert set(get.args) == {"workflow_id"}
        assert get.invoke({"workflow_id": "wf_greet"})["data"]["name"] == "Greeting"
        run = StructuredTool.from_function(client.run)
        assert set(run.args) >= {"workflow_id", "inputs", "timeout"}
        asked = {"workflow_id": "wf_greet", "inputs": {"name": "Ada"}, "poll_interval": 0.05}
        assert run.invoke(asked)["outputs"] == {"text": "Hello Ada!"}


def test_an_asynchronous_method_is_a_tool(server):
    async def main():
        async with AsyncFlowMaestroClient(KEY, server.url) as client:
            tool = StructuredTool.from_function(coroutine=client.workflows.list, name="list")
            assert set(tool.args) == {"page", "per_page"}
            return await tool.ainvoke({"per_page": 5})

    assert asyncio.run(main())["data"][0]["id"] == "wf_greet"
