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
from psiflow_cli.messages.models import (
    CompiledModel,
    CompiledRecord,
    Config,
    Epoch,
    Machine,
    MemberMetrics,
    ModelFacts,
    ModelWeights,
    TrainedMember,
    TrainerFacts,
    TrainingData,
    TrainingJob,
)
from psiflow_cli.messages.records import (
    Begin,
    BlockRecord,
    BlocksRecord,
    BundleFacts,
    FailedUnit,
    Holder,
    InputFile,
    Lost,
    MemberErrors,
    ModelReport,
    Output,
    Record,
    RunRecord,
    RunResult,
    SamplingPlan,
    Summary,
    TrainingFacts,
    Unit,
)

__all__ = [
    "Begin", "BlockRecord", "BlockReport", "BlocksRecord", "BundleFacts", "CompiledModel", "CompiledRecord", "Config",
    "Context", "Dynamics", "Epoch", "FailedUnit", "Failure", "FailureClass", "Frame", "Holder", "InputFile", "Label",
    "LabelResult", "Limits", "Lost", "MDJob", "Machine", "MemberErrors", "MemberMetrics", "ModelFacts", "ModelReport",
    "ModelWeights", "Modes", "Outcome", "Output", "Pace", "Prediction", "PredictionResult", "Record", "Relaxed",
    "RunRecord", "RunResult", "SamplingPlan", "Settings", "Stop", "Summary", "TrainedMember", "TrainerFacts",
    "TrainingData", "TrainingFacts", "TrainingJob", "Unit", "Vectors", "Voigt", "WalkerReport", "WalkerStart", "Wire",
]  # fmt: skip
