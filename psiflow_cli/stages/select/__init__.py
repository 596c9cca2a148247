"""`select` and `split`: choosing and dividing frames. Nothing that computes labels."""
