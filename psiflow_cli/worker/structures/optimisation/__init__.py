"""Optimisers that move many frames in one step, on arrays alone: no model is asked here."""
