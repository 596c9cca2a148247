"""What a structure looks like, as numbers: the mean over its atoms of what describes their surroundings."""

from __future__ import annotations

import base64
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, TypedDict, cast

from psiflow_cli.worker import failures
from psiflow_cli.worker.models import predictions
from psiflow_cli.worker.models.weights import check
from psiflow_cli.worker.pool import call
from psiflow_cli.worker.structures import conversion

if TYPE_CHECKING:
    import numpy as np
    from dscribe.descriptors import SOAP

    from psiflow_cli.messages import Context, Failure, Frame

CUTOFF, RADIAL, ANGULAR = 5.0, 6, 4
"""Of SOAP: Å, and how many radial functions and angular momenta."""


class Described(TypedDict):
    """A structure as numbers."""

    features: str
    """See `packed`."""


def of_model(
    frames: list[Frame], family: str, members: list[str], weights: dict[str, str], elements: list[str] | None,
    context: Context,
) -> list[Described | Failure]:  # fmt: skip
    """For each frame, the mean of what a model knows of its atoms, or a failure.

    Of a committee, the first member is asked. `elements` are those the model knows (None: whatever it takes). Raises
    Fatal where a weight file was replaced.
    """
    import numpy as np

    check(weights)
    describe = call.resolve(f"{family}:features")

    def means(some: list[Frame]) -> list[np.ndarray | Failure]:
        features = cast("list[np.ndarray | Failure]", describe(some, members[0], context))
        return [each if isinstance(each, dict) else np.asarray(each).mean(axis=0) for each in features]

    return _described(frames, means, elements)


def soap(frames: list[Frame], species: list[str], context: Context) -> list[Described | Failure]:
    """For each frame, its average SOAP vector, of length 1, or a failure.

    The distance of two such vectors is (2 - 2k)^(1/2), where k is the average kernel of De et al., Phys. Chem. Chem.
    Phys. 18, 13754 (2016) with zeta = 1; of the neighbours' elements, those of one factor of the power spectrum are
    summed (Darby et al., npj Comput. Mater. 8, 166 (2022)).
    """
    import numpy as np

    def vectors(some: list[Frame]) -> list[np.ndarray | Failure]:
        features = [_soap(tuple(species), any(frame["pbc"])).create(conversion.to_ase(frame)) for frame in some]
        return [vector / np.linalg.norm(vector) for vector in features]

    return _described(frames, vectors, species)


@lru_cache
def _soap(species: tuple[str, ...], periodic: bool) -> SOAP:
    try:
        from dscribe.descriptors import SOAP
    except ImportError as error:
        hint = "install dscribe there (the extra soap), or use the features of a model: --model BUNDLE"
        raise failures.Fatal(f"SOAP is not available in the workers' environment: {error}", hint) from None
    return SOAP(
        species=species, r_cut=CUTOFF, n_max=RADIAL, l_max=ANGULAR, average="outer", periodic=periodic,
        compression={"mode": "mu1nu1"},
    )  # fmt: skip


def _described(
    frames: list[Frame], describe: Callable[[list[Frame]], list[np.ndarray | Failure]], elements: list[str] | None
) -> list[Described | Failure]:
    """The vectors of frames together; where that fails, of the frames that can be described."""
    problems = [predictions.unfit(frame, elements) for frame in frames]
    good = [frame for frame, problem in zip(frames, problems, strict=True) if problem is None]
    vectors = iter(predictions.apart(good, describe, predictions.crashed) if good else [])
    return [problem or _result(next(vectors)) for problem in problems]


def _result(vector: np.ndarray | Failure) -> Described | Failure:
    import numpy as np

    if isinstance(vector, dict):
        return vector
    if not np.isfinite(vector).all():
        return failures.failure("inconsistent", "its features are not finite")
    return {"features": packed(vector)}


def packed(vector: np.ndarray) -> str:
    """Numbers as base64 of little-endian float32: a journal of them stays readable line by line, and small."""
    import numpy as np

    return base64.b64encode(np.asarray(vector, dtype="<f4").tobytes()).decode("ascii")
