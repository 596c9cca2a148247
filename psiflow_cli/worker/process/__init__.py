"""Programs that a task starts: launching them, limits, folders and logs. Neither science nor the workers' pool."""
