"""The option names of MACE's trainer by kind, so that a typing error is found where MACE is not installed.

Taken from `mace.tools.build_default_arg_parser` of mace-torch 0.3.16; a test compares them with the installed MACE.
"""

# ruff: noqa: SIM905

FLAGS = """
    amsgrad disallow_random_padding_pt distributed dry_run ema foundation_model_readout keep_checkpoints lbfgs
    pair_repulsion restart_latest save_all_checkpoints save_cpu stage_two swa wandb
""".split()
"""Flags: `false` leaves them out."""
BOOLS = """
    add_local_electron_energy apply_cutoff compute_atomic_dipole compute_avg_num_neighbors compute_forces
    compute_polarizability compute_stress enable_cueq enable_oeq field_si force_mh_ft_lr
    foundation_filter_elements foundation_model_elements include_electrostatic_self_interaction
    keep_isolated_atoms lora multi_processed_test multiheads_finetuning only_cueq pin_memory plot
    plot_interaction_e pseudolabel_replay pseudolabel_replay_compute_stress quadrupole_feature_corrections
    return_electrostatic_potentials use_agnostic_product use_edge_irreps_first use_embedding_readout
    use_last_readout_only use_reduced_cg use_so3
""".split()
INTS = """
    atomic_multipoles_max_l batch_size correlation eval_interval field_feature_max_l freeze lora_rank max_L
    max_ell max_num_epochs num_channels num_cutoff_basis num_interactions num_radial_basis num_recursion_steps
    num_samples_pt num_workers patience plot_frequency scheduler_patience seed start_stage_two start_swa
    valid_batch_size
""".split()
FLOATS = """
    atomic_multipoles_smearing_width avg_num_neighbors beta beta1_schedulefree beta2_schedulefree clip_grad
    dipole_weight ema_decay energy_weight field_norm_factor forces_weight huber_delta kspace_cutoff_factor
    lora_alpha lr lr_factor lr_scheduler_gamma mean polarizability_weight r_max real_pt_data_ratio_threshold
    stage_two_dipole_weight stage_two_energy_weight stage_two_forces_weight stage_two_lr
    stage_two_polarizability_weight stage_two_stress_weight stage_two_virials_weight std stress_weight
    swa_dipole_weight swa_energy_weight swa_forces_weight swa_lr swa_polarizability_weight swa_stress_weight
    swa_virials_weight valid_fraction virials_weight weight_decay weight_pt_head
""".split()
TEXTS = """
    E0s MLP_irreps atomic_numbers charges_key checkpoints_dir config config_type_weights default_dtype device
    dipole_key distance_transform downloads_dir edge_irreps elec_temp_key embedding_specs energy_key error_table
    field_feature_norms field_feature_widths field_readout_config filter_type_pt fixedpoint_update_config
    forces_key foundation_head foundation_model foundation_model_kwargs gate head_key heads hidden_irreps
    interaction interaction_first launcher les_arguments log_dir log_level loss lr_params_factors model
    model_dir name optimizer polarizability_key pt_train_file pt_valid_file radial_MLP radial_type results_dir
    scaling scheduler skip_evaluate_heads statistics_file stress_key subselect_pt test_dir test_file
    total_charge_key total_spin_key train_file valid_file virials_key wandb_dir wandb_entity wandb_name
    wandb_project work_dir
""".split()
LISTS = ["wandb_log_hypers"]
Value = bool | int | float | str | list[str] | None  # what an option may be; None: the trainer's own default
KINDS = {
    **dict.fromkeys((*FLAGS, *BOOLS), "bool"),
    **dict.fromkeys(INTS, "int"),
    **dict.fromkeys(FLOATS, "float"),
    **dict.fromkeys(TEXTS, "text"),
    **dict.fromkeys(LISTS, "list"),
}
"""The kind of value each option takes."""
ABOVE_ZERO = """
    batch_size clip_grad correlation eval_interval huber_delta lr lr_factor lr_scheduler_gamma max_num_epochs
    num_channels num_cutoff_basis num_interactions num_radial_basis r_max swa_lr valid_batch_size
""".split()
"""Options that must be above zero."""
NOT_NEGATIVE = """
    beta dipole_weight ema_decay energy_weight forces_weight max_L max_ell num_workers patience scheduler_patience
    start_swa stress_weight swa_energy_weight swa_forces_weight swa_stress_weight swa_virials_weight virials_weight
    weight_decay
""".split()
"""Options that must not be negative."""
OLD_NAMES = {"stage_two": "swa", "start_stage_two": "start_swa"} | {
    name: name.replace("stage_two", "swa") for name in FLOATS if name.startswith("stage_two_")
}
"""MACE takes two spellings for these; psiflow writes the one on the right."""

FILES = ("les_arguments", "pt_train_file", "pt_valid_file")
"""Options whose values are names of files to read."""
_DATA = "give the training frames as arguments"
_DIRECTORY = "psiflow sets it; give the model's path with -o"
_KEYS = "name the labels with --keys"
_RESUME = "psiflow keeps checkpoints and resumes from them itself"
OWNED = {
    "E0s": "use --e0s",
    "statistics_file": "use --e0s for the atomic energies; MACE computes the rest",
    "train_file": _DATA,
    "heads": "give every frame, including isolated atoms, its head=NAME in the extended XYZ file",
    "foundation_model": "use --init FILE --trust; a named model has to be downloaded first",
    "foundation_head": "use --head",
    "foundation_model_kwargs": "use --init FILE",
    "valid_file": "use --valid FILE",
    "valid_fraction": "use --valid FRACTION",
    "test_file": "use psiflow evaluate on the test frames",
    "test_dir": "use psiflow evaluate on the test frames",
    "multi_processed_test": "use psiflow evaluate on the test frames",
    "seed": "use --seed",
    "device": "set device in the [resources] of the site file",
    **dict.fromkeys(("distributed", "launcher"), "set gpus in the [resources] of the site file"),
    "config": "use psiflow's own --config",
    "dry_run": "use psiflow's own --dry-run",
    **dict.fromkeys(("name", "work_dir", "model_dir", "log_dir", "checkpoints_dir", "results_dir"), _DIRECTORY),
    **dict.fromkeys(("energy_key", "forces_key", "stress_key", "virials_key", "head_key"), _KEYS),
    **dict.fromkeys(("restart_latest", "save_all_checkpoints", "keep_checkpoints"), _RESUME),
}
"""Options that psiflow fills in itself, and what to use instead."""
_REPLAY = "psiflow does not use MACE's replay; it replays the training data of its own bundles in one head"
OTHER_LABELS = "psiflow gives MACE energies, forces and stresses only: use mace_run_train"
UNUSED = {
    **dict.fromkeys(
        """
        pt_train_file pt_valid_file num_samples_pt weight_pt_head real_pt_data_ratio_threshold force_mh_ft_lr
        subselect_pt filter_type_pt disallow_random_padding_pt pseudolabel_replay pseudolabel_replay_compute_stress
        """.split(),
        _REPLAY,
    ),
    **dict.fromkeys(
        """
        dipole_key polarizability_key charges_key elec_temp_key total_spin_key total_charge_key embedding_specs
        """.split(),
        OTHER_LABELS,
    ),
}
"""Options of MACE that have no effect in the trainings of psiflow, with the reason."""
ONLY = {
    "multiheads_finetuning": (False, _REPLAY),
    "keep_isolated_atoms": (False, "isolated atoms give the atomic energies and are not training frames"),
    "amsgrad": (True, "MACE's trainer always uses it; use optimizer: schedulefree"),
}
"""Options of which a training has this value in any case, and why."""
NEVER = {
    "model": ("AtomicDipolesMACE", "AtomicDielectricMACE", "EnergyDipolesMACE"),
    "loss": ("dipole", "dipole_polar", "energy_forces_dipole"),
}
"""Values that need other labels than energies, forces and stresses."""
REPLAYED = ("mp", "matpes_pbe", "matpes_r2scan", "omat")
"""Values of `pt_train_file` that are no files: MACE downloads these."""
PACKAGES = {
    "wandb": "wandb", "enable_cueq": "cuequivariance_torch", "only_cueq": "cuequivariance_torch",
    "enable_oeq": "openequivariance", "les_arguments": "les",
}  # fmt: skip
"""Options whose use needs a package beside MACE."""
CHOSEN_PACKAGES = {"schedulefree": "schedulefree", "MACELES": "les", "PolarMACE": "graph_longrange"}
"""The same for values of `optimizer` and `model`."""
