"""What a benchmark ran on, for its JSON."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any


def describe_machine(*packages: str) -> dict[str, Any]:
    """Return processor, cores, memory, threads and the versions of Python and of some packages."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(_memory_gib(), 1),
        "threads": os.environ.get("OMP_NUM_THREADS", "default"),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": {name: version(name) for name in packages},
    }


def versions_in(python: str, *packages: str) -> dict[str, str]:
    """Return the versions of packages in the environment of another interpreter."""
    code = (
        "import json, sys; from importlib.metadata import version; "
        "print(json.dumps({name: version(name) for name in sys.argv[1:]}))"
    )
    command = [python, "-c", code, *packages]
    answer = subprocess.run(command, check=True, capture_output=True, text=True)
    versions: dict[str, str] = json.loads(answer.stdout)
    return versions


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    if information.exists():
        fields = dict(
            line.split("\t:", 1) for line in reversed(_lines(information)) if "\t:" in line
        )
        names = {key.strip(): value.strip() for key, value in fields.items()}
        if "model name" in names:
            model = f"family {names.get('cpu family')} model {names.get('model')}"
            return f"{names['model name']} ({model})"
    return platform.processor() or "unknown"


def _memory_gib() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()
