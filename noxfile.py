"""The developer's table of contents: `nox -l` lists what can be run, `nox` runs what must pass."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
# uv would not find a local CPU build of torch and fetch the CUDA one.
nox.options.default_venv_backend = "venv"
nox.options.reuse_venv = "yes"
nox.options.error_on_missing_interpreters = True

ROOT = Path(__file__).parent
PACKAGES = ("flare-io", "flare-metrics", "flare-fusion", "flare-nets", "flare-infer", "flare-train")
SOURCES = tuple(f"packages/{name}/src" for name in PACKAGES)
# What the scripts of `bench` import.
BENCH_PARTS = (
    "augment_sides.py", "export_peer.py", "infer_monai.py", "infer_nnunet.py", "infer_sides.py",
    "machine.py", "margins.py", "metrics_files_peer.py", "metrics_sides.py", "metrics_work.py",
    "metrics_worker.py", "resident.py", "train_step_peer.py",
)  # fmt: skip
# Which file of peers a script is run beside.
BENCH_PEERS = {
    "augment.py": "peers",
    "export.py": "peers",
    "infer.py": "peers",
    "infer_cold.py": "peers",
    "metrics.py": "peers-metrics",
    "metrics_cli.py": "peers-metrics",
    "train_step.py": "peers",
}
# Minutes to an hour, with a GPU alone, or on data of one's own; run by name:
# nox -s bench -- benchmarks/fusion_claim.py
BENCH_LONG = (
    "fusion_claim.py", "infer.py", "infer_fast.py", "infer_gpu.py", "real_ct.py", "recipes.py",
)  # fmt: skip
# Oversubscribed threads make small tests many times slower.
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MPLBACKEND": "Agg"}


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and formatting of all Python files with ruff."""
    _install(session, "ruff")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Check the types of all six packages with mypy --strict."""
    _install(session, "mypy", *_editable(PACKAGES))
    session.run("mypy", *SOURCES)


@nox.session
def imports(session: nox.Session) -> None:
    """Check that the packages lean on each other only as the architecture says."""
    _install(session, "import-linter")
    session.run("lint-imports", env={"PYTHONPATH": os.pathsep.join(SOURCES)})


@nox.session
def tests(session: nox.Session) -> None:
    """Run every test of all packages, doctests and the demo at `unit` scale included."""
    _install(session, *_editable(PACKAGES), *_test_group(*PACKAGES))
    session.run(
        "pytest", "-m", "not gpu", *(session.posargs or ("packages", "tests")), env=ONE_THREAD
    )


@nox.session
@nox.parametrize("package", PACKAGES, ids=PACKAGES)
def alone(session: nox.Session, package: str) -> None:
    """Run one package's quick tests with nothing installed but what it declares."""
    _install(session, *_editable(_with_siblings(package)), *_test_group(package))
    session.run("pytest", "-m", "not gpu and not slow", f"packages/{package}", env=ONE_THREAD)
    _discard(session)


@nox.session
@nox.parametrize("package", PACKAGES, ids=PACKAGES)
def build(session: nox.Session, package: str) -> None:
    """Build wheels, install one package in an empty environment, import it, ask for its help."""
    session.install("build", "hatchling", "-c", "constraints.txt")
    wheels = Path(session.create_tmp()).resolve()
    for name in _with_siblings(package):
        session.run(
            "python",
            "-m",
            "build",
            "--no-isolation",
            "--wheel",
            "-o",
            str(wheels),
            f"packages/{name}",
        )
    empty = wheels / "empty"
    session.run("python", "-m", "venv", "--clear", str(empty), silent=True)
    python = str(empty / ("Scripts" if sys.platform == "win32" else "bin") / "python")
    session.run(
        python, "-m", "pip", "install", "--quiet", "-c", "constraints.txt",
        *(str(wheel) for wheel in sorted(wheels.glob("*.whl"))), external=True,
    )  # fmt: skip
    module = package.replace("-", "_")
    check = f"import {module} as m; [getattr(m, name) for name in m.__all__]; print(m.__version__)"
    session.run(python, "-c", check, external=True)
    session.run(str(Path(python).with_name(package)), "--help", external=True, silent=True)
    _discard(session)


@nox.session(default=False)
def demo(session: nox.Session) -> None:
    """Run the main job: phantom data, fusion, training, prediction, scores, pictures."""
    _install(session, *_editable(PACKAGES), quiet=True)
    arguments = session.posargs or ()
    if "-o" not in arguments and "--output" not in arguments:
        arguments = ("-o", "demo-output", *arguments)
    session.run("flare-train", "demo", *arguments, env={"MPLBACKEND": "Agg"})


@nox.session(default=False)
def parity(session: nox.Session) -> None:
    """Compare with nnU-Net and other metrics, which live in environments of their own."""
    _install(session, *_editable(PACKAGES), "scikit-image")
    scripts = {
        "peers": ("networks", "preprocessing", "exactness", "planning", "export"),
        "peers-metrics": ("metrics",),
    }
    for peers, names in scripts.items():
        python = _peer_python(session, peers)
        for name in names:
            session.run("python", f"benchmarks/parity/{name}.py", "--peer", python, env=ONE_THREAD)


@nox.session(default=False)
def bench(session: nox.Session) -> None:
    """Measure speed and memory side by side with peers; results go to benchmarks/results."""
    _install(session, *_editable(PACKAGES), "openvino", "pydicom", "scikit-image")
    scripts = session.posargs or sorted(
        str(path)
        for path in Path("benchmarks").glob("*.py")
        if path.name not in (*BENCH_PARTS, *BENCH_LONG)
    )
    for script in scripts:
        peers = BENCH_PEERS.get(Path(script).name)
        peer = ("--peer", _peer_python(session, peers)) if peers else ()
        if Path(script).name == "infer.py":
            peer += ("--monai", _peer_python(session, "peers-metrics"))
        session.run("python", script, *peer, env=ONE_THREAD)


@nox.session(default=False)
def gpu(session: nox.Session) -> None:
    """Run the tests that need a CUDA device; no such test having run is a failure."""
    _install(session, *_editable(PACKAGES), *_test_group(*PACKAGES))
    session.run("pytest", "-m", "gpu", "packages", "tests")


def _peer_python(session: nox.Session, peers: str) -> str:
    """Return the interpreter of the environment that holds one file of peers."""
    place = Path(session.virtualenv.location).resolve().parent / f"parity-{peers}"
    python = str(place / ("Scripts" if sys.platform == "win32" else "bin") / "python")
    if not Path(python).exists():
        session.run("python", "-m", "venv", str(place))
    session.run(
        python, "-m", "pip", "install", "--quiet", "-r", f"benchmarks/{peers}.txt",
        "-c", "constraints.txt", external=True,
    )  # fmt: skip
    return python


def _install(session: nox.Session, *what: str, quiet: bool = False) -> None:
    session.install(*what, "-c", "constraints.txt", silent=not quiet)


def _discard(session: nox.Session) -> None:
    """Remove the environment of a session that passed: all twelve together take 11 GB."""
    if session.virtualenv.venv_backend != "none":
        shutil.rmtree(session.virtualenv.location)


def _project(package: str) -> dict[str, object]:
    return nox.project.load_toml(f"packages/{package}/pyproject.toml")


def _with_siblings(package: str) -> list[str]:
    """Return a package and the siblings it declares, all levels, in PACKAGES' order."""
    needed = {package}
    for requirement in _project(package)["project"]["dependencies"]:
        name = requirement.split(">")[0].strip()
        if name in PACKAGES:
            needed.update(_with_siblings(name))
    return [name for name in PACKAGES if name in needed]


def _editable(packages: tuple[str, ...] | list[str]) -> list[str]:
    return [part for name in packages for part in ("-e", f"packages/{name}")]


def _test_group(*packages: str) -> list[str]:
    groups = (nox.project.dependency_groups(_project(name), "test") for name in packages)
    return sorted({requirement for group in groups for requirement in group})
