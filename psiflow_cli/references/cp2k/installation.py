"""CP2K as it is installed: its program, and the data directory with the basis sets and tables that come with it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from psiflow_cli.worker.process.single_run import Executable

PROGRAM = Executable("CP2K", "cp2k.psmp")
VARIABLE = "CP2K_DATA_DIR"
_NAMES = (PROGRAM.executable, "cp2k", "cp2k.popt", "cp2k.ssmp", "cp2k.sopt")
_INSTALLED = ("share/cp2k", "share/cp2k/data", "data", "share/data")
_SIGN = "GTH_POTENTIALS"
_NAMES_SHIPPED = """
ALL_BASIS_SETS ALL_POTENTIALS Allegro AcPP1_POTENTIALS AcPP2_POTENTIALS BASIS_ADMM BASIS_ADMM_MOLOPT BASIS_ADMM_UZH
BASIS_ADMM_ae BASIS_AUG_MOLOPT BASIS_GEMINAL BASIS_LRIGPW_AUXMOLOPT BASIS_MINBAS BASIS_MINIX BASIS_MOLOPT
BASIS_MOLOPT_AcPP1 BASIS_MOLOPT_AcPP2 BASIS_MOLOPT_LnPP1 BASIS_MOLOPT_LnPP2 BASIS_MOLOPT_PSI BASIS_MOLOPT_UCL
BASIS_MOLOPT_UZH BASIS_MOLOPT_UZH_2026.1 BASIS_MOLOPT_UZH_2026.2 BASIS_OMX BASIS_PERIODIC_GW BASIS_RI_AUG_MOLOPT
BASIS_RI_MOLOPT BASIS_RI_cc-TZ BASIS_SET BASIS_TB BASIS_TB_AE BASIS_TB_UZH BASIS_ZIJLSTRA BASIS_ccGRB_UZH
BASIS_def2_QZVP_RI_ALL BASIS_pob BASIS_pob-TZVP DFTB DeePMD ECP_POTENTIALS ECP_POTENTIALS_pob-TZVP-rev2
EMSL_BASIS_SETS Fist GTH_BASIS_SETS GTH_POTENTIALS GTH_POTENTIALS_SOC GTH_SOC_POTENTIALS HFX_BASIS HF_POTENTIALS
LnPP1_POTENTIALS LnPP2_POTENTIALS MACE MM_POTENTIAL MPC_POTENTIALS NLCC_POTENTIALS NNP NequIP POTENTIAL
POTENTIAL_UZH TB_POTENTIALS dftd3.dat nm12_parameters.xml rVV10_kernel_table.dat t_c_g.dat t_sh_p_s_c.dat
vdW_kernel_table.dat xTB_parameters xc_section
"""
SHIPPED = frozenset(_NAMES_SHIPPED.split())
"""What comes with CP2K, of any version: like the program, it is where the program runs."""


def data_folder() -> Path | None:
    """The data directory: the variable's, or the one that was installed with a CP2K on the PATH."""
    named = os.environ.get(VARIABLE)
    if named:
        return Path(named)
    for name in _NAMES:
        program = shutil.which(name)
        for place in _INSTALLED if program else ():
            folder = Path(str(program)).resolve().parents[1] / place
            if (folder / _SIGN).is_file():
                return folder
    return None


def in_data_folder(name: str) -> list[Path]:
    """The file of this name in the data directory, if it is there."""
    folder = data_folder()
    return [folder / name] if folder and name and (folder / name).exists() else []
