"""Docker as far as it is called, for tests without a daemon.

A container is a process in a session of its own, as with the real one. What it does is the name
of the image: ``copy`` copies the image to a segmentation, ``fail`` exits with 3, ``sleep`` runs
for a minute. Calls go to the file ``calls`` in the folder that FAKE_DOCKER names.
"""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

STATE = Path(os.environ.get("FAKE_DOCKER", "."))

INSIDE = """
import sys, time
from pathlib import Path
image, inputs, outputs = sys.argv[1:]
block = bytearray(80 << 20)
time.sleep(60 if "sleep" in image else 0.6)
if "fail" in image:
    print("CUDA out of memory", flush=True)
    raise SystemExit(3)
for file in Path(inputs).iterdir():
    name = file.name.replace("_0000", "")
    (Path(outputs) / name).write_bytes(file.read_bytes())
"""


def run(arguments):
    name = arguments[arguments.index("--name") + 1]
    volumes = [
        arguments[index + 1].rsplit(":", 1)
        for index, word in enumerate(arguments)
        if word == "--volume"
    ]
    inputs, outputs = (
        next(host for host, inside in volumes if inside == f"/workspace/{folder}/")
        for folder in ("inputs", "outputs")
    )
    image = arguments[arguments.index("/bin/bash") - 1]
    process = subprocess.Popen(
        [sys.executable, "-c", INSIDE, image, inputs, outputs], start_new_session=True
    )
    (STATE / name).write_text(str(process.pid))
    code = process.wait()
    (STATE / name).unlink(missing_ok=True)
    # Docker gives 128 + signal for a container that was killed.
    return code if code >= 0 else 128 - code


def main(arguments):
    with (STATE / "calls").open("a") as calls:
        calls.write(json.dumps(arguments) + "\n")
    running = STATE / arguments[-1]
    if arguments[:2] == ["container", "run"]:
        return run(arguments)
    if not running.exists():
        print("No such container", file=sys.stderr)
        return 1
    if arguments[0] == "inspect":
        print(running.read_text())
    else:
        os.kill(int(running.read_text()), signal.SIGKILL)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
