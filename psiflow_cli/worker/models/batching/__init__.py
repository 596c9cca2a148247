"""What batches of frames are made of: pairs of neighbours, and how many fit. No model is loaded here."""
