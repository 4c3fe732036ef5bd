"""Programs whose whole run is timed: imports, and the way to the first answer."""

from __future__ import annotations

IMPORTS = {
    "bare Python": "pass",
    "import httpx": "import httpx",
    "import flowmaestro": "import flowmaestro",
    "from flowmaestro import FlowMaestroClient": "from flowmaestro import FlowMaestroClient",
    "import flowmaestro.webhooks": "import flowmaestro.webhooks",
    "import flowmaestro.types": "import flowmaestro.types",
    "0.1.0: from flowmaestro import FlowMaestroClient": (
        "from flowmaestro import FlowMaestroClient"
    ),
    "import openai": "import openai",
}

_OURS = """
from flowmaestro import FlowMaestroClient
client = FlowMaestroClient(api_key="fm_live_benchmark", base_url={url!r})
client.workflows.get("8d635123-5d33-4a06-989b-7fd45d593d25")
client.close()
"""

FIRST_ANSWER = {
    "httpx": """
import httpx
client = httpx.Client(headers={{"Authorization": "Bearer fm_live_benchmark"}})
client.get({url!r} + "/api/v1/workflows/8d635123-5d33-4a06-989b-7fd45d593d25").json()
client.close()
""",
    # orjson is there; this one finds none.
    "flowmaestro": "import sys\nsys.modules['orjson'] = None\n" + _OURS,
    "flowmaestro[speed]": _OURS,
    "flowmaestro 0.1.0": _OURS,
    "openai": """
import openai
client = openai.OpenAI(api_key="fm_live_benchmark", base_url={url!r} + "/api/v1")
client.get("/workflows/8d635123-5d33-4a06-989b-7fd45d593d25", cast_to=object)
client.close()
""",
}
