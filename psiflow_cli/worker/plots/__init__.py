"""Figures and tables, drawn where matplotlib is. No number that a command reports is computed here."""
