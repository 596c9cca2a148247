"""What the engines for molecular dynamics share: checkpoints, limits, exchange, records. No integrator."""
