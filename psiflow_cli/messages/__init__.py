"""Types of all that crosses the wire between command and worker, or lies on disk; no code, and free at run time.

A message is builtins (str, int, float, bool, None, list, dict), since the two sides may have different packages. Import
these names under `TYPE_CHECKING` only. A key that may be absent is `NotRequired`. Units: eV, Å, eV/Å, eV/Å³, u, s
unless a key says otherwise.
"""

from psiflow_cli.messages.dynamics import (
    BlockReport,
    Dynamics,
    Limits,
    MDJob,
    Pace,
    Stop,
    WalkerReport,
    WalkerStart,
)
from psiflow_cli.messages.figures import ComparedFrame, DrawnWalker, Pictures, RmseOfModel, Viewer
from psiflow_cli.messages.frames import (
    Context,
    Failure,
    FailureClass,
    Frame,
    Label,
    LabelResult,
    Labels,
    Outcome,
    Prediction,
    PredictionResult,
    Settings,
    Vectors,
    Voigt,
    Wire,
)
from psiflow_cli.messages.models import Config, Epoch, ModelWeights, TrainedMember, TrainingData, TrainingJob
from psiflow_cli.messages.records import (
    Begin,
    BlockRecord,
    BlocksRecord,
    BundleFacts,
    FailedUnit,
    Holder,
    InputFile,
    Lost,
    Output,
    Record,
    RunRecord,
    RunResult,
    SamplingPlan,
    Summary,
    Unit,
)
from psiflow_cli.messages.structures import (
    Contact,
    HarmonicOptions,
    HarmonicResult,
    HarmonicSettings,
    Modes,
    ModesOfMesh,
    Relaxed,
    RelaxOptions,
    RelaxResult,
    RelaxSettings,
    Stress,
    Unconverged,
)

__all__ = [
    "Begin", "BlockRecord", "BlockReport", "BlocksRecord", "BundleFacts", "ComparedFrame", "Config", "Contact",
    "Context", "DrawnWalker", "Dynamics", "Epoch", "FailedUnit", "Failure", "FailureClass", "Frame",
    "HarmonicOptions", "HarmonicResult", "HarmonicSettings", "Holder", "InputFile", "Label", "LabelResult",
    "Labels", "Limits", "Lost", "MDJob", "ModelWeights", "Modes", "ModesOfMesh", "Outcome", "Output", "Pace",
    "Pictures", "Prediction", "PredictionResult", "Record", "RelaxOptions", "RelaxResult", "RelaxSettings",
    "Relaxed", "RmseOfModel", "RunRecord", "RunResult", "SamplingPlan", "Settings", "Stop", "Stress", "Summary",
    "TrainedMember", "TrainingData", "TrainingJob", "Unconverged", "Unit", "Vectors", "Viewer", "Voigt",
    "WalkerReport", "WalkerStart", "Wire",
]  # fmt: skip
