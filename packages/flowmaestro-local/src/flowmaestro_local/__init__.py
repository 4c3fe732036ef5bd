"""An embedded FlowMaestro-compatible server, for testing and developing your own code."""

from .faults import Fault, Faults
from .records import ExecutionRecord, MessageRecord, RecordedRequest
from .registry import KnowledgeBase, Trigger
from .run import ExecutionCancelled, Node, Run
from .running import Running
from .server import LocalServer

__version__ = "1.0.0"

__all__ = [
    "ExecutionCancelled",
    "ExecutionRecord",
    "Fault",
    "Faults",
    "KnowledgeBase",
    "LocalServer",
    "MessageRecord",
    "Node",
    "RecordedRequest",
    "Run",
    "Running",
    "Trigger",
]
