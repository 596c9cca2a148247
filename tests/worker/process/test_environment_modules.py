"""Real environment modules (Lmod) and sourced files around a program; nothing of a name is read as shell text."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from psiflow_cli.worker.failures import Fatal
from psiflow_cli.worker.process import environment_modules


def run(context, *argv, **variables):
    env = {**os.environ, **variables, **environment_modules.variables(context)}
    return subprocess.run(
        environment_modules.wrap(argv, context), env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def test_without_modules_the_program_is_started_as_it_is():
    assert environment_modules.wrap(["cp2k", "-i", "a b"], {}) == ["cp2k", "-i", "a b"]


@pytest.mark.skipif(not Path("/etc/profile.d/lmod.sh").exists(), reason="lmod is not installed")
def test_a_module_changes_what_the_program_sees(tmp_path):
    (tmp_path / "tool").mkdir()
    (tmp_path / "tool" / "1.0.lua").write_text('setenv("TOOL_SEEN", "yes")\n')
    done = run({"modules": ["tool/1.0"]}, "printenv", "TOOL_SEEN", MODULEPATH=str(tmp_path))
    assert done.stdout == "yes\n"
    done = run({"modules": ["tool/2.0"]}, "true", MODULEPATH=str(tmp_path))
    assert done.returncode == environment_modules.REFUSED
    with pytest.raises(Fatal, match=r"module tool/2\.0 cannot be loaded"):
        environment_modules.check(done.returncode, done.stdout)


def test_a_file_is_sourced_and_a_missing_one_is_named(tmp_path):
    (tmp_path / "set up.sh").write_text("export FROM_FILE=it\n")
    assert run({"source": [str(tmp_path / "set up.sh")]}, "printenv", "FROM_FILE").stdout == "it\n"
    done = run({"source": [str(tmp_path / "none.sh")]}, "true")
    with pytest.raises(Fatal, match=r"none\.sh cannot be sourced"):
        environment_modules.check(done.returncode, done.stdout)


def test_names_are_no_shell_text(tmp_path):
    name = f"x; touch {tmp_path}/pwned; $(touch {tmp_path}/pwned)"
    run({"source": [name], "modules": [name]}, "true")
    assert not (tmp_path / "pwned").exists()


def test_a_missing_program_is_named():
    done = run({"source": ["/dev/null"]}, "no-such-program")
    with pytest.raises(Fatal, match="no-such-program"):
        environment_modules.check(done.returncode, done.stdout)
