"""What can be wrong with a data set: each file looks for one kind of fault, frame by frame, in little memory."""
