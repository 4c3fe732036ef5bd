"""Sets the version of every package, and every pin between them.

python tools/bump.py 1.0.1
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def bump(version: str) -> list[Path]:
    changed = []
    files = [*ROOT.glob("packages/*/pyproject.toml"), *ROOT.glob("packages/*/src/*/**/*.py")]
    for path in sorted(files):
        old = path.read_text(encoding="utf-8")
        new = re.sub(r'(?m)^(version|__version__) = "[^"]+"', rf'\1 = "{version}"', old)
        new = re.sub(r'"(flowmaestro[a-z-]*(?:\[[a-z,]+\])?)==[^";]+', rf'"\1=={version}', new)
        if new != old:
            path.write_text(new, encoding="utf-8")
            changed.append(path)
    return changed


if __name__ == "__main__":
    if len(sys.argv) != 2 or not re.fullmatch(r"\d+\.\d+\.\d+((a|b|rc)\d+)?", sys.argv[1]):
        sys.exit("usage: python tools/bump.py 1.0.1")
    for path in bump(sys.argv[1]):
        print(path.relative_to(ROOT))
