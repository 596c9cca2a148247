"""What a back end looks like: a Protocol for each kind, and a small one for each optional capability.

A back end is a module that has what its Protocol says; there is no base class. Its top imports the standard library,
`psiflow_cli.worker`, `errors` and `messages` only; heavy imports live inside functions. Functions marked *worker* run
in the workers' environment: they are called by name through `worker.pool.call`, and only builtins cross, both ways.

What a command can do without is a Protocol of its own; ask with `isinstance(module, Renders)`.
"""

from psiflow_cli.protocols.back_end import *  # noqa: F403
from psiflow_cli.protocols.model import *  # noqa: F403
from psiflow_cli.protocols.reference import *  # noqa: F403
from psiflow_cli.protocols.runtime import *  # noqa: F403
from psiflow_cli.protocols.sampler import *  # noqa: F403
