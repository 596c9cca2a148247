"""Frames in the formats that ASE reads and writes: what is carried over, what is doubtful. No back end, no model."""
