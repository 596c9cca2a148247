"""What is done about blocks that fail: nodes left out, submissions tried again, pauses; nothing that asks Parsl."""
