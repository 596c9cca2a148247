"""In which units the labels of a file are, told from the frames alone. No other check."""
