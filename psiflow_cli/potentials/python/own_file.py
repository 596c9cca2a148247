"""What a user's file returns, checked; a fault of it has its line."""

from __future__ import annotations

import inspect
import traceback
from typing import TYPE_CHECKING, cast

from psiflow_cli.errors import BAD_DATA
from psiflow_cli.worker.environment_faults import environment_fault
from psiflow_cli.worker.failures import Fatal
from psiflow_cli.worker.models import hardware, predictions
from psiflow_cli.worker.models.interfaces import checked, from_torchsim
from psiflow_cli.worker.pool import call

if TYPE_CHECKING:
    from ase.calculators.calculator import Calculator
    from torch_sim.models.interface import ModelInterface

    from psiflow_cli.messages import Context, Frame, PredictionResult


def predict(frames: list[Frame], members: list[str], context: Context) -> list[list[PredictionResult]]:
    """*worker*: for each member, a prediction or a failure for each frame, one frame after another."""
    return [predictions.of_calculator(frames, calculator(member, context)) for member in members]


def calculator(member: str, context: Context) -> Calculator:
    """*worker*: the file's ASE calculator, or one that asks its model of torch-sim. Raises Fatal for a faulty file."""
    if _has(member, "calculator"):
        returned = _returned_by(member, "calculator", context)
        if not hasattr(returned, "get_property") or isinstance(returned, type):
            raise _wrong(member, "calculator", returned, "an ASE calculator")
        return checked.calculator(cast("Calculator", returned), member)
    return from_torchsim.calculator(torchsim(member, context, stress=True))


def torchsim(member: str, context: Context, stress: bool) -> ModelInterface:
    """*worker*: the file's model of torch-sim. Raises Fatal where it has none."""
    if not _has(member, "torchsim"):
        problem = f"{member} has no torchsim(device, dtype)"
        raise Fatal(problem, "use --engine ase, which needs only calculator(device, dtype)")
    returned = _returned_by(member, "torchsim", context)
    if not hasattr(returned, "compute_stress") or isinstance(returned, type):
        raise _wrong(member, "torchsim", returned, "a ModelInterface of torch-sim")
    return cast("ModelInterface", returned)


def _returned_by(member: str, function: str, context: Context) -> object:
    """What a function of the file returns for the device and the precision of the task."""
    arguments = {"device": hardware.device(context), "dtype": context.get("dtype") or "float64"}
    make = call.resolve(f"{member}:{function}")
    if not callable(make):
        problem = f"{member}: {function} is a {type(make).__name__}, not a function"
        raise Fatal(problem, f"define it as a function: def {function}(device, dtype): ...", BAD_DATA)
    try:
        parameters = inspect.signature(make).parameters.values()
        if not any(each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters):
            arguments = {name: value for name, value in arguments.items() if name in {each.name for each in parameters}}
        if function == "torchsim":  # in torch-sim's own types
            import torch

            types = {"device": torch.device, "dtype": lambda name: getattr(torch, name)}
            return make(**{name: types[name](value) for name, value in arguments.items()})
        return make(**arguments)
    except Fatal:
        raise
    except Exception as error:
        raise _fault(member, error) from error


def _has(member: str, function: str) -> bool:
    """Whether the file has this function. Raises Fatal for a file that cannot be run."""
    try:
        call.resolve(f"{member}:{function}")
    except AttributeError as error:
        if _line(member, error):
            raise _fault(member, error) from error
        return False
    except (Exception, SystemExit) as error:
        raise _fault(member, error) from error
    return True


def _fault(member: str, error: BaseException) -> Fatal:
    """The environment's fault, or the line of the file where an exception came from."""
    if isinstance(error, SyntaxError):
        return Fatal(f"{error.filename or member}:{error.lineno or 1}: {error.msg}", "fix the file", BAD_DATA)
    place = f"{member}:{_line(member, error) or 1}"
    if isinstance(error, ImportError) and error.name == member.removesuffix(".py"):  # Python names it after its path
        problem = f"{place}: a relative import, but the file is run by itself and not as part of a package"
        return Fatal(problem, "import what lies beside it without the dot: from helper import ...", BAD_DATA)
    if isinstance(error, Exception) and (fatal := environment_fault(error)):
        message = fatal.message if place in fatal.message else f"{place}: {fatal.message}"
        return Fatal(message, fatal.hint, fatal.exit_code)
    return Fatal(f"{place}: {type(error).__name__}: {error}", "fix the file: psiflow only runs it", BAD_DATA)


def _line(member: str, error: BaseException) -> int:
    """The last line of the file that an exception went through; 0 if it never did."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == member]
    return (lines[-1] or 0) if lines else 0


def _wrong(member: str, function: str, returned: object, what: str) -> Fatal:
    name = f"the class {returned.__name__} itself" if isinstance(returned, type) else type(returned).__name__
    problem = f"{member}: {function}() returned {name}, not {what}"
    return Fatal(problem, f"return {what}", BAD_DATA)
