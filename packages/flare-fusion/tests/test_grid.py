"""Tables as text."""

import json
from itertools import product

import pytest

from flare_fusion.cli import main
from flare_fusion.general import compile_general
from flare_fusion.grid import grid_digest, grid_lines, pattern_rows
from flare_fusion.rules import Origin, fusion_rule
from flare_fusion.tables import compile_table


def test_every_cell_is_in_the_text():
    table = compile_table(fusion_rule("s1-labeled"))
    name, header, *lines = grid_lines(table)
    assert name == "s1-labeled"
    assert header.split() == ["A", "B", "|", "partial=", *map(str, range(15))]
    read = {}
    for line in lines:
        left, right = line.split("|")
        for partial, label in enumerate(right.split()):
            read[(*map(int, left.split()), partial)] = int(label)
    assert len(read) == 14 * 14 * 15
    assert all(table[cell] == label for cell, label in read.items())


def test_wide_labels_stay_apart():
    lines = list(grid_lines(compile_general("agreement", "AB", {"labels": 1, "otherwise": 65535})))
    assert lines[-1].split() == ["1", "|", "65535", "1"]


def test_a_table_of_one_source_is_one_line():
    lines = list(grid_lines(compile_general("union", "AB", {"labels": 1})))
    assert len(lines) == 4


def test_the_digest_tells_labels_origins_and_names_apart():
    tables = [
        compile_general("majority", "AB", {}),
        compile_general("majority", "BA", {}),
        compile_general("majority", "AB", {"tie": "first"}),
        # The same labels as the union, other origins.
        compile_general("union", "AB", {}),
        compile_general("union", ["A", "mine"], {}),
    ]
    digests = [grid_digest(table) for table in tables]
    assert len(set(digests)) == len(digests)
    assert digests[0] == grid_digest(compile_general("majority", "AB", {"labels": "0-14"}))


@pytest.mark.parametrize("count", [2, 3, 4])
def test_patterns_cover_every_cell(count):
    table = compile_general("union", "ABCD"[:count], {"tie": "first"})
    rows = pattern_rows(table)
    # Ways to split sources into groups, one of which may see background.
    assert len(rows) == {2: 5, 3: 15, 4: 52}[count]
    known = {patterns: (label, origin) for patterns, label, origin in rows}
    for cell in product(range(6), repeat=count):
        letters = dict(zip(dict.fromkeys(label for label in cell if label), "jkmnp", strict=False))
        label, origin = known[tuple(letters.get(held, "0") for held in cell)]
        assert letters.get(table[cell], "0") == label
        assert table.origins[cell] == origin


def test_a_label_for_undecided_is_written_as_it_is():
    rows = pattern_rows(compile_general("agreement", "AB", {"otherwise": 255}))
    assert (("j", "k"), "255", Origin.TIE) in rows


def test_the_command_prints_a_grid_under_options(capsys):
    assert main(["rules", "s1-labeled", "--grid", "--set", "tie=A"]) == 0
    table = compile_table(fusion_rule("s1-labeled"), options={"tie": "A"})
    assert capsys.readouterr().out.splitlines() == list(grid_lines(table))


def test_the_command_prints_a_grid_for_a_k_and_as_json(capsys):
    assert main(["rules", "s2-replace", "--grid", "--annotated", "1,3", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    table = compile_table(fusion_rule("s2-replace"), annotated={1, 3})
    assert record["sources"] == {"partial": list(range(15)), "pseudo": list(range(14))}
    assert record["labels"] == table.labels.tolist()
    assert record["sha256"] == grid_digest(table)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--grid"], "--grid needs the name of a rule"),
        (["s2-replace", "--grid"], "must know the annotated classes"),
        (["--set", "tie=A"], "--set needs the name of a rule"),
        (["s2-replace", "--annotated", "1"], "--annotated goes with --grid"),
        (["s1-labeled", "--set", "weights=A:1,B:2"], "rule s1-labeled has no option 'weights'"),
        (["weighted", "--set", "weights=A:1"], "two or more sources of different names, got A"),
        (["weighted", "--set", "weights=A=1"], "option weights must be like A:2,B:1"),
        (["weighted", "--grid"], "needs the option weights"),
        (["majority", "--set", "tie=3"], "a label that no source may hold, got 3; take 255"),
        (["staple", "--grid"], "rule staple has no table"),
        (["s1-labelled"], "did you mean s1-labeled?"),
    ],
    ids=str,
)
def test_wrong_arguments_of_the_command_are_named(capsys, arguments, message):
    assert main(["rules", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_general_rules_are_shown_with_their_patterns(capsys):
    for name in ("majority", "weighted", "union", "intersection", "agreement"):
        assert main(["rules", name]) == 0
        out = capsys.readouterr().out
        assert "two or more of any names" in out
        assert out.count("->") == 16
    assert main(["rules", "staple"]) == 0
    assert "->" not in capsys.readouterr().out


def _printed_rows(capsys, *arguments):
    assert main(["rules", *arguments]) == 0
    lines = capsys.readouterr().out.splitlines()
    return [" ".join(line.split()) for line in lines if "->" in line][1:]


def test_options_show_in_the_rows_of_a_rule(capsys):
    rows = _printed_rows(capsys, "weighted", "--set", "weights=mine:2,yours:1")
    assert rows == [
        "0 0 -> 0 (background)",
        "0 j -> 0 (background)",
        "j 0 -> j (vote)",
        "j j -> j (agreement)",
        "j k -> j (vote)",
    ]
    # Two labels make two patterns fewer of two sources.
    rows = _printed_rows(capsys, "union", "--set", "labels=0,7", "--set", "tie=first")
    assert "j j 0 -> j (vote)" in rows and len(rows) == 8
    assert not any("k" in row.split("->")[0] for row in rows)
    assert _printed_rows(capsys, "weighted", "--set", "weights=A:2,B:1,B/14:3") == []
    of_s1 = _printed_rows(capsys, "s1-labeled", "--set", "tie=A")
    assert "j k 0 -> j (tie)" in of_s1 and len(of_s1) == 11


def test_the_grid_of_weights_is_that_of_the_sources_they_name(capsys):
    options = ["--set", "weights=one:1,two:3", "--set", "labels=0-2"]
    assert main(["rules", "weighted", "--grid", *options]) == 0
    table = compile_general(
        "weighted", ("one", "two"), {"weights": {"one": 1, "two": 3}, "labels": "0-2"}
    )
    assert capsys.readouterr().out.splitlines() == list(grid_lines(table))


def test_json_lists_all_rules(capsys):
    assert main(["rules", "--json"]) == 0
    records = {record["name"]: record for record in json.loads(capsys.readouterr().out)}
    assert records["union"]["sources"] == "any"
    assert records["s3-merge"]["rows"][0]["origin"] == "ground_truth"
