"""Which folders of trainings are removed once another one is delivered."""

from __future__ import annotations

import pytest

from psiflow_cli.stages.core import retention


@pytest.fixture
def made(tmp_path):
    """Makes the folder of a training that has begun."""

    def make(name):
        folder = tmp_path / name
        retention.unmark(folder)
        (folder / "member-0").mkdir(parents=True, exist_ok=True)
        (folder / "member-0" / "last.pt").touch()
        return folder

    return make


def test_what_was_delivered_is_removed_by_the_next(made):
    first, second = made("first"), made("second")
    retention.keep_only(first)
    assert first.is_dir()
    assert second.is_dir(), "it was never delivered"
    retention.keep_only(second)
    assert second.is_dir()
    assert not first.exists()


def test_what_is_in_training_again_is_not_removed(made):
    first, second = made("first"), made("second")
    retention.keep_only(first)
    made("first")  # with one member more, and then stopped
    retention.keep_only(second)
    assert (first / "member-0" / "last.pt").exists()


def test_what_was_half_removed_is_never_found_again(made):
    """A killed command leaves a part under a name that no training has."""
    half, second = made("first.gone"), made("second")
    retention.keep_only(second)
    assert not half.exists()
