"""A challenge entry in its container, started as the organizers do."""

from __future__ import annotations

import contextlib
import os
import secrets
import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["Container", "ContainerOptions"]

_POLL_S = 0.2
_CALL_S = 60.0


@dataclass(frozen=True, kw_only=True)
class ContainerOptions:
    """How a container is started; the defaults are those of FLARE 2023 and 2024.

    Parameters
    ----------
    image : str
    gpu : str or None
        Index or UUID of the device that the container gets; None for no device.
    memory, shared_memory : str
        Limits, as Docker writes them.
    docker : str
        The program.
    """

    image: str
    gpu: str | None = None
    memory: str = "28G"
    shared_memory: str = "28gb"
    docker: str = "docker"

    def __post_init__(self) -> None:
        if not self.image or self.image.startswith("-"):
            raise ValueError(f"image must be the name of an image, got {self.image!r}")


@dataclass(frozen=True)
class Container:
    """One run of an image.

    Parameters
    ----------
    options : ContainerOptions
    inputs, outputs : path
        Folders of this machine that the image finds at ``/workspace/inputs`` and
        ``/workspace/outputs``.
    name : str
        Of the container; drawn at random.
    """

    options: ContainerOptions
    inputs: Path
    outputs: Path
    name: str = field(default_factory=lambda: f"flare-metrics-{secrets.token_hex(4)}")
    _over: threading.Event = field(default_factory=threading.Event, repr=False)

    def command(self) -> list[str]:
        """Return the command that runs the image to its end.

        Examples
        --------
        >>> run = Container(ContainerOptions(image="team:latest"), Path("/i"), Path("/o"), "n")
        >>> " ".join(run.command()[:9])
        'docker container run --rm --name n --memory 28G --shm-size'
        """
        options = self.options
        gpus = [] if options.gpu is None else ["--gpus", f"device={options.gpu}"]
        # fmt: off
        return [
            options.docker, "container", "run", "--rm", "--name", self.name,
            "--memory", options.memory, "--shm-size", options.shared_memory, *gpus,
            "--volume", f"{os.path.abspath(self.inputs)}:/workspace/inputs/",
            "--volume", f"{os.path.abspath(self.outputs)}:/workspace/outputs/",
            options.image, "/bin/bash", "-c", "sh predict.sh",
        ]
        # fmt: on

    def watch(self, found: Callable[[int], None]) -> None:
        """Call ``found`` with the number of the container's first process once it runs.

        Docker starts containers from a service of its own, not below the command that asks for
        one. A process that this machine does not see (Docker in a virtual machine) is not
        reported.
        """
        threading.Thread(target=self._look, args=(found,), daemon=True).start()

    def stop(self) -> None:
        """Kill the container, without waiting."""
        threading.Thread(target=self._call, args=("kill",), daemon=True).start()

    def remove(self) -> None:
        """Make sure that nothing of the container is left."""
        self._call("rm", "--force")

    def forget(self) -> None:
        """Stop looking for its process."""
        self._over.set()

    def _call(self, *words: str) -> None:
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            subprocess.run(
                [self.options.docker, *words, self.name],
                capture_output=True,
                check=False,
                timeout=_CALL_S,
            )

    def _look(self, found: Callable[[int], None]) -> None:
        command = [self.options.docker, "inspect", "--format", "{{.State.Pid}}", self.name]
        while not self._over.wait(_POLL_S):
            try:
                done = subprocess.run(command, capture_output=True, text=True, check=False)
            except OSError:
                return
            pid = done.stdout.strip()
            if pid.isdecimal() and int(pid) > 0:
                if os.path.exists(f"/proc/{pid}"):
                    found(int(pid))
                return


def container_gpu(gpu: str | None) -> str | None:
    """Return the UUID of the device that is watched, to hand the same one to the container.

    Parameters
    ----------
    gpu : str or None
        As in `measure_efficiency`: None is the first device if there is any.

    Returns
    -------
    str or None
        None where no device is watched.

    Raises
    ------
    ValueError
        If a device was asked for that is not there.
    """
    from flare_metrics.efficiency._nvml import open_gpu

    reader, _ = open_gpu(gpu, exists=lambda pid: True)
    return None if reader is None else reader.device.uuid
