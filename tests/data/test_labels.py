from __future__ import annotations

import json
import logging
import os
from pathlib import Path

import pytest

from every import every
from styleloom.data import label_files
from styleloom.data.labels import MAX_LABEL_DIM, labels_from_file, labels_from_folders
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


@every(
    ("names", "message"),
    [(("a.png", "b.png"), "no sub-folders"), (("a/1.png", "a/2.png"), "no sub-folders"),
     (("a/1.png", "loose.png", "b/2.png"), r"1 image \(loose.png\) not in a sub-folder")],
)  # fmt: skip
def test_folders_without_classes(names: tuple[str, ...], message: str) -> None:
    with pytest.raises(UserError, match=message):
        labels_from_folders(names)


@every("text", [
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


@every("heading", ["", "name,class\n", "Filename,x\n"])
def test_csv(tmp_path: Path, heading: str) -> None:
    rows = "a/1.png,{}\na/2.png,{}\n\nb/3.png,{}\n"
    assert read(tmp_path, heading + rows.format(2, 0, 1), ".csv").by_name["a/1.png"] == 2
    assert read(tmp_path, heading + rows.format("x", "y", "x"), ".csv").classes == ("x", "y")
    assert read(tmp_path, heading + rows.format("1,2", "3,4", "5,6.5"), ".csv").by_name["b/3.png"] == (
        5.0,
        6.5,
    )
    assert read(tmp_path, heading + rows.format("0.5", "1", "2"), ".csv").by_name["a/1.png"] == (0.5,)


def test_the_heading_of_a_csv_names_the_places_of_vectors(tmp_path: Path) -> None:
    rows = "a/1.png,1,0\na/2.png,0,1\nb/3.png,1,1\n"
    for heading, names in {
        "name,Glasses,Wavy Hair": ("Glasses", "Wavy Hair"),
        "image_id;x;y": ("x", "y"),
        "name,x,x": None,
        "name,x": None,
        "name,x,": None,
    }.items():
        separator = ";" if ";" in heading else ","
        labels = read(tmp_path, f"{heading}\n{rows.replace(',', separator)}", ".csv")
        assert (labels.classes, labels.by_name["a/2.png"]) == (names, (0.0, 1.0)), heading


def test_missing_labels_are_all_listed_and_unknown_names_reported(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"2 images \(a/1.png, b/3.png\) without a label"):
        read(tmp_path, '{"a/2.png": 0}')
    labels = read(tmp_path, json.dumps({**dict.fromkeys(NAMES, 0), "gone.png": 5}))
    assert labels.unknown == ("gone.png",)
    assert labels.label_dim == 1  # the label of an absent image makes no class


@every(
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


def csv(tmp_path: Path, content: str | bytes, names: tuple[str, ...] = NAMES):
    path = tmp_path / "labels.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return labels_from_file(path, names)


def test_a_heading_does_not_renumber_the_classes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "styleloom")
    names = tuple(f"{i}.png" for i in range(11))
    rows = [f"{i}.png{{}}{i}" for i in range(11)]
    for heading in ("image{}label", "Bild{}Klasse", "{}class", "name{}label", ""):
        for separator in ",;\t":
            for end in ("\n", "\r\n", "\r\n\r\n , \r\n" if separator == "," else "\n\n"):
                text = end.join([heading, *rows, ""]).replace("{}", separator)
                labels = csv(tmp_path, text, names)
                assert labels.by_name == {f"{i}.png": i for i in range(11)}, (heading, separator)
                assert (labels.label_dim, labels.classes) == (11, None)
    assert "the first row is taken as a heading: 'image,label'" in caplog.text


def test_encodings_quotes_and_empty_columns(tmp_path: Path) -> None:
    plain = 'a/1.png,2,\n"a/2.png", 0 ,\n"b/3.png","1",\n'
    for content in (plain.encode("utf-8-sig"), plain.encode("utf-16"), plain.encode()):
        assert csv(tmp_path, content).by_name == {"a/1.png": 2, "a/2.png": 0, "b/3.png": 1}
    names = ("caf\udce9,1.png", "x.png")  # a name with a byte of Latin-1, as the system gives it
    labels = csv(tmp_path, b'"caf\xe9,1.png",0\nx.png,1\n', names)
    assert labels.by_name == {names[0]: 0, names[1]: 1}


def test_names_of_other_systems_mean_the_same_file(tmp_path: Path) -> None:
    composed, apart = "caf\u00e9/1.png", "cafe\u0301/1.png"
    assert csv(tmp_path, f"{apart},3\n", (composed,)).by_name == {composed: 3}
    assert csv(tmp_path, f"{composed},3\n", (apart,)).by_name == {apart: 3}
    assert csv(tmp_path, "a\\1.png,3\n", ("a/1.png",)).by_name == {"a/1.png": 3}
    both = csv(tmp_path, f"{composed},0\n{apart},1\n", (composed, apart))  # two files where both exist
    assert both.by_name == {composed: 0, apart: 1}
    for text, name in ((f"{composed},0\n{apart},1\n", composed), ("a\\1.png,0\na/1.png,0\n", "a/1.png")):
        with pytest.raises(UserError, match="more than once"):
            csv(tmp_path, text, (name,))


def test_names_that_match_nothing_are_listed_with_a_hint(tmp_path: Path) -> None:
    for written, meant in [
        ("./0.png", "0.png"),
        ("/home/me/photos/0.png", "0.png"),
        ("0.png", "photos/0.png"),
        ("0", "0.png"),
        ("0.jpg", "0.png"),
        (" 0.PNG ", "0.png"),
    ]:
        with pytest.raises(UserError) as caught:
            csv(tmp_path, f"{written},1\nother.txt,2\n", (meant, "9.png"))
        message = str(caught.value)
        assert "2 images" in message
        assert f"{written!r}, 'other.txt'" in message
        assert f"write {meant!r} for {written!r}" in message
    with pytest.raises(UserError, match=r"1 image \(b/3.png\) without a label$"):
        csv(tmp_path, "a/1.png,0\na/2.png,0\n")


def test_classes_are_bounded_and_gaps_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = "a/1.png,{}\na/2.png,{}\nb/3.png,{}\n"
    labels = csv(tmp_path, rows.format(0, 1000, 2000))
    assert labels.label_dim == 2001
    assert "2,001 classes, 0 to 2000, of which 3 have images" in caplog.text
    assert csv(tmp_path, rows.format(0, 1, MAX_LABEL_DIM - 1)).label_dim == MAX_LABEL_DIM
    for largest in (MAX_LABEL_DIM, 20200101000012, 10**17):
        with pytest.raises(UserError, match=rf"a/2.png is of class {largest}; valid: 0 to .*3 different"):
            csv(tmp_path, rows.format(0, largest, 1))
    with pytest.raises(UserError, match="is too large"):
        csv(tmp_path, rows.format(0, "9" * 5000, 1))
    long = ",".join(["0"] * (MAX_LABEL_DIM + 1))
    with pytest.raises(UserError, match="at most 65,536"):
        csv(tmp_path, f"a/1.png,{long}\n", ("a/1.png",))
    with pytest.raises(UserError, match="at most 65,536"):
        labels_from_folders([f"{i}/x.png" for i in range(MAX_LABEL_DIM + 1)])


def test_what_is_neither_class_nor_vector(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = "a/1.png,{}\na/2.png,{}\nb/3.png,{}\n"
    for values, message in [
        (("1", "x", "2"), "mixes numbers and texts"),
        (("1", "", "2"), "mixes numbers and texts"),
        (("1", "1_0", "2"), "mixes numbers and texts"),
        (("nan", "1", "2"), "finite"),
        (("1e39", "1", "2"), "finite"),
        (("0,nan", "0,1", "0,2"), "finite"),
        (("0,1", "0", "0,2"), "lengths"),
    ]:
        with pytest.raises(UserError, match=message):
            csv(tmp_path, rows.format(*values))
    for values in (("1.0", "2.0", "3.0"), ("-1", "1", "1")):
        labels = csv(tmp_path, rows.format(*values))
        assert labels.by_name["b/3.png"] == (float(values[2]),)
        assert f"vectors of one number, for {values[0]!r} is no class" in caplog.text
    for label in (
        "[1e39]",
        "[1e400]",
        "[Infinity]",
        f"[1{'0' * 400}]",
        "[true]",
        '["1"]',
        "[[1]]",
        "1.0",
        "null",
    ):
        with pytest.raises(UserError, match=r"a/1.png: label .* is not|not JSON"):
            read(tmp_path, f'{{"a/1.png": {label}, "a/2.png": [1], "b/3.png": [2]}}')


def test_a_label_file_is_a_file_of_bounded_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "folder.csv").mkdir()
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "loop.csv").symlink_to("loop.csv")
    (tmp_path / "zero.csv").symlink_to("/dev/zero")
    for name, message in {
        "folder": "a folder",
        "pipe": "a pipe",
        "loop": "cannot be read",
        "zero": "a device",
    }.items():
        with pytest.raises(UserError, match=message):
            labels_from_file(tmp_path / f"{name}.csv", NAMES)
    monkeypatch.setattr(label_files, "MAX_LABEL_BYTES", 10)
    with pytest.raises(UserError, match="15 bytes; valid: at most 10"):
        csv(tmp_path, "a/1.png,1234567")


def test_many_rows(tmp_path: Path) -> None:
    names = tuple(f"{i:06d}.png" for i in range(100_000))
    text = "image;label\n" + "".join(f"{name};{i % 7}\n" for i, name in enumerate(names))
    labels = csv(tmp_path, text, names)
    assert (labels.label_dim, labels.by_name["000013.png"]) == (7, 6)
