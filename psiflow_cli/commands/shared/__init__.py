"""What commands are made of: options with what they mean, running a stage, tables of runs. No command."""
