"""The page that shows what runs have made: what is on it, and how it is written."""
