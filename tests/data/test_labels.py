from __future__ import annotations

import json
from pathlib import Path

import pytest

from styleloom.data.labels import labels_from_file, labels_from_folders
from styleloom.errors import UserError

NAMES = ("a/1.png", "a/2.png", "b/3.png")


def read(tmp_path: Path, text: str, ending: str = ".json"):
    path = tmp_path / f"labels{ending}"
    path.write_text(text)
    return labels_from_file(path, NAMES)


def test_folders() -> None:
    labels = labels_from_folders(("cat/x/1.png", "ant/2.png", "cat/3.png"))
    assert labels.classes == ("ant", "cat")
    assert labels.label_dim == 2
    assert labels.by_name == {"cat/x/1.png": 1, "ant/2.png": 0, "cat/3.png": 1}


def test_folders_look_below_what_all_images_share() -> None:
    labels = labels_from_folders(("set/images/cat/1.png", "set/images/ant/2.png"))
    assert labels.classes == ("ant", "cat")


@pytest.mark.parametrize(
    ("names", "message"),
    [(("a.png", "b.png"), "no sub-folders"), (("a/1.png", "a/2.png"), "no sub-folders"),
     (("a/1.png", "loose.png", "b/2.png"), r"1 image \(loose.png\) not in a sub-folder")],
)  # fmt: skip
def test_folders_without_classes(names: tuple[str, ...], message: str) -> None:
    with pytest.raises(UserError, match=message):
        labels_from_folders(names)


@pytest.mark.parametrize("text", [
    '{"a/1.png": 2, "a/2.png": 0, "b/3.png": 1}',
    '{"labels": [["a/1.png", 2], ["a/2.png", 0], ["b/3.png", 1]]}',
])  # fmt: skip
def test_json_class_indices(tmp_path: Path, text: str) -> None:
    labels = read(tmp_path, text)
    assert labels.by_name == {"a/1.png": 2, "a/2.png": 0, "b/3.png": 1}
    assert labels.label_dim == 3
    assert labels.classes is None


def test_json_class_names_and_vectors(tmp_path: Path) -> None:
    named = read(tmp_path, '{"a/1.png": "dog", "a/2.png": "cat", "b/3.png": "dog"}')
    assert named.classes == ("cat", "dog")
    assert named.by_name["a/1.png"] == 1
    vectors = read(tmp_path, '{"a/1.png": [0.5, 1], "a/2.png": [0, -1], "b/3.png": [2, 3]}')
    assert vectors.by_name["a/1.png"] == (0.5, 1.0)
    assert vectors.label_dim == 2


@pytest.mark.parametrize("heading", ["", "name,class\n", "Filename,x\n"])
def test_csv(tmp_path: Path, heading: str) -> None:
    rows = "a/1.png,{}\na/2.png,{}\n\nb/3.png,{}\n"
    assert read(tmp_path, heading + rows.format(2, 0, 1), ".csv").by_name["a/1.png"] == 2
    assert read(tmp_path, heading + rows.format("x", "y", "x"), ".csv").classes == ("x", "y")
    assert read(tmp_path, heading + rows.format("1,2", "3,4", "5,6.5"), ".csv").by_name["b/3.png"] == (
        5.0,
        6.5,
    )
    assert read(tmp_path, heading + rows.format("0.5", "1", "2"), ".csv").by_name["a/1.png"] == (0.5,)


def test_missing_labels_are_all_listed_and_unknown_names_reported(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"2 images \(a/1.png, b/3.png\) without a label"):
        read(tmp_path, '{"a/2.png": 0}')
    labels = read(tmp_path, json.dumps({**dict.fromkeys(NAMES, 0), "gone.png": 5}))
    assert labels.unknown == ("gone.png",)
    assert labels.label_dim == 1  # the label of an absent image makes no class


@pytest.mark.parametrize(
    ("text", "ending", "message"),
    [
        ("{", ".json", "not JSON"),
        ("[]", ".json", "expected"),
        ('{"labels": [["a"]]}', ".json", "expected"),
        ('{"a/1.png": 0, "a/1.png": 1}', ".json", "labelled more than once"),
        ('{"a/1.png": -1, "a/2.png": 0, "b/3.png": 0}', ".json", "a/1.png: label -1"),
        ('{"a/1.png": true, "a/2.png": 0, "b/3.png": 0}', ".json", "label True"),
        ('{"a/1.png": 0, "a/2.png": "x", "b/3.png": 0}', ".json", "mixes class indices and class names"),
        ('{"a/1.png": [1], "a/2.png": [1, 2], "b/3.png": [1]}', ".json", "one length"),
        ('{"a/1.png": [NaN], "a/2.png": [1], "b/3.png": [1]}', ".json", "finite"),
        ("a/1.png\n", ".csv", "no value"),
        ("a/1.png,1,x\na/2.png,1,2\nb/3.png,1,2\n", ".csv", "not numbers"),
        ("x", ".yaml", "unknown ending"),
    ],
)
def test_bad_label_files(tmp_path: Path, text: str, ending: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read(tmp_path, text, ending)


def test_absent_label_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        labels_from_file(tmp_path / "none.csv", NAMES)
