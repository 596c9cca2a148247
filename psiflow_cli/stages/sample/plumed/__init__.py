"""PLUMED's input as the user wrote it: its statements, the files it reads and writes, and what PLUMED says of it."""
