"""A method that labels frames: one file in `references/`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

from psiflow_cli.protocols.back_end import BackEnd

if TYPE_CHECKING:
    from pathlib import Path

    from psiflow_cli.bundle import Bundle
    from psiflow_cli.messages import Context, Frame, LabelResult, Settings


@runtime_checkable
class Reference(BackEnd, Protocol):
    """A method that labels frames."""

    FRAME_INPUTS: tuple[str, ...]
    """Which of `charge`, `multiplicity` and `moments` (the column `initial_magmoms`) it reads from a frame.

    They are part of the frame's `psiflow_id`.
    """
    DEFAULT_TASK_SECONDS: float
    """How long one task should take: frames are grouped until they fill it (0: one frame a task)."""

    def settings(self, input_file: Path | None, options: dict[str, str]) -> Settings:
        """Read and check the user's input, in the command's process.

        `options` are the `--set key=value` pairs. Returns what `label` needs and nothing that differs between equal
        methods: its canonical JSON is hashed into `psiflow_reference`. Raises BadData, NoInput or UsageError.
        """

    def check(self, settings: Settings, elements: set[str]) -> list[str] | None:
        """Raise BadData if these elements cannot be labelled with these settings; may return notes for the user."""

    def label(self, frames: list[Frame], settings: Settings, context: Context) -> list[LabelResult]:
        """*worker*: a label or a failure for each frame, in order. `Fatal` ends the whole run."""


@runtime_checkable
class InProcess(Protocol):
    """A reference that starts no programs, so that it can be a term of a sum; see `psiflow model combine`."""

    IN_PROCESS: bool


@runtime_checkable
class Changes(Protocol):
    """A reference whose settings can be changed for frames that did not converge."""

    def changed(self, settings: Settings, changes: dict[str, str]) -> Settings:
        """The settings with changes that the user declared. Raises UsageError for what cannot be changed."""


@runtime_checkable
class KnowsItsVersion(Protocol):
    """A reference that can tell the version of its code without a calculation."""

    def code(self, context: Context) -> str:
        """*worker*: the code and its version, as labels carry it."""


@runtime_checkable
class LeavesOut(Protocol):
    """A reference that takes a production input and ignores parts of it."""

    def replaced(self, input_file: Path) -> list[str]:
        """What of the input does not count, because the frame or psiflow decides it."""


@runtime_checkable
class Renders(Protocol):
    """A reference whose input can be shown."""

    def render(self, frame: Frame, settings: Settings) -> str:
        """The input that a frame would get, for --dry-run. Raises ValueError for a frame that can have none."""


@runtime_checkable
class TriesOut(Protocol):
    """A reference whose code can read an input on this host before anything is submitted."""

    def try_out(self, frame: Frame, settings: Settings, context: Context) -> None:
        """Raise BadData for what the code itself says is wrong with the input."""


class FramesSeen(Protocol):
    """Frames that are looked at, one after the other, before any is computed."""

    def see(self, frame: Frame) -> None:
        """Take note of a frame."""

    def notes(self) -> list[str]:
        """What the user should know. Raises BadData if no frame can be computed."""

    def decided(self) -> Settings:
        """Further settings for the workers, which all frames decide together; they are no part of the method."""


@runtime_checkable
class Surveys(Protocol):
    """A reference that can tell from the frames alone which of them it cannot compute, and how it takes the others."""

    def survey(self, settings: Settings) -> FramesSeen:
        """For these settings."""


@runtime_checkable
class HasOwnAtoms(Protocol):
    """A reference whose input's own atoms say of which kind those of a frame are."""

    def of_atoms(self, symbols: list[str], settings: Settings) -> list[str]:
        """The kind of each of these atoms. Raises ValueError if the input's own atoms do not say it."""


@runtime_checkable
class Locates(Protocol):
    """A reference that knows where in its input a complaint belongs."""

    def locate(self, settings: Settings, message: str) -> str:
        """`file:line` of what a message is about, or ""."""


@runtime_checkable
class LabelsAtoms(Protocol):
    """A reference that needs other settings for isolated atoms."""

    def isolated(self, settings: Settings) -> Settings:
        """Those for single atoms: neutral, unrestricted, without dispersion."""


@runtime_checkable
class HasIdentity(Protocol):
    """A reference with settings that do not decide a label."""

    def identity(self, settings: Settings) -> Settings:
        """Without what does not decide a label, such as where a file is."""


@runtime_checkable
class ReadsBundles(Protocol):
    """The reference whose input is a trained model."""

    def of_bundle(self, bundle: Bundle, options: dict[str, str]) -> Settings:
        """The settings that label with this model."""


@runtime_checkable
class Depends(Protocol):
    """A reference whose settings say what more it needs, and what it reads of frames."""

    def depends(self, settings: Settings) -> tuple[list[str], list[str]]:
        """Further modules that it imports in the worker, and further `FRAME_INPUTS`."""


@runtime_checkable
class RunsAs(Protocol):
    """A reference that a site knows by another name."""

    def runs_as(self, settings: Settings) -> tuple[str, str]:
        """The family and the operation by which a site names its executor."""
