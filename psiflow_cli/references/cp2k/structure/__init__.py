"""What a template says of its atoms, and how a frame's atoms and cell take their place; nothing of energies or logs."""
