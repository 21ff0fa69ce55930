"""The house rules that no single package can hold: arrows, imports, bounds, names."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("flare-io", "flare-metrics", "flare-fusion", "flare-nets", "flare-infer", "flare-train")
SIBLINGS = {
    "flare-io": set(),
    "flare-metrics": set(),
    "flare-nets": set(),
    "flare-fusion": {"flare-io"},
    "flare-infer": {"flare-io", "flare-nets"},
    "flare-train": {"flare-io", "flare-metrics", "flare-fusion", "flare-nets", "flare-infer"},
}
NEVER_LOADED = {
    "import flare_io": {"torch", "SimpleITK", "scipy"},
    "import flare_metrics": {"torch", "SimpleITK", "flare_io"},
    "import flare_fusion": {"torch"},
    "import flare_nets": {"torch"},
    "import flare_nets.config": {"torch"},
    "import flare_infer": {"torch", "flare_train"},
    "import flare_train": {"torch"},
    "from flare_io import *": {"torch"},
    "from flare_metrics import *": {"torch", "flare_io"},
    "from flare_fusion import *": {"torch"},
    "from flare_infer import *": {"flare_train", "flare_fusion", "flare_metrics"},
}


def project(package: str) -> dict:
    return tomllib.loads((ROOT / "packages" / package / "pyproject.toml").read_text())["project"]


def run_python(code: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done


def loaded_modules(statement: str) -> set[str]:
    code = f"{statement}\nimport sys; print(*sys.modules)"
    done = run_python(code)
    return {name.split(".")[0] for name in done.stdout.split()}


@pytest.mark.parametrize("statement", NEVER_LOADED)
def test_an_import_loads_only_what_its_room_may_see(statement):
    assert not NEVER_LOADED[statement] & loaded_modules(statement)


def test_the_import_check_can_fail():
    assert "scipy" in loaded_modules("import scipy.ndimage")


@pytest.mark.parametrize("package", PACKAGES)
def test_help_and_version_are_quick_to_load(package):
    module = package.replace("-", "_")
    for option in ("--help", "--version"):
        code = (
            f"import sys\nfrom {module}.cli import main\n"
            f"try:\n    main(['{option}'])\n"
            "except SystemExit as end:\n    assert end.code in (0, None)\n"
            "print('\\nMODULES', *sys.modules)"
        )
        done = run_python(code)
        output, _, modules = done.stdout.partition("MODULES")
        heavy = {"torch", "SimpleITK", "scipy", "matplotlib", "nibabel"}
        assert not heavy & {name.split(".")[0] for name in modules.split()}
        assert package in output or project(package)["version"] in output


@pytest.mark.parametrize("package", PACKAGES)
def test_siblings_are_those_of_the_picture_and_bounded_to_the_tree(package):
    found = {}
    for requirement in project(package)["dependencies"]:
        match = re.fullmatch(r"(flare-\w+)>=(\d+)\.(\d+),<(\d+)\.(\d+)", requirement)
        assert bool(match) == requirement.startswith("flare-"), requirement
        if match:
            found[match[1]] = tuple(map(int, match.groups()[1:]))
    assert set(found) == SIBLINGS[package]
    for name, (major, minor, next_major, next_minor) in found.items():
        version = tuple(map(int, project(name)["version"].split(".")[:2]))
        assert (major, minor) <= version < (next_major, next_minor)


@pytest.mark.parametrize("package", PACKAGES)
def test_each_package_is_whole(package):
    folder = ROOT / "packages" / package
    module = package.replace("-", "_")
    assert project(package)["scripts"] == {package: f"{module}.cli:main"}
    for name in ("README.md", "CHANGELOG.md", f"src/{module}/py.typed"):
        assert (folder / name).exists()
    assert any((folder / "tests").glob("test_*.py"))


@pytest.mark.parametrize("package", PACKAGES)
def test_public_names_are_sorted_and_resolve(package):
    module = package.replace("-", "_")
    code = (
        f"import {module} as m\nnames = m.__all__\n"
        "assert list(names) == sorted(names), names\n"
        "for name in names:\n    assert getattr(m, name) is not None\n"
        "try:\n    m.no_such_name\n"
        "except AttributeError as error:\n    assert 'no_such_name' in str(error)\n"
        "assert set(names) <= set(dir(m))\nprint(m.__version__)"
    )
    done = run_python(code)
    assert done.stdout.strip() == project(package)["version"]


def test_label_tables_agree_with_the_metrics_protocols():
    from flare_io import label_table
    from flare_metrics import protocol

    for table_name, protocol_name in (("flare23", "flare23"),):
        table = label_table(table_name)
        ids = {label: name for label, name in zip(table.ids, table.names, strict=True) if label}
        scored = {row.id: row.name for row in protocol(protocol_name).labels}
        assert set(ids) == set(scored)
        for label, name in scored.items():
            assert table.id_of(name) == label


def test_the_readme_commands_are_those_of_ci_and_nox():
    readme = (ROOT / "README.md").read_text()
    setup = "python3 -m venv .venv && .venv/bin/pip install --quiet nox && .venv/bin/nox"
    lines = readme.splitlines()
    assert f"{setup} -s demo" in lines
    assert setup in lines
    assert setup in (ROOT / ".ci" / "run").read_text().splitlines()


def test_a_bench_without_names_runs_only_what_can_run_so():
    lists = {
        ast.unparse(node.targets[0]): ast.literal_eval(node.value)
        for node in ast.parse((ROOT / "noxfile.py").read_text()).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]).startswith("BENCH_")
    }
    texts = {path.name: path.read_text() for path in (ROOT / "benchmarks").glob("*.py")}
    parts, by_name = lists["BENCH_PARTS"], {*lists["BENCH_PARTS"], *lists["BENCH_LONG"]}
    assert set(lists["BENCH_PEERS"]) | by_name <= set(texts)
    silent = {name for name, text in texts.items() if "__main__" not in text}
    assert silent | {name for name in texts if name.endswith("_peer.py")} <= set(parts)
    # What nox does not give must not be needed.
    needy = {
        name
        for name, text in texts.items()
        if re.search(r'"--(?!peer)[a-z-]+",[^)]*required=True', text)
    }
    assert needy
    assert needy <= by_name
