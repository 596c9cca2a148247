"""Types of all that crosses the wire between command and worker, or lies on disk; no code, and free at run time.

A message is builtins (str, int, float, bool, None, list, dict), since the two sides may have different packages. Import
these names under `TYPE_CHECKING` only. A key that may be absent is `NotRequired`. Units: eV, Å, eV/Å, eV/Å³, u, s
unless a key says otherwise.
"""

from psiflow_cli.messages.dynamics import (
    BlockReport,
    Dynamics,
    DynamicsFile,
    DynamicsOptions,
    Limits,
    MDJob,
    StepTime,
    Stop,
    Violation,
    WalkerReport,
    WalkerStart,
)
from psiflow_cli.messages.frames import (
    Context,
    Failure,
    FailureClass,
    Frame,
    Label,
    LabelResult,
    Modes,
    Outcome,
    Prediction,
    PredictionResult,
    Relaxed,
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

__all__ = [
    "Begin", "BlockRecord", "BlockReport", "BlocksRecord", "BundleFacts", "Config", "Context", "Dynamics",
    "DynamicsFile", "DynamicsOptions", "Epoch",
    "FailedUnit", "Failure", "FailureClass", "Frame", "Holder", "InputFile", "Label", "LabelResult", "Limits", "Lost",
    "MDJob", "ModelWeights", "Modes", "Outcome", "Output", "Prediction", "PredictionResult", "Record",
    "Relaxed", "RunRecord", "RunResult", "SamplingPlan", "Settings", "StepTime", "Stop",
    "Summary", "TrainedMember", "TrainingData",
    "TrainingJob", "Unit", "Vectors", "Violation", "Voigt", "WalkerReport", "WalkerStart",
    "Wire",
]  # fmt: skip
