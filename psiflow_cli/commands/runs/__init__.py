"""`status`, `cancel`, `clean`, `plot`, `report`: run directories as they are. Nothing that adds to one."""
