"""The only place that imports Parsl: sessions, run directories, journals, locks and signals."""
