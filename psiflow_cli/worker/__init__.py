"""What runs in the worker's environment: standard library only at the top, everything else inside functions."""
