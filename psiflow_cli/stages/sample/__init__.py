"""`sample`: walkers, engines and outputs of molecular dynamics. No integrator; see `samplers/`."""
