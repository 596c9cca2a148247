"""Former place of `failures`: references that users wrote for it keep working."""

from psiflow_cli.worker.failures import FAILURES, MACHINE_FAILURES, Fatal, failure

__all__ = ["FAILURES", "MACHINE_FAILURES", "Fatal", "failure"]
