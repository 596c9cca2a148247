"""Every command with its module and what it does in a line, so that help about all of them loads none of them."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping

import click

SECTIONS: dict[str, dict[str, tuple[str, str]]] = {
    "Data": {
        "rattle": ("data.rattle", "Make distorted copies of structures to start from"),
        "label": ("data.label", "Compute energies, forces and stress with a reference method"),
        "atomic-energies": ("data.atomic_energies", "Compute energies of isolated atoms with a reference method"),
        "check": ("data.check", "Find what is wrong with a data set"),
        "split": ("data.split", "Split frames into training, validation and test sets"),
        "select": ("data.select", "Select the frames that are worth labelling"),
    },
    "Models": {
        "train": ("models.train", "Train a model with its family's own trainer"),
        "evaluate": ("models.evaluate", "Predict frames with a model and tabulate its errors"),
        "compare": ("models.compare", "Compare the errors of several models in one table"),
        "model": ("models.model", "Show, verify, export, compile and combine models"),
    },
    "Simulations": {
        "sample": ("simulations.sample", "Run molecular dynamics of many walkers with a model"),
        "free-energy": ("simulations.free_energy", "Compute free energies from biased dynamics"),
        "relax": ("simulations.relax", "Optimise geometries and cells with a model"),
        "phonons": ("simulations.phonons", "Compute frequencies and harmonic free energies"),
        "analyse": ("simulations.analyse", "Compute structure, diffusion and vibrations of trajectories"),
    },
    "Runs": {
        "status": ("runs.status", "Show the state and progress of every run below this folder"),
        "cancel": ("runs.cancel", "Stop runs without losing finished work"),
        "clean": ("runs.clean", "Free the disk space of runs that have ended"),
        "report": ("runs.report", "Write an HTML page about the runs of a folder"),
        "plot": ("runs.plot", "Plot errors, training curves and dynamics from files"),
    },
    "Set-up": {
        "site": ("setup.site", "List, show, check and write site files"),
        "env": ("setup.env", "Manage the Python environments of workers"),
        "completion": ("setup.completion", "Install or print completion for bash, zsh and fish"),
        "help": ("setup.help", "Show what a command does and its options"),
    },
    "": {"remote": ("setup.remote", "Run commands for a site with [remote]")},
}
"""By section of the help, in its order: {name: (module below commands/, summary)}; those of "" are not shown."""
_LISTED = {name: entry for section in SECTIONS.values() for name, entry in section.items()}


class Commands(Mapping[str, click.Command]):
    """All commands by name; one is imported when it is asked for."""

    def __getitem__(self, name: str) -> click.Command:
        module, summary = _LISTED[name]
        command: click.Command = importlib.import_module(f"psiflow_cli.commands.{module}").command
        command.name, command.short_help = name, summary
        return command

    def __iter__(self) -> Iterator[str]:
        return iter(_LISTED)

    def __len__(self) -> int:
        return len(_LISTED)
