"""The examples of CORRECTNESS.md do what they say."""

import doctest
from pathlib import Path

PAGE = Path(__file__).parents[1] / "CORRECTNESS.md"
OPTIONS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS


def test_examples_run():
    text = PAGE.read_text(encoding="utf-8")
    examples = doctest.DocTestParser().get_doctest(text, {}, PAGE.name, str(PAGE), 0)
    report: list[str] = []
    runner = doctest.DocTestRunner(optionflags=OPTIONS, verbose=False)
    runner.run(examples, out=report.append)
    assert runner.tries > 40
    assert not runner.failures, "".join(report)
