"""YAML files that must not reach the parser that builds objects."""

import pytest

from ptft.config.yaml_guard import check_text, check_yaml
from ptft.errors import ConfigError

BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{name}: &{name} [{','.join(['*' + before] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        (BOMB, 5, "more than 10,000 values"),
        ("a: &a [*a]", 1, "stands for itself"),
        ("a: 1\nb: 2\na: 3\n", 3, "a second time"),
        ("a:\n  b: 1\n  b: 2\n", 3, "`b`"),
        ("a: !!python/object/apply:os.system ['touch marker']", 1, "refused"),
        ("a: !!python/name:os.system", 1, "refused"),
        ("a: !Thing {}", 1, "refused"),
        ("a:\n\tb: 1\n", 2, "tab"),
        ("a: 1\n---\nb: 2\n", 2, "second document"),
        ("a: [1, 2\nb: 3\n", 2, "no valid YAML"),
        ("[" * 40 + "]" * 40, 1, "deeper than 32"),
        ("? [a, b]\n: 1\n", 1, "plain word"),
        ("a: [" + "1," * 10_001 + "]", 1, "more than 10,000 values"),
    ],
)
def test_a_bad_file_is_refused_by_name_and_line_at_once(tmp_path, text, line, words):
    file = tmp_path / "bad.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError) as error:
        check_yaml(file)
    assert f"{file}:{line}" in str(error.value) and words in str(error.value)
    assert not (tmp_path / "marker").exists()


def test_a_file_of_five_megabytes_is_refused_without_reading_it(tmp_path):
    file = tmp_path / "big.yaml"
    file.write_bytes(b"a: 1 # " + b"x" * 5_000_000)
    with pytest.raises(ConfigError, match=r"5,000,007 bytes"):
        check_yaml(file)


def test_text_that_is_not_utf8_is_refused(tmp_path):
    file = tmp_path / "latin.yaml"
    file.write_bytes(b"a: \xe4")
    with pytest.raises(ConfigError, match="UTF-8"):
        check_yaml(file)


def test_control_characters_do_not_reach_the_message():
    with pytest.raises(ConfigError) as error:
        check_text('"\\e[31ma": 1\n"\\e[31ma": 2\n', "x.yaml")
    assert "\x1b" not in str(error.value)


def test_plain_files_pass_with_aliases_and_merges():
    check_text("a: &a {x: 1, y: [1, 2]}\nb: *a\nc:\n  <<: *a\n  z: ~\nd: !!str 1\n", "x.yaml")
    check_text("", "empty.yaml")
