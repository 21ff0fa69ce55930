import re
from pathlib import Path


def test_the_example_runs(tmp_path, monkeypatch):
    text = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    exec(compile(example, "README.md", "exec"), {})  # noqa: S102  # running it is the test
    assert {path.name for path in tmp_path.iterdir()} == {
        "ct.nii.gz",
        "labels.nii.gz",
        "labels.ctbl",
        "labels.itksnap.txt",
    }


def test_it_is_short():
    text = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 120
