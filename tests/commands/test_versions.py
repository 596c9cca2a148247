"""Labels of two versions of a code: said once, and computed again only when asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.commands import inputs
from tests.commands.inputs import WATER

pytestmark = pytest.mark.usefixtures("in_threads")
REFERENCE = (
    '''"""A code whose version is in a file."""
from pathlib import Path
'''
    + inputs.REFERENCE
    + """def label(frames, settings, context):
    zero = [[0.0, 0.0, 0.0] for _ in frames[0]["symbols"]]
    return [{"energy": 1.0, "forces": zero, "stress": None, "code": code(context)} for _ in frames]

def code(context):
    return "code " + Path("VERSION").absolute().read_text()
""".replace('Path("VERSION").absolute()', "Path({version!r})")
)


@pytest.fixture
def label(psiflow, tmp_path):
    """Label with one version of the code; returns the process."""
    version = tmp_path / "version"
    Path("mine.py").write_text(REFERENCE.replace("{version!r}", repr(str(version))))
    first, second = WATER, WATER.replace("0.96", "0.97")

    def run(number, *more, frames=1, code=0):
        version.write_text(number)
        Path("in.xyz").write_text("".join((first, second)[:frames]))
        return psiflow("label", "in.xyz", "--reference", "./mine.py", "-o", "out.xyz", *more, code=code)

    return run


def versions():
    return [word for word in Path("out.xyz").read_text().split('"') if word.startswith("code ")]


def test_two_versions_are_mixed_with_a_warning(label):
    assert "warning" not in label("1").stderr
    said = label("2", frames=2).stderr
    assert said.count("warning: labels of code 1 and code 2 are mixed") == 1
    assert "--strict-version" in said
    assert versions() == ["code 1", "code 2"]


@pytest.mark.full
def test_the_old_ones_are_computed_anew_if_asked(label):
    label("1")
    label("2", frames=2)
    said = label("2", "--strict-version", frames=2).stderr
    assert "(1 computed now)" in said
    assert "warning" not in said
    assert versions() == ["code 2", "code 2"]
    assert "(0 computed now)" in label("2", "--strict-version", frames=2).stderr


def test_another_source_is_another_reference(label):
    label("1")
    Path("mine.py").write_text(Path("mine.py").read_text().replace("1.0", "2.0"))
    assert "(1 computed now)" in label("1").stderr
    assert "energy=2.0" in Path("out.xyz").read_text()


def test_a_code_without_a_version_cannot_be_strict(label):
    Path("mine.py").write_text(Path("mine.py").read_text().replace("code(context)", "name(context)"))
    label("1")
    said = label("1", "--strict-version", code=2).stderr
    assert "does not report its version" in said
