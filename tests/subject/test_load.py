"""Every way in which a target can fail to load is one line with the value, the cause and the fix."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from polyref.errors import UsageError
from polyref.subject.load import load, parse_target, source_of
from polyref.subject.overrides import parse_overrides

LOSS = "class Poly1Loss:\n    '''First line.\n\n    More.'''\n    def __call__(self, a, b): ...\n\nNUMBER = 3\n"


@pytest.fixture(autouse=True)
def restored_imports(monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        del sys.modules[name]


@pytest.fixture
def write(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def write(text: str, name: str = "some_loss.py") -> str:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return str(path)

    return write


def failure(target: str) -> str:
    with pytest.raises(UsageError) as caught:
        load(parse_target(target))
    message = str(caught.value)
    assert "\n" not in message
    assert "Traceback" not in message
    assert repr(target) in message
    return message


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("some_loss", "no colon"),
        ("loss.py", "no colon"),
        ("loss:", "names no attribute"),
        (":loss", "names no module"),
        ("loss:1+1", "no Python name"),
        ("some loss:attr", "neither a module nor a file"),
        ("loss:a..b", "no Python name"),
        ("nowhere.py:loss", "no file 'nowhere.py'"),
        ("no/such/thing:loss", "no file"),
        ("no_such_module:loss", "no module 'no_such_module'"),
        ("json.no_such_part:loss", "no module 'json.no_such_part'"),
    ],
)
def test_targets_that_name_nothing(target, says):
    message = failure(target)
    assert says in message
    assert "give" in message or "check" in message


def test_a_file_that_is_no_python(write):
    assert "ends in .py" in failure(f"{write('x', 'loss.txt')}:loss")


def test_a_file_is_loaded_and_its_source_found(write):
    loaded = load(parse_target(f"{write(LOSS)}:Poly1Loss"))
    assert loaded.subject.__name__ == "Poly1Loss"
    assert Path(loaded.source.file).name == "some_loss.py"
    assert (loaded.source.line, loaded.source.doc) == (1, "First line.")


def test_a_module_in_the_current_directory_is_found(write):
    write(LOSS, "package_here/__init__.py")
    assert load(parse_target("package_here:Poly1Loss")).subject.__name__ == "Poly1Loss"


def test_a_file_finds_its_neighbours(write):
    write(LOSS, "neighbour_of_loss.py")
    path = write("from neighbour_of_loss import Poly1Loss as Mine", "user.py")
    assert load(parse_target(f"{path}:Mine")).subject.__name__ == "Poly1Loss"


def test_a_file_of_a_package_may_import_relatively(write):
    write("", "pack_of_losses/__init__.py")
    write(LOSS, "pack_of_losses/base.py")
    path = write("from .base import Poly1Loss", "pack_of_losses/derived.py")
    assert load(parse_target(f"{path}:Poly1Loss")).subject.__module__ == "pack_of_losses.base"


def test_a_file_named_like_a_library_does_not_replace_it(write):
    import json

    loaded = load(parse_target(f"{write(LOSS, 'json.py')}:Poly1Loss"))
    assert sys.modules["json"] is json
    assert loaded.subject.__module__ == "polyref_target_json"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("import no_such_library\n", "ModuleNotFoundError: No module named 'no_such_library'"),
        ("x = 1\n\ny = x / 0\n", "ZeroDivisionError: division by zero"),
        ("def loss(:\n", "SyntaxError: "),
        ("class Odd(BaseException): ...\nraise Odd('two\\nlines')\n", "Odd: two"),
    ],
)
def test_a_module_that_raises(write, text, says):
    path = write(text)
    message = failure(f"{path}:loss")
    assert says in message
    assert f"{path}:{3 if 'ZeroDivision' in says else 2 if 'Odd' in says else 1})" in message


def test_the_place_is_in_the_module_that_raised(write):
    inner = write("x = 1\nx.y\n", "inner_of_loss.py")
    assert f"({inner}:2)" in failure(f"{write('import inner_of_loss')}:loss")


@pytest.mark.parametrize(("call", "said"), [("sys.exit(3)", "sys.exit(3)"), ("sys.exit()", "sys.exit()")])
def test_a_module_that_exits(write, call, said):
    path = write(f"import sys\n{call}\n")
    message = failure(f"{path}:loss")
    assert said in message
    assert f"({path}:2)" in message
    assert "__main__" in message


@pytest.mark.parametrize(
    ("attribute", "says"),
    [
        ("Poly1loss", "did you mean Poly1Loss?"),
        ("poly1loss", "did you mean Poly1Loss?"),
        ("something", "it has Poly1Loss"),
        ("Poly1Loss.nothing", "has no attribute 'nothing'"),
    ],
)
def test_an_attribute_that_is_not_there(write, attribute, says):
    assert says in failure(f"{write(LOSS)}:{attribute}")


def test_an_empty_module(write):
    assert "it defines nothing" in failure(f"{write('')}:loss")


def test_an_attribute_that_cannot_be_read(write):
    text = "class Meta(type):\n    @property\n    def bad(cls): raise ValueError('no')\nclass A(metaclass=Meta): ...\n"
    assert "reading 'bad' raised ValueError: no" in failure(f"{write(text)}:A.bad")


def test_an_attribute_that_cannot_be_called(write):
    assert "is an int and cannot be called" in failure(f"{write(LOSS)}:NUMBER")


def test_sources_of_odd_things():
    assert source_of(len).file is None
    assert Path(source_of(parse_target).file).name == "load.py"


def test_overrides():
    assert parse_overrides(["a=1", "b=[1, 2.5]", "c=none", "d='x'", "e=None", "f=a=b"]) == {
        "a": 1,
        "b": [1, 2.5],
        "c": "none",
        "d": "x",
        "e": None,
        "f": "a=b",
    }


@pytest.mark.parametrize("items", [["a"], ["=1"], ["a b=1"], ["a=1", "a=2"]])
def test_malformed_overrides(items):
    with pytest.raises(UsageError, match="--call"):
        parse_overrides(items, "--call")
