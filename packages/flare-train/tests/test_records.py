from flare_train.records import append_record, draw_progress, read_records, trim_records


def record(iteration, **more):
    return {"iteration": iteration, "loss": 0.5, "dice": {}, **more}


def test_append_read_trim(tmp_path):
    path = tmp_path / "metrics.jsonl"
    assert read_records(path) == []
    for iteration in (5, 10, 15):
        append_record(path, record(iteration))
    trim_records(path, iteration=10)
    assert [each["iteration"] for each in read_records(path)] == [5, 10]


def test_torn_last_line_is_left_out(tmp_path):
    path = tmp_path / "metrics.jsonl"
    append_record(path, record(5))
    with path.open("a") as file:
        file.write('{"iteration": 1')
    assert read_records(path) == [record(5)]
    trim_records(path, iteration=100)
    assert path.read_text().count("\n") == 1


def test_picture_with_missing_scores_and_without_records(tmp_path):
    scored = [record(5, dice={"1": 0.5, "14": None}), record(10, dice={"1": 0.7, "14": None})]
    for name, records in (("some.png", scored), ("none.png", [])):
        draw_progress(tmp_path / name, records, names={1: "liver", 14: "tumor"})
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")


def test_validation_of_a_restoration_is_drawn(tmp_path):
    records = [record(5), record(10)]
    draw_progress(tmp_path / "without.png", records, names={})
    draw_progress(
        tmp_path / "with.png", [{**each, "restoration": 0.3} for each in records], names={}
    )
    assert (tmp_path / "with.png").read_bytes() != (tmp_path / "without.png").read_bytes()
