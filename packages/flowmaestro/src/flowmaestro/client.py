"""The two clients, under the path that 0.1.0 had for them."""

from ._async import AsyncFlowMaestroClient
from ._sync import FlowMaestroClient

__all__ = ["AsyncFlowMaestroClient", "FlowMaestroClient"]
