"""Writes the Python blocks of README.md into one program, for the type checkers.

python tools/readme_code.py program.py
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

README = Path(__file__).parent.parent / "README.md"


def code_of(markdown: str) -> str:
    blocks = re.findall(r"```python\n(.*?)```", markdown, flags=re.S)
    return "from __future__ import annotations\n\n" + "\n\n".join(blocks)


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(code_of(README.read_text(encoding="utf-8")), encoding="utf-8")
