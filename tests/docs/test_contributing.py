"""CONTRIBUTING.md and the files that editors and hooks read: they say what the Makefile and setup.cfg do."""

from __future__ import annotations

import re

import yaml

from tests.docs.markdown import names, read, rows

CONTRIBUTING = read("CONTRIBUTING.md")
MAKEFILE = read("Makefile")


def test_the_hooks_are_the_linters_of_make_lint() -> None:
    [recipe] = re.findall(r"^lint:.*\n((?:\t.*\n)+)", MAKEFILE, re.MULTILINE)
    hooks = [hook for repo in yaml.safe_load(read(".pre-commit-config.yaml"))["repos"] for hook in repo["hooks"]]
    assert [hook["entry"] for hook in hooks] == [line.strip().lstrip("@") for line in recipe.splitlines()], (
        "edit .pre-commit-config.yaml, or the target lint in the Makefile"
    )
    assert {hook["language"] for hook in hooks} == {"system"}, "edit .pre-commit-config.yaml: a hook downloads nothing"


def test_the_python_version_is_the_one_that_is_required() -> None:
    [required] = re.findall(r"^python_requires = >=([\d.]+)", read("setup.cfg"), re.MULTILINE)
    assert read(".python-version").strip() == required, "edit .python-version or setup.cfg"


def test_the_make_targets_that_it_names_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", MAKEFILE, re.MULTILINE))
    named = set(re.findall(r"`make ([a-z]+)|^make ([a-z]+)", CONTRIBUTING, re.MULTILINE))
    assert {first or second for first, second in named} <= targets, "edit CONTRIBUTING.md"


def test_there_is_a_recipe_for_each_common_change() -> None:
    recipes = re.findall(r"^### Add an? (.*)$", CONTRIBUTING, re.MULTILINE)
    assert recipes == [
        *("request field", "MiniMax error code", "model", "rate limit", "header to every response"),
        "way of taking an answer",
    ]


def test_the_folders_of_the_tests_are_described() -> None:
    """The other folders mirror `app/`."""
    described = {name for cell, *_ in rows(CONTRIBUTING, "folder | tests") for name in names(cell)}
    assert described >= {"tests/contract/", "tests/integration/", "tests/docs/", "tests/support/"}, (
        "edit CONTRIBUTING.md"
    )
