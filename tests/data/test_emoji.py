"""Emoji: read from the package's table, skin tones of one emoji together, swatches left out."""

import json

import pytest

from ptft.data.vision.emoji import Emoji
from ptft.errors import DataError
from tests.data.files import pictures


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def entry(name, category, tones=0):
    variants = {str(tone): {"image": f"{name}-{tone}.png"} for tone in range(tones)}
    row = {"image": f"{name}.png", "category": category, "subcategory": category[:2], "short_name": name}
    return {**row, "skin_variations": variants} if tones else row


ENTRIES = [
    *(entry(f"hand{n}", "People & Body", 5) for n in range(10)),
    *(entry(f"flag{n}", "Flags") for n in range(20)),
    entry("tone", "Component"),
]


@pytest.fixture
def package(tmp_path):
    names = [row["image"] for row in ENTRIES]
    names += [variant["image"] for row in ENTRIES for variant in row.get("skin_variations", {}).values()]
    root = pictures(tmp_path / "package", [f"img/google/64/{name}" for name in names], size=(64, 64))
    (root / "emoji.json").write_text(json.dumps(ENTRIES))
    return root


def ready(path, **settings):
    data = Emoji((), path=str(path), **{"split": {"group": "emoji"}, **settings})
    data.setup()
    return data


def test_the_categories_are_the_classes_and_swatches_are_left_out(package):
    data = ready(package)
    assert data.spec.classes == ("Flags", "People & Body") and data.spec.shape == (3, 64, 64)
    assert data.describe() == "emoji: 64 train, 8 val, 8 test; 3x64x64, 2 classes" and data.warnings() == ()
    assert data.spec.preprocessing["resize"] == 64  # nothing is cut off
    assert ready(package, size=32).spec.preprocessing["resize"] == 32


def test_skin_tones_of_one_emoji_stay_in_one_split(package):
    for seed in range(3):
        data = ready(package, split={"group": "emoji", "seed": seed})
        names = data.attributes()["emoji"]
        held = [{names[row] for row in rows} for rows in data._rows.values()]
        assert not held[0] & held[1] and not held[0] & held[2] and not held[1] & held[2]
    assert set(data.attributes()["subcategory"]) == {"Pe", "Fl"}


def test_the_folder_that_holds_the_package_will_do(package):
    assert ready(package.parent).spec == ready(package).spec


def test_pictures_without_a_row_and_rows_without_a_picture_are_told(package):
    pictures(package / "img/google/64", ["new.png"])
    (package / "img/google/64/flag3.png").unlink()
    assert ready(package).warnings() == (
        "passed over 1 pictures that emoji.json does not name: `new.png`",
        "emoji.json names 1 pictures that are not there: `flag3.png`",
    )


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (None, r"holds no emoji\.json .*npm pack emoji-datasource-google"),
        ("{", r"emoji\.json cannot be read"),
        ("{}", "holds no list"),
        ('[{"image": "a.png"}]', "entry 0 has no text `category`"),
        ("[]", "holds none of the pictures that"),
    ],
)
def test_a_package_that_is_none_is_told_with_how_to_get_it(package, table, message):
    (package / "emoji.json").unlink()
    if table is not None:
        (package / "emoji.json").write_text(table)
    with pytest.raises(DataError, match=message):
        ready(package)


def test_the_package_must_lie_in_the_folder(package, tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "emoji.json").symlink_to(package / "emoji.json")
    (tmp_path / "other" / "img").symlink_to(package / "img")
    with pytest.raises(DataError, match=r"leads out of data\.path"):
        ready(tmp_path / "other")
    with pytest.raises(DataError, match=r"data\.path is not given: name the folder that holds the unpacked package"):
        Emoji(()).setup()
