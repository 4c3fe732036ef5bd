"""Methods are tools of an MCP server as they are."""

from __future__ import annotations

import asyncio

from mcp.server import MCPServer

from flowmaestro import AsyncFlowMaestroClient
from tests.conftest import KEY


def test_methods_are_tools_of_an_mcp_server(server):
    async def main():
        async with AsyncFlowMaestroClient(KEY, server.url) as client:
            mcp = MCPServer("flowmaestro")
            mcp.add_tool(client.workflows.get, name="get_workflow")
            mcp.add_tool(client.workflows.execute, name="execute_workflow")
            mcp.add_tool(client.run, name="run_workflow")
            tools = {tool.name: tool for tool in await mcp.list_tools()}
            asked = {"workflow_id": "wf_greet", "inputs": {"name": "Ada"}, "poll_interval": 0.05}
            return tools, await mcp.call_tool("run_workflow", asked)

    tools, result = asyncio.run(main())
    assert set(tools["get_workflow"].input_schema["properties"]) == {"workflow_id"}
    assert tools["execute_workflow"].input_schema["required"] == ["workflow_id"]
    assert "Run a workflow to its end" in tools["run_workflow"].description
    assert "Hello Ada!" in str(result)
