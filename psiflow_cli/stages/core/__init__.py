"""What several stages share: workspace, frame-by-frame computing, results, ids. Nothing of only one stage."""
