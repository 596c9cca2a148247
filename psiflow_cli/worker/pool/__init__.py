"""What runs around tasks: the call of each, what starts and ends workers, limits. Nothing that a task starts itself."""
