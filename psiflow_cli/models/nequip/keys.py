"""The keys of NequIP's configuration that psiflow knows, so that a typing error is found where NequIP is not installed.

Taken from nequip 0.19.1, nequip-allegro 0.8.3 and lightning 2.6.6; a test compares them with the installed packages.
"""

# ruff: noqa: SIM905

from __future__ import annotations

SECTIONS = ("run", "data", "trainer", "training_module")
_MODEL = "training_module.model"
TABLES = (*SECTIONS[1:], _MODEL)
SHORT = {
    "max_epochs": "trainer.max_epochs",
    "gradient_clip_val": "trainer.gradient_clip_val",
    "batch_size": "data.train_dataloader.batch_size",
    "lr": "training_module.optimizer.lr",
    "ema_decay": "training_module.ema_decay",
    **{
        key: f"{_MODEL}.{key}"
        for key in """
        r_max l_max num_layers parity model_dtype compile_mode num_features radial_mlp_depth radial_mlp_width
        num_scalar_features num_tensor_features polynomial_cutoff_p num_bessels
    """.split()
    },
}
"""Names that are clear without their section."""
PARTS = {
    key: f"training_module.{key}"
    for key in ("model", "loss", "val_metrics", "train_metrics", "optimizer", "lr_scheduler")
}
"""Tables of `training_module` that may be named without it."""

_BUILDER = "model_dtype compile_mode seed type_names r_max per_edge_type_cutoff avg_num_neighbors do_derivatives"
_SCALES = """
    per_type_energy_scales per_type_energy_shifts per_type_energy_scales_trainable per_type_energy_shifts_trainable
    pair_potential
"""
_READOUT = "readout_mlp_hidden_layers_depth readout_mlp_hidden_layers_width readout_mlp_nonlinearity"
_NEQUIP = f"""
    {_BUILDER} {_SCALES} {_READOUT} num_layers l_max parity num_features type_embed_num_features radial_mlp_depth
    radial_mlp_width categorical_graph_field_embed num_bessels bessel_trainable polynomial_cutoff_p convnet_sc
    learnable_shift convnet_resnet convnet_nonlinearity_type convnet_nonlinearity_scalars convnet_nonlinearity_gates
"""
_ALLEGRO = f"""
    {_BUILDER} {_SCALES} {_READOUT} l_max parity radial_chemical_embed radial_chemical_embed_dim
    scalar_embed_mlp_hidden_layers_depth scalar_embed_mlp_hidden_layers_width scalar_embed_mlp_nonlinearity num_layers
    num_scalar_features num_tensor_features allegro_mlp_hidden_layers_depth allegro_mlp_hidden_layers_width
    allegro_mlp_nonlinearity tp_path_channel_coupling weight_individual_irreps forward_normalize
"""
_MODULE = "model optimizer lr_scheduler loss train_metrics val_metrics test_metrics"
_DATA = """
    seed train_file_path val_file_path test_file_path predict_file_path split_dataset transforms ase_args include_keys
    exclude_keys key_mapping train_dataset val_dataset test_dataset predict_dataset train_dataloader val_dataloader
    test_dataloader predict_dataloader stats_manager
"""
_TRAINER = """
    accelerator strategy devices num_nodes precision logger callbacks fast_dev_run max_epochs min_epochs max_steps
    min_steps max_time limit_train_batches limit_val_batches limit_test_batches limit_predict_batches overfit_batches
    val_check_interval check_val_every_n_epoch num_sanity_val_steps log_every_n_steps enable_checkpointing
    enable_progress_bar enable_model_summary accumulate_grad_batches gradient_clip_val gradient_clip_algorithm
    deterministic benchmark inference_mode use_distributed_sampler profiler detect_anomaly barebones plugins
    sync_batchnorm reload_dataloaders_every_n_epochs default_root_dir enable_autolog_hparams model_registry
"""
KNOWN = {
    "lightning.Trainer": _TRAINER.split(),
    "nequip.data.datamodule.ASEDataModule": _DATA.split(),
    "nequip.train.NequIPLightningModule": _MODULE.split(),
    "nequip.train.EMALightningModule": [*_MODULE.split(), "ema_decay"],
    "nequip.model.NequIPGNNModel": _NEQUIP.split(),
    "allegro.model.AllegroModel": _ALLEGRO.split(),
}
"""What each `_target_` takes."""

_FRAMES = "give the training frames as arguments"
_LABELS = "name the labels with --keys"
_DEVICE = "set device and gpus in the [resources] of the site file"
_ITSELF = "psiflow keeps checkpoints and resumes from them itself"
OWNED = {
    "ckpt_path": _ITSELF,
    "hydra": "psiflow sets the folders; give the model's path with -o",
    "defaults": "give one complete file",
    "data.seed": "use --seed",
    f"{_MODEL}.seed": "use --seed",
    "data.train_file_path": _FRAMES,
    "data.train_dataset": _FRAMES,
    **dict.fromkeys(("data.val_file_path", "data.val_dataset", "data.split_dataset"), "use --valid FILE|SHARE"),
    **{
        f"data.{part}_{kind}": "use psiflow evaluate on the test frames"
        for part in ("test", "predict")
        for kind in ("file_path", "dataset")
    },
    **{f"data.{key}": _LABELS for key in ("key_mapping", "include_keys", "exclude_keys", "ase_args")},
    f"{_MODEL}.per_type_energy_shifts": "use --e0s",
    **dict.fromkeys(("trainer.accelerator", "trainer.devices", "trainer.num_nodes"), _DEVICE),
    "trainer.default_root_dir": "psiflow sets it; give the model's path with -o",
    "trainer.enable_checkpointing": _ITSELF,
    "trainer.max_time": "set walltime in the [resources] of the site file, or --deadline",
    "trainer.fast_dev_run": "use psiflow's own --dry-run",
}
"""Keys that psiflow fills in itself, and what to use instead."""
NEEDED = (
    "trainer._target_", "trainer.max_epochs", "training_module._target_", "training_module.loss",
    "training_module.val_metrics", "training_module.optimizer", f"{_MODEL}._target_", f"{_MODEL}.r_max",
)  # fmt: skip
"""What NequIP has no default for, besides what psiflow fills in."""
NEEDED_TO_BUILD = (f"{_MODEL}.model_dtype", f"{_MODEL}.avg_num_neighbors")
"""What its own models, and those of Allegro, need besides."""
INSTALLED = ("nequip", "allegro", "lightning", "pytorch_lightning", "torch", "torchmetrics")
"""What `nequip` and `allegro` bring with them."""
READ = ("path", "file")
NOT_READ = ("dirpath", "filename", "name", "monitor", "save_dir", "default_root_dir", "dir", "tracking_uri")
FILE_ENDINGS = tuple(".json .yaml .yml .toml .npy .npz .pt .pth .ckpt .zip .xyz .extxyz .csv .txt .pkl".split())
"""Keys whose values are names of files to read, keys whose values are not, and endings of names of files."""
LOGGERS = {
    "TensorBoardLogger": "tensorboard", "WandbLogger": "wandb", "MLFlowLogger": "mlflow", "CometLogger": "comet_ml",
}  # fmt: skip
"""The packages that Lightning's loggers need."""
MAIN = (
    "training_module.model._target_",
    *(f"{_MODEL}.{key}" for key in ("r_max", "num_layers", "l_max", "num_features", "num_tensor_features")),
    *("data.train_dataloader.batch_size", "trainer.max_epochs", "training_module.optimizer.lr"),
    "training_module.loss.coeffs",
)
"""What matters most of a configuration."""
