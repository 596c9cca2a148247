"""`status`, `cancel`, `clean`, `report`: what run directories say. Nothing that computes a result."""
