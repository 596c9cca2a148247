"""Types of all that crosses the wire between command and worker, or lies on disk; no code, and free at run time.

A message is builtins (str, int, float, bool, None, list, dict), since the two sides may have different packages. Import
these names under `TYPE_CHECKING` only. A key that may be absent is `NotRequired`. Units: eV, Å, eV/Å, eV/Å³, u, s
unless a key says otherwise.
"""

from psiflow_cli.messages.analysis import *  # noqa: F403
from psiflow_cli.messages.calibration import *  # noqa: F403
from psiflow_cli.messages.dynamics import *  # noqa: F403
from psiflow_cli.messages.figures import *  # noqa: F403
from psiflow_cli.messages.frames import *  # noqa: F403
from psiflow_cli.messages.free_energy import *  # noqa: F403
from psiflow_cli.messages.models import *  # noqa: F403
from psiflow_cli.messages.plumed import *  # noqa: F403
from psiflow_cli.messages.records import *  # noqa: F403
from psiflow_cli.messages.remote import *  # noqa: F403
from psiflow_cli.messages.status import *  # noqa: F403
from psiflow_cli.messages.structures import *  # noqa: F403
