"""`status`, `cancel`, `clean`, `report`: run directories as they are. Nothing that adds to one."""
